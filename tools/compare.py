"""Whether one commit is slower than another: ``python tools/compare.py BASE [HEAD] [--bench REGEX]``.

A shared machine is half as fast from one minute to the next, so nothing here is a single time: by default
the benchmarks are one core's ratios to NumPy, taken in turns within a process (track_over_numpy); asv runs
both commits in turns, round after round; the median of the rounds' quotients counts; and what looks slower
is measured once more and has to be slower again.

Exit status: 0 nothing is slower, 1 something is, 2 it could not be measured.
"""

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from asv.results import iter_results

ROOT = Path(__file__).resolve().parents[1]
OWN = ROOT / ".asv" / "compare"  # its results are not those worth keeping


def configuration():
    """The path of asv.conf.json with results of its own."""
    conf = json.loads((ROOT / "asv.conf.json").read_text("utf-8"))
    conf |= {"repo": str(ROOT), "results_dir": str(OWN / "results"), "html_dir": str(OWN / "html")}
    conf |= {key: str(ROOT / conf[key]) for key in ("benchmark_dir", "env_dir")}
    shutil.rmtree(OWN, ignore_errors=True)
    OWN.mkdir(parents=True)
    path = OWN / "asv.conf.json"
    path.write_text(json.dumps(conf), "utf-8")
    return path


def measured(commit, benches):
    """What asv measures of a commit: value by benchmark and parameters."""
    command = [sys.executable, "-m", "asv", "--config", str(configuration()), "run", f"{commit}^!"]
    for bench in benches:
        command += ["--bench", bench]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    results = list(iter_results(str(OWN / "results")))
    if said.returncode or not results:
        print(said.stdout, said.stderr, sep="\n")
        sys.exit(2)
    return {
        f"{name}({', '.join(of_one)})" if of_one else name: value
        for result in results
        for name in result.get_all_result_keys()
        for of_one, value in values(result, name)
        if value is not None and value == value  # nan: skipped there
    }


def values(result, name):
    """A benchmark's parameters, as asv writes them, and values."""
    params = result.get_result_params(name)
    return zip(combinations(params), result.get_result_value(name, params), strict=True)


def combinations(params):
    """One of each, the last changing fastest."""
    made = [()]
    for choices in params:
        made = [(*chosen, choice) for chosen in made for choice in choices]
    return made


def quotients(base, head, benches, rounds):
    """The median, over the rounds, of head's value over base's, by benchmark."""
    found = {}
    for k in range(rounds):
        print(f"round {k + 1} of {rounds}", flush=True)
        before, after = (measured(commit, benches) for commit in (base, head))
        for name in before.keys() & after.keys():
            found.setdefault(name, []).append(after[name] / before[name])
    if not found:
        print("Nothing was measured of both commits.")
        sys.exit(2)
    return {name: statistics.median(each) for name, each in found.items()}


def slower(found, factor):
    """Those from the factor on, printed."""
    for name, quotient in sorted(found.items(), key=lambda pair: -pair[1]):
        print(f"{quotient:6.2f}  {name}{'  <- slower' if quotient >= factor else ''}")
    return [name for name, quotient in found.items() if quotient >= factor]


def main():
    """Compare, look twice, report."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("base", help="the commit to compare with")
    parser.add_argument("head", nargs="?", default="HEAD", help="the commit in question; default: HEAD")
    parser.add_argument(
        "--bench", default="track_over_numpy.*'cpu'", help="which benchmarks: a regular expression"
    )
    parser.add_argument("--factor", type=float, default=1.25, help="slower from here on; default: 1.25")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; default: 3")
    options = parser.parse_args()
    commits = options.base, options.head
    suspects = slower(quotients(*commits, [options.bench], options.rounds), options.factor)
    if suspects:
        print("\nOnce more, what looks slower")
        named = [f"^{re.escape(name)}$" for name in suspects]
        suspects = slower(quotients(*commits, named, options.rounds), options.factor)
    print("\nSlower: " + (", ".join(suspects) if suspects else "nothing"))
    sys.exit(bool(suspects))


if __name__ == "__main__":
    main()
