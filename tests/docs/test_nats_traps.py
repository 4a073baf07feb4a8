"""docs/nats-traps.md: every trap has its tests, and they exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.docs.test_seed_map import names, written_in

PAGE = Path(__file__).resolve().parents[2] / "docs" / "nats-traps.md"


class Row(NamedTuple):
    trap: str
    cure: str
    tests: list[str]


def rows() -> list[Row]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines]
    return [Row(a, b, names(c)) for a, b, c in cells if a not in ("Trap", "---")]


ROWS = rows()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.trap[:40])
def test_a_trap_has_a_cure_and_its_proof(row: Row) -> None:
    """A cure without a test that fails without it is a hope."""
    assert row.cure
    assert row.tests


@pytest.mark.parametrize("name", sorted({name for row in ROWS for name in row.tests}))
def test_every_test_named_exists(name: str) -> None:
    """In the file that the page gives."""
    file, _, test = name.partition("::")
    assert test in written_in(file)
