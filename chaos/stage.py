"""The stage: a real deployment with its processes and its load, and the ways to hurt it."""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from caxton_nats.app import operate
from caxton_nats.app.options import topology_options
from caxton_nats.config import Settings
from caxton_nats.jetstream import topology
from chaos import stored
from chaos.books import Books, Harm
from chaos.effects import last_effect, now, read_effects, read_journals
from chaos.load import Load, doors
from chaos.processes import Process, launch, program
from chaos.scenario import Casting, Scenario
from chaos.servers import Server
from chaos.terms import settings, variables

PATIENCE = 60.0
"""Seconds in which the system must resume, or have nothing left to do."""
LEFTOVERS = 15.0
"""Seconds to wait where something may be left for good."""
POLL = 0.05


class NotResumed(Exception):
    """The system did not go on by itself after a fault."""


class Stage:
    """One deployment. Made by `open_stage`."""

    def __init__(
        self, scenario: Scenario, casting: Casting, server: Server, stack: AsyncExitStack
    ) -> None:
        self.scenario = scenario
        self.server = server
        self.rng = casting.rng
        self.folder = casting.folder
        self.seconds = casting.seconds
        self.processes: dict[str, Process] = {}
        """Routers and workers by name: ``router-1``, ``worker-2``."""
        self.books = Books()
        workers = [f"worker-{number + 1}" for number in range(scenario.workers)]
        self.load = Load(scenario.shape, workers, random.Random(casting.rng.random()))
        self._stack = stack
        self._say = casting.say
        self._begun = now()
        self._instances: dict[str, int] = {}

    @property
    def routers(self) -> list[str]:
        """Names of the router services."""
        return [name for name in self.processes if name.startswith("router")]

    @property
    def workers(self) -> list[str]:
        """Names of the agents' processes."""
        return [name for name in self.processes if name.startswith("worker")]

    def say(self, what: str) -> None:
        """Print a line about what is done, with the time since the beginning."""
        self._say(f"{now() - self._begun:6.2f} s  {what}")

    def settings(self) -> Settings:
        """Return the settings of all processes."""
        return settings(self.server.url, replicas=self.server.replicas, **self.scenario.settings)

    # Moments

    async def moments(self, pause: tuple[float, float] = (0.2, 1.0)) -> AsyncIterator[int]:
        """Yield at random moments until the time of the scenario is over; once at least."""
        end = now() + self.seconds
        number = 0
        while not number or now() < end:
            await self.wait(*pause)
            number += 1
            yield number

    async def wait(self, least: float, most: float) -> None:
        """Wait for a time that the seed decides."""
        await asyncio.sleep(self.rng.uniform(least, most))

    # Processes

    async def start(self, name: str) -> Process:
        """Start the router or worker of this name, and wait until it is ready."""
        process = await self.launch(name)
        await process.ready()
        return process

    async def launch(self, name: str) -> Process:
        """Start the router or worker of this name."""
        number = self._instances[name] = self._instances.get(name, 0) + 1
        instance = f"{name}.{number}"
        kind = name.partition("-")[0]
        arguments = [kind] if kind == "router" else [kind, name, instance]
        told = {**variables(self.settings()), "CHAOS_FOLDER": str(self.folder)}
        process = await launch(instance, program(*arguments), told, self.folder)
        self._stack.push_async_callback(process.stop)
        self.processes[name] = process
        return process

    async def kill(self, name: str) -> None:
        """End a process with SIGKILL."""
        process = self.processes[name]
        self.say(f"kill {process.name}")
        self._harm(process)
        await process.kill()

    def freeze(self, name: str) -> Process:
        """Stop a process where it is (SIGSTOP); `Process.thaw` lets it go on."""
        process = self.processes[name]
        self.say(f"freeze {process.name}")
        self._harm(process)
        process.freeze()
        return process

    def thaw(self, process: Process) -> None:
        """Let a frozen process go on (SIGCONT)."""
        self.say(f"thaw {process.name}")
        process.thaw()

    def _harm(self, process: Process) -> None:
        self.books.harms.append(Harm(process.name, now()))

    # What must hold

    async def resumed(self) -> float:
        """Say that a fault is over; return the seconds until a handler has done something.

        Raises:
            NotResumed: none has, within `PATIENCE`.
        """
        at, wall = now(), time.time()  # noqa: TID251 - the file system's clock
        await self.until(lambda: last_effect(self.folder) > wall, "nothing was handled")
        self.books.heals.append((at, now()))
        self.say(f"back after {now() - at:.2f} s")
        return now() - at

    async def until(
        self,
        condition: Callable[[], bool | Awaitable[bool]],
        otherwise: str,
        *,
        within: float = PATIENCE,
    ) -> None:
        """Wait for a condition.

        Raises:
            NotResumed: not within so many seconds.
        """
        end = now() + within
        while True:
            held = condition()
            if held is True or (inspect.isawaitable(held) and await held):
                return
            if now() > end:
                raise NotResumed(f"{otherwise} within {within:g} s")
            await asyncio.sleep(POLL)

    async def under_load(self) -> None:
        """Have the load on during the play, and its senders know the fate of each message after."""
        async with doors(self.load, self.settings()) as opened:
            self.load.start(opened)
            try:
                await self.until(lambda: last_effect(self.folder) > 0, "nothing was ever handled")
                await self.scenario.play(self)
            finally:
                await self.load.stop()
            self.say(f"the load is off: {self.load.accepted} accepted")
            await self._drain()

    async def _drain(self) -> None:
        """Wait until nothing is left to do, or nothing more happens."""
        async with stored.reading(self.settings()) as reader:
            with suppress(NotResumed):
                # What is pending then, is counted and complained of.
                patience = LEFTOVERS if self.scenario.promises.leaves else PATIENCE
                await self.until(reader.idle, "something is left", within=patience)
            self.books.pending = await reader.pending()
            self.books.dead = await reader.dead()

    def closed_books(self) -> Books:
        """Return the books, with what all processes have written."""
        books = self.books
        books.sent, books.told = self.load.sent, self.load.told
        books.load = self.load.begun, self.load.ended
        books.effects = read_effects(self.folder)
        books.runs, books.done = read_journals(self.folder)
        return books


@asynccontextmanager
async def open_stage(scenario: Scenario, casting: Casting) -> AsyncIterator[Stage]:
    """Start the server, the topology and all processes; end them all afterwards."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(scenario.server(casting))
        stage = Stage(scenario, casting, server, stack)
        chosen = stage.settings()
        async with operate(chosen) as (connection, _):
            if await topology.discover(connection) is None:
                await topology.apply(connection, topology_options(chosen))
        names = [f"router-{number + 1}" for number in range(scenario.routers)]
        names += [f"worker-{number + 1}" for number in range(scenario.workers)]
        started: Sequence[Process] = [await stage.launch(name) for name in names]
        await asyncio.gather(*(process.ready() for process in started))
        yield stage
