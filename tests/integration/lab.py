"""One test's deployment on a real server, under the conservation law."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from caxton_nats import app
from caxton_nats.config import Settings
from caxton_nats.core.identifiers import AgentId
from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.connection import connect as connect_nats
from caxton_nats.sdk.agent import Agent
from caxton_nats.sdk.context import Context
from tests.plugins.conservation import Books, conserved

PLATFORM = "here"
EMBEDDED_ONLY = pytest.mark.parametrize("nats_url", ["embedded"], indirect=True)
"""For what says more about this code than about the server, and takes its time."""
_ROOT = Path(__file__).parents[2]


class Program:
    """A process of tests.integration.programs."""

    def __init__(self, process: asyncio.subprocess.Process, notes: Path) -> None:
        self._process = process
        self._notes = notes

    @property
    def notes(self) -> list[Any]:
        """What its handler saw, in order; those before and after a SIGKILL share one file."""
        if not self._notes.exists():
            return []
        return [msgspec.json.decode(line) for line in self._notes.read_bytes().splitlines()]

    async def ready(self) -> None:
        """Wait until the process says that it is ready."""
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 30)
        assert line == b"ready\n", f"the process ended early ({await self.wait()})"

    def freeze(self) -> None:
        """Stop it where it is, connected as it is (SIGSTOP)."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        self._process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        await self.stop(signal.SIGKILL)

    async def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, politely unless told otherwise."""
        if self._process.returncode is None:
            self._process.send_signal(number)
        await self.wait()

    async def wait(self) -> int:
        """Wait until it has ended by itself."""
        # Reading to the end closes the pipe, too.
        await asyncio.wait_for(self._process.communicate(), 30)
        assert self._process.returncode is not None
        return self._process.returncode


class Lab:
    """Makes platforms, agents, routers and processes, and ends them with the test."""

    def __init__(
        self, url: str, books: Books, folder: Path, stack: AsyncExitStack, **always: object
    ) -> None:
        self.url = url
        self._always = always
        self.books = books
        self.beyond: dict[str, object] = {}
        """Settings past their bounds, in this process: of what takes minutes at the least."""
        self._folder = folder
        self._stack = stack
        self._number = count(1)

    def settings(self, **chosen: object) -> Settings:
        """Return settings fit for a test: few shards, quick retries."""
        common: dict[str, object] = {
            "nats_url": self.url,
            "platform": PLATFORM,
            "shards": 4,
            "retry_delay": 0.1,
            "request_timeout": 10.0,
        }
        # Copied, they are not checked again.
        given = {**common, **self._always, **chosen}
        return Settings.model_validate(given).model_copy(update=self.beyond)

    async def platform(self, **chosen: object) -> Platform:
        """Connect as one more process would."""
        return await self._stack.enter_async_context(
            app.connect(self.settings(**chosen), observer=self.books.observe)
        )

    async def router(self, **chosen: object) -> Platform:
        """Run a router service in this process until the test ends."""
        return await self._stack.enter_async_context(self.serving(**chosen))

    @asynccontextmanager
    async def serving(self, **chosen: object) -> AsyncIterator[Platform]:
        """Run a router service in this process for a while."""
        async with app.serve(self.settings(**chosen), observer=self.books.observe) as platform:
            yield platform

    async def through(self, door: str, **chosen: object) -> Platform:
        """Connect with the door given, and a router service behind it if it needs one."""
        if door == "service":
            await self.router(**chosen)
        return await self.platform(router=door, **chosen)

    async def agent(self, name: str, platform: Platform | None = None) -> Agent:
        """Return a started agent without handlers, on its own connection unless told otherwise."""
        agent = Agent(name)
        await self.start(agent, platform or await self.platform())
        return agent

    async def start(self, agent: Agent, platform: Platform) -> None:
        """Start the agent until the test ends."""
        await self._stack.enter_async_context(app.started(platform, agent))

    async def collector(self, name: str, platform: Platform | None = None) -> Collector:
        """Return a started agent that keeps what it gets."""
        collector = Collector(name)
        await self.start(collector, platform or await self.platform())
        return collector

    async def register(self, name: str, platform: Platform) -> AgentId:
        """Register an agent that does not read its mail yet."""
        return (await platform.registrar.register(platform.agent_id(name))).agent

    async def spawn(
        self, *arguments: str, test: dict[str, str] | None = None, **chosen: object
    ) -> Program:
        """Start a process of tests.integration.programs, wait until it is ready."""
        program = await self.launch(*arguments, test=test, **chosen)
        await program.ready()
        return program

    async def launch(
        self, *arguments: str, test: dict[str, str] | None = None, **chosen: object
    ) -> Program:
        """Start a process of tests.integration.programs."""
        wanted = self.settings(**chosen).model_dump(exclude_unset=True, exclude=set(self.beyond))
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith("CAXTON_")
        }
        notes = self._folder / f"{'-'.join(arguments[:2])}.notes"
        variables = {
            **{f"CAXTON_{name.upper()}": str(value) for name, value in wanted.items()},
            "CAXTON_TEST_JOURNAL": str(self.books.journal(f"process-{next(self._number)}")),
            "CAXTON_TEST_NOTES": str(notes),
            **(test or {}),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.integration.programs",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            env=clean | variables,
            cwd=_ROOT,
        )
        program = Program(process, notes)
        self._stack.push_async_callback(program.kill)
        return program

    async def nats(self) -> Connection:
        """Return a connection that knows nothing of agents."""
        connection = await connect_nats(self.url, name="test")
        self._stack.push_async_callback(connection.close)
        return connection


class Collector(Agent):
    """An agent that keeps every message it gets."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.got: list[Context] = []
        self.on("*")(self._keep)

    @property
    def contents(self) -> list[Any]:
        return [context.content for context in self.got]

    async def _keep(self, context: Context) -> None:
        self.got.append(context)


@asynccontextmanager
async def open_lab(url: str, folder: Path, **always: object) -> AsyncIterator[Lab]:
    """Yield a lab with these settings; when all it made has ended, the books must balance."""
    async with conserved(url, folder) as books, AsyncExitStack() as stack:
        yield Lab(url, books, folder, stack, **always)
