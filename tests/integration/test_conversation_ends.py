"""Conversations end by themselves; they stay readable, and nobody gets into them any more."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from caxton_nats.core.conversation import End
from caxton_nats.core.errors import ConversationTimeout
from caxton_nats.core.identifiers import ConversationId
from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream import direct, subjects
from caxton_nats.jetstream.embedded import EmbeddedServer
from tests.integration.lab import Lab
from tests.plugins.eventually import eventually

C = ConversationId("order/1 " + "\U0001f600" * 247)
"""As long in bytes as an id can be."""


def archived(platform: Platform) -> Callable[[], Awaitable[bool]]:
    """Return the condition that the conversation lies in the archive, and nowhere else."""

    async def condition() -> bool:
        found = await platform.ports.archive.load(C)
        return found is not None and await platform.ports.conversations.load(C) is None

    return condition


async def test_idle_conversation_ends(lab: Lab, door: str) -> None:
    """Nobody does anything: after its timeout it is archived, and a later message is refused."""
    lab.beyond = {"conversation_timeout": 0.5}
    if door == "embedded":
        await lab.router()
    platform = await lab.through(door)
    await lab.register("bob", platform)
    alice = await lab.agent("alice", platform)
    await alice.send("request", "bob", 1, conversation_id=C, protocol="fipa-request")
    await eventually(archived(platform))
    (refused,) = await alice.send_many([alice.message("inform", "bob", 2, conversation_id=C)])
    assert isinstance(refused, ConversationTimeout)
    assert (refused.limit, refused.value) == ("0.5 s", C)
    found = await platform.conversations.get(C)
    assert found is not None
    assert (found.ended_by, found.message_count, found.protocol) == (End.IDLE, 1, "fipa-request")
    assert await platform.conversations.list() == []
    assert await platform.conversations.list(archived=True, agent=alice.id) == [found]


async def test_late_message_through_the_doors_of_nats(lab: Lab) -> None:
    """A request is answered with the error; what was submitted comes back as a failure."""
    platform = await lab.router()
    await lab.register("bob", platform)
    alice = await lab.collector("alice", platform)
    await alice.send("inform", "bob", 1, conversation_id=C)
    await platform.conversations.archive(C)
    nats = await lab.nats()
    late = {"performative": "inform", "receiver": "bob", "conversation_id": C}
    body = json.dumps(late).encode()
    answer = json.loads(await nats.request("caxton.send.alice", body, what="send"))
    assert answer["error"]["code"] == "ConversationTimeout"
    assert answer["error"]["field"] == "conversation_id"
    await nats.request("caxton.submit.alice", body, what="submit")
    await eventually(lambda: len(alice.got) == 1)
    told = alice.got[0]
    assert (told.performative, told.sender) == ("failure", "ams@here")
    assert told.content["error"]["code"] == "ConversationTimeout"
    (letter,) = await platform.ports.dead_letters.list()
    assert letter.reason == "Timeout"


async def test_late_message_when_no_service_runs(lab: Lab) -> None:
    """The router in an agent's own process refuses by the record's own times."""
    lab.beyond = {"conversation_timeout": 0.3}
    platform = await lab.platform()
    await lab.register("bob", platform)
    alice = await lab.agent("alice", platform)
    await alice.send("inform", "bob", 0, conversation_id=C)
    later = await platform.conversations.get(C)
    assert later is not None
    await eventually(lambda: platform.ports.clock.now() > later.expires_at)
    (refused,) = await alice.send_many([alice.message("inform", "bob", 1, conversation_id=C)])
    assert isinstance(refused, ConversationTimeout)
    assert await platform.ports.mailboxes.stored() == 1


async def test_lifetime(lab: Lab) -> None:
    """However busy it is, it ends with its lifetime; nothing is left in the first bucket."""
    lab.beyond = {"conversation_lifetime": 1.0}
    platform = await lab.router()
    bob = await lab.collector("bob", platform)
    alice = await lab.agent("alice", platform)

    async def refused() -> bool:
        message = alice.message("inform", "bob", 1, conversation_id=C)
        return isinstance((await alice.send_many([message]))[0], ConversationTimeout)

    await eventually(refused)
    await eventually(archived(platform))
    found = await platform.conversations.get(C)
    assert found is not None
    assert found.ended_by is End.LIFETIME
    await eventually(lambda: len(bob.got) == found.message_count)
    assert await platform.ports.conversations.count() == 0


async def test_restart_of_everything(own_server: EmbeddedServer, own_lab: Lab) -> None:
    """Server and routers are killed; the timer outlives them, and the next router archives it."""
    own_lab.beyond = {"conversation_timeout": 1.0}
    platform = await own_lab.platform()
    await (await own_lab.spawn("router")).kill()
    await own_lab.register("bob", platform)
    alice = await own_lab.agent("alice", platform)
    await alice.send("inform", "bob", 1, conversation_id=C)
    await own_server.kill()
    await own_server.restart()
    nats = await own_lab.nats()
    assert await direct.first(nats, "KV_caxton-conversations", ">") is not None
    successor = await own_lab.spawn("router")
    await eventually(archived(await own_lab.platform()))
    assert await direct.first(nats, subjects.TIMERS_STREAM, f"{subjects.TIMER}.>") is None
    await successor.stop()


async def test_archived_by_hand_leaves_no_timer(lab: Lab) -> None:
    """What would have looked after it later goes with it."""
    platform = await lab.platform()
    await lab.register("bob", platform)
    alice = await lab.agent("alice", platform)
    await alice.send("inform", "bob", 1, conversation_id=C)
    nats = await lab.nats()
    timers = f"{subjects.TIMER}.conversation.>"
    assert await direct.first(nats, subjects.TIMERS_STREAM, timers) is not None
    assert (await platform.conversations.archive(C)).ended_by is End.ARCHIVED
    assert await direct.first(nats, subjects.TIMERS_STREAM, timers) is None
    assert await direct.first(nats, "KV_caxton-conversations", ">") is None


async def test_retention_is_the_age_limit_of_the_archive(lab: Lab) -> None:
    """The setting becomes the bucket's own limit, so the server forgets by itself."""
    await lab.platform(conversation_retention=7200)
    nats = await lab.nats()
    info = await nats.api("STREAM.INFO.KV_caxton-conversations-archive")
    assert info["config"]["max_age"] == 7200 * 10**9
