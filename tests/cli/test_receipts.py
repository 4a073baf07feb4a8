"""`caxton receipts`: how far a message is."""

from __future__ import annotations

import pytest

from caxton_nats import Agent, Context, Reject, started
from tests.cli.conftest import Caxton, Here


@pytest.mark.parametrize("router", ["embedded", "service"])
async def test_receipts(caxton: Caxton, here: Here, router: str) -> None:
    """A table for people, every field for programs; --until waits."""
    await caxton("agents", "register", "bob")
    sent = ("send", "alice", "inform", "bob", "--message-id", "m-1", "--require-receipt")
    await caxton(*sent)
    shown = await caxton("receipts", "alice", "m-1", "--router", router)
    assert shown.code == 0, shown.err
    titles, row = shown.out.splitlines()
    assert titles.split() == ["receiver", "stage", "since", "attempt", "why"]
    assert row.split()[:2] == ["bob@caxton", "accepted"]
    asking = ("receipts", "alice", "m-1", "--router", router, "--json", "--until", "handled")
    late = await caxton(*asking, "--timeout", "0")
    assert (late.code, late.error["code"]) == (13, "AgentNotResponding")
    bob = Agent("bob")

    @bob.on("inform")
    async def handle(_: Context) -> None:
        pass

    async with started(here.platform, bob):
        waited = await caxton(*asking)
    (one,) = waited.json["receipts"]
    assert (waited.code, one["stage"], one["attempt"]) == (0, "handled", 1)
    assert sorted(one["times"]) == ["accepted", "handled", "offered"]
    assert one["error"] == {}


async def test_one_that_failed(caxton: Caxton, here: Here) -> None:
    """Its reason and dead letter are shown, and waiting for it is not a success."""
    bob = Agent("bob")

    @bob.on("inform")
    async def reject(_: Context) -> None:
        raise Reject("no")

    async with started(here.platform, bob):
        await caxton("send", "alice", "inform", "bob", "--message-id", "m-1", "--require-receipt")
        waited = await caxton("receipts", "alice", "m-1", "--until", "handled")
    assert waited.code == 1
    (letter,) = await here.platform.ports.dead_letters.list()
    assert f"no (dead letter {letter.id})" in waited.out


async def test_of_an_unknown_message(caxton: Caxton, here: Here) -> None:
    """An error, with what may be the reason; the same for the message of another sender."""
    missing = await caxton("receipts", "alice", "m-1", "--json")
    assert (missing.code, missing.error["code"]) == (1, "NotFound")
    assert "--require-receipt" in missing.error["hint"]
