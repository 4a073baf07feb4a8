"""What a door fills in, and what it refuses, field by field."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_nats.core import codec
from caxton_nats.core.envelope import NO_CONTENT, Claim, Envelope, value_content
from caxton_nats.core.errors import (
    CaxtonError,
    Expired,
    InvalidEnvelope,
    MessageError,
    MessageTooLarge,
)
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.validation import Limits, check, complete
from tests.core.sample import ALICE, BOB, NOON, attempt, sample

LIMITS = Limits()


def completed(
    envelope: Envelope, *, sender: AgentId = ALICE, new_id: Callable[[], str] = lambda: "fresh"
) -> Envelope:
    return complete(envelope, sender=sender, platform="here", now=NOON, new_id=new_id)


def typed(**fields: Any) -> Envelope:
    """Return an envelope as it was typed: performative and receiver only."""
    least = Envelope(performative="inform", receiver=(AgentId("bob"),))
    return msgspec.structs.replace(least, **fields)


def refused(decide: Callable[[], object]) -> CaxtonError:
    error = attempt(decide)
    assert isinstance(error, CaxtonError), error
    return error


def test_complete_fills_in() -> None:
    """The least message gets an id, its sender and time, and full names."""
    assert completed(typed()) == Envelope(
        message_id=sample(message_id="fresh").message_id,
        performative="inform",
        sender=ALICE,
        receiver=(BOB,),
        created_at=NOON,
    )


def test_complete_keeps_what_is_there() -> None:
    """A complete message is not changed."""
    envelope = sample(reply_to=(BOB,), reply_by=NOON, priority=8, claim=None)
    assert completed(envelope) == envelope


def test_complete_twice() -> None:
    """Completing again changes nothing: a retry is the same message."""
    once = completed(typed(performative="QueryIf", reply_to=(AgentId("bob"),)))
    assert completed(once, new_id=lambda: "other") == once
    assert once.performative == "query-if"


def test_own_name_in_any_form() -> None:
    """The body may name its sender shortly or fully; it must be the one of the door."""
    assert completed(typed(sender="alice")).sender == ALICE
    assert completed(typed(sender=ALICE)).sender == ALICE


@pytest.mark.parametrize("sender", ["bob", "alice@there", "Alice"])
def test_another_sender(sender: str) -> None:
    """A body that names another sender than the door is refused, and the error names both."""
    error = refused(lambda: completed(typed(sender=sender)))
    assert (error.code, error.field) == ("InvalidEnvelope", "sender")
    assert sender in str(error)
    assert ALICE in str(error)


def test_another_platform_may_speak() -> None:
    """Its AMS is vouched for by the link it came over; this platform's own is nobody's name."""
    assert completed(typed(), sender=AgentId("ams@there")).sender == "ams@there"
    assert refused(lambda: completed(typed(), sender=AgentId("ams@here"))).field == "sender"


def test_claim_of_ones_own() -> None:
    """A claim on content that the sender stored under its own name is accepted."""
    claim = Claim("alice.m-1", 1, "s")
    assert completed(typed(claim=claim)).claim == claim


def test_claim_of_a_namesake() -> None:
    """An agent of another platform has no claim on what its namesake here has stored."""
    envelope = typed(claim=Claim("alice.m-1", 1, "s"))
    error = refused(lambda: completed(envelope, sender=AgentId("alice@there")))
    assert (error.code, error.field) == ("InvalidEnvelope", "claim")


@pytest.mark.parametrize("name", ["bob.m-1", "alice", "alicia.m-1", "", "x" * 1000, "\x1b[31m"])
def test_claim_of_anothers(name: str) -> None:
    """A claim on another's content is refused: its receiver could be the thief."""
    error = refused(lambda: completed(typed(claim=Claim(name, 1, "s"))))
    assert (error.code, error.field) == ("InvalidEnvelope", "claim")
    assert str(error).isascii()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"message_id": "a b"}, "message_id"),
        ({"message_id": "x" * 129}, "message_id"),
        ({"performative": "tell"}, "performative"),
        ({"performative": ""}, "performative"),
        ({"sender": "a b"}, "sender"),
        ({"receiver": ("",)}, "receiver"),
        ({"receiver": ("bob", "a b")}, "receiver"),
        ({"reply_to": ("file:///etc/passwd x",)}, "reply_to"),
        ({"reply_to": ("a@b@c",)}, "reply_to"),
        ({"reply_by": datetime(2026, 5, 1)}, "reply_by"),  # noqa: DTZ001 - that is the mistake
        ({"created_at": datetime(2026, 5, 1)}, "created_at"),  # noqa: DTZ001 - that is the mistake
    ],
)
def test_complete_refuses(fields: dict[str, Any], field: str) -> None:
    """What is no name, no id, no act or no point in time is refused by its field."""
    error = refused(lambda: completed(typed(**fields)))
    assert (error.code, error.field) == ("InvalidEnvelope", field)


def test_bad_fresh_id() -> None:
    """The id that the door makes is held to the same rule."""
    error = refused(lambda: completed(typed(), new_id=lambda: ""))
    assert error.field == "message_id"


