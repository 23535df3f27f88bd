#!/usr/bin/env python
"""Run the tests with several numba, NumPy and Python, each combination in an environment of its own.

    python tools/matrix.py                         # all rows
    python tools/matrix.py oldest -- tests/test_rules.py -k adam
    python tools/matrix.py --folder ~/envs         # keeps the environments there for the next time
    python tools/matrix.py python3.13 --path ~/pythons/3.13/bin

The rows: "oldest", the lower bounds in pyproject.toml; a numba in wide use; "newest"; and newest on the
Pythons named, which are looked for on PATH and in the folders of --path. Exit status 1 if a row fails.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("numba", "numpy")
PYTHONS = ("python3.12", "python3.13")
SUITE = ["-n", "auto", "--dist", "worksteal"]


def rows():
    """The interpreter of each row and what pip installs beside the test extra, by the row's name."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    bounds = dict(match.groups() for line in declared if (match := re.match(r"(\w+)>=([\d.]+)", line)))
    return {
        "oldest": (sys.executable, [f"{name}=={bounds[name]}" for name in PACKAGES]),
        "0.68": (sys.executable, ["numba==0.68.*"]),
        "newest": (sys.executable, []),
        **{python: (python, []) for python in PYTHONS},
    }


def interpreter(name, folders):
    """The path of an interpreter that runs, None where there is none of that name.

    A version manager puts a command of every Python on PATH; those of versions not chosen only fail.
    """
    for folder in (*folders, *os.get_exec_path()):
        found = shutil.which(name, path=folder)
        if found and not subprocess.run([found, "-c", ""], capture_output=True).returncode:
            return found
    return None


def environment(interpreter, folder, pins):
    """The Python of a virtual environment with these versions, made or brought up to date."""
    subprocess.run([interpreter, "-m", "venv", folder], check=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    pip = [python, "-m", "pip", "install", "-q", "--upgrade", "--upgrade-strategy", "eager"]
    subprocess.run([*pip, "-e", f"{ROOT}[test]", *pins], check=True)
    return python


def run(name, interpreter, pins, folder, arguments):
    """One row of the printed table, and whether its tests passed."""
    python = environment(interpreter, folder / name, pins)
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
    parser.add_argument("--path", action="append", default=[], help="a folder with Pythons, before PATH's")
    ours, arguments = sys.argv[1:], SUITE
    if "--" in ours:
        ours, arguments = ours[: ours.index("--")], ours[ours.index("--") + 1 :]
    given = parser.parse_args(ours)
    if unknown := set(given.rows) - set(rows()):
        parser.error(f"rows are {sorted(unknown)}, expected some of {list(rows())}")
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        for name in given.rows or rows():
            wanted, pins = rows()[name]
            if python := interpreter(wanted, given.path):
                results.append(run(name, python, pins, folder, arguments))
            else:  # none of that name is no failure unless it was asked for
                results.append(([name, "", "", "", "", f"not run: no {wanted} here"], not given.rows))
    print(f"{'row':10} {'Python':8} {'numba':8} {'NumPy':8} {'time':>7}  result")
    for (name, python, numba, numpy, seconds, result), _ in results:
        print(f"{name:10} {python:8} {numba:8} {numpy:8} {seconds:>7}  {result}")
    sys.exit(not all(passed for _, passed in results))


if __name__ == "__main__":
    main()
