"""What is right in a refused message is found; what is not stands in nobody's way."""

from __future__ import annotations

import pytest

from caxton_nats.core.envelope import Envelope
from caxton_nats.core.legible import legible
from tests.core.sample import ALICE, NOON


def read(data: bytes) -> Envelope | None:
    return legible(data, sender=ALICE, fallback_id="id-1", now=NOON)


def test_what_names_the_message() -> None:
    """Act, ids and tokens, under any of their names; nothing else is looked at."""
    found = read(
        b'{"performative":"QueryIf","id":"m-1","conversation-id":"c-1","reply_with":"r-1",'
        b'"protocol":"p","receiver":7,"oops":[1],"content":{"a":1}}'
    )
    assert found is not None
    assert found == Envelope(
        performative="query-if",
        message_id=found.message_id,
        conversation_id=found.conversation_id,
        reply_with="r-1",
        protocol="p",
        sender=ALICE,
        created_at=NOON,
    )
    assert (found.message_id, found.conversation_id) == ("m-1", "c-1")


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b'{"performative":"shout","message_id":"a b","conversation_id":"\\u001b","reply_with":""}',
        b'{"performative":["inform"],"message_id":7,"reply_with":null,"protocol":"p"}',
        b'{"message_id":"' + b"x" * 129 + b'","reply_with":"' + b"x" * 100_000 + b'"}',
        b'{"reply_with":"r","reply_with":5}',
    ],
)
def test_what_is_wrong_is_left_out(data: bytes) -> None:
    """It has the id of the door then, and a protocol without a conversation is none."""
    expected = Envelope(performative="", message_id="id-1", sender=ALICE, created_at=NOON)  # type: ignore[arg-type]
    assert read(data) == expected


@pytest.mark.parametrize("data", [b"", b"null", b"[1]", b"\xff", b'{"a":"\\ud800"}', b"[" * 9_000])
def test_no_object(data: bytes) -> None:
    """Of what is no JSON object nothing is told."""
    assert read(data) is None


def test_a_protocol_that_no_message_may_have() -> None:
    """A name that is too long for a protocol is left out: a notice with it could not be stored."""
    found = read(b'{"conversation_id":"c-1","protocol":"%s"}' % (b"p" * 101))
    assert found is not None
    assert (found.conversation_id, found.protocol) == ("c-1", "")
