"""Health of a platform on a real server: idle, in trouble, and well again."""

from __future__ import annotations

import asyncio

import pytest

from caxton_nats import Agent
from caxton_nats.core.health import Degraded, DetailedHealthStatus, HealthStatus, Healthy, Unhealthy
from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream.embedded import EmbeddedServer
from caxton_nats.jetstream.stores import KvRegistryStore
from tests.integration.lab import EMBEDDED_ONLY, Lab
from tests.plugins.eventually import eventually


async def status(platform: Platform, component: str) -> HealthStatus:
    return (await platform.health_check()).components[component].status


async def test_idle(lab: Lab, door: str) -> None:
    """Nothing to do is healthy, for an agent with its own router and for one behind the service."""
    platform = await lab.through(door)
    found = await platform.health_check()
    assert found.overall == Healthy(), found
    assert set(found.components) == {
        *("connection", "registry", "mailboxes", "ingress", "advisories"),
        *("dead letters", "timers", "outbound", "buckets", "breakers", "routers"),
        *("acknowledged", "replicas"),
    }
    assert found.components["connection"].metrics["round_trip_ms"] > 0
    assert found.components["routers"].metrics == {"running": 1, "silent": 0}


async def test_under_load(lab: Lab) -> None:
    """While messages are sent and handled it stays healthy."""
    platform = await lab.platform()
    await lab.collector("bob", platform)
    alice = await lab.agent("alice", platform)
    probes: list[DetailedHealthStatus] = []

    async def probe() -> None:
        probes.extend([await platform.health_check() for _ in range(10)])

    async def send() -> None:
        for number in range(200):
            await alice.send("inform", "bob", number)

    await asyncio.gather(probe(), send())
    assert [one.overall for one in probes] == [Healthy()] * 10


async def test_a_full_ingress(lab: Lab) -> None:
    """What is submitted while no router service runs piles up, and is told before it is full."""
    platform = await lab.platform()
    nats = await lab.nats()
    info = await nats.api("STREAM.INFO.CAXTON_INGRESS")
    await nats.api("STREAM.UPDATE.CAXTON_INGRESS", {**info["config"], "max_msgs": 5})
    for _ in range(4):
        await nats.request("caxton.submit.alice", b"{}", what="submitting")
    found = await status(platform, "ingress")
    assert found == Degraded("CAXTON_INGRESS is at 80% of a limit")


async def test_a_mailbox_near_its_bound(lab: Lab) -> None:
    """The agent with the most mail is named when its mailbox is nearly full."""
    platform = await lab.platform(queue_size=5)
    await lab.register("bob", platform)
    alice = await lab.agent("alice", platform)
    for number in range(4):
        await alice.send("inform", "bob", number)
    assert await status(platform, "mailboxes") == Degraded(
        "the mailbox of bob@here holds 4 of 5 messages"
    )


async def test_a_stream_that_is_gone(lab: Lab) -> None:
    """A stream that somebody removed is missing by name, and the rest is still looked at."""
    platform = await lab.platform()
    nats = await lab.nats()
    await nats.api("STREAM.DELETE.CAXTON_TIMERS")
    await nats.api("STREAM.DELETE.KV_caxton-attempts")
    found = await platform.health_check()
    assert found.overall == Unhealthy(
        "timers: missing: CAXTON_TIMERS; buckets: missing: KV_caxton-attempts"
    )
    assert found.components["ingress"].status == Healthy()


async def test_a_mirror_that_stands_still(lab: Lab) -> None:
    """A process that no longer hears of registrations says so within a check."""
    platform, other = await lab.platform(), await lab.platform()
    store = platform.ports.registry_store
    assert isinstance(store, KvRegistryStore)
    await store.stop()
    await lab.register("bob", other)
    assert isinstance(await status(platform, "registry"), Degraded)


@pytest.mark.timeout(180)
async def test_a_server_that_is_away(own_lab: Lab, own_server: EmbeddedServer) -> None:
    """Without the server it is unhealthy; when that is back, it is healthy and remembers."""
    platform = await own_lab.platform(request_timeout=1)
    await own_server.kill()
    found = await platform.health_check()
    assert isinstance(found.overall, Unhealthy)
    assert found.overall.reason.startswith("connection: ")
    await own_server.start()

    async def well() -> bool:
        return (await platform.health_check()).overall == Healthy()

    await eventually(well)
    found = await platform.health_check()
    assert found.components["connection"].error_count >= 1
    assert found.last_error is not None
    assert found.last_error.startswith("connection: ")


async def test_it_looks_by_itself(lab: Lab) -> None:
    """A process that routes checks at its interval, without being asked."""
    platform = await lab.router(health_interval=1)
    began = platform.ports.clock.now()

    def looked_again() -> bool:
        components = platform.monitor.latest.components
        return bool(components) and components["connection"].last_check > began

    await eventually(looked_again)
    first = platform.monitor.latest.components["connection"].last_check
    await eventually(lambda: platform.monitor.latest.components["connection"].last_check > first)


@EMBEDDED_ONLY
async def test_after_shutdown(lab: Lab) -> None:
    """A platform that was left is unhealthy, whoever still holds it."""
    async with lab.serving() as platform:
        await lab.start(Agent("bob"), await lab.platform())
    found = await platform.health_check()
    assert found.overall == Unhealthy("connection: this process has been shut down")
