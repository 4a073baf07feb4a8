"""`caxton protocols`: the tables, without a server."""

from __future__ import annotations

from caxton_nats.core.interaction import MACHINES
from tests.cli.conftest import Caxton


async def test_all_are_listed(caxton: Caxton) -> None:
    """By FIPA's names, each with its document."""
    listed = await caxton("protocols", "--json")
    assert [one["name"] for one in listed.json["protocols"]] == list(MACHINES)
    assert "SC00029H" in (await caxton("protocols")).out


async def test_one_is_shown(caxton: Caxton) -> None:
    """As a table for people, whole for programs, as a diagram for a page."""
    assert "accept-proposal" in (await caxton("protocols", "show", "fipa-contract-net")).out
    shown = await caxton("protocols", "show", "fipa-contract-net", "--json")
    assert {
        "state": "PROPOSED",
        "act": "cancel",
        "role": "initiator",
        "guard": "",
        "next": "CANCELLING(PROPOSED)",
    } in shown.json["rows"]
    drawn = await caxton("protocols", "show", "fipa-request", "--mermaid")
    assert drawn.out.startswith("stateDiagram-v2\n    [*] --> REQUESTED: I request\n")


async def test_an_unknown_one(caxton: Caxton) -> None:
    """The error lists those that are known."""
    unknown = await caxton("protocols", "show", "fipa-reqest")
    assert unknown.code != 0
    assert "fipa-request" in unknown.err
