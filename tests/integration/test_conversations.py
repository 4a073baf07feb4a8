"""The record of a conversation is exact, however many write to it at once."""

from __future__ import annotations

import asyncio

from caxton_nats.core.conversation import Conversation
from caxton_nats.core.errors import TooManyParticipants
from caxton_nats.core.identifiers import ConversationId
from caxton_nats.engine.platform import Platform
from tests.integration.lab import Lab
from tests.plugins.eventually import eventually

C = ConversationId("order/1")


async def record(platform: Platform) -> Conversation:
    found = await platform.ports.conversations.load(C)
    assert found is not None
    return found[0]


async def test_record(lab: Lab, door: str) -> None:
    """The record says who takes part, which protocol, how many messages, and what came last."""
    platform = await lab.through(door)
    bob = await lab.collector("bob", platform)
    alice = await lab.collector("alice", platform)
    await alice.send("request", "bob", 1, conversation_id=C, protocol="fipa-request")
    await eventually(lambda: len(bob.got) == 1)
    await bob.got[0].agree()
    await bob.got[0].inform(2)
    await eventually(lambda: len(alice.got) == 2)
    found = await record(platform)
    assert found.participants == ("alice@here", "bob@here")
    assert (found.protocol, found.message_count) == ("fipa-request", 3)
    assert found.last_performative == "inform"
    assert found.created_at < found.last_activity


async def test_count_is_exact_under_concurrency(lab: Lab, door: str) -> None:
    """Ten senders through two routers at once, each message sent twice: 100 are counted as 50."""
    first = await lab.through(door)
    if door == "service":
        await lab.router()
    second = await lab.platform(router=door)
    bob = await lab.collector("bob", first)
    senders = [await lab.agent(f"sender-{n}", (first, second)[n % 2]) for n in range(10)]

    async def send_all(number: int) -> None:
        for turn in range(5):
            for _ in range(2):
                await senders[number].send(
                    "inform",
                    "bob",
                    [number, turn],
                    conversation_id=C,
                    message_id=f"m-{number}-{turn}",
                )

    await asyncio.gather(*(send_all(number) for number in range(10)))
    await eventually(lambda: len(bob.got) == 50)
    found = await record(first)
    assert found.message_count == 50
    assert sorted(found.participants) == sorted(
        ["bob@here", *(f"sender-{number}@here" for number in range(10))]
    )


async def test_participants_are_bounded(lab: Lab, door: str) -> None:
    """A message that would bring in too many is refused before delivery, with limit and value."""
    platform = await lab.through(door, max_participants=3)
    names = ["b", "c", "d"]
    for name in names:
        await lab.register(name, platform)
    alice = await lab.agent("alice", platform)
    (refused,) = await alice.send_many([alice.message("inform", names, 1, conversation_id=C)])
    assert isinstance(refused, TooManyParticipants)
    assert (refused.limit, refused.value) == (3, 4)
    assert await platform.ports.mailboxes.stored() == 0
    assert await platform.ports.conversations.load(C) is None


async def test_no_conversation_no_record(lab: Lab) -> None:
    """A message of no conversation leaves no record."""
    platform = await lab.platform()
    await lab.register("bob", platform)
    await (await lab.agent("alice", platform)).send("inform", "bob", 1)
    assert await platform.ports.conversations.list() == []


async def test_unknown_receiver_takes_part_in_nothing(lab: Lab, door: str) -> None:
    """Who does not exist is no participant; a message to nobody is no part of a conversation."""
    platform = await lab.through(door)
    await lab.register("bob", platform)
    alice = await lab.agent("alice", platform)
    await alice.send_many([alice.message("inform", "nobody", 1, conversation_id=C)])
    assert await platform.ports.conversations.load(C) is None
    await alice.send("inform", ["bob", "nobody"], 1, conversation_id=C)
    assert (await record(platform)).participants == ("alice@here", "bob@here")
