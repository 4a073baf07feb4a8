"""A commit and its answers."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.envelope import NO_CONTENT
from caxton_nats.core.errors import MalformedEnvelope
from caxton_nats.core.identifiers import MessageId
from caxton_nats.core.ledger import Entry
from caxton_nats.core.outbox import Commit, answers_of, set_aside, with_answers
from tests.core.sample import ALICE, BOB, sample

BARE = Commit(
    agent=BOB,
    slot=0,
    entry=Entry(ALICE, MessageId("m-1")),
    origin=Origin("S", 1),
    at=datetime(2026, 5, 1, 12, tzinfo=UTC),
)
ANSWERS = (
    sample(message_id=MessageId("a-1"), content=msgspec.Raw(b'{"n": 1.50}')),
    sample(message_id=MessageId("a-2"), content=NO_CONTENT),
)


@pytest.mark.parametrize("answers", [(), ANSWERS])
def test_answers_come_back(answers: tuple[object, ...]) -> None:
    """From the record, and from where they were set aside, byte for byte, with content or without."""
    commit = with_answers(BARE, answers)  # type: ignore[arg-type]  # of one parametrized type
    stored = msgspec.json.decode(msgspec.json.encode(commit), type=Commit)
    assert answers_of(stored) == answers_of(BARE, set_aside(stored)) == answers


def test_commit_is_readable() -> None:
    """It is JSON in which the answers are what they are, not text in text."""
    shown = msgspec.json.decode(msgspec.json.encode(with_answers(BARE, ANSWERS)))
    assert shown["entry"] == ["alice@here", "m-1", None, None]
    assert [one["message_id"] for one in shown["answers"]] == ["a-1", "a-2"]


def test_answers_of_somebody_else() -> None:
    """What is no answer is told, not sent."""
    with pytest.raises(MalformedEnvelope):
        answers_of(msgspec.structs.replace(BARE, answers=(msgspec.Raw(b"1"),)))
