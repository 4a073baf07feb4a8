"""What a conversation's record says after one more message."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_nats.core.conversation import Conversation, End, Terms, end, end_of, receive
from caxton_nats.core.envelope import Envelope, Priority
from caxton_nats.core.errors import ConversationTimeout, InvalidEnvelope, TooManyParticipants
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.thread import REMEMBERED, Thread
from tests.core.sample import ALICE, BOB, CAROL, NOON, attempt, sample

LATER = NOON + timedelta(minutes=1)
TIMEOUT, LIFETIME = timedelta(minutes=30), timedelta(hours=2)


def terms(most: int = 10) -> Terms:
    return Terms(max_participants=most, timeout=TIMEOUT, lifetime=LIFETIME)


def message(message_id: str = "m-1", **fields: object) -> Envelope:
    return sample(message_id=message_id, conversation_id="c", **fields)


def after(
    record: Conversation | None,
    envelope: Envelope,
    *,
    receivers: Sequence[AgentId] = (BOB,),
    now: datetime = NOON,
    most: int = 10,
) -> Conversation:
    return receive(record, envelope, receivers=receivers, now=now, terms=terms(most))


def test_first_message_begins_it() -> None:
    """The first message creates the record: nobody has to open a conversation."""
    assert after(None, message(protocol="fipa-request")) == Conversation(
        conversation_id=message().conversation_id,
        participants=(ALICE, BOB),
        protocol="fipa-request",
        created_at=NOON,
        last_activity=NOON,
        message_count=1,
        last_performative="request",
        last_message=message().message_id,
        timeout=TIMEOUT,
        ends_at=NOON + LIFETIME,
        thread=Thread().after(message()),
    )


def test_next_message_continues_it() -> None:
    """A further message counts, moves the last activity, and keeps the beginning."""
    answer = message("m-2", sender=BOB, receiver=(ALICE,), performative="inform")
    record = after(after(None, message()), answer, receivers=(ALICE,), now=LATER)
    assert (record.message_count, record.last_performative) == (2, "inform")
    assert (record.created_at, record.last_activity) == (NOON, LATER)
    assert record.participants == (ALICE, BOB)
    assert record.last_message == "m-2"
    assert record.thread == Thread().after(message()).after(answer)


def test_repeated_message_changes_nothing() -> None:
    """A sender's retry is the very same record: nothing is counted, nothing to be saved."""
    record = after(None, message())
    assert after(record, message(), now=LATER) is record


def test_repeated_message_is_no_participant() -> None:
    """A retry is no retry if it could bring in others; it brings in nobody, limit or not."""
    record = after(None, message())
    assert after(record, message(), receivers=(CAROL,), most=1) is record


def test_new_participants_join_in_order() -> None:
    """Who joins stands behind those that were there, once each."""
    record = after(None, message(), receivers=(BOB,))
    record = after(record, message("m-2", sender=CAROL), receivers=(BOB, ALICE, CAROL))
    assert record.participants == (ALICE, BOB, CAROL)


def test_unknown_receivers_do_not_join() -> None:
    """Only receivers that exist take part, whoever the message names."""
    record = after(None, message(receiver=(BOB, CAROL)), receivers=())
    assert record.participants == (ALICE,)


def test_first_protocol_stays() -> None:
    """The protocol is the first that a message names."""
    record = after(None, message())
    record = after(record, message("m-2", protocol="fipa-request"))
    record = after(record, message("m-3", protocol="fipa-query"))
    assert record.protocol == "fipa-request"


def test_participants_at_the_edge() -> None:
    """As many agents as allowed may take part; one more names limit and number."""
    record = after(None, message(), most=2)
    with pytest.raises(TooManyParticipants) as caught:
        after(record, message("m-2"), receivers=(CAROL,), most=2)
    assert (caught.value.field, caught.value.limit, caught.value.value) == ("conversation_id", 2, 3)
    assert "c" in caught.value.reason


def test_first_message_to_too_many() -> None:
    """The bound holds for the first message, too."""
    with pytest.raises(TooManyParticipants):
        after(None, message(), receivers=(BOB, CAROL), most=2)


def test_full_conversation_goes_on() -> None:
    """Those who take part already may go on when nobody can join."""
    record = after(None, message(), most=2)
    assert after(record, message("m-2"), most=2).message_count == 2


def test_retry_after_a_thousand_others() -> None:
    """An id is remembered while 999 others came after it, and forgotten with the 1,000th."""
    record = after(None, message("first"))
    for number in range(REMEMBERED - 1):
        record = after(record, message(f"m-{number}"))
    assert after(record, message("first")) is record
    record = after(record, message("one more"))
    assert after(record, message("first")).message_count == REMEMBERED + 2


_steps = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.sampled_from([ALICE, BOB, CAROL]),
        st.sets(st.sampled_from([ALICE, BOB, CAROL])),
    ),
    min_size=1,
    max_size=30,
)


