"""The engine against the reference model, over the broker in memory."""

from __future__ import annotations

import pytest

from tests.model.explore import find

CHUNK = 150
"""Schedules of one test: the whole file takes under a minute."""


@pytest.mark.parametrize("first", range(0, 4 * CHUNK, CHUNK))
def test_schedules(first: int) -> None:
    """Whatever is done in whatever order: nothing is lost, doubled, overtaken, or told wrongly."""
    problem = find(range(first, first + CHUNK))
    assert not problem, problem
