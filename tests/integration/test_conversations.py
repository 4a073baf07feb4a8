"""The record of a conversation is exact, however many write to it at once."""

from __future__ import annotations

import asyncio

from caxton_nats.core.conversation import Conversation
from caxton_nats.core.errors import InvalidEnvelope, TooManyParticipants
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


async def test_later_join_is_bounded(lab: Lab, door: str) -> None:
    """The one who would be too many is refused; those who take part go on."""
    platform = await lab.through(door, max_participants=3)
    for name in ("bob", "carol", "dave"):
        await lab.register(name, platform)
    alice = await lab.agent("alice", platform)
    await alice.send("cfp", ["bob", "carol"], 1, conversation_id=C, protocol="fipa-contract-net")
    (refused,) = await alice.send_many([alice.message("inform", "dave", 2, conversation_id=C)])
    assert isinstance(refused, TooManyParticipants)
    assert (refused.limit, refused.value) == (3, 4)
    await alice.send("inform", "bob", 3, conversation_id=C)
    assert (await record(platform)).participants == ("alice@here", "bob@here", "carol@here")
    assert (await record(platform)).message_count == 2


async def test_bound_is_the_deployments(lab: Lab, door: str) -> None:
    """Not that of the process that routes: whoever has other settings keeps to it all the same."""
    await lab.through(door, max_participants=2)
    other = await lab.platform(max_participants=1000)
    await lab.register("bob", other)
    await lab.register("carol", other)
    alice = await lab.agent("alice", other)
    (refused,) = await alice.send_many(
        [alice.message("inform", ["bob", "carol"], 1, conversation_id=C)]
    )
    assert isinstance(refused, TooManyParticipants)
    assert refused.limit == 2


async def test_two_routers_let_in_one(lab: Lab, door: str) -> None:
    """One place is left and many want it, through two routers at once: exactly one gets it."""
    first = await lab.through(door, max_participants=3)
    if door == "service":
        await lab.router(max_participants=3)
    second = await lab.platform(router=door, max_participants=3)
    await lab.register("bob", first)
    alice = await lab.agent("alice", first)
    await alice.send("inform", "bob", 0, conversation_id=C)
    wanting = [await lab.agent(f"w-{n}", (first, second)[n % 2]) for n in range(8)]
    results = await asyncio.gather(
        *(one.send_many([one.message("inform", "bob", 1, conversation_id=C)]) for one in wanting)
    )
    refused = [one for (one,) in results if isinstance(one, TooManyParticipants)]
    assert len(refused) == 7
    found = await record(first)
    assert (len(found.participants), found.message_count) == (3, 2)
    assert await first.ports.mailboxes.stored() == 2


async def test_answers_belong_to_their_conversation(lab: Lab, door: str) -> None:
    """An orphan is refused, and so is an answer to another conversation's message."""
    platform = await lab.through(door)
    await lab.register("bob", platform)
    alice = await lab.agent("alice", platform)
    await alice.send("request", "bob", 1, conversation_id=C, reply_with="here", message_id="m-1")
    await alice.send("request", "bob", 1, conversation_id="other", reply_with="there")

    async def answers(in_reply_to: str) -> object:
        message = alice.message("inform", "bob", 2, conversation_id=C, in_reply_to=in_reply_to)
        return (await alice.send_many([message]))[0]

    for name in ("nothing", "there"):
        refused = await answers(name)
        assert isinstance(refused, InvalidEnvelope)
        assert (refused.field, refused.value) == ("in_reply_to", f"'{name}'")
        assert refused.hint
    for name in ("here", "m-1"):
        assert not isinstance(await answers(name), Exception)
    assert (await record(platform)).message_count == 3
    await alice.send("inform", "bob", 3, in_reply_to="nothing")


async def test_answers_through_another_router(lab: Lab, door: str) -> None:
    """All bidders answer one token at once, each through a router of its own."""
    platform = await lab.through(door)
    bidders = [await lab.collector(f"bidder-{n}", await lab.platform()) for n in range(3)]
    alice = await lab.collector("alice", platform)
    names = [bidder.name for bidder in bidders]
    await alice.send("cfp", names, 1, conversation_id=C, reply_with="bids")
    await eventually(lambda: all(bidder.got for bidder in bidders))
    await asyncio.gather(*(bidder.got[0].propose(7) for bidder in bidders))
    await eventually(lambda: len(alice.got) == 3)
    assert {one.envelope.in_reply_to for one in alice.got} == {"bids"}
    assert (await record(platform)).message_count == 4
