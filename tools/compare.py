"""Whether one commit is slower than another: ``python tools/compare.py [BASE [HEAD]] [--bench REGEX]``.

The base is, by default, the last commit that has results under ``benchmarks/results``. Both are measured here
and now, with this tree's benchmarks: their ``gnumba`` folders are taken out of git, everything else is the
environment's. A shared machine is half as fast from one minute to the next, so nothing here is a single time:
by default the benchmarks are one core's ratios to NumPy, taken in turns within a process (track_over_numpy),
small work as a user has it too, who forces no target; the commits take turns, round after round; the median
of the rounds' quotients counts; and what looks slower is measured once more and has to be slower again.

Exit status: 0 nothing is slower, 1 something is, 2 it could not be measured.
"""

import argparse
import functools
import importlib
import inspect
import io
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ONE_CORE = r"track_over_numpy.*('cpu'|'default', (1000\b|'4 arrays))"
RESULTS = ROOT / "benchmarks" / "results"


# Commits.


def git(*arguments):
    """Run git and return its output."""
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, check=True).stdout


def last_with_results():
    """The last of HEAD's commits that has results, of whatever machine; None if none has."""
    known = {json.loads(path.read_text("utf-8")).get("commit_hash") for path in RESULTS.glob("*/*.json")}
    return next((commit for commit in git("rev-list", "HEAD").decode().split() if commit in known), None)


def checked_out(commit, folder):
    """A new folder that holds a commit's package."""
    made = Path(folder) / git("rev-parse", commit).decode().strip()
    if not made.exists():
        archive = io.BytesIO(git("archive", "--format=zip", commit, "gnumba"))
        zipfile.ZipFile(archive).extractall(made)  # a tar would need Python 3.11.4 for its filter
    return made


# Measuring.


def measured(tree, benches):
    """Measure a folder's package in a new process: values by benchmark and parameters."""
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--measure", *benches]
    said = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if said.returncode:
        print(said.stdout, said.stderr, sep="\n")
        sys.exit(2)
    return json.loads(said.stdout.splitlines()[-1])


def measure(benches):
    """Print, as the last line, the values of the benchmarks that one of the patterns finds."""
    sys.path.append(str(ROOT))  # behind the measured package
    common = importlib.import_module("benchmarks.common")
    common.BUDGET = 0.25
    found = {}
    for name, made, method, chosen in benchmarks():
        if any(re.search(pattern, name) for pattern in benches):
            try:
                made.setup(*chosen)
            except NotImplementedError:
                continue  # not on this machine, or not in this commit
            run = functools.partial(getattr(made, method), *chosen)
            tracked = method.startswith("track_")
            found[name] = run() if tracked else statistics.median(common.seconds(run) for _ in range(11))
    print(json.dumps(found))


def benchmarks() -> Iterator[tuple]:
    """(name, instance, method, parameters), named as asv does, of those that take time or a ratio."""
    for path in sorted((ROOT / "benchmarks").glob("bench_*.py")):
        module = importlib.import_module(f"benchmarks.{path.stem}")
        kinds = [kind for kind in vars(module).values() if getattr(kind, "__module__", "") == module.__name__]
        for kind in filter(inspect.isclass, kinds):
            methods = [name for name in dir(kind) if name.startswith(("track_", "time_"))]
            for method, chosen in itertools.product(methods, itertools.product(*getattr(kind, "params", ()))):
                parameters = f"({', '.join(map(repr, chosen))})" if chosen else ""
                yield f"{path.stem}.{kind.__name__}.{method}{parameters}", kind(), method, chosen


# Comparing.


def quotients(base, head, benches, rounds):
    """The median, over the rounds, of head's value over base's, by benchmark."""
    found = {}
    for k in range(rounds):
        print(f"round {k + 1} of {rounds}", flush=True)
        before = measured(base, benches)
        after = measured(head, [f"^{re.escape(name)}$" for name in before])
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


def compare(base, head, options):
    """The names of what is slower in head's folder than in base's, looked at twice."""
    suspects = slower(quotients(base, head, [options.bench], options.rounds), options.factor)
    if suspects:
        print("\nOnce more, what looks slower")
        named = [f"^{re.escape(name)}$" for name in suspects]
        suspects = slower(quotients(base, head, named, options.rounds), options.factor)
    return suspects


def main():
    """Compare, report."""
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("base", nargs="?", help="the commit to compare with; default: the last with results")
    parser.add_argument("head", nargs="?", default="HEAD", help="the commit in question; default: HEAD")
    parser.add_argument(
        "--bench", default=ONE_CORE, help=f"which benchmarks: a regular expression; default: {ONE_CORE}"
    )
    parser.add_argument("--factor", type=float, default=1.3, help="slower from here on; default: 1.3")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; default: 3")
    options = parser.parse_args()
    base = options.base or last_with_results()
    if base is None:
        print("No commit of HEAD's history has results under benchmarks/results.")
        sys.exit(2)
    print(f"{options.head} beside {base}")
    with tempfile.TemporaryDirectory() as folder:
        suspects = compare(*(checked_out(commit, folder) for commit in (base, options.head)), options)
    print("\nSlower: " + (", ".join(suspects) if suspects else "nothing"))
    sys.exit(bool(suspects))


if __name__ == "__main__":
    main()
