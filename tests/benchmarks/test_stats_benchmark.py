"""benchmarks/stats.py runs, and shows what it is there for; how fast it is, is nobody's test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.stats import main


def test_it_measures_every_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Statistics and health take as many requests for few agents as for more; others do not."""
    path = tmp_path / "figures.json"
    few, many = main(["--agents", "3,30", "--rounds", "1", "--json", str(path)])
    for what in ("statistics", "health"):
        assert few[f"{what} requests"] == many[f"{what} requests"]
    assert few["each by itself requests"] < many["each by itself requests"]
    assert json.loads(path.read_text()) == [few, many]
    assert "statistics --readers" in capsys.readouterr().out
