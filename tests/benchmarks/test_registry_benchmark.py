"""benchmarks/registry.py runs, and says what it promises; how fast it is, is nobody's test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.registry import main


def test_it_measures_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every look-up at every size, bytes per agent, and a mirror with everybody in it."""
    file = tmp_path / "figures.json"
    found = main(["--agents", "10,20", "--rounds", "2", "--calls", "3", "--json", str(file)])
    figures = json.loads(file.read_text())
    assert figures == json.loads(json.dumps(found))
    for by_number in figures["lookups_ns"].values():
        assert by_number.keys() == {"10", "20"}
        assert min(by_number.values()) > 0
    assert figures["lookups_ns"].keys() >= {"find by name", "one", "all", "least-loaded"}
    assert figures["bytes_per_agent"].keys() == {"registration", "lease"}
    assert figures["mirror"]["agents"] == 20
    printed = capsys.readouterr().out
    assert "find by name" in printed
    assert "bytes per agent" in printed
