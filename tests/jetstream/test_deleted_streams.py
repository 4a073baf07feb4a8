"""Streams, consumers and messages that an operator deletes under a running platform."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import msgspec
import pytest

from caxton_nats import Agent, app, connect, serve, settings
from caxton_nats.core.errors import CaxtonError, ConfigurationError
from caxton_nats.core.health import Healthy, Unhealthy
from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream import remaking, topology
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.connection import connect as to_server
from caxton_nats.jetstream.topology import Options
from caxton_nats.sdk.context import Context
from tests.plugins.eventually import eventually

SHARDS = 2
STREAMS = [str(config["name"]) for config in topology.streams(Options(shards=SHARDS))]
CONSUMERS = [
    ("CAXTON_INGRESS", "router"),
    ("CAXTON_ADVISORIES", "router"),
    ("CAXTON_TIMERS", "router"),
    ("CAXTON_LINK", "router"),
    ("CAXTON_MAILBOX_0", "bob"),
]


class Running(NamedTuple):
    """A router service, and bob, who keeps what he gets."""

    nats: Connection
    platform: Platform
    alice: Agent
    got: list[Any]

    async def delivers(self, word: str) -> bool:
        """Whether a message reaches bob by each of the three doors."""
        body = msgspec.json.encode({"performative": "inform", "to": "bob", "content": f"{word}-2"})
        try:
            await self.alice.send("inform", "bob", f"{word}-1")
            await self.nats.request("caxton.submit.alice", body, what="submit")
            body = body.replace(b"-2", b"-3")
            answer = msgspec.json.decode(
                await self.nats.request("caxton.send.alice", body, what="x")
            )
        except CaxtonError:
            return False
        if "error" in answer or "error" in answer["receivers"][0]:
            return False
        await eventually(lambda: {f"{word}-{way}" for way in (1, 2, 3)} <= set(self.got))
        return True


@pytest.fixture
async def running(embedded_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setattr(remaking, "NEW", 0.0)
    chosen = settings(nats_url=embedded_url, shards=SHARDS, request_timeout=5, links="plant")
    got: list[Any] = []
    async with AsyncExitStack() as stack:
        nats = await to_server(embedded_url, name="operator")
        stack.push_async_callback(nats.close)
        await stack.enter_async_context(serve(chosen, observer=lambda _: None))
        platform = await stack.enter_async_context(connect(chosen, observer=lambda _: None))
        alice, bob = Agent("alice"), Agent("bob")

        @bob.on("inform")
        async def keep(context: Context) -> None:
            got.append(context.content)

        for agent in (alice, bob):
            await stack.enter_async_context(app.started(platform, agent))
        yield Running(nats, platform, alice, got)


@pytest.mark.parametrize("stream", STREAMS)
async def test_a_stream(running: Running, stream: str) -> None:
    """Health names it, and once it is applied again everything goes on, without a restart."""
    assert await running.delivers("before")
    await running.nats.api(f"STREAM.DELETE.{stream}")
    found = await running.platform.health_check()
    assert isinstance(found.overall, Unhealthy)
    assert f"missing: {stream}" in found.overall.reason
    await topology.apply(running.nats, Options(shards=SHARDS))
    await eventually(lambda: running.delivers("after"))

    async def well() -> bool:
        return (await running.platform.health_check()).overall == Healthy()

    await eventually(well)
    info = await running.nats.api(f"STREAM.INFO.{stream}")
    # Not a number that stood for another message before.
    assert info["state"]["first_seq"] > 1_000_000


async def test_the_registrations(running: Running) -> None:
    """Nobody has removed the agents: as soon as they see that they are gone, they register again."""
    await running.nats.api("STREAM.DELETE.KV_caxton-agents")
    await topology.apply(running.nats, Options(shards=SHARDS))
    store = running.platform.ports.registry_store

    async def registered() -> bool:
        names = map(running.platform.agent_id, ("alice", "bob"))
        return None not in [await store.load(one) for one in names]

    # The mirrors notice within 20 s.
    await eventually(registered, within=60)
    await eventually(lambda: running.delivers("after"))


@pytest.mark.parametrize(("stream", "consumer"), CONSUMERS)
async def test_a_consumer(running: Running, stream: str, consumer: str) -> None:
    """Whoever reads through it makes it again."""
    assert await running.delivers("before")
    await running.nats.api(f"CONSUMER.DELETE.{stream}.{consumer}")
    await eventually(lambda: running.delivers("after"))

    async def there() -> bool:
        names = (await running.nats.api(f"CONSUMER.NAMES.{stream}"))["consumers"] or []
        return consumer in names

    await eventually(there)


async def test_a_mailbox_that_is_purged_with_a_message_in_hand(running: Running) -> None:
    """The handler ends, its ack finds nothing, and what comes later is delivered."""
    began, go_on = asyncio.Event(), asyncio.Event()
    carol = Agent("carol")
    got: list[Any] = []

    @carol.on("inform")
    async def wait(context: Context) -> None:
        began.set()
        await go_on.wait()
        got.append(context.content)

    async with app.started(running.platform, carol):
        await running.alice.send("inform", "carol", "purged")
        await began.wait()
        for shard in range(SHARDS):
            await running.nats.api(f"STREAM.PURGE.CAXTON_MAILBOX_{shard}")
        go_on.set()
        await running.alice.send("inform", "carol", "later")
        await eventually(lambda: got == ["purged", "later"])
    assert (await running.platform.ports.mailboxes.pending()) == {}


@pytest.mark.parametrize("lost", ["CAXTON_INGRESS", "CAXTON_MAILBOX_0", "CAXTON_MAILBOX_1"])
async def test_another_number_of_shards_is_refused(running: Running, lost: str) -> None:
    """Although the stream that would say how many there are may be the one that is gone."""
    await running.nats.api(f"STREAM.DELETE.{lost}")
    with pytest.raises(ConfigurationError) as error:
        await topology.apply(running.nats, Options(shards=16))
    assert (error.value.field, error.value.limit) == ("shards", SHARDS)
    await topology.apply(running.nats, Options(shards=SHARDS))
    deployment = await topology.discover(running.nats)
    assert deployment is not None
    assert deployment.shards == SHARDS


async def test_a_deployment_that_is_half_made(running: Running) -> None:
    """It is completed by whoever agrees on its shards, and by nobody else.

    Another process is making the rest, or has died over it.
    """
    for name in ("CAXTON_INGRESS", f"CAXTON_MAILBOX_{SHARDS - 1}"):
        await running.nats.api(f"STREAM.DELETE.{name}")
    with pytest.raises(ConfigurationError):
        await topology.apply(running.nats, Options(shards=SHARDS - 1))
    await topology.apply(running.nats, Options(shards=SHARDS))
    assert await topology.inspect(running.nats, Options(shards=SHARDS)) == []
