"""admit: exact counts, whoever writes at the same time, and an answer for everybody."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from caxton_nats.core.conversation import Conversation, Terms
from caxton_nats.core.errors import (
    CaxtonError,
    NotConnected,
    RevisionConflict,
    TooManyParticipants,
    TransportError,
)
from caxton_nats.core.identifiers import AgentId, ConversationId, MessageId
from caxton_nats.engine.admission import TRIES, Admission, Candidate
from caxton_nats.ports import ConversationStore
from tests.core.sample import ALICE, BOB, sample
from tests.engine.bench import Bench, Failing

C = ConversationId("c")


def asking(
    message_id: str, conversation: str = "c", receivers: Sequence[AgentId] = (BOB,)
) -> Candidate:
    envelope = sample(
        message_id=MessageId(message_id), conversation_id=ConversationId(conversation)
    )
    return Candidate(envelope, receivers)


def admission(bench: Bench, store: Any = None, *, participants: int = 1000) -> Admission:
    ports = bench.but(conversations=store or bench.broker.conversations)
    return Admission(ports, Terms(max_participants=participants))


async def record(bench: Bench, conversation: str = "c") -> Conversation:
    found = await bench.broker.conversations.load(ConversationId(conversation))
    assert found is not None
    return found[0]


class Held:
    """A store whose writes wait until the test lets them pass."""

    def __init__(self, real: ConversationStore) -> None:
        self._real = real
        self.passes = asyncio.Event()
        self.writes = 0

    async def load(
        self, conversation_id: ConversationId, *, latest: bool = False
    ) -> tuple[Conversation, int] | None:
        return await self._real.load(conversation_id, latest=latest)

    async def save(self, conversation: Conversation, *, revision: int | None) -> int:
        self.writes += 1
        await self.passes.wait()
        return await self._real.save(conversation, revision=revision)


async def test_a_conversation_is_opened_by_its_first_message(bench: Bench) -> None:
    """The record has who takes part, and counts the message."""
    assert await admission(bench).admit([asking("m-1")]) == [None]
    found = await record(bench)
    assert (found.participants, found.message_count) == ((ALICE, BOB), 1)


async def test_no_conversation_costs_nothing(bench: Bench) -> None:
    """A message without a conversation is admitted without the store."""
    away = Failing(bench.broker.conversations, load=[NotConnected("away")])
    assert await admission(bench, away).admit([asking("m-1", "")]) == [None]
    assert away.calls == []


async def test_counts_are_exact_under_concurrency(bench: Bench) -> None:
    """Two routers that write at the same time, and lose at times, count each message once."""
    conflicts: list[Exception | None] = [None, RevisionConflict("somebody"), None] * 4
    routers = [
        admission(bench),
        admission(bench, Failing(bench.broker.conversations, save=conflicts)),
    ]
    work = [
        asyncio.create_task(routers[number % 2].admit([asking(f"m-{number}")]))
        for number in range(60)
    ]
    await bench.clock.advance(60)
    assert [task.result() for task in work] == [[None]] * 60
    assert (await record(bench)).message_count == 60


async def test_repeated_id_is_counted_once(bench: Bench) -> None:
    """A sender's retry changes nothing, in the same batch or later."""
    one = admission(bench)
    assert await one.admit([asking("m-1"), asking("m-1"), asking("m-2")]) == [None, None, None]
    assert await one.admit([asking("m-1")]) == [None]
    assert (await record(bench)).message_count == 2


async def test_conflict_after_an_own_write(bench: Bench) -> None:
    """A conflict with a write of our own, whose answer was lost, does not count it again."""

    class Lost(Failing):
        lost = False

        async def save(self, conversation: Conversation, *, revision: int | None) -> int:
            saved = await bench.broker.conversations.save(conversation, revision=revision)
            if not self.lost:
                self.lost = True
                raise RevisionConflict("it was I")
            return saved

    admitting = asyncio.create_task(
        admission(bench, Lost(bench.broker.conversations)).admit([asking("m-1")])
    )
    await bench.clock.advance(1)
    assert admitting.result() == [None]
    assert (await record(bench)).message_count == 1


