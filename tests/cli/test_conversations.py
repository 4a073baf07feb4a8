"""`caxton conversations` and `caxton stats`: who talks, and where the messages are."""

from __future__ import annotations

from caxton_nats import Agent, Context, Reject, started
from tests.cli.conftest import Caxton, Here
from tests.plugins.eventually import eventually


async def talk(caxton: Caxton, conversation: str, *receivers: str) -> None:
    command = ("send", "alice", "cfp", *receivers, "--protocol", "fipa-contract-net")
    assert (await caxton(*command, "--conversation", conversation)).code == 0


async def test_conversations_are_listed_with_the_latest_first(caxton: Caxton, here: Here) -> None:
    """The table has id, protocol, number of messages, participants and the last act."""
    assert (await caxton("conversations")).out == "no conversations\n"
    for name in ("bob", "carol"):
        await caxton("agents", "register", name)
    await talk(caxton, "order-1", "bob")
    await talk(caxton, "order-2", "bob", "carol")
    _, *rows = (await caxton("conversations")).out.splitlines()
    assert [row.split()[:3] for row in rows] == [
        ["order-2", "fipa-contract-net", "1"],
        ["order-1", "fipa-contract-net", "1"],
    ]
    assert "alice@caxton, bob@caxton, carol@caxton" in rows[0]
    (latest,) = (await caxton("conversations", "--limit", "1", "--json")).json["conversations"]
    assert (latest["conversation_id"], latest["last_performative"]) == ("order-2", "cfp")


async def test_one_conversation_is_shown(caxton: Caxton, here: Here) -> None:
    """For people and as JSON with every key, even those that are empty."""
    await caxton("agents", "register", "bob")
    await caxton("send", "alice", "inform", "bob", "--conversation", "Grüße, order 1")
    shown = await caxton("conversations", "show", "Grüße, order 1")
    assert "alice@caxton, bob@caxton" in shown.out
    document = (await caxton("conversations", "show", "Grüße, order 1", "--json")).json
    assert (document["message_count"], document["protocol"]) == (1, "")


async def test_an_unknown_conversation_is_an_error(caxton: Caxton, here: Here) -> None:
    """Exit code 1, naming the id."""
    failed = await caxton("conversations", "show", "order-9", "--json")
    assert (failed.code, failed.error["value"]) == (1, "order-9")


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
    assert document["totals"] == {
        "accepted": 3,
        "pending": 1,
        "in_flight": 0,
        "dead_letters": 1,
        "registered_agents": 1,
        "conversations": 1,
    }
    by_name = {one["agent"]: one for one in document["agents"]}
    assert by_name["bob@caxton"]["dead_letters"] == {"InvalidMessage": 1}
    carol = by_name["carol@caxton"]
    assert (carol["registered"], carol["pending"]) == (False, 1)
    out = (await caxton("stats")).out
    assert "1 InvalidMessage" in out
    assert "accepted           3" in out


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
        (row,) = (await caxton("stats", "--json")).json["agents"]
        working.clear()
    assert (row["connected"], row["pending"], row["in_flight"]) == (True, 1, 1)