def test_a_right_message_passes() -> None:
    """A message that is right in every way is not refused."""
    everything = sample(
        language="fipa-sl", encoding="utf-8", ontology="o", protocol="fipa-request",
        conversation_id="c", reply_to=(BOB,), reply_with="r", in_reply_to="s",
        reply_by=NOON + timedelta(microseconds=1), max_retries=3, user_defined={"X-a": "1"},
        traceparent="00-ab", tracestate="a=b",
    )  # fmt: skip
    check(everything, LIMITS, NOON)


@pytest.mark.parametrize("count", [1, 3])
def test_receivers_at_the_edges(count: int) -> None:
    """A message has at least one receiver, and at most what the deployment allows."""
    limits = Limits(max_receivers=3)

    def to(number: int) -> Envelope:
        return sample(receiver=tuple(AgentId(f"r{n}@here") for n in range(number)))

    check(to(count), limits, NOON)
    beyond = 0 if count == 1 else 4
    error = refused(lambda: check(to(beyond), limits, NOON))
    assert (error.field, error.limit, error.value) == ("receiver", count, beyond)


def test_missing_receiver_says_so() -> None:
    """A message to nobody is told that the field is missing."""
    assert "missing" in refused(lambda: check(sample(receiver=()), LIMITS, NOON)).reason


def test_receiver_twice() -> None:
    """An agent named twice, also by its short name, is refused."""
    envelope = completed(typed(receiver=("bob", "bob@here")))
    error = refused(lambda: check(envelope, LIMITS, NOON))
    assert (error.field, error.reason) == ("receiver", "names an agent twice")


def test_to_oneself() -> None:
    """A message to its own sender is refused, alone or among others."""
    for receiver in ((ALICE,), (BOB, ALICE)):
        error = refused(lambda to=receiver: check(sample(receiver=to), LIMITS, NOON))  # type: ignore[misc]
        assert (error.field, error.value) == ("receiver", ALICE)


TEXTS = [
    ("language", 50),
    ("encoding", 50),
    ("ontology", 100),
    ("protocol", 100),
    ("reply_with", 255),
    ("in_reply_to", 255),
    ("conversation_id", 255),
    ("traceparent", 512),
    ("tracestate", 512),
]


@pytest.mark.parametrize(("field", "limit"), TEXTS)
def test_length_of_texts(field: str, limit: int) -> None:
    """Each text may be absent or have up to its limit; one more names field, limit and length."""

    def with_text(text: str) -> Envelope:
        return sample(**{"conversation_id": "c", field: text})

    for length in (1, limit):
        check(with_text("x" * length), LIMITS, NOON)
    check(sample(**{field: ""}), LIMITS, NOON)
    error = refused(lambda: check(with_text("x" * (limit + 1)), LIMITS, NOON))
    assert isinstance(error, InvalidEnvelope)
    assert (error.field, error.limit, error.value) == (field, limit, limit + 1)


@pytest.mark.parametrize(("field", "_limit"), TEXTS)
@pytest.mark.parametrize("text", ["a\r\nb", "a\x00", "a\x1b[31m", "a\u202e", "\ud800"])
def test_invisible_characters_in_texts(field: str, _limit: int, text: str) -> None:
    """No text carries line breaks, terminal sequences or invisible characters."""
    error = refused(lambda: check(sample(**{"conversation_id": "c", field: text}), LIMITS, NOON))
    assert error.field == field
    assert str(error).isascii()


def test_protocol_needs_a_conversation() -> None:
    """A message of an interaction protocol belongs to a conversation."""
    error = refused(lambda: check(sample(protocol="fipa-request"), LIMITS, NOON))
    assert error.field == "conversation_id"
    assert "SC00061" in error.reason


@pytest.mark.parametrize("retries", [1, 10])
def test_max_retries_at_the_edges(retries: int) -> None:
    """A message may ask for 1 to 10 further attempts."""
    check(sample(max_retries=retries), LIMITS, NOON)
    beyond = 0 if retries == 1 else 11
    error = refused(lambda: check(sample(max_retries=beyond), LIMITS, NOON))
    assert (error.field, error.limit, error.value) == ("max_retries", retries, beyond)


def test_number_of_parameters() -> None:
    """A message has up to as many X- parameters as the deployment allows."""
    limits = Limits(max_user_defined=2)
    check(sample(user_defined={"X-1": "", "x-2": ""}), limits, NOON)
    three = sample(user_defined={"X-1": "", "X-2": "", "X-3": ""})
    error = refused(lambda: check(three, limits, NOON))
    assert (error.field, error.limit, error.value) == ("user_defined", 2, 3)


@pytest.mark.parametrize(
    ("name", "text", "field"),
    [
        ("trace", "", "trace"),
        ("-X-a", "", "-X-a"),
        ("", "", "user_defined"),
        ("X-\x1b[31m", "", "user_defined"),
        ("X-" + "a" * 254, "", "user_defined"),
        ("X-a", "x" * 4097, "X-a"),
        ("X-a", "a\r\nb", "X-a"),
    ],
)
def test_parameters_that_are_refused(name: str, text: str, field: str) -> None:
    """A parameter's name starts with X-; name and text are visible and bounded."""
    error = refused(lambda: check(sample(user_defined={name: text}), LIMITS, NOON))
    assert (error.code, error.field) == ("InvalidEnvelope", field)


