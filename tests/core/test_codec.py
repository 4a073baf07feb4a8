"""Bytes to envelope and back: the strict form, what people type, and what is refused."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_nats.core.codec import checked, decode, encode, read
from caxton_nats.core.envelope import SAFE_NESTING, Claim, Envelope, Priority, content_value
from caxton_nats.core.errors import (
    CaxtonError,
    InvalidEnvelope,
    MalformedEnvelope,
    MessageTooLarge,
)
from tests.core.sample import ALICE, BOB, CAROL, NOON, attempt, sample

ENOUGH = 10_000_000


def typed(**fields: Any) -> Envelope:
    """Decode what somebody typed: the least message with these fields."""
    return decode(
        json.dumps({"performative": "inform", "receiver": "bob", **fields}).encode(),
        max_bytes=ENOUGH,
    )


def refused(data: bytes, kind: type[CaxtonError]) -> CaxtonError:
    error = attempt(lambda: decode(data, max_bytes=ENOUGH))
    assert type(error) is kind, error
    return error


def full() -> Envelope:
    return Envelope(
        message_id=sample().message_id,
        performative="query-if",
        sender=ALICE,
        receiver=(BOB, CAROL),
        content=msgspec.Raw(b'{"q": "\xc3\xbc", "n": 1.50}'),
        language="fipa-sl",
        ontology="o",
        protocol="fipa-query",
        conversation_id=sample(conversation_id="c 1").conversation_id,
        reply_to=(CAROL,),
        reply_with="r",
        in_reply_to="s",
        reply_by=NOON,
        created_at=NOON,
        priority=Priority.CRITICAL,
        timeout=5.5,
        require_receipt=True,
        strategy="all",
        max_retries=2,
        user_defined={"X-Trace": "1", "x-lower": ""},
        traceparent="00-ab-cd-01",
        tracestate="a=b",
        claim=Claim("o", 1, "ab"),
    )


@pytest.mark.parametrize("envelope", [sample(), full()], ids=["small", "full"])
def test_round_trip(envelope: Envelope) -> None:
    """An encoded envelope is decoded to the same one, and encoded to the same bytes again."""
    data = encode(envelope)
    assert decode(data, max_bytes=len(data)) == envelope
    assert encode(decode(data, max_bytes=len(data))) == data


def test_full_uses_every_field() -> None:
    """The round trip above leaves no field at its default."""
    defaults = Envelope(performative="")
    same = [
        name
        for name in Envelope.__struct_fields__
        if getattr(full(), name) == getattr(defaults, name)
    ]
    assert same == ["encoding"]


def test_defaults_are_left_out() -> None:
    """What is not set is not written: the JSON shows what somebody said."""
    assert json.loads(encode(Envelope(performative="inform", receiver=(BOB,)))) == {
        "performative": "inform",
        "receiver": ["bob@here"],
    }


@pytest.mark.parametrize(
    "content",
    [
        b"1",
        b"null",
        b'""',
        b"1.50",
        b"1E+2",
        b'{"a":1,"a":2}',
        b'{ "b" :\n1, "a":2 }',
        b'"\\u00fc"',
        b"[" * 400 + b"]" * 400,
        '"世界"'.encode(),
        b'"\\u0000"',
        b"-0",
        b"1e999",
        b"9" * 5000,
    ],
)
def test_content_stays_as_it_is(content: bytes) -> None:
    """Content is carried byte for byte: spaces, order, repeated keys, spellings of numbers."""
    data = b'{"performative":"inform","receiver":["bob"],"content":' + content + b"}"
    envelope = decode(data, max_bytes=ENOUGH)
    assert bytes(envelope.content) == content
    assert bytes(decode(encode(envelope), max_bytes=ENOUGH).content) == content


def test_content_stays_as_it_is_when_typed() -> None:
    """The same holds for the form that people type."""
    envelope = decode(
        b'{"performative":"inform","receiver":"bob","content": { "a": 1.0 } }', max_bytes=ENOUGH
    )
    assert bytes(envelope.content) == b'{ "a": 1.0 }'


@pytest.mark.parametrize("content", [msgspec.Raw(), msgspec.Raw(b"")])
def test_empty_content(content: msgspec.Raw) -> None:
    """No content is left out, whichever empty value says so."""
    data = encode(sample(content=content))
    assert b"content" not in data
    assert bytes(decode(data, max_bytes=ENOUGH).content) == b""


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)
_text = st.text(st.characters(codec="utf-8"), max_size=20)


@given(
    content=_json,
    receiver=st.lists(_text, max_size=3),
    fields=st.dictionaries(
        st.sampled_from(
            ["language", "ontology", "reply_with", "conversation_id", "sender", "tracestate"]
        ),
        _text,
    ),
    moment=st.none() | st.datetimes(timezones=st.just(UTC)),
    user=st.dictionaries(_text, _text, max_size=3),
)
def test_any_envelope_survives(
    content: Any,
    receiver: list[str],
    fields: dict[str, str],
    moment: datetime | None,
    user: dict[str, str],
) -> None:
    """Any envelope comes back the same, whatever its texts are."""
    envelope = sample(
        content=msgspec.Raw(msgspec.json.encode(content)),
        receiver=tuple(receiver),
        reply_by=moment,
        user_defined=user,
        **fields,
    )
    assert decode(encode(envelope), max_bytes=ENOUGH) == envelope


@pytest.mark.parametrize("content", [{"a": 1}, None, "text", 1])
def test_content_of_the_typed_form(content: Any) -> None:
    """Content is any JSON value; null is content, too."""
    assert content_value(typed(content=content)) == content
    assert bytes(typed().content) == b""


@pytest.mark.parametrize("text", ["2026-05-01T12:00:00Z", "2026-05-01T14:00:00+02:00"])
def test_times(text: str) -> None:
    """Times are RFC 3339, in any zone."""
    assert typed(reply_by=text).reply_by == NOON


@pytest.mark.parametrize("size", [10, 1])
def test_size_is_checked_first(size: int) -> None:
    """Bytes beyond the limit are refused unread, with limit and size; the limit itself is not."""
    data = encode(sample())
    assert decode(data, max_bytes=len(data)) == sample()
    error = attempt(lambda: decode(b"\xff" * (size + 1), max_bytes=size))
    assert isinstance(error, MessageTooLarge)
    assert (error.field, error.limit, error.value) == ("content", size, size + 1)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b" ", id="blank"),
        pytest.param(b"hello", id="text"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"1", id="number"),
        pytest.param(b'"x"', id="string"),
        pytest.param(b"true", id="bool"),
        pytest.param(b"{", id="cut"),
        pytest.param(b"{} {}", id="two-values"),
        pytest.param(b"{}x", id="trailing"),
        pytest.param(b'{"performative": "inform", "receiver": "bob",}', id="trailing-comma"),
        pytest.param(b"{'performative': 'inform'}", id="single-quotes"),
        pytest.param(b'{performative: "inform"}', id="bare-key"),
        pytest.param(b'/* hi */ {"performative": "inform"}', id="comment"),
        pytest.param(b'{"content": NaN}', id="nan"),
        pytest.param(b'{"content": -Infinity}', id="infinity"),
        pytest.param(b'{"receiver": "bob", "content": 01}', id="leading-zero"),
        pytest.param(b'\xef\xbb\xbf{"performative": "inform"}', id="byte-order-mark"),
        pytest.param('{"performative": "inform"}'.encode("utf-16"), id="utf-16"),
        pytest.param('{"performative": "inform"}'.encode("utf-32"), id="utf-32"),
        pytest.param(b'{"performative": "\xff"}', id="not-utf-8"),
        pytest.param(b'{"performative": "inform", "content": "\xff"}', id="not-utf-8-in-content"),
        pytest.param('{"language": "é"}'.encode("latin-1"), id="latin-1"),
        pytest.param(b'{"sender": "\\ud800"}', id="lone-surrogate"),
        pytest.param(b'{"content": "\\ud800"}', id="lone-surrogate-in-content"),
        pytest.param(b'{"receiver": "bob", "content": "\\x"}', id="bad-escape-when-typed"),
        pytest.param(b'{"receiver": "bob", oops', id="malformed-when-typed"),
        pytest.param(b'{"receiver": 1, "a": "\x00"}', id="control-character"),
        pytest.param(b"[" * 100_000, id="deep-and-cut"),
        pytest.param(b'{"content":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="deep-content"),
        pytest.param(b'{"receiver":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="deep-receiver"),
        pytest.param(
            b'{"to":' + b'{"name":' * 100_000 + b"1" + b"}" * 100_001, id="deep-when-typed"
        ),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="http"),
        pytest.param(b"\x81\xaccperformative", id="msgpack"),
        pytest.param(b"\x1f\x8b\x08\x00", id="gzip"),
    ],
)
def test_malformed(data: bytes) -> None:
    """Bytes that are no JSON object in UTF-8 are refused with a hint for the one who typed them."""
    error = refused(data, MalformedEnvelope)
    assert error.reason
    assert str(error).isascii()


def test_top_level_is_quoted() -> None:
    """The error for JSON that is no object quotes its beginning."""
    assert refused(b"[1]" + b" " * 99, MalformedEnvelope).value == ascii(b"[1]" + b" " * 37)


def test_utf_8_error_says_where() -> None:
    """The error for wrong UTF-8 names the first wrong byte."""
    assert "byte 10" in refused(b'{"sender":\xff}', MalformedEnvelope).reason


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        pytest.param({"performative": 1}, "performative", id="performative-number"),
        pytest.param({"performative": ["inform"]}, "performative", id="performative-list"),
        pytest.param({"performative": None}, "performative", id="performative-null"),
        pytest.param({"sender": None}, "sender", id="sender-null"),
        pytest.param({"language": {}}, "language", id="object-for-text"),
        pytest.param({"max_retries": "3"}, "max_retries", id="text-for-number"),
        pytest.param({"max_retries": 1.5}, "max_retries", id="fraction"),
        pytest.param({"reply_by": "tomorrow"}, "reply_by", id="no-time"),
        pytest.param({"reply_by": 1767225600}, "reply_by", id="number-for-time"),
        pytest.param({"reply_by": "2026-12-31T23:59:60Z"}, "reply_by", id="leap-second"),
        pytest.param({"reply_by": "10000-01-01T00:00:00Z"}, "reply_by", id="year-10000"),
        pytest.param({"content_type": "x"}, "content_type", id="unknown-field"),
        pytest.param({"__class__": "x"}, "__class__", id="python-field"),
        pytest.param({"__proto__": {}}, "__proto__", id="javascript-field"),
        pytest.param({"claim": {"object": "o"}}, "claim.size", id="claim-cut"),
        pytest.param({"claim": {"x": 1}}, "claim.x", id="claim-unknown"),
        pytest.param({"X-a": 1}, "X-a", id="x-number"),
        pytest.param({"user_defined": {"X-a": 1}}, "user_defined[...]", id="user-defined-number"),
        pytest.param({"user_defined": []}, "user_defined", id="user-defined-list"),
    ],
)
def test_invalid(fields: dict[str, Any], field: str) -> None:
    """A field of the wrong type, or that FIPA does not have, is refused by its name."""
    error = attempt(lambda: typed(**fields))
    assert isinstance(error, InvalidEnvelope)
    assert error.field == field


@pytest.mark.parametrize("number", [b"1e999", b"9" * 5000, b"-1e999"])
@pytest.mark.parametrize("field", ["max_retries", "priority", "receiver"])
def test_numbers_out_of_range(number: bytes, field: str) -> None:
    """A number that no field can hold is refused by the field's name."""
    data = b'{"performative":"inform","%s":%s}' % (field.encode(), number)
    assert refused(data, InvalidEnvelope).field == field


