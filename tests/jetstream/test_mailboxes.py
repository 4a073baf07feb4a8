"""Mailboxes on a real server: what the bounds of their consumers must not do."""

from __future__ import annotations

from datetime import timedelta

from caxton_nats.core.disposition import Nak
from caxton_nats.core.identifiers import agent_id
from caxton_nats.jetstream import topology
from caxton_nats.jetstream.connection import connect
from caxton_nats.jetstream.mailboxes import ConsumerOptions, JetStreamMailboxes
from caxton_nats.jetstream.publisher import JetStreamPublisher
from caxton_nats.ports import Letter
from tests.plugins.deployments import deploy

LONG = timedelta(seconds=30)
FAILED = 1_100


async def test_a_mailbox_full_of_retries_lets_fresh_mail_through(embedded_url: str) -> None:
    """More messages than a consumer holds by default may wait for a retry, and new ones come."""
    connection = await connect(embedded_url, name="test", request_timeout=10)
    try:
        options = topology.Options(platform="here", shards=1, queue_size=FAILED + 10)
        deployment = await deploy(connection, options)
        mailboxes = JetStreamMailboxes(connection, deployment, ConsumerOptions())
        bob = agent_id("bob", "here")
        publisher = JetStreamPublisher(connection, queue_size=FAILED + 10)
        await publisher.start()
        letters = [Letter(bob, mailboxes.address(bob), f"k-{n}", b"{}") for n in range(FAILED)]
        await publisher.publish(letters)
        inbox = await mailboxes.open(bob)
        taken = 0
        while taken < FAILED:
            deliveries = await inbox.fetch(256, LONG)
            await inbox.settle([(one, Nak(timedelta(hours=1))) for one in deliveries])
            taken += len(deliveries)
        await publisher.publish([Letter(bob, mailboxes.address(bob), "fresh", b'"fresh"')])
        assert [one.body for one in await inbox.fetch(1, LONG)] == [b'"fresh"']
        await inbox.close()
    finally:
        await connection.close()
