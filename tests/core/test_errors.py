"""The error tree: blame, wording, and the way to another process and back."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_nats.core import errors
from caxton_nats.core.errors import (
    AgentNotFound,
    CaxtonError,
    HandlerError,
    InvalidEnvelope,
    MessageError,
    MessageTooLarge,
    QueueFull,
    TransportError,
    UndeliverableError,
)
from caxton_nats.core.failure import Blame, FailureReason


def tree(root: type[CaxtonError] = CaxtonError) -> Iterator[type[CaxtonError]]:
    yield root
    for kind in root.__subclasses__():
        yield from tree(kind)


KINDS = sorted(
    (kind for kind in tree() if kind.__module__ == errors.__name__),
    key=lambda kind: kind.__name__,
)


def test_the_nine_reasons() -> None:
    """The reasons are the seed's nine, in its spelling."""
    assert {str(reason) for reason in FailureReason} == {
        "AgentNotFound",
        "AgentNotResponding",
        "NetworkError",
        "ResourceExhausted",
        "MessageTooLarge",
        "InvalidMessage",
        "CircuitBreakerOpen",
        "QueueFull",
        "Timeout",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_module_docstring_draws_the_tree(kind: type[CaxtonError]) -> None:
    """Every kind of error stands in the picture at the top of the module."""
    assert errors.__doc__ is not None
    assert kind.__name__ in errors.__doc__


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_survives_the_wire(kind: type[CaxtonError]) -> None:
    """An error that crosses JSON is of the same kind and says the same."""
    error = kind("it broke", field="receiver", limit=3, value="4", hint="try less")
    told = CaxtonError.from_dict(json.loads(json.dumps(error.to_dict())))
    assert type(told) is kind
    assert told.to_dict() == error.to_dict()
    assert str(told) == str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_reason_for_its_dead_letter(kind: type[CaxtonError]) -> None:
    """Whatever kills a message, its dead letter has one of the nine reasons."""
    assert kind.failure in FailureReason
    assert kind("x").code == kind.__name__


@pytest.mark.parametrize(
    ("kind", "blame", "failure"),
    [
        (InvalidEnvelope, MessageError, FailureReason.INVALID_MESSAGE),
        (MessageTooLarge, MessageError, FailureReason.MESSAGE_TOO_LARGE),
        (errors.MalformedEnvelope, MessageError, FailureReason.INVALID_MESSAGE),
        (errors.Expired, MessageError, FailureReason.TIMEOUT),
        (errors.TooManyParticipants, MessageError, FailureReason.RESOURCE_EXHAUSTED),
        (errors.ConversationTimeout, MessageError, FailureReason.TIMEOUT),
        (errors.ProtocolViolation, MessageError, FailureReason.INVALID_MESSAGE),
        (AgentNotFound, UndeliverableError, FailureReason.AGENT_NOT_FOUND),
        (QueueFull, UndeliverableError, FailureReason.QUEUE_FULL),
        (errors.HandlerFailed, HandlerError, FailureReason.AGENT_NOT_RESPONDING),
        (errors.HandlerRejected, HandlerError, FailureReason.INVALID_MESSAGE),
        (errors.AgentNotResponding, HandlerError, FailureReason.AGENT_NOT_RESPONDING),
        (errors.NotConnected, TransportError, FailureReason.NETWORK_ERROR),
        (errors.PublishUnconfirmed, TransportError, FailureReason.TIMEOUT),
        (errors.StreamMissing, TransportError, FailureReason.NETWORK_ERROR),
        (errors.RevisionConflict, TransportError, FailureReason.NETWORK_ERROR),
    ],
)
def test_blame(kind: type[CaxtonError], blame: type[CaxtonError], failure: FailureReason) -> None:
    """Each error stands under the one whose fault it is, and names its dead letter's reason."""
    assert issubclass(kind, blame)
    assert kind.failure is failure


TRANSIENT = {
    *("QueueFull", "CircuitBreakerOpen"),
    *("HandlerError", "HandlerFailed", "HandlerDeferred", "AgentNotResponding"),
    *("TransportError", "NotConnected", "PublishUnconfirmed", "StreamMissing", "RevisionConflict"),
    *("ResourceExhausted", "ServerExhausted"),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_is_classified(kind: type[CaxtonError]) -> None:
    """Only the listed kinds are tried again; what the sender did wrong never is."""
    assert kind.transient is (kind.__name__ in TRANSIENT)
    assert not (kind.transient and kind.blame is Blame.SENDER)
    for branch, blame in (
        (MessageError, Blame.SENDER),
        (HandlerError, Blame.RECEIVER),
        (TransportError, Blame.INFRASTRUCTURE),
    ):
        assert not issubclass(kind, branch) or kind.blame is blame


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (CaxtonError("it broke"), "it broke"),
        (CaxtonError("it broke", field="sender"), "sender: it broke"),
        (CaxtonError("too many", limit=3, value=4), "too many, limit 3, value 4"),
        (CaxtonError("is empty", limit=0, value=0), "is empty, limit 0, value 0"),
        (CaxtonError("it broke", hint="try again"), "it broke (try again)"),
        (
            QueueFull("is full", field="receiver", limit=9, value=10, hint="wait"),
            "receiver: is full, limit 9, value 10 (wait)",
        ),
    ],
)
def test_one_line_for_people(error: CaxtonError, line: str) -> None:
    """The text names field, reason, limit, value and hint, as far as there are any."""
    assert str(error) == line


def test_dict_has_no_empty_entries() -> None:
    """What is not known is left out; a zero is known."""
    assert CaxtonError("it broke").to_dict() == {"code": "CaxtonError", "reason": "it broke"}
    assert CaxtonError("it broke", limit=0, value=0).to_dict()["value"] == 0


@pytest.mark.parametrize("data", [{}, {"code": None}, {"code": "Newer"}, {"code": ["list"]}])
def test_unknown_code(data: dict[str, object]) -> None:
    """An error of a newer release is still an error, of the base kind."""
    error = CaxtonError.from_dict(data)
    assert type(error) is CaxtonError
    assert error.reason == "no reason given"


_words = st.text(max_size=20)
_numbers = st.none() | st.integers() | _words


@given(_words, _words, _numbers, _numbers, _words)
def test_from_dict_reverses_to_dict(
    reason: str, field: str, limit: int | str | None, value: int | str | None, hint: str
) -> None:
    """Whatever an error carries comes back (an empty reason as "no reason given")."""
    error = MessageTooLarge(reason or "r", field=field, limit=limit, value=value, hint=hint)
    assert CaxtonError.from_dict(error.to_dict()).to_dict() == error.to_dict()
