"""benchmarks/effects.py runs, with and without; how fast it is, is nobody's test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.effects import WHAT, main


def test_it_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each figure is there with the ledger, without it, and as a ratio."""
    path = tmp_path / "figures.json"
    found = main(["--messages", "50", "--turns", "2", "--rounds", "2", "--json", str(path)])
    assert list(found) == list(WHAT)
    assert all(one["with"] > 0 and one["without"] > 0 for one in found.values())
    assert json.loads(path.read_text()) == found
    assert "backlog" in capsys.readouterr().out
