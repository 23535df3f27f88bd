#!/usr/bin/env python
"""Run the tests with the oldest, a chosen and the newest numba and NumPy, each in an environment of its own.

    python tools/matrix.py                         # all rows of the table below
    python tools/matrix.py oldest -- tests/test_rules.py -k adam
    python tools/matrix.py --folder ~/envs         # keeps the environments there for the next time

The oldest are the lower bounds in pyproject.toml. Exit status 1 if a row fails.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("numba", "numpy")
SUITE = ["-n", "auto", "--dist", "loadfile"]


def rows():
    """Requirements that pip installs beside the test extra, by the row's name."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    bounds = dict(match.groups() for line in declared if (match := re.match(r"(\w+)>=([\d.]+)", line)))
    return {
        "oldest": [f"{name}=={bounds[name]}" for name in PACKAGES],
        "0.68": ["numba==0.68.*"],
        "newest": [],
    }


def environment(folder, pins):
    """The Python of a virtual environment with these versions, made or brought up to date."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    pip = [python, "-m", "pip", "install", "-q", "--upgrade", "--upgrade-strategy", "eager"]
    subprocess.run([*pip, "-e", f"{ROOT}[test]", *pins], check=True)
    return python


def run(name, pins, folder, arguments):
    """One row of the printed table, and whether its tests passed."""
    python = environment(folder / name, pins)
    found = f"import sys, {', '.join(PACKAGES)}; print(sys.version.split()[0], "
    found += ", ".join(f"{package}.__version__" for package in PACKAGES) + ")"
    versions = subprocess.run(
        [python, "-c", found], check=True, capture_output=True, text=True
    ).stdout.split()
    start = time.perf_counter()
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    tests = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    lines = tests.stdout.splitlines() or ["no output"]
    for line in lines if tests.returncode else ():
        print(line, file=sys.stderr)
    row = [name, *versions, f"{time.perf_counter() - start:.0f} s", lines[-1].strip("= ")]
    return row, tests.returncode == 0


def main():
    """Print a table of versions and results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"{list(rows())}; all if none is named")
    parser.add_argument("--folder", type=Path, help="where the environments are made and left")
    ours, arguments = sys.argv[1:], SUITE
    if "--" in ours:
        ours, arguments = ours[: ours.index("--")], ours[ours.index("--") + 1 :]
    given = parser.parse_args(ours)
    if unknown := set(given.rows) - set(rows()):
        parser.error(f"rows are {sorted(unknown)}, expected some of {list(rows())}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        chosen = {name: pins for name, pins in rows().items() if name in (given.rows or rows())}
        results = [run(name, pins, folder, arguments) for name, pins in chosen.items()]
    print(f"{'row':8} {'Python':8} {'numba':8} {'NumPy':8} {'time':>7}  result")
    for (name, python, numba, numpy, seconds, result), _ in results:
        print(f"{name:8} {python:8} {numba:8} {numpy:8} {seconds:>7}  {result}")
    sys.exit(not all(passed for _, passed in results))


if __name__ == "__main__":
    main()
