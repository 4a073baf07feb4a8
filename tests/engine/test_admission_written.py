"""What a router has written last saves it a reading, and is never believed against the store."""

from __future__ import annotations

import pytest

from caxton_nats.core.conversation import Terms
from caxton_nats.core.errors import ConversationTimeout, InvalidEnvelope
from caxton_nats.core.identifiers import ConversationId, MessageId
from caxton_nats.engine.admission import Admission, Candidate, Written
from caxton_nats.engine.conversations import Conversations
from tests.core.sample import BOB, sample
from tests.engine.bench import Bench, Failing

C = ConversationId("c")


def asking(message_id: str, **fields: object) -> Candidate:
    return Candidate(
        sample(message_id=MessageId(message_id), conversation_id=C, **fields),
        (BOB,),
    )


async def count(bench: Bench) -> int:
    found = await bench.broker.conversations.load(C)
    assert found is not None
    return found[0].message_count


async def test_the_next_message_reads_nothing(bench: Bench) -> None:
    """A router that has written the record writes the next one without reading it."""
    store = Failing(bench.broker.conversations)
    router = Admission(bench.but(conversations=store), Terms())
    assert await router.admit([asking("m-1")]) == [None]
    store.calls.clear()
    assert await router.admit([asking("m-2")]) == [None]
    assert store.calls == ["save"]
    assert await count(bench) == 2


async def test_routers_take_turns_without_a_pause(bench: Bench) -> None:
    """What another router has written meanwhile is read at once: nobody waits, all are counted."""
    routers = [Admission(bench.ports, Terms()) for _ in range(2)]
    for number in range(6):
        assert await routers[number % 2].admit([asking(f"m-{number}")]) == [None]
    assert await count(bench) == 6


async def test_an_answer_to_what_another_router_took(bench: Bench) -> None:
    """An answer to a message that this router has not seen is refused only if the store says so."""
    here, there = (Admission(bench.ports, Terms()) for _ in range(2))
    await here.admit([asking("m-1")])
    await there.admit([asking("m-2")])
    (refusal,) = await here.admit([asking("m-4", in_reply_to="m-3")])
    assert isinstance(refusal, InvalidEnvelope)
    assert await here.admit([asking("m-5", in_reply_to="m-2")]) == [None]


@pytest.mark.parametrize("message_id", ["m-1", "m-2"])
async def test_archived_meanwhile(bench: Bench, message_id: str) -> None:
    """What was archived behind the router's back takes no message, and no repeat of one either."""
    router = Admission(bench.ports, Terms())
    await router.admit([asking("m-1")])
    await Conversations(bench.ports).archive(C)
    (refusal,) = await router.admit([asking(message_id)])
    assert isinstance(refusal, ConversationTimeout)


async def test_it_has_a_bound(bench: Bench) -> None:
    """So many messages are kept in mind altogether; the conversation written first gives way."""
    written = Written(most=5)
    router = Admission(bench.ports, Terms())
    await router.admit([asking("m-1"), asking("m-2")])
    found = await bench.broker.conversations.load(C)
    assert found is not None
    record, revision = found
    written.put(record, revision)
    assert written.pop(C) == (record, revision)
    assert written.pop(C) is None
    written.put(record, revision)
    written.put(record, revision + 1)
    other = type(record)(
        conversation_id=ConversationId("d"),
        participants=(),
        created_at=record.created_at,
        last_activity=record.last_activity,
        timeout=record.timeout,
        ends_at=record.ends_at,
        thread=record.thread,
    )
    written.put(other, 7)
    assert written.pop(C) is None
    assert written.pop(other.conversation_id) == (other, 7)
