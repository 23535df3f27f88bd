"""Whether one commit is slower than another: ``python tools/compare.py BASE [HEAD] [--bench REGEX]``.

asv measures both in turns and reports what changed significantly by more than the factor. On a shared
machine some of that is the machine, so what looks slower is measured once more, and counts if it is again.
Exit status: 0 nothing is slower, 1 something is, 2 it could not be measured.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OWN = ROOT / ".asv" / "compare"  # its results are not those worth keeping
SLOWER = re.compile(r"^\| \+ .*\|\s*([\w.]+(?:\(.*\))?)\s*\|\s*$", re.MULTILINE)
INTERLEAVED = {"rounds": 4, "repeat": "(2, 10, 0.3)", "warmup_time": 0.05}


def configuration():
    """asv.conf.json with results of its own; its path."""
    conf = json.loads((ROOT / "asv.conf.json").read_text("utf-8"))
    conf |= {"repo": str(ROOT), "results_dir": str(OWN / "results"), "html_dir": str(OWN / "html")}
    conf |= {key: str(ROOT / conf[key]) for key in ("benchmark_dir", "env_dir")}
    OWN.mkdir(parents=True, exist_ok=True)
    path = OWN / "asv.conf.json"
    path.write_text(json.dumps(conf), "utf-8")
    return path


def slower(base, head, factor, benches):
    """The benchmarks that asv finds slower, as it names them."""
    command = [sys.executable, "-m", "asv", "--config", str(configuration()), "continuous", base, head]
    command += ["--factor", str(factor), "--show-stderr"]
    for bench in benches:
        command += ["--bench", bench]
    for name, value in INTERLEAVED.items():
        command += ["--attribute", f"{name}={value}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as asv:
        lines = []
        for line in asv.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    said = "".join(lines)
    # asv's status is 1 for "slower", and for several ways of having measured nothing.
    if "BENCHMARKS NOT SIGNIFICANTLY CHANGED" not in said and "BENCHMARKS HAVE CHANGED" not in said:
        sys.exit(2)
    if re.search(r"\bfailed\b", said):
        print("Some benchmarks failed.")
        sys.exit(2)
    return SLOWER.findall(said)


def main():
    """Compare, look twice, report."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("base", help="the commit to compare with")
    parser.add_argument("head", nargs="?", default="HEAD", help="the commit in question; default: HEAD")
    parser.add_argument("--bench", default=r"\.time_", help="which benchmarks: a regular expression")
    parser.add_argument("--factor", type=float, default=1.2, help="slower from this ratio on; default: 1.2")
    options = parser.parse_args()
    first = slower(options.base, options.head, options.factor, [options.bench])
    if first:
        print(f"\nOnce more: {', '.join(first)}\n", flush=True)
    again = first and slower(options.base, options.head, options.factor, [f"^{re.escape(b)}$" for b in first])
    found = [bench for bench in first if bench in again]
    print("\nSlower: " + (", ".join(found) if found else "nothing"))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
