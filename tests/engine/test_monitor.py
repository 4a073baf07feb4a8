"""The monitor: what it looks at, what it remembers, and how all of them answer together."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from caxton_nats.app import at_work
from caxton_nats.core.errors import NotConnected, StreamMissing
from caxton_nats.core.health import Degraded, Healthy, Unhealthy
from caxton_nats.core.identifiers import MessageId
from caxton_nats.engine.monitor import HEALTH
from caxton_nats.engine.platform import Platform
from caxton_nats.engine.router import RouterOptions
from caxton_nats.ports import Ports, Submission, Timer
from caxton_nats.tasks import end
from tests.core.sample import ALICE, BOB, sample
from tests.engine.bench import Bench, Failing

DOWN = NotConnected("the server is away")


def watched(bench: Bench, ports: Ports | None = None, **options: Any) -> Platform:
    return bench.platform(ports, router=RouterOptions(platform="here", **options))


async def joined(bench: Bench, ports: Ports | None = None, **options: Any) -> Platform:
    platform = watched(bench, ports, **options)
    await platform.ports.peers.join(platform.answers)
    return platform


async def test_idle_is_healthy(bench: Bench) -> None:
    """With nothing to do and all there, everything is healthy, and it says since when."""
    platform = await joined(bench)
    await bench.clock.advance(90)
    found = await platform.health_check()
    assert found.overall == Healthy()
    assert {one.status for one in found.components.values()} == {Healthy()}
    assert (found.uptime_ms, found.last_error) == (90_000, None)
    assert found.components["routers"].metrics == {"running": 1, "silent": 0}
    assert {one.last_check for one in found.components.values()} == {bench.clock.now()}


async def test_without_a_router(bench: Bench) -> None:
    """Who only looks does so for itself: nobody routes, and nothing waits to be routed."""
    found = await watched(bench).health_check()
    assert (found.overall, found.components["routers"].metrics["running"]) == (Healthy(), 0)


async def test_no_connection_is_unhealthy(bench: Bench) -> None:
    """A server that is away is told with the reason, not raised, and counted until it is back."""
    streams = Failing(bench.ports.streams, states=[DOWN, DOWN])
    platform = await joined(bench, bench.but(streams=streams))
    for errors in (1, 2):
        found = await platform.health_check()
        assert found.overall == Unhealthy("connection: the server is away")
        assert found.components["connection"].error_count == errors
    found = await platform.health_check()
    assert found.overall == Healthy()
    assert found.components["connection"].error_count == 2
    assert found.last_error == "connection: the server is away"
    assert found.last_error_at == bench.clock.now()


async def test_nobody_can_be_asked(bench: Bench) -> None:
    """If not even the routers can be found, it is what this process sees itself."""
    streams = Failing(bench.ports.streams, states=[DOWN])
    peers = Failing(bench.ports.peers, ask=[DOWN])
    found = await watched(bench, bench.but(streams=streams, peers=peers)).health_check()
    assert isinstance(found.overall, Unhealthy)


async def test_what_is_found_is_told(bench: Bench) -> None:
    """A mailbox near its bound, submissions that nobody takes, a timer that nobody handles."""
    platform = await joined(bench, queue_size=5)
    await bench.known(platform)
    await platform.router.send(
        [
            Submission(sender=ALICE, envelope=sample(message_id=MessageId(f"m-{number}")))
            for number in range(4)
        ]
    )
    assert (await platform.health_check()).overall == Degraded(
        f"mailboxes: the mailbox of {BOB} holds 4 of 5 messages"
    )
    await bench.broker.submit(ALICE, b"{}")
    await platform.ports.timers.set(Timer("test", "key"), bench.clock.now())
    await bench.clock.advance(100)
    found = await platform.health_check()
    assert isinstance(found.overall, Degraded)
    wrong = {name for name, one in found.components.items() if one.status != Healthy()}
    assert wrong == {"mailboxes", "ingress", "timers"}
    assert found.components["ingress"].metrics["waiting_seconds"] == 100


async def test_a_mirror_has_a_second_to_catch_up(bench: Bench) -> None:
    """Changes that are under way are no fault; those that do not come are."""

    class Behind:
        def __init__(self, *answers: int) -> None:
            self.answers = list(answers)

        async def behind(self) -> int:
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def found(*answers: int) -> object:
        platform = watched(bench, bench.but(registry_store=Behind(*answers)))
        checking = asyncio.create_task(platform.monitor.check())
        await bench.clock.advance(2)
        return (await checking).components["registry"].status

    assert await found(2, 1, 0) == Healthy()
    assert isinstance(await found(2), Degraded)


async def test_a_missing_stream_is_no_reason_to_see_nothing(bench: Bench) -> None:
    """What cannot be read because its stream is gone does not hide the others."""
    mailboxes = Failing(bench.ports.mailboxes, pending=[StreamMissing("gone")])
    timers = Failing(bench.ports.timers, due=[StreamMissing("gone")])
    platform = watched(bench, bench.but(mailboxes=mailboxes, timers=timers))
    assert "dead letters" in (await platform.monitor.check()).components


@pytest.mark.parametrize("interval", [1, 30])
async def test_it_looks_at_each_interval(bench: Bench, interval: int) -> None:
    """The setting is how long it rests between two checks, errors or not."""
    streams = Failing(bench.ports.streams, states=[DOWN])
    ports = bench.but(streams=streams)
    platform = watched(bench, ports, health_interval=timedelta(seconds=interval))
    running = asyncio.create_task(platform.monitor.run())
    await bench.clock.advance(interval * 3 + interval / 2)
    assert streams.calls.count("states") == 4
    await end([running])
    found = await platform.monitor.check()
    assert found.components["connection"].error_count == 1
    assert found.last_error == "connection: the server is away"


async def test_after_shutdown(bench: Bench) -> None:
    """A process that was shut down says so, and looks no more."""
    streams = Failing(bench.ports.streams)
    platform = watched(bench, bench.but(streams=streams))
    async with at_work(platform):
        await bench.clock.idle()
    before = streams.calls.count("states")
    await bench.clock.advance(100)
    found = await platform.health_check()
    assert found.overall == Unhealthy("connection: this process has been shut down")
    assert streams.calls.count("states") == before


async def test_the_worst_of_all_routers(bench: Bench) -> None:
    """What one router cannot do is the platform's trouble; who is silent is named."""
    well = await joined(bench)
    streams = Failing(bench.ports.streams, states=[DOWN, DOWN])
    other = bench.broker.ports(bench.ports.ids)
    await joined(bench, bench.but(streams=streams, peers=other.peers))
    found = await well.health_check()
    assert found.overall == Unhealthy("connection: the server is away")

    async def nonsense(_: bytes) -> bytes:
        return b"{}"

    silent = bench.broker.ports(bench.ports.ids).peers
    await silent.join({HEALTH: nonsense})
    found = await well.health_check()
    assert found.components["routers"].status == Degraded(
        f"there is no answer from {silent.own_id}"
    )
    assert found.components["connection"].error_count == 2


async def test_an_answer_is_a_check(bench: Bench) -> None:
    """Who is asked looks at once: there is nothing to wait for."""
    streams = Failing(bench.ports.streams)
    platform = watched(bench, bench.but(streams=streams))
    await platform.answers[HEALTH](b"")
    assert streams.calls == ["states"]
