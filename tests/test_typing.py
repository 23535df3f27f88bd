"""The face as type checkers see it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gnumba as gn

SCRIPT = Path(__file__).with_name("typing_user.py")


def refused(text):
    """The lines that are to be refused."""
    return {number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# error")}


def test_a_script_is_understood(tmp_path):
    """By ``mypy --strict``: each line that is wrong is an error, and no other is."""
    pytest.importorskip("mypy", reason="mypy comes with the dev extra")
    text = SCRIPT.read_text("utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}"]
    environment = os.environ | {"MYPYPATH": str(Path(gn.__file__).parents[1])}
    quiet = ["--follow-imports=silent", "--no-error-summary", "--hide-error-context", str(SCRIPT)]
    done = subprocess.run([*command, *quiet], env=environment, capture_output=True, text=True)
    found = re.findall(rf"^(?:.*){SCRIPT.name}:(\d+): error: (.*)$", done.stdout, re.MULTILINE)
    assert done.returncode == 1, done.stdout + done.stderr
    assert {int(number) for number, _ in found} == refused(text), done.stdout