def test_missing_performative() -> None:
    """A message without a performative is refused, saying which field is missing."""
    error = refused(b'{"receiver": "bob"}', InvalidEnvelope)
    assert (error.field, error.reason) == ("performative", "is missing")


def test_unknown_field_has_a_hint() -> None:
    """Who invents a field learns how own parameters are named."""
    assert "X-" in refused(b'{"performative": "inform", "trace": 1}', InvalidEnvelope).hint


@pytest.mark.parametrize(
    "fields",
    [
        {"\x1b[31m\u202e": 1},
        {"\x1b[31m-a": 1, "\x1b[31m_a": 2},
        {"claim": {"\x1b[31m": 1}},
        {"priority": "\x1b[31m"},
        {"receiver": ["bob", {"\x1b[31m": 1}]},
    ],
)
def test_errors_are_safe_to_print(fields: dict[str, Any]) -> None:
    """What a stranger sent reaches nobody's terminal as control characters, by no error."""
    error = attempt(lambda: typed(**fields))
    assert isinstance(error, InvalidEnvelope)
    assert str(error).isascii()
    assert str(error).isprintable()


@pytest.mark.parametrize("levels", [900, 100_000])
def test_nesting_has_one_limit(levels: int) -> None:
    """Nesting that is safe everywhere is accepted; what only just fits here is refused."""
    most = SAFE_NESTING - 1  # the object of the message is one more
    deep = b"[" * most + b"]" * most
    wide = b"[" + b"{}," * 2000 + b"{}]"
    for content in (deep, wide):
        assert bytes(decode(envelope_with(content), max_bytes=ENOUGH).content) == content
    error = refused(envelope_with(b"[" * levels + b"]" * levels), MalformedEnvelope)
    assert (error.field, error.limit) == ("content", SAFE_NESTING)