@given(_steps)
def test_counts_each_id_once(steps: list[tuple[int, AgentId, set[AgentId]]]) -> None:
    """In any order and with any repetitions; a sender's id is none of another's."""
    record: Conversation | None = None
    for number, sender, receivers in steps:
        record = after(record, message(f"m-{number}", sender=sender), receivers=sorted(receivers))
    assert record is not None
    assert record.message_count == len({(number, sender) for number, sender, _ in steps})
    assert len(set(record.participants)) == len(record.participants)


def test_urgent_as_its_first_message() -> None:
    """A conversation is urgent if its first message was; what comes later changes nothing."""
    for first, second, urgent in ((8, 1, True), (10, 5, True), (5, 10, False), (1, 8, False)):
        record = after(None, message(priority=Priority(first)))
        again = message("m-2", priority=Priority(second))
        assert after(record, again).urgent is record.urgent is urgent


def test_record_as_json() -> None:
    """The record is plain JSON and comes back from it."""
    record = after(None, message(protocol="fipa-request"))
    assert msgspec.json.decode(msgspec.json.encode(record), type=Conversation) == record


def test_answer_to_a_message_of_the_conversation() -> None:
    """An answer may name the token of the message that it answers, or that message's id."""
    record = after(None, message(reply_with="token"))
    record = after(record, message("m-2", sender=BOB, in_reply_to="token"), receivers=(ALICE,))
    assert after(record, message("m-3", in_reply_to="m-2")).message_count == 3


@pytest.mark.parametrize("asked", [True, False])
def test_answer_to_nothing(*, asked: bool) -> None:
    """An answer to what is no message of the conversation is refused, the first message, too."""
    record = after(None, message(reply_with="token")) if asked else None
    with pytest.raises(InvalidEnvelope) as caught:
        after(record, message("m-2", in_reply_to="other"))
    assert (caught.value.field, caught.value.value) == ("in_reply_to", "'other'")
    assert caught.value.hint


def test_idle_conversation_ends() -> None:
    """Until its timeout has passed since the last message it goes on; from then on it does not."""
    record = after(after(None, message()), message("m-2"), now=LATER)
    last = LATER + TIMEOUT - timedelta(microseconds=1)
    assert end_of(record, last) is None
    assert after(record, message("m-3"), now=last).message_count == 3
    with pytest.raises(ConversationTimeout) as caught:
        after(record, message("m-3"), now=LATER + TIMEOUT)
    refused = caught.value
    assert (refused.field, refused.limit, refused.value) == ("conversation_id", "1800 s", "c")
    assert (LATER + TIMEOUT).isoformat() in refused.reason


def test_busy_conversation_ends_with_its_lifetime() -> None:
    """However much is said, it ends; only a retry of what was said before is no later message."""
    record = after(None, message())
    now = NOON
    for number in range(7):
        now += timedelta(minutes=20)
        if now < NOON + LIFETIME:
            record = after(record, message(f"n-{number}"), now=now)
    assert end_of(record, NOON + LIFETIME) is End.LIFETIME
    with pytest.raises(ConversationTimeout) as caught:
        after(record, message("late"), now=NOON + LIFETIME)
    assert caught.value.limit == "7200 s"
    assert after(record, message("n-4"), now=NOON + LIFETIME) is record


def test_retry_in_an_idle_conversation() -> None:
    """Its mailboxes have forgotten the message by then: it would be delivered twice."""
    record = after(None, message())
    with pytest.raises(ConversationTimeout):
        after(record, message(), now=NOON + TIMEOUT)


def test_terms_are_those_of_the_first_message() -> None:
    """Another router's terms change nothing: all routers agree when the conversation ends."""
    record = after(None, message())
    short = Terms(timeout=timedelta(seconds=1), lifetime=timedelta(seconds=1))
    record = receive(record, message("m-2"), receivers=(), now=LATER, terms=short)
    assert record.expires_at == LATER + TIMEOUT


@pytest.mark.parametrize(
    ("minutes", "by", "at"),
    [(1, End.ARCHIVED, 1), (30, End.IDLE, 30), (600, End.IDLE, 30)],
)
def test_end(minutes: int, by: End, at: int) -> None:
    """It ends when it is archived, unless it had ended by itself; then nothing gets in."""
    now = NOON + timedelta(minutes=minutes)
    ended = end(after(None, message(reply_with="t")), now)
    assert (ended.ended_by, ended.ended_at) == (by, NOON + timedelta(minutes=at))
    assert ended.thread == Thread()
    assert end(ended, LATER) is ended
    with pytest.raises(ConversationTimeout):
        after(ended, message(), now=NOON)


def test_an_id_that_another_has_used_brings_its_sender_in() -> None:
    """Else anybody could write past the bound of participants, by an id that is known already."""
    terms = Terms(max_participants=2)
    first = receive(None, sample(conversation_id="c"), receivers=[BOB], now=NOON, terms=terms)
    intruding = sample(conversation_id="c", sender=CAROL)
    error = attempt(lambda: receive(first, intruding, receivers=[BOB], now=NOON, terms=terms))
    assert isinstance(error, TooManyParticipants)