@pytest.mark.parametrize(("name", "text"), [("X-" + "a" * 253, ""), ("X-", "x" * 4096)])
def test_parameters_at_the_edges(name: str, text: str) -> None:
    """255 characters of name and 4096 of text are allowed."""
    check(sample(user_defined={name: text}), LIMITS, NOON)


def test_size_of_content() -> None:
    """Content may be as large as the limit; one byte more names limit and size."""
    limits = Limits(max_content=10)
    for value in ("x" * 8, bytes(10)):  # a JSON string has its quotes
        content, encoding = value_content(value)
        check(sample(content=content, encoding=encoding), limits, NOON)
    for value in ("x" * 9, bytes(11)):
        content, encoding = value_content(value)
        envelope = sample(content=content, encoding=encoding)
        error = refused(lambda too_large=envelope: check(too_large, limits, NOON))  # type: ignore[misc]
        assert isinstance(error, MessageTooLarge)
        assert (error.field, error.limit, error.value) == ("content", 10, 11)


def test_size_of_claimed_content() -> None:
    """Content that lies elsewhere is held to the same limit, by its claim."""
    limits = Limits(max_content=10)
    check(sample(content=NO_CONTENT, claim=Claim("o", 10, "s")), limits, NOON)
    beyond = sample(content=NO_CONTENT, claim=Claim("o", 11, "s"))
    error = refused(lambda: check(beyond, limits, NOON))
    assert (error.limit, error.value) == (10, 11)


def test_claim_beside_content() -> None:
    """Which of them was meant?"""
    error = refused(lambda: check(sample(claim=Claim("o", 10, "s")), LIMITS, NOON))
    assert error.field == "claim"


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00+00:01"])
@pytest.mark.parametrize("field", ["reply_by", "created_at"])
def test_moment_that_has_no_name_in_utc(text: str, field: str) -> None:
    """It is refused here, before a timer is to be set for it; others are kept in UTC."""
    wrong = sample(**{field: datetime.fromisoformat(text)})
    error = refused(lambda: completed(wrong))
    assert (error.field, error.value) == (field, text)
    right = sample(**{field: datetime.fromisoformat("2026-05-02T14:00:00+02:00")})
    assert getattr(completed(right), field).isoformat() == "2026-05-02T12:00:00+00:00"


def test_content_must_be_what_encoding_says() -> None:
    """Content that is not base64 although it says so is refused at the door."""
    lying = sample(encoding="base64", content=msgspec.Raw(b'{"a":1}'))
    assert refused(lambda: check(lying, LIMITS, NOON)).field == "content"


def test_claimed_binary_is_not_looked_at() -> None:
    """The content of a claim is not here to be looked at."""
    check(sample(encoding="base64", content=NO_CONTENT, claim=Claim("o", 1, "s")), LIMITS, NOON)


@pytest.mark.parametrize(
    "reply_by",
    [
        NOON,
        NOON - timedelta(microseconds=1),
        datetime(1970, 1, 1, tzinfo=UTC),
        NOON.astimezone(timezone(timedelta(hours=5))),
    ],
)
def test_expired(reply_by: datetime) -> None:
    """A message whose reply_by has come is refused; the error says what it was."""
    error = refused(lambda: check(sample(reply_by=reply_by), LIMITS, NOON))
    assert isinstance(error, Expired)
    assert (error.field, error.value) == ("reply_by", reply_by.isoformat())


@pytest.mark.parametrize(
    "reply_by",
    [
        NOON + timedelta(microseconds=1),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-14))),
    ],
)
def test_not_expired(reply_by: datetime) -> None:
    """Any later reply_by is accepted, up to the end of time."""
    check(sample(reply_by=reply_by), LIMITS, NOON)


_values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.text(max_size=300)
    | st.lists(st.text(max_size=9), max_size=3)
)
_names = st.sampled_from([*Envelope.__struct_fields__, "to", "X-a", "X-", "reply-by"])
_texts = st.text(st.characters(codec="utf-8"), max_size=300)
_moments = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-14))]))


@given(st.dictionaries(_names, _values | _texts | _moments.map(datetime.isoformat), max_size=8))
def test_any_object_through_a_door(fields: dict[str, Any]) -> None:
    """Whatever comes in is a message that can be encoded, or a `MessageError` safe to print."""
    data = msgspec.json.encode(
        {"performative": "inform", "receiver": "bob"}
        | {name: value for name, value in fields.items() if encodable(value)}
    )

    def door() -> Envelope:
        envelope = completed(codec.decode(data, max_bytes=1_000_000))
        check(envelope, LIMITS, NOON)
        return envelope

    result = attempt(door)
    if isinstance(result, CaxtonError):
        assert isinstance(result, MessageError)
        assert str(result).isascii()
    else:
        assert codec.decode(codec.encode(result), max_bytes=1_000_000) == result


def encodable(value: Any) -> bool:
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        return False
    return True
