"""`caxton stats` and `caxton dlq stats`: what they count, and that the lists are bounded."""

from __future__ import annotations

import re

from caxton_nats import Agent, Context, Reject, started
from tests.cli.conftest import Caxton, Here
from tests.plugins.eventually import eventually

WHERE = (
    *("accepted", "pending", "dead_letters", "registered_agents", "active_conversations"),
    "inbound_queue_depth",
)


async def test_stats_tell_where_every_accepted_message_is(caxton: Caxton, here: Here) -> None:
    """Three accepted: one handled, one dead, one pending for an agent that has left."""
    bob = Agent("bob")
    handled: list[str] = []

    @bob.on("inform")
    async def take(ctx: Context) -> None:
        handled.append(ctx.envelope.message_id)

    @bob.on("request")
    async def reject(ctx: Context) -> None:
        raise Reject("no")

    async def settled() -> bool:
        status = await here.platform.ports.mailboxes.status(bob.id)
        return bool(handled) and status.pending == 0

    async with started(here.platform, bob):
        await caxton("send", "alice", "inform", "bob", "--conversation", "c-1")
        await caxton("send", "alice", "request", "bob")
        await eventually(settled)
    await caxton("agents", "register", "carol")
    await caxton("send", "alice", "inform", "carol")
    await caxton("agents", "deregister", "carol")
    document = (await caxton("stats", "--json")).json
    totals = document["totals"]
    assert {name: totals[name] for name in WHERE} == {
        "accepted": 3,
        "pending": 1,
        "dead_letters": 1,
        "registered_agents": 1,
        "active_conversations": 1,
        "inbound_queue_depth": 0,
    }
    by_name = {one["agent"]: one for one in document["agents"]}
    assert by_name["bob@caxton"]["dead_letters"] == {"InvalidMessage": 1}
    carol = by_name["carol@caxton"]
    assert (carol["registered"], carol["pending"]) == (False, 1)
    out = (await caxton("stats")).out
    assert "1 InvalidMessage" in out
    assert re.search(r"^accepted +3$", out, re.MULTILINE)


async def test_a_message_in_a_handlers_hands_is_in_flight(caxton: Caxton, here: Here) -> None:
    """While a handler works, its message is pending and in flight, and the agent connected."""
    bob = Agent("bob")
    working: list[bool] = []

    @bob.on("inform")
    async def work(ctx: Context) -> None:
        working.append(True)
        await eventually(lambda: not working, within=30)

    async with started(here.platform, bob):
        await caxton("send", "alice", "inform", "bob")
        await eventually(lambda: bool(working))
        (row,) = (await caxton("stats", "--readers", "--json")).json["agents"]
        working.clear()
    assert (row["connected"], row["pending"], row["in_flight"]) == (True, 1, 1)


async def test_the_list_of_agents_is_bounded(caxton: Caxton, here: Here) -> None:
    """Those with the most mail come first, and how many are left out is said."""
    for name in ("alice", "bob", "carol"):
        await caxton("agents", "register", name)
    await caxton("send", "alice", "inform", "carol")
    document = (await caxton("stats", "--limit", "2", "--json")).json
    assert [one["agent"] for one in document["agents"]] == ["carol@caxton", "alice@caxton"]
    assert document["agents_in_all"] == 3
    out = (await caxton("stats", "--limit", "1")).out
    assert "bob@caxton" not in out
    assert "2 more agents" in out


async def test_routers_are_told_apart(caxton: Caxton, here: Here) -> None:
    """--routers lists each with its own figures; this command is none of them."""
    await caxton("agents", "register", "bob")
    await caxton("send", "alice", "inform", "bob", "--router", "service")
    await caxton("send", "alice", "inform", "nobody", "--router", "service")
    document = (await caxton("stats", "--routers", "--json")).json
    (router,) = document["routers"]
    assert router["router"] == here.platform.ports.peers.own_id
    assert (router["processed"], router["errors"]) == (2, {"AgentNotFound": 1})
    assert router["routing"]["count"] == 2
    assert router["routing"]["p50"] > 0
    totals = document["totals"]
    assert (totals["routers"], totals["total_processed"], totals["error_rate"]) == (1, 2, 0.5)
    out = (await caxton("stats", "--routers")).out
    assert here.platform.ports.peers.own_id in out
    assert "1 AgentNotFound" in out


async def test_dead_letters_are_summed_up(caxton: Caxton, here: Here) -> None:
    """How many, why, how old, how large, and how many there may be."""
    empty = (await caxton("dlq", "stats", "--json")).json
    assert (empty["total_messages"], empty["oldest_message_age_ms"]) == (0, None)
    bob = Agent("bob")

    @bob.on("*")
    async def reject(ctx: Context) -> None:
        raise Reject("no")

    async def died() -> bool:
        return len(await here.platform.ports.dead_letters.list()) == 2

    async with started(here.platform, bob):
        await caxton("send", "alice", "inform", "bob")
        await caxton("send", "alice", "inform", "bob")
        await eventually(died)
    found = (await caxton("dlq", "stats", "--json")).json
    assert found["messages_by_reason"] == {"InvalidMessage": 2}
    assert (found["total_messages"], found["max_messages"]) == (2, 100_000)
    assert found["oldest_message_age_ms"] >= 0
    assert found["queue_size_bytes"] > 0
    out = (await caxton("dlq", "stats")).out
    assert "2 InvalidMessage" in out
