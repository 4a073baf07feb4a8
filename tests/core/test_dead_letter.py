"""The record of a dead message: complete, plain JSON, and exact."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_nats.core.dead_letter import (
    DeadLetter,
    Origin,
    Stage,
    decode,
    encode,
    keep,
)
from caxton_nats.core.envelope import Claim
from caxton_nats.core.failure import FailureReason
from tests.core.sample import ALICE, BOB, NOON, sample

ORIGIN = Origin("CAXTON_MAILBOX_3", 17)


def dead(**fields: Any) -> DeadLetter:
    letter = DeadLetter(
        id=ORIGIN.key,
        reason=FailureReason.TIMEOUT,
        stage=Stage.DELIVER,
        agent=BOB,
        attempts=1,
        first_at=NOON,
        last_at=NOON,
        last_error={"code": "Expired", "reason": "too late"},
        origin=ORIGIN,
        subject="caxton.mailbox.3.bob",
    )
    return msgspec.structs.replace(letter, **fields)


def test_key_is_the_origin() -> None:
    """A dead letter is named after the stored message: that one can die once."""
    assert ORIGIN.key == "CAXTON_MAILBOX_3-17"


def test_round_trip() -> None:
    """The least and the fullest record come back the same."""
    full = dead(
        sender=ALICE, message_id=sample().message_id, performative="inform", conversation_id="ü",
        headers={"a": "b"}, body_claim=Claim("o", 1, "s"), redrives=2, **keep(b'{"a":1}'),
    )  # fmt: skip
    for letter in (dead(), full):
        assert decode(encode(letter)) == letter


def test_readable_with_the_cli() -> None:
    """The record is JSON with the JSON body inside, so that a viewer of streams shows it."""
    record = json.loads(encode(dead(**keep(b'{"performative":"inform"}'))))
    assert record["body"] == {"performative": "inform"}
    assert (record["reason"], record["stage"], record["agent"]) == (
        "Timeout",
        "deliver",
        "bob@here",
    )


def test_defaults_are_left_out() -> None:
    """What is not known is not written."""
    assert {"body", "body_base64", "body_claim", "redrives", "headers"}.isdisjoint(
        json.loads(encode(dead()))
    )
    assert decode(encode(dead())).redrives == 0


@pytest.mark.parametrize("body", [msgspec.Raw(), msgspec.Raw(b"")])
def test_no_body(body: msgspec.Raw) -> None:
    """A record without a body is readable, whichever empty value says so."""
    letter = dead(body=body, body_claim=Claim("o", 1, "s"))
    assert decode(encode(letter)).original == b""


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"null",
        b'{ "a" :\n1.50 }',
        b'{"a":1,"a":2}',
        '"世界"'.encode(),
        b"[" * 400 + b"]" * 400,
    ],
)
def test_json_is_kept_readable(data: bytes) -> None:
    """JSON is kept as it is."""
    assert list(keep(data)) == ["body"]
    assert decode(encode(dead(**keep(data)))).original == data


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"text", id="text"),
        pytest.param(b"{", id="cut"),
        pytest.param(b'"\xff"', id="not-utf-8"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte-order-mark"),
        pytest.param(b" {}", id="space-before"),
        pytest.param(b"{}\n", id="newline-after"),
        pytest.param(b"1e999", id="out-of-range"),
        pytest.param(b"1],[2", id="json-inside-of-brackets-only"),
        pytest.param(b"[" * 900 + b"]" * 900, id="deep"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="too-deep"),
        pytest.param(bytes(range(256)), id="every-byte"),
    ],
)
def test_everything_else_is_kept_as_base64(data: bytes) -> None:
    """Bytes that JSON could not carry exactly are kept as base64."""
    assert keep(data) == {"body_base64": b64encode(data).decode()}
    assert decode(encode(dead(**keep(data)))).original == data


def test_empty_bytes() -> None:
    """A message without a byte is kept as such."""
    assert decode(encode(dead(**keep(b"")))).original == b""


_jsonish = st.text(st.sampled_from('{}[]",:1e.-\\ \n\tanul'), max_size=12).map(str.encode)


@given(st.binary(max_size=60) | _jsonish | st.text(max_size=9).map(json.dumps).map(str.encode))
def test_any_bytes_come_back(data: bytes) -> None:
    """Whatever died comes back byte for byte."""
    assert decode(encode(dead(**keep(data)))).original == data
