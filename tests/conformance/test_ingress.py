"""What the store-and-forward door's queue promises; its reading side is an `Inbox` like any."""

from __future__ import annotations

from datetime import timedelta

import pytest

from caxton_nats.core.disposition import Ack, Nak
from caxton_nats.core.identifiers import AgentId
from tests.conformance.adapters import A_MOMENT, LONG, Adapter, named


async def test_submission_is_delivered(adapter: Adapter, bob: AgentId) -> None:
    """Bytes submitted arrive at the router exactly, whatever they are, with their headers."""
    body = bytes(range(256))
    stored = await adapter.submit(bob, body, {"traceparent": "00-ab-cd-01"})
    (delivery,) = await adapter.ingress.fetch(10, LONG)
    assert (delivery.origin.stream, delivery.origin.sequence) == (stored.stream, stored.sequence)
    assert (delivery.body, delivery.attempt) == (body, 1)
    assert delivery.headers["traceparent"] == "00-ab-cd-01"


@pytest.mark.parametrize(
    ("name", "token"), [("bob", "bob"), ("a.b", "a=2Eb"), (">", "=3E"), ("ä", "=C3=A4")]
)
async def test_subject_names_the_sender(adapter: Adapter, name: str, token: str) -> None:
    """The subject's last token is the sender's: the router trusts it and not the body."""
    await adapter.submit(named(name), b"{}", {})
    (delivery,) = await adapter.ingress.fetch(1, LONG)
    assert delivery.subject == f"caxton.submit.{token}"


async def test_order(adapter: Adapter, bob: AgentId) -> None:
    """Submissions of all senders are read in the order in which they were stored."""
    senders = [bob, named("alice"), bob, named("a.b"), bob]
    for number, sender in enumerate(senders):
        await adapter.submit(sender, b"%d" % number, {})
    read: list[bytes] = []
    while len(read) < len(senders):
        read += [one.body for one in await adapter.ingress.fetch(2, LONG)]
    assert read == [b"0", b"1", b"2", b"3", b"4"]


async def test_same_bytes_twice(adapter: Adapter, bob: AgentId) -> None:
    """Equal bytes are two submissions: only a message id says that they are one message."""
    await adapter.submit(bob, b"{}", {})
    await adapter.submit(bob, b"{}", {})
    read = await adapter.ingress.fetch(1, LONG) + await adapter.ingress.fetch(1, LONG)
    assert len(read) == 2


async def test_acked_is_gone(adapter: Adapter, bob: AgentId) -> None:
    """A routed submission is not read again; one that was given back is, as attempt 2."""
    await adapter.submit(bob, b"routed", {})
    await adapter.submit(bob, b"failed", {})
    (routed,) = await adapter.ingress.fetch(1, LONG)
    (failed,) = await adapter.ingress.fetch(1, LONG)
    await adapter.ingress.settle([(routed, Ack()), (failed, Nak(timedelta(0)))])
    (again,) = await adapter.ingress.fetch(10, LONG)
    assert (again.body, again.attempt) == (b"failed", 2)


async def test_redelivery_after_ack_wait(adapter: Adapter, bob: AgentId) -> None:
    """What a router took and never settled is read again."""
    await adapter.submit(bob, b"{}", {})
    (first,) = await adapter.ingress.fetch(1, LONG)
    (again,) = await adapter.ingress.fetch(1, LONG)
    assert (again.origin, again.attempt) == (first.origin, 2)


async def test_ingress_is_no_mailbox(adapter: Adapter, bob: AgentId) -> None:
    """A submission is in nobody's mailbox before it is routed, and mail is not in the ingress."""
    await adapter.submit(bob, b"{}", {})
    assert await adapter.mailboxes.pending() == {}
    (submission,) = await adapter.ingress.fetch(10, LONG)
    await adapter.ingress.settle([(submission, Ack())])
    await adapter.send(bob, "mail")
    assert await adapter.ingress.fetch(10, A_MOMENT) == []
