"""Fields by name: what programs give and people type."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from caxton_nats.core import fields as acl
from caxton_nats.core.codec import decode
from caxton_nats.core.envelope import Envelope, Priority
from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.core.fields import MOST_USER_DEFINED, build, field_name, shown
from tests.core.sample import attempt

LEAST: dict[str, Any] = {"performative": "inform", "receiver": ("bob",)}
ENOUGH = 1_000_000


def typed(**fields: Any) -> Envelope:
    """Decode what somebody typed: the least message with these fields."""
    message = {"performative": "inform", "receiver": "bob", **fields}
    return decode(json.dumps(message).encode(), max_bytes=ENOUGH)


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"reply_by": "2026-06-30T23:59:60Z"}, "reply_by", "is not a date with time and zone"),
        ({"created_at": "yesterday"}, "created_at", "is not a date with time and zone"),
        ({"reply_by": 5}, "reply_by", "Expected datetime | null, got int"),
        ({"language": None}, "language", "Expected str, got null"),
        ({"language": ""}, "language", "must not be empty"),
        ({"oops": 1}, "oops", "is not a field of an ACL message"),
        ({"claim": {"object": "o", "size": -1, "sha256": ""}}, "claim.size", "Expected int >= 0"),
    ],
)
def test_wrong_values(fields: dict[str, Any], field: str, words: str) -> None:
    """Each is said of its field; a date that is none is shown, and how one is written."""
    error = attempt(lambda: build({**LEAST, **fields}))
    assert isinstance(error, InvalidEnvelope)
    assert error.field == field
    assert error.reason.startswith(words)


def test_null() -> None:
    """An optional field is left out instead; one that must be there is not to be left out."""
    assert "leave the field out" in str(attempt(lambda: build({**LEAST, "language": None})))
    assert "leave" not in str(attempt(lambda: build({**LEAST, "performative": None})))


def test_no_more_user_defined_parameters_than_are_looked_at() -> None:
    """So many that it must be an attack are counted, not read."""
    found = {f"X-{number}": msgspec.Raw(b'""') for number in range(MOST_USER_DEFINED + 5)}
    error = attempt(lambda: acl.typed(found))
    assert isinstance(error, InvalidEnvelope)
    assert (error.field, error.limit, error.value) == ("user_defined", 1_000, 1_005)


def test_names() -> None:
    """Other names mean the field; what is shown of a name steers no terminal, and is short."""
    assert [field_name(one) for one in ("reply-with", "to", "else")] == [
        "reply_with",
        "receiver",
        "else",
    ]
    assert shown("\x1b[2J" + "é" * 100_000) == "\\x1b[2J" + "\\xe9" * 13 + "\\"


@pytest.mark.parametrize(
    ("receiver", "expected"),
    [
        ("bob", ("bob",)),
        (["bob", "carol"], ("bob", "carol")),
        ({"name": "bob"}, ("bob",)),
        ([{"name": "bob", "addresses": ["x"]}, "carol"], ("bob", "carol")),
        ([], ()),
    ],
)
def test_receivers_as_people_type_them(receiver: Any, expected: tuple[str, ...]) -> None:
    """One name, a list of names, and FIPA's agent identifiers are receivers."""
    assert typed(receiver=receiver).receiver == expected
    assert typed(reply_to=receiver).reply_to == expected


@pytest.mark.parametrize(
    "receiver", [1, None, [1], [None], {"addresses": []}, [["bob"]], {"name": 1}, True]
)
def test_receivers_that_are_none(receiver: Any) -> None:
    """Anything else is refused under the field's name."""
    error = attempt(lambda: typed(receiver=receiver))
    assert isinstance(error, InvalidEnvelope)
    assert error.field == "receiver"


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("reply-with", "reply_with"),
        ("in-reply-to", "in_reply_to"),
        ("conversation-id", "conversation_id"),
        ("conversation", "conversation_id"),
        ("id", "message_id"),
        ("from", "sender"),
        ("language", "language"),
    ],
)
def test_other_names_of_fields(name: str, field: str) -> None:
    """FIPA's hyphenated names and the usual short ones mean the same fields."""
    assert getattr(typed(**{name: "text"}), field) == "text"


@pytest.mark.parametrize("name", ["to", "receivers", "receiver"])
def test_other_names_of_the_receiver(name: str) -> None:
    """So do those of the receiver."""
    data = json.dumps({"performative": "inform", name: "bob"}).encode()
    assert decode(data, max_bytes=ENOUGH).receiver == ("bob",)


@pytest.mark.parametrize("second", ["to", "receivers"])
def test_a_field_under_two_names(second: str) -> None:
    """A field that is given under two names is refused: which one was meant?"""
    error = attempt(lambda: typed(**{second: "carol"}))
    assert isinstance(error, InvalidEnvelope)
    assert (error.field, error.reason) == ("receiver", "is given twice")


@pytest.mark.parametrize("name", ["low", "NORMAL", "High", "critical"])
def test_priority_by_name(name: str) -> None:
    """A priority may be given by its name."""
    assert typed(priority=name).priority is Priority[name.upper()]


@pytest.mark.parametrize(("number", "priority"), [(1, Priority.LOW), (10, Priority.CRITICAL)])
def test_priority_by_number(number: int, priority: Priority) -> None:
    """A priority may be given by its number."""
    assert typed(priority=number).priority is priority


@pytest.mark.parametrize("priority", ["urgent", "", "5", 2, 11, -1, 1.5, None, [], True])
def test_no_priority(priority: Any) -> None:
    """Anything else is refused under the field's name."""
    error = attempt(lambda: typed(priority=priority))
    assert isinstance(error, InvalidEnvelope)
    assert error.field == "priority"


def test_user_defined_parameters() -> None:
    """FIPA's X- parameters stand beside the others and are kept under their names."""
    envelope = typed(**{"X-Trace": "1", "x-b": ""})
    assert envelope.user_defined == {"X-Trace": "1", "x-b": ""}


def test_user_defined_in_two_forms() -> None:
    """Parameters in both forms are refused rather than one form dropped."""
    error = attempt(lambda: typed(**{"user_defined": {"X-a": "1"}, "X-b": "2"}))
    assert isinstance(error, InvalidEnvelope)
    assert error.field == "user_defined"