def envelope_with(content: bytes) -> bytes:
    return b'{"performative":"inform","receiver":["bob"],"content":' + content + b"}"


def test_80_000_fields() -> None:
    """A flood of fields is refused like a single unknown one."""
    flood = b"{" + b",".join(b'"k%d":0' % n for n in range(80_000)) + b"}"
    refused(flood, InvalidEnvelope)


def test_repeated_key_is_refused() -> None:
    """A field that is given twice means one thing to one reader and another to the next."""
    data = b'{"performative":"inform","receiver":["bob"],"sender":"a","sender":"b"}'
    error = refused(data, InvalidEnvelope)
    assert (error.field, error.reason) == ("sender", "is given twice")


def test_repeated_key_in_what_is_stored() -> None:
    """Of what lies in a stream already the last counts, and it is what goes on."""
    data = b'{"performative":"inform","receiver":["bob"],"sender":"a","sender":"b"}'
    assert read(data).sender == "b"
    assert encode(read(data)).count(b"sender") == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("receiver", 7),
        ("priority", 99),
        ("require_receipt", "yes"),
        ("timeout", True),
        ("max_retries", "3"),
        ("user_defined", {"X-a": 1}),
        ("content", msgspec.Raw(b"{bad")),
        ("content", msgspec.Raw(b'"\xff"')),
        ("content", 5),
        ("language", "\ud800"),
        ("reply_by", "tomorrow"),
        ("claim", 7),
        ("message_id", object()),
    ],
)
def test_envelope_made_by_hand(field: str, value: Any) -> None:
    """An envelope that a program made has the types it should, or is refused as bytes would be."""
    assert checked(full()) == full()
    error = attempt(lambda: checked(sample(**{field: value})))
    assert isinstance(error, InvalidEnvelope | MalformedEnvelope)
    assert error.field.startswith(field) or not error.field


