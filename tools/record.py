"""Measure a commit and keep the results: ``python tools/record.py [COMMIT] [--bench REGEX]``.

asv writes them under ``benchmarks/results``, in a folder named after the processor, as the compiler calls it,
and the number of its cores: what two machines of one kind measure lies together. Once they are committed,
``tools/compare.py`` compares with this commit; a line in CHANGELOG.md that names it says why.
"""

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

import llvmlite.binding

ROOT = Path(__file__).resolve().parents[1]


def machine():
    """The name of machines like this one, and what asv is to say of them."""
    cpu, cores = llvmlite.binding.get_host_cpu_name(), os.cpu_count()
    about = {"os": platform.system(), "arch": platform.machine(), "cpu": cpu, "num_cpu": cores}
    return f"{cpu}-{cores}", about


def main():
    """Name the machine, run asv on the commit."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("commit", nargs="?", default="HEAD", help="default: HEAD")
    parser.add_argument("--bench", default="track_over_numpy", help="which benchmarks: a regular expression")
    options = parser.parse_args()
    name, about = machine()
    described = [word for key, value in about.items() for word in (f"--{key}", str(value))]
    asv = [sys.executable, "-m", "asv"]
    subprocess.run([*asv, "machine", "--machine", name, *described, "--ram", ""], cwd=ROOT, check=True)
    run = ["run", "--machine", name, f"{options.commit}^!", "--bench", options.bench]
    sys.exit(subprocess.run([*asv, *run], cwd=ROOT, check=False).returncode)


if __name__ == "__main__":
    main()
