"""The diagrams of docs/protocols.md are those of the tables."""

from __future__ import annotations

from caxton_nats.core.interaction import MACHINES
from caxton_nats.core.protocols import INIT
from tests.docs.diagrams import PAGE, drawn, redrawn


def test_the_page_is_as_the_tables_are() -> None:
    """A table that is changed without `make diagrams` fails here."""
    page = PAGE.read_text()
    assert redrawn(page) == page


def test_every_state_and_act_is_drawn() -> None:
    """Each row of each table is an edge of its diagram."""
    sections = drawn().split("### ")[1:]
    for section, machine in zip(sections, MACHINES.values(), strict=True):
        for row in machine.protocol.rows:
            (edge,) = [
                line
                for line in section.splitlines()
                if f"{'[*]' if row.state == INIT else row.state} --> {row.next}:" in line
            ]
            assert row.act in edge
