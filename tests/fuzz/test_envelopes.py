"""Envelopes that hypothesis makes, right and wrong: one way in, one way out."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from caxton_nats.core import codec
from caxton_nats.core.envelope import Envelope, Priority
from caxton_nats.core.errors import InvalidEnvelope, MessageError
from caxton_nats.core.fields import field_name
from caxton_nats.core.identifiers import agent_id
from caxton_nats.core.performatives import Performative
from caxton_nats.core.validation import Limits, check, complete
from caxton_nats.core.visible import first_hidden
from fuzz.targets import NOW, SENDER, TARGETS
from tests.core.sample import attempt

ENOUGH = 2_000_000
EXAMPLES = 150
_text = st.text(st.characters(codec="utf-8"), max_size=20)
_visible = st.text(
    st.characters(codec="utf-8", categories=["L", "N", "P", "S"], exclude_characters="@"),
    min_size=1,
    max_size=30,
)


def _is_name(text: str) -> bool:
    return not isinstance(attempt(lambda: agent_id(text, "here")), MessageError)


names = _visible.filter(_is_name)
tokens = names
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=8,
).filter(lambda value: "Infinity" not in json.dumps(value))
moments = st.datetimes(
    datetime(2027, 1, 1), datetime(9000, 1, 1),  # noqa: DTZ001 - zones come with the next argument
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=11))]),
)  # fmt: skip

right = st.fixed_dictionaries(
    {
        "performative": st.sampled_from([str(act) for act in Performative]),
        "receiver": st.lists(names, min_size=1, max_size=3, unique=True),
    },
    optional={
        "message_id": st.text(
            st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128
        ),
        "sender": st.sampled_from(["alice", "alice@here"]),
        "content": json_values,
        "language": tokens,
        "ontology": tokens,
        "protocol": tokens,
        "conversation_id": tokens,
        "reply_to": st.lists(names, max_size=3, unique=True),
        "reply_with": tokens,
        "in_reply_to": tokens,
        "reply_by": moments.map(lambda moment: moment.isoformat()),
        "created_at": moments.map(lambda moment: moment.isoformat()),
        "priority": st.sampled_from([1, 5, 8, 10, "low", "High"]),
        "timeout": st.floats(1, 300),
        "require_receipt": st.booleans(),
        "max_retries": st.integers(1, 10),
        "strategy": st.sampled_from(["one", "all", "round-robin", "least-loaded", "affinity"]),
        "X-Note": _visible.filter(lambda text: first_hidden(text) is None),
    },
)
"""Messages as a client of any language may write them, right in every way."""

wrong_values = (
    json_values
    | st.sampled_from(
        [
            10**30,
            "9999-12-31T23:59:59-23:59",
            "0001-01-01T00:00:00+23:59",
            -(2**64),
            1e308,
            "\ud83d",
            "\0",
            "\x1b[2J",
            "\u202e",
            "x" * 5_000,
            " ",
            [],
            {},
            [[]],
        ]
    )
    | _visible
)


def written(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode()


def taken(data: bytes) -> Envelope:
    """Return the message as a router would store it, or raise why not."""
    envelope = complete(
        codec.decode(data, max_bytes=ENOUGH),
        sender=SENDER,
        platform="here",
        now=NOW,
        new_id=lambda: "fresh",
    )
    check(envelope, Limits(), NOW)
    return envelope


@settings(max_examples=EXAMPLES)
@given(right)
def test_right_message_is_taken(message: dict[str, Any]) -> None:
    """Nothing valid is refused, and each field says afterwards what was written."""
    assume("protocol" not in message or "conversation_id" in message)
    assume("alice" not in message["receiver"])
    envelope = taken(written(message))
    assert envelope.receiver == tuple(f"{name}@here" for name in message["receiver"])
    assert envelope.performative == message["performative"]
    for field in (
        "message_id",
        "language",
        "ontology",
        "protocol",
        "conversation_id",
        "reply_with",
    ):
        assert field not in message or getattr(envelope, field) == message[field]
    if "content" in message:
        assert json.loads(bytes(envelope.content)) == message["content"]
    if "created_at" in message:
        assert envelope.created_at == datetime.fromisoformat(message["created_at"])
    assert isinstance(envelope.priority, Priority)


@settings(max_examples=EXAMPLES)
@given(right)
def test_one_form(message: dict[str, Any]) -> None:
    """What is stored is read again as the same, and is written by the same bytes: one form."""
    assume("protocol" not in message or "conversation_id" in message)
    assume("alice" not in message["receiver"])
    once = taken(written(message))
    data = codec.encode(once)
    assert codec.read(data) == once
    assert taken(data) == once
    assert codec.encode(taken(data)) == data
    spaced = json.dumps(json.loads(data), indent=1, ensure_ascii=False).encode()
    # Spaces between fields say nothing; those within the content are its own.
    again = taken(spaced)
    assert msgspec.structs.replace(again, content=once.content) == once


@settings(max_examples=EXAMPLES)
@given(right, _text, json_values)
def test_unknown_field(message: dict[str, Any], name: str, value: Any) -> None:
    """A field that FIPA does not have is refused by its name, unless it is one of its own kind."""
    assume(field_name(name) not in Envelope.__struct_fields__ and name[:2] not in ("X-", "x-"))
    error = attempt(lambda: taken(written({**message, name: value})))
    assert isinstance(error, InvalidEnvelope)
    assert error.reason == "is not a field of an ACL message"
    assert error.field == ascii(name)[1:-1][:60]


@settings(max_examples=EXAMPLES)
@given(right, st.data())
def test_one_wrong_value(message: dict[str, Any], data: st.DataObject) -> None:
    """With any field replaced by anything, it is taken or refused, and the refusal names it."""
    field = data.draw(st.sampled_from(sorted(message)))
    changed = deepcopy(message) | {field: data.draw(wrong_values)}
    TARGETS["door"](written(changed))
    found = attempt(lambda: taken(written(changed)))
    if isinstance(found, InvalidEnvelope) and "protocol" not in message:
        assert found.field.startswith((field, "receiver", "reply_by"))


@pytest.mark.parametrize("field", [one for one in Envelope.__struct_fields__ if one != "content"])
@settings(max_examples=40)
@given(value=wrong_values)
def test_any_value_of_a_field(field: str, value: Any) -> None:
    """Whatever a field has for a value, a refusal is a refusal, and what is taken has one form."""
    TARGETS["door"](written({"performative": "inform", "receiver": ["bob"], field: value}))
