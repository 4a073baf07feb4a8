"""Routers that end without a word; the rest is in tests/conformance."""

from __future__ import annotations

from datetime import timedelta

from caxton_nats.jetstream import topology
from caxton_nats.jetstream.connection import Connection, connect
from caxton_nats.jetstream.peers import NatsPeers
from caxton_nats.jetstream.publisher import JetStreamPublisher
from tests.plugins.deployments import deploy

LONG = timedelta(seconds=30)


async def router(connection: Connection, name: str) -> NatsPeers:
    """Return a router that has joined."""

    async def answer(_: bytes) -> bytes:
        return name.encode()

    publisher = JetStreamPublisher(connection, queue_size=1)
    await publisher.start()
    peers = NatsPeers(connection, publisher, own_id=name)
    await peers.join({"name": answer})
    return peers


async def test_one_that_crashed_keeps_nobody_waiting(embedded_url: str) -> None:
    """The server knows that it is gone; its record goes with the first question."""
    here = await connect(embedded_url, name="here")
    there = await connect(embedded_url, name="there")
    await deploy(here, topology.Options(shards=1))
    asking = await router(here, "one")
    await router(there, "two")
    assert await asking.ask("name", wait=LONG) == {"one": b"one", "two": b"two"}
    await there.abandon()
    assert await asking.ask("name", wait=LONG) == {"one": b"one"}
    info = await here.api("STREAM.INFO.KV_caxton-routers")
    assert info["state"]["messages"] == 1
    await asking.leave()
    await here.close()
