"""Every bounded type of the seed: both edges are accepted, one beyond is refused, in so many words.

Those that are settings are in tests/test_config.py.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec
import pytest

from caxton_nats.core import codec
from caxton_nats.core.capability import check_capabilities
from caxton_nats.core.deadline import deadline
from caxton_nats.core.envelope import Priority, value_content
from caxton_nats.core.errors import CaxtonError, InvalidEnvelope, MessageTooLarge
from caxton_nats.core.identifiers import AgentId, agent_id, check_conversation_id, check_message_id
from caxton_nats.core.lease import Heartbeat, check_heartbeat
from caxton_nats.core.remote import route_info
from caxton_nats.core.validation import Limits, check
from tests.core.sample import NOON, sample

MIB_10 = 10_485_760


class Bound(NamedTuple):
    seed: str
    field: str
    least: float
    most: float
    take: Callable[[Any], object]
    """Take a value of this length or size, or raise."""
    step: float = 1


def field(name: str) -> Callable[[int], object]:
    """Return a check of a message with a text of so many characters in the field."""

    def take(length: int) -> None:
        message = {"performative": "inform", "receiver": "bob", name: "x" * length}
        found = codec.decode(msgspec.json.encode(message), max_bytes=10_000)
        check(sample(**{"conversation_id": "c", name: getattr(found, name)}), Limits(), NOON)

    return take


def retries(number: int) -> None:
    check(sample(max_retries=number), Limits(), NOON)


def receivers(number: int) -> None:
    names = tuple(AgentId(f"agent-{one}@here") for one in range(number))
    check(sample(receiver=names), Limits(max_receivers=1000), NOON)


BOUNDS = [
    Bound("AgentName", "agent", 1, 255, lambda n: agent_id("x" * n, "here")),
    Bound("AgentName", "agent", 1, 255, lambda n: agent_id("x@" + "x" * n, "here")),
    Bound("MessageId", "message_id", 1, 128, lambda n: check_message_id("x" * n)),
    Bound("ConversationId", "conversation_id", 1, 255, lambda n: check_conversation_id("x" * n)),
    Bound("NodeId", "node", 1, 255, lambda n: route(node="x" * n)),
    Bound("CapabilityName", "capabilities", 1, 100, lambda n: check_capabilities(["x" * n])),
    Bound("ContentLanguage", "language", 1, 50, field("language")),
    Bound("ContentLanguage", "encoding", 1, 50, field("encoding")),
    Bound("OntologyName", "ontology", 1, 100, field("ontology")),
    Bound("ProtocolName", "protocol", 1, 100, field("protocol")),
    Bound("FipaMessage", "conversation_id", 1, 255, field("conversation_id")),
    Bound("FipaMessage", "reply_with", 1, 255, field("reply_with")),
    Bound("FipaMessage", "in_reply_to", 1, 255, field("in_reply_to")),
    Bound("FipaMessage", "receiver", 1, 1000, receivers),
    Bound("MaxRetries", "max_retries", 1, 10, retries),
    Bound("RouteHops", "hops", 0, 255, lambda n: route(hops=n)),
    Bound("MessageTimeoutMs", "timeout", 1, 300, lambda n: deadline(None, n, NOON), 0.001),
    Bound(
        "AgentLease",
        "lease",
        1,
        3600,
        lambda n: check_heartbeat(Heartbeat(instance="one", lease=n)),
        0.001,
    ),
]


def route(node: str = "there", hops: int = 1) -> object:
    return route_info(AgentId("bob@mars"), node, hops, NOON, platform="here")


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: f"{bound.seed}-{bound.field}")
def test_both_edges_are_accepted_and_nothing_beyond(bound: Bound) -> None:
    """The error names the field, the limit that was broken, and the value."""
    bound.take(bound.least)
    bound.take(bound.most)
    for edge, value in (
        (bound.least, bound.least - bound.step),
        (bound.most, bound.most + bound.step),
    ):
        with pytest.raises(CaxtonError) as caught:
            bound.take(value)
        error = caught.value
        assert type(error) is InvalidEnvelope
        assert error.field == bound.field
        assert float(str(error.limit)) == edge
        assert float(str(error.value)) == pytest.approx(value)
        assert all(part in str(error) for part in (error.field, str(error.limit)))


@pytest.mark.parametrize("most", [1, 1024, 1_048_576, MIB_10])
def test_content_at_its_limit(most: int) -> None:
    """Bytes as the receiver gets them, whatever they take on the wire; nothing may be empty."""
    for size in (0, 1, most):
        check(binary(size), Limits(max_content=most), NOON)
    with pytest.raises(MessageTooLarge) as caught:
        check(binary(most + 1), Limits(max_content=most), NOON)
    error = caught.value
    assert (error.field, error.limit, error.value) == ("content", most, most + 1)


def binary(size: int) -> Any:
    content, encoding = value_content(b"x" * size)
    return sample(content=content, encoding=encoding)


@pytest.mark.parametrize(
    "name",
    [
        *("message_id", "sender", "conversation_id", "language", "encoding", "ontology"),
        *("protocol", "reply_with", "in_reply_to"),
    ],
)
def test_an_empty_text_is_refused(name: str) -> None:
    """Whoever writes the field means something by it; leaving it out is how to say nothing."""
    for typed in (name, name.replace("_", "-")):
        body = msgspec.json.encode({"performative": "inform", "receiver": "bob", typed: ""})
        with pytest.raises(InvalidEnvelope) as caught:
            codec.decode(body, max_bytes=1000)
        error = caught.value
        assert (error.field, error.limit, error.value) == (name, 1, 0)


def test_sender_and_receiver_differ() -> None:
    """The seed's MessageParticipants; also as one of several receivers."""
    for receiver in (("alice@here",), ("bob@here", "alice@here")):
        with pytest.raises(InvalidEnvelope, match="the same agent") as caught:
            check(sample(receiver=receiver), Limits(), NOON)
        assert caught.value.field == "receiver"


def test_defaults_are_those_of_the_seed() -> None:
    """Priority normal, no time-out, no receipt, retries left to the policy."""
    message = codec.decode(b'{"performative": "inform", "receiver": "bob"}', max_bytes=1000)
    assert (message.priority, message.timeout, message.require_receipt) == (
        Priority.NORMAL,
        None,
        False,
    )
    assert message.max_retries is None
    assert [int(one) for one in Priority] == [1, 5, 8, 10]


def test_a_route_lives_for_300_seconds() -> None:
    """The seed's RouteInfo."""
    found: Any = route()
    assert found.expires_at - found.updated_at == timedelta(seconds=300)
