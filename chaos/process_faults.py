"""Scenarios on one server: its processes, or it, are killed and frozen at random moments."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from chaos.effects import now
from chaos.load import Shape
from chaos.oracle import Promises
from chaos.scenario import Casting, scenario
from chaos.servers import Server, Single
from chaos.stage import NotResumed, Stage
from chaos.terms import ACK_WAIT, LEASE
from chaos.up import Up, up

UNORDERED = Promises(unordered=frozenset({"sender-"}))
"""A receiver that was away ends what it had in hand after its successor has gone on."""
QUEUE = 100
"""Messages that a mailbox takes while its receiver stands still."""
GROWTH = 24 * 1024 * 1024
"""Bytes that a router may take meanwhile: caches are warmed, nothing is hoarded."""
NOTICES = LEASE * 1.5
"""Seconds after which a process that was frozen must have noticed that it has a successor."""


@scenario("calm")
async def calm(stage: Stage) -> None:
    """No fault at all: the harness itself must keep every promise."""
    async for _ in stage.moments():
        pass


@scenario("router-kill")
async def router_killed(stage: Stage) -> None:
    """One of two router services is killed, again and again."""
    async for _ in stage.moments():
        await kill_a_router(stage)


@scenario("lone-router-kill", routers=1, short=False)
async def lone_router_killed(stage: Stage) -> None:
    """The only router service is killed, again and again."""
    async for _ in stage.moments():
        await kill_a_router(stage)


@scenario("router-stop")
async def router_stopped(stage: Stage) -> None:
    """One of two router services is frozen for longer than anybody waits for it."""
    async for _ in stage.moments():
        await freeze_a_router(stage)


@scenario("lone-router-stop", routers=1, short=False)
async def lone_router_stopped(stage: Stage) -> None:
    """The only router service is frozen for longer than anybody waits for it."""
    async for _ in stage.moments():
        await freeze_a_router(stage)


@scenario("agent-kill")
async def agent_killed(stage: Stage) -> None:
    """One of two agents is killed with messages in hand, again and again."""
    async for _ in stage.moments():
        await kill_an_agent(stage)


@scenario("agent-stop", promises=UNORDERED)
async def agent_stopped(stage: Stage) -> None:
    """An agent is frozen beyond its lease, a successor takes over, and then it wakes up."""
    async for _ in stage.moments():
        await freeze_an_agent(stage)


@scenario("server-kill")
async def server_killed(stage: Stage) -> None:
    """The server is killed and started again on its store, again and again."""
    async for _ in stage.moments():
        await kill_the_server(stage)


@scenario("server-stop")
async def server_stopped(stage: Stage) -> None:
    """The server is frozen, for longer than a request waits for it or not."""
    async for _ in stage.moments():
        await freeze_the_server(stage)


@scenario(
    "receiver-stalled",
    promises=UNORDERED,
    settings={"queue_size": QUEUE},
    shape=Shape(conversations=12, pause=0.03, doors=("embedded", "service")),
)
async def receiver_stalled(stage: Stage) -> None:
    """One receiver takes nothing under heavy load: others go on, senders wait, nothing grows."""
    before = {name: stage.processes[name].memory for name in stage.routers}
    stalled = stage.freeze("worker-1")
    await stage.until(lambda: "QueueFull" in _told(stage), "no sender was told of a full mailbox")
    await stage.wait(stage.seconds, stage.seconds + 1.0)
    grown = {name: stage.processes[name].memory - was for name, was in before.items()}
    stage.say(f"routers grew by {', '.join(f'{one // 1024} KiB' for one in grown.values())}")
    most = max(grown.values())
    if most > GROWTH:
        raise NotResumed(f"a router grew by {most} bytes while a receiver stood still")
    await stage.resumed()
    stage.thaw(stalled)
    await stage.resumed()


def _told(stage: Stage) -> set[str]:
    return {code for one in stage.load.sent.values() for code in one.errors}


@asynccontextmanager
async def _up(casting: Casting) -> AsyncIterator[Server]:
    async with up(casting.folder / "store", casting.folder) as server:
        yield server


@scenario("up-kill", server=_up, routers=0)
async def up_killed(stage: Stage) -> None:
    """`caxton up` is killed as a whole, server and router, and started again on its store."""
    server = stage.server
    assert isinstance(server, Up)
    async for _ in stage.moments():
        both = stage.rng.choice((True, False))
        stage.say(f"kill caxton up{' and its server' if both else ', which its server follows'}")
        await server.kill(with_server=both)
        await stage.wait(0.1, 1.0)
        await server.start()
        await stage.resumed()


@scenario("nemesis", promises=UNORDERED)
async def nemesis(stage: Stage) -> None:
    """All of these at random, one after the other."""
    faults: list[Callable[[Stage], Awaitable[None]]] = [
        kill_a_router,
        freeze_a_router,
        kill_an_agent,
        freeze_an_agent,
        kill_the_server,
        freeze_the_server,
    ]
    async for _ in stage.moments():
        await stage.rng.choice(faults)(stage)


async def kill_a_router(stage: Stage) -> None:
    """Kill one, and start another in its place."""
    await _kill(stage, stage.rng.choice(stage.routers))


async def kill_an_agent(stage: Stage) -> None:
    """Kill one, and start it again."""
    await _kill(stage, stage.rng.choice(stage.workers))


async def _kill(stage: Stage, name: str) -> None:
    await stage.kill(name)
    await stage.wait(0.1, 1.0)
    await stage.start(name)
    await stage.resumed()


async def freeze_a_router(stage: Stage) -> None:
    """Freeze one, for long enough that what it had in hand is given to another."""
    frozen = stage.freeze(stage.rng.choice(stage.routers))
    await stage.wait(0.5, ACK_WAIT * 1.5)
    stage.thaw(frozen)
    await stage.resumed()


async def freeze_an_agent(stage: Stage) -> None:
    """Freeze one until its successor is at work, then let it go on."""
    name = stage.rng.choice(stage.workers)
    frozen = stage.freeze(name)
    # The successor tries until the lease has run out.
    await stage.start(name)
    await stage.resumed()
    await stage.wait(0.0, ACK_WAIT)
    stage.thaw(frozen)
    stage.books.deposed[frozen.name] = now() + NOTICES
    await stage.wait(NOTICES, NOTICES + 0.5)


async def kill_the_server(stage: Stage) -> None:
    """Kill it, and start it again on the same store."""
    server = the_server(stage)
    stage.say("kill the server")
    await server.kill()
    await stage.wait(0.1, 1.5)
    await server.restart()
    await stage.resumed()


async def freeze_the_server(stage: Stage) -> None:
    """Freeze it, for less or more than a request may take."""
    server = the_server(stage)
    stage.say("freeze the server")
    server.freeze()
    await stage.wait(0.3, 3.0)
    server.thaw()
    await stage.resumed()


def the_server(stage: Stage) -> Single:
    """Return the server of a scenario that has one only."""
    assert isinstance(stage.server, Single)
    return stage.server
