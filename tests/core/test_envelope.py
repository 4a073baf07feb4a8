"""Content: how a Python value becomes content and back, and how large it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_nats.core.envelope import (
    SAFE_NESTING,
    Claim,
    Envelope,
    Priority,
    check_nesting,
    content_bytes,
    content_size,
    content_value,
    value_content,
    with_content,
)
from caxton_nats.core.errors import InvalidEnvelope, MalformedEnvelope
from tests.core.sample import sample


def carrying(value: Any) -> Envelope:
    content, encoding = value_content(value)
    return sample(content=content, encoding=encoding)


def raw(content: bytes, encoding: str = "") -> Envelope:
    return sample(content=msgspec.Raw(content), encoding=encoding)


def test_priorities() -> None:
    """The priorities are the seed's four."""
    assert {priority.name: int(priority) for priority in Priority} == {
        "LOW": 1,
        "NORMAL": 5,
        "HIGH": 8,
        "CRITICAL": 10,
    }


def test_envelope_is_frozen() -> None:
    """A message is a value: nobody on its way changes it."""
    with pytest.raises(AttributeError):
        sample().reply_with = "changed"  # type: ignore[misc]


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1,
        1.5,
        "",
        "Grüße, 世界",
        [],
        [1, None],
        {},
        {"a": {"b": [1]}},
        b"",
        bytes(range(256)),
    ],
)
def test_values(value: Any) -> None:
    """Python values and bytes come back from content as they were."""
    assert content_value(carrying(value)) == value


@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    """Any bytes come back, and their size is known without decoding them."""
    envelope = carrying(data)
    assert envelope.is_binary
    assert content_value(envelope) == content_bytes(envelope) == data
    assert content_size(envelope) == len(data)


@pytest.mark.parametrize("data", [bytearray(b"ab"), memoryview(b"ab")])
def test_buffers_are_bytes(data: bytearray | memoryview) -> None:
    """Other buffers are sent as bytes, too."""
    assert content_value(carrying(data)) == b"ab"


def test_rich_values_become_json() -> None:
    """Times and structs become their JSON form."""
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    assert content_value(carrying({"at": moment})) == {"at": "2026-05-01T00:00:00Z"}
    assert content_value(carrying(Claim("o", 1, "s"))) == {"object": "o", "size": 1, "sha256": "s"}


def endless() -> list[Any]:
    inner: list[Any] = []
    inner.append(inner)
    return inner


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(object(), id="object"),
        pytest.param(1 + 2j, id="complex"),
        pytest.param({(1, 2): 3}, id="tuple-key"),
        pytest.param("\ud800", id="lone-surrogate"),
        pytest.param({"\ud800": 1}, id="lone-surrogate-in-key"),
        pytest.param(endless(), id="endless"),
    ],
)
def test_values_without_json_form(value: Any) -> None:
    """What JSON cannot say is refused where it is sent, with a hint what can be."""
    with pytest.raises(InvalidEnvelope) as caught:
        value_content(value)
    assert caught.value.field == "content"
    assert "bytes" in caught.value.hint


def test_no_content() -> None:
    """A message without content has no bytes, no value and no size, encoded or not."""
    for encoding in ("", "base64"):
        empty = raw(b"", encoding)
        assert content_bytes(empty) == b""
        assert content_size(empty) == 0
    assert content_value(raw(b"")) is None
    assert content_value(raw(b"", "base64")) == b""


def test_json_as_bytes() -> None:
    """The bytes of JSON content are its text, exactly as sent."""
    assert content_bytes(raw(b'{ "a" :1.0}')) == b'{ "a" :1.0}'
    assert content_size(raw(b'{ "a" :1.0}')) == 11


@pytest.mark.parametrize("encoding", ["base64", "BASE64", "Base64"])
def test_base64_in_any_case(encoding: str) -> None:
    """The encoding's name is matched in any case."""
    assert content_value(raw(b'"AAE="', encoding)) == b"\x00\x01"


@pytest.mark.parametrize("encoding", ["", "utf-8", "base64url", "latin-1"])
def test_other_encodings(encoding: str) -> None:
    """Every other encoding is the agents' own business: the content is a JSON value."""
    assert content_value(raw(b'"AAE="', encoding)) == "AAE="


@pytest.mark.parametrize(
    "content",
    [
        b'"A"',
        b'"A==="',
        b'"AA=A"',
        b'"AAE=\\n"',
        b'"AA E="',
        b'"-_-_"',
        '"ÄÄÄÄ"'.encode(),
        b"1",
        b"null",
        b"{}",
        b"[]",
    ],
)
def test_not_base64(content: bytes) -> None:
    """Content that claims to be base64 and is not is refused, by both ways to read it."""
    for read in (content_bytes, content_value):
        with pytest.raises(InvalidEnvelope) as caught:
            read(raw(content, "base64"))
        assert caught.value.field == "content"


@pytest.mark.parametrize(
    "content", [b"1e999", b"9" * 5000, b"[" * 100_000 + b"]" * 100_000, b'"\xff"', b"{", b"\\"]
)
def test_no_python_value(content: bytes) -> None:
    """Content that Python has no value for is the sender's fault, not a crash of the receiver."""
    with pytest.raises(InvalidEnvelope) as caught:
        content_value(raw(content))
    assert caught.value.field == "content"


def test_size_of_a_claim() -> None:
    """The size of content that lies elsewhere is the claim's, whatever the encoding."""
    assert content_size(sample(claim=Claim("o", 9_000_000, "s"), encoding="base64")) == 9_000_000


@given(st.binary(max_size=50))
def test_claimed_bytes_come_back(data: bytes) -> None:
    """Bytes that were stored apart are put back under the encoding that says bytes."""
    apart = raw(b"", "base64")
    apart = msgspec.structs.replace(apart, claim=Claim("o", len(data), "s"))
    back = with_content(apart, data)
    assert back.claim is None
    assert content_value(back) == data


def test_claimed_json_comes_back() -> None:
    """JSON that was stored apart is put back byte for byte."""
    apart = sample(claim=Claim("o", 1, "s"))
    assert bytes(with_content(apart, b'{ "a":1.0 }').content) == b'{ "a":1.0 }'


@pytest.mark.parametrize(
    "content", [b"", b"text", b"{", b'"\xff"', b"[" * 100_000 + b"]" * 100_000]
)
def test_claimed_content_must_be_json(content: bytes) -> None:
    """What was stored apart and is no JSON text is refused, with a hint how to send bytes."""
    with pytest.raises(InvalidEnvelope) as caught:
        with_content(sample(claim=Claim("o", 1, "s")), content)
    assert caught.value.field == "claim"
    assert "base64" in caught.value.hint


@pytest.mark.parametrize("levels", [1, SAFE_NESTING])
def test_safe_nesting(levels: int) -> None:
    """Up to the limit every nesting is accepted, of lists and of objects."""
    check_nesting(b"[" * levels + b"]" * levels)
    check_nesting(b'{"a":' * levels + b"1" + b"}" * levels)


def test_wide_is_not_deep() -> None:
    """Many brackets beside each other are no nesting."""
    check_nesting(b"[" + b"[]," * 10_000 + b"[]]")


@pytest.mark.parametrize("levels", [900, 100_000])
def test_too_deep(levels: int) -> None:
    """JSON that only a shallow stack could decode is refused, naming the safe limit."""
    with pytest.raises(MalformedEnvelope) as caught:
        check_nesting(b"[" * levels + b"]" * levels)
    assert caught.value.limit == SAFE_NESTING
