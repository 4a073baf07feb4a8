"""What a conversation's record says after one more message."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_nats.core.conversation import Conversation, receive
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import TooManyParticipants
from caxton_nats.core.identifiers import AgentId
from tests.core.sample import ALICE, BOB, CAROL, NOON, sample

LATER = NOON + timedelta(minutes=1)


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
    return receive(record, envelope, receivers=receivers, now=now, max_participants=most)


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
        recent_ids=(message().message_id,),
    )


def test_next_message_continues_it() -> None:
    """A further message counts, moves the last activity, and keeps the beginning."""
    answer = message("m-2", sender=BOB, receiver=(ALICE,), performative="inform")
    record = after(after(None, message()), answer, receivers=(ALICE,), now=LATER)
    assert (record.message_count, record.last_performative) == (2, "inform")
    assert (record.created_at, record.last_activity) == (NOON, LATER)
    assert record.participants == (ALICE, BOB)
    assert record.recent_ids == ("m-1", "m-2")


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


@pytest.mark.parametrize("later", [63, 64])
def test_memory_for_ids(later: int) -> None:
    """An id is remembered while 63 others came after it, and forgotten with the 64th."""
    record = after(None, message("first"))
    for number in range(later):
        record = after(record, message(f"m-{number}"))
    assert record.knows(message("first").message_id) == (later < 64)
    assert len(record.recent_ids) == min(later + 1, 64)


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
    """In any order and with any repetitions the count is that of the different messages."""
    record: Conversation | None = None
    for number, sender, receivers in steps:
        record = after(record, message(f"m-{number}", sender=sender), receivers=sorted(receivers))
    assert record is not None
    assert record.message_count == len({number for number, _, _ in steps})
    assert len(set(record.participants)) == len(record.participants)


def test_record_as_json() -> None:
    """The record is plain JSON and comes back from it."""
    record = after(None, message(protocol="fipa-request"))
    assert msgspec.json.decode(msgspec.json.encode(record), type=Conversation) == record
