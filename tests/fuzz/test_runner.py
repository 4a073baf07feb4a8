"""`python -m fuzz`: runs where atheris is, and says so where it is not."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "fuzz", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    return done.returncode, done.stdout


def test_one_target() -> None:
    """A target runs for its seconds and is told of; without atheris nothing pretends to."""
    code, said = run("screen", "--seconds", "1", "--seed", "1")
    if importlib.util.find_spec("atheris") is None:
        assert (code, "no wheel for Python" in said) == (2, True)
        assert run("--if-there")[0] == 0
    else:
        assert code == 0
        assert said.startswith("fuzz: screen: ")
        assert said.endswith(" inputs, ok\n")