def test_bomb_in_base64_is_only_text() -> None:
    """Compressed content is never unpacked, whatever it would become."""
    text = b64encode(b"\x1f\x8b" + bytes(1000)).decode()
    assert content_value(typed(content=text)) == text


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Any bytes are an envelope or a `MessageError`; nothing else happens."""
    assert isinstance(attempt(lambda: decode(data, max_bytes=150)), Envelope | CaxtonError)


_keys = st.sampled_from(
    [
        "performative",
        "receiver",
        "to",
        "sender",
        "content",
        "reply_by",
        "priority",
        "reply-to",
        "user_defined",
        "X-a",
        "claim",
        "max_retries",
        "what",
    ]
)


@given(st.dictionaries(_keys, _json, max_size=6), st.binary(max_size=3), st.integers(0, 300))
def test_any_object(fields: dict[str, Any], noise: bytes, where: int) -> None:
    """Any JSON object, damaged anywhere, is an envelope or a `MessageError` that is ASCII."""
    data = msgspec.json.encode({"performative": "inform", **fields})
    for damaged in (data, data[:where] + noise + data[where:]):
        result = attempt(lambda damaged=damaged: decode(damaged, max_bytes=ENOUGH))  # type: ignore[misc]
        if isinstance(result, CaxtonError):
            assert str(result).isascii()
        else:
            assert decode(encode(result), max_bytes=ENOUGH) == result