async def test_messages_that_meet_share_a_write(bench: Bench) -> None:
    """What comes in while a write is under way is written together, in the next one."""
    store = Held(bench.broker.conversations)
    one = admission(bench, store)
    first = asyncio.create_task(one.admit([asking("m-0")]))
    await bench.clock.idle()
    rest = [asyncio.create_task(one.admit([asking(f"m-{n}")])) for n in range(1, 20)]
    await bench.clock.idle()
    store.passes.set()
    await asyncio.gather(first, *rest)
    assert (store.writes, (await record(bench)).message_count) == (2, 20)


async def test_conversations_do_not_wait_for_each_other(bench: Bench) -> None:
    """A slow write of one conversation holds up no other."""
    store = Held(bench.broker.conversations)
    one = admission(bench, store)
    slow = asyncio.create_task(one.admit([asking("m-1")]))
    await bench.clock.idle()
    store.passes.set()
    assert await one.admit([asking("m-2", "d")]) == [None]
    assert await slow == [None]


async def test_refusal_is_for_one(bench: Bench) -> None:
    """Who would be one participant too many is refused; the others of the batch are not."""
    many = [AgentId(f"agent-{n}@here") for n in range(3)]
    refusals = await admission(bench, participants=2).admit(
        [asking("m-1"), asking("m-2", receivers=many), asking("m-3"), asking("m-4", "d", many)]
    )
    assert [type(refusal) for refusal in refusals] == [
        type(None),
        TooManyParticipants,
        type(None),
        TooManyParticipants,
    ]
    assert (await record(bench)).message_count == 2
    assert await bench.broker.conversations.load(ConversationId("d")) is None


@pytest.mark.parametrize(
    ("failure", "told"), [(NotConnected("away"), NotConnected), (ValueError("bug"), TransportError)]
)
@pytest.mark.parametrize("call", ["load", "save"])
async def test_failure_reaches_everybody_who_waits(
    bench: Bench, failure: Exception, told: type[CaxtonError], call: str
) -> None:
    """Whatever the store raises, nobody waits for ever, and the next message goes through."""
    plans: dict[str, list[Exception | None]] = {call: [failure]}
    store = Failing(bench.broker.conversations, **plans)
    one = admission(bench, store)
    refusals = await one.admit([asking("m-1"), asking("m-2")])
    assert [type(refusal) for refusal in refusals] == [told, told]
    assert await one.admit([asking("m-3")]) == [None]
    assert (await record(bench)).message_count == 1


async def test_record_that_is_a_moment_old(bench: Bench) -> None:
    """In a cluster a read may miss the last write: nobody is refused for what it does not show."""

    class Lagging(Failing):
        async def load(
            self, conversation_id: ConversationId, *, latest: bool = False
        ) -> tuple[Conversation, int] | None:
            return await self._real.load(conversation_id) if latest else old

    await admission(bench).admit([asking("m-1")])
    old = await bench.broker.conversations.load(C)
    await admission(bench).admit([asking("m-2")])
    answer = Candidate(sample(message_id="m-3", conversation_id=C, in_reply_to="m-2"), (BOB,))
    lagging = admission(bench, Lagging(bench.broker.conversations))
    assert await lagging.admit([answer]) == [None]
    assert (await record(bench)).message_count == 3


async def test_giving_up_after_too_many_conflicts(bench: Bench) -> None:
    """A conversation that others change all the time is refused in the end, as a conflict."""
    store = Failing(bench.broker.conversations, save=[RevisionConflict("somebody")] * TRIES)
    one = admission(bench, store)
    admitting = asyncio.create_task(one.admit([asking("m-1")]))
    await bench.clock.advance(60)
    (refusal,) = admitting.result()
    assert isinstance(refusal, RevisionConflict)
    assert "same message id" in refusal.hint
    assert await one.admit([asking("m-2")]) == [None]


async def test_a_waiter_that_is_cancelled(bench: Bench) -> None:
    """Who gives up waiting takes nobody else along, and leaves nothing behind."""
    store = Held(bench.broker.conversations)
    one = admission(bench, store)
    gone = asyncio.create_task(one.admit([asking("m-1")]))
    stays = asyncio.create_task(one.admit([asking("m-2")]))
    await bench.clock.idle()
    gone.cancel()
    await bench.clock.idle()
    assert gone.cancelled()
    store.passes.set()
    assert await stays == [None]
    assert await one.admit([asking("m-3")]) == [None]
    await bench.clock.idle()
    assert (one._waiting, one._writers) == ({}, set())
