"""What the platform tells a sender whose message could not go on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from caxton_nats.core.codec import decode, encode
from caxton_nats.core.envelope import Envelope, content_value
from caxton_nats.core.errors import (
    AgentNotFound,
    CaxtonError,
    Expired,
    InvalidEnvelope,
    MalformedEnvelope,
    ProtocolViolation,
    QueueFull,
)
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.notice import notice
from caxton_nats.core.validation import Limits, check
from tests.core.sample import ALICE, NOON, sample

AMS = AgentId("ams@here")


def told(
    about: Envelope | None, error: CaxtonError, *, to: AgentId = ALICE, key: str = "S-1"
) -> Envelope | None:
    return notice(about, error, to=to, platform="here", now=NOON, key=key)


def sure(envelope: Envelope | None) -> Envelope:
    assert envelope is not None
    return envelope


def test_failure() -> None:
    """A sender learns from the AMS which message failed and why."""
    error = QueueFull("is full", field="receiver", limit=3, value=3)
    found = sure(told(sample(), error))
    assert (found.performative, found.sender, found.receiver) == ("failure", AMS, (ALICE,))
    assert content_value(found) == {"error": error.to_dict(), "message_id": "m-1"}
    assert found.created_at == NOON


@pytest.mark.parametrize(
    ("error", "performative"),
    [
        (MalformedEnvelope("x"), "not-understood"),
        (InvalidEnvelope("x"), "not-understood"),
        (ProtocolViolation("x"), "not-understood"),
        (Expired("x"), "failure"),
        (AgentNotFound("x"), "failure"),
        (CaxtonError("x"), "failure"),
    ],
)
def test_performative(error: CaxtonError, performative: str) -> None:
    """What nobody could read or place was not understood; everything else failed."""
    assert sure(told(sample(), error)).performative == performative


def test_threading() -> None:
    """The notice answers the message, in its conversation and its trace."""
    about = sample(
        conversation_id="c",
        protocol="fipa-request",
        reply_with="r",
        traceparent="t",
        tracestate="s",
    )
    found = sure(told(about, AgentNotFound("x")))
    assert (found.conversation_id, found.protocol) == ("c", "fipa-request")
    assert (found.in_reply_to, found.traceparent, found.tracestate) == ("r", "t", "s")


def test_answers_the_id_without_reply_with() -> None:
    """A message without reply_with is answered by its id."""
    assert sure(told(sample(), AgentNotFound("x"))).in_reply_to == "m-1"


def test_about_bytes() -> None:
    """Bytes that were no envelope are answered, too, with the reason only."""
    found = sure(told(None, MalformedEnvelope("not JSON")))
    assert content_value(found) == {"error": {"code": "MalformedEnvelope", "reason": "not JSON"}}
    assert (found.in_reply_to, found.conversation_id, found.traceparent) == ("", "", "")


@pytest.mark.parametrize("performative", ["failure", "not-understood"])
def test_never_about_a_notice(performative: str) -> None:
    """A failing failure is told to nobody: two agents would complain for ever."""
    assert told(sample(performative=performative), AgentNotFound("x")) is None


def test_never_to_the_platform() -> None:
    """The platform sends no notice to itself."""
    assert told(sample(), AgentNotFound("x"), to=AMS) is None
    assert told(None, MalformedEnvelope("x"), to=AMS) is None


def test_id_is_repeatable() -> None:
    """The same failure, met twice, is told under one id; another one under another."""
    first, again = told(sample(), QueueFull("x")), told(sample(), QueueFull("x"))
    assert first == again
    assert sure(first).message_id == "notice-S-1"
    assert sure(told(sample(), QueueFull("x"), key="S-2")).message_id != sure(first).message_id


@pytest.mark.parametrize(("length", "readable"), [(121, True), (122, False)])
def test_readable_keys(length: int, readable: bool) -> None:  # noqa: FBT001 - a parameter
    """A key stays readable in the notice's id as long as the id has room for it."""
    found = sure(told(sample(), QueueFull("x"), key="k" * length)).message_id
    assert (found == "notice-" + "k" * length) is readable
    assert len(found) <= 128


def test_long_keys_stay_different() -> None:
    """The ids of long keys have the allowed length and are still different."""
    one, other = (
        sure(told(sample(), QueueFull("x"), key="k" * 200 + end)).message_id for end in "ab"
    )
    assert len(one) <= 128
    assert one != other


def test_a_notice_is_a_right_message() -> None:
    """A notice passes the same checks as any message, and survives the wire."""
    found = sure(told(sample(conversation_id="c", protocol="p"), QueueFull("x")))
    check(found, Limits(), NOON + timedelta(days=1))
    assert decode(encode(found), max_bytes=10_000) == found


@pytest.mark.parametrize("platform", ["here", "there"])
def test_no_notice_to_a_platform(platform: str) -> None:
    """What a platform said is not answered: two of them would never end."""
    assert told(None, MalformedEnvelope("x"), to=AgentId(f"ams@{platform}")) is None
