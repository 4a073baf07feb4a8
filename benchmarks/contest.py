"""One round of one contestant: a server of its own, processes of their own, one clock for all.

A participant says "ready" on its standard output, begins at "go" on its standard input, ends by
itself or at "stop", and says in JSON what it has done and how much processor time that took. What
it does after that (deregister, close) belongs to no message, and is not measured.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from time import monotonic, process_time
from typing import Any, Literal

from caxton_nats.jetstream.embedded import EmbeddedOptions, EmbeddedServer

PATIENCE = 120.0
LEAVE = 30.0
"""Seconds that a participant has to end when all is measured."""
Durability = Literal["process", "power"]
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Job:
    """What a participant is told."""

    url: str = ""
    name: str = "m"
    messages: int = 10_000
    size: int = 256
    door: str = "service"
    receivers: list[str] = field(default_factory=lambda: ["bob"])
    senders: list[str] = field(default_factory=lambda: ["alice"])
    more: dict[str, Any] = field(default_factory=dict)

    async def go(self) -> None:
        """Say that everything is ready, and return when it begins."""
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        _Began.at, _Began.cpu = monotonic(), process_time()

    async def stopped(self) -> None:
        """Return when told to stop."""
        await asyncio.to_thread(sys.stdin.readline)

    async def dismissed(self) -> None:
        """Return when the others have ended, too, and nobody needs us."""
        await asyncio.to_thread(sys.stdin.read)

    def done(self, **figures: Any) -> None:
        """Say what was done, before the role ends: what it does from here on is not measured."""
        _Began.has_said = True
        print(json.dumps(_measures() | figures), flush=True)


class _Began:
    at = cpu = 0.0
    has_said = False


Role = Callable[[Job], Awaitable[dict[str, Any]]]


def play(arguments: Sequence[str], roles: Mapping[str, Role]) -> None:
    """Be a participant: ``MODULE ROLE JOB``."""
    job = Job(**json.loads(arguments[2]))
    asyncio.run(_played(roles[arguments[1]], job))


async def _played(role: Role, job: Job) -> None:
    figures = await role(job)
    if not _Began.has_said:
        job.done(**figures)


def _measures() -> dict[str, Any]:
    return {"began": _Began.at, "ended": monotonic(), "cpu": process_time() - _Began.cpu}


@dataclass
class Participant:
    """A process of the round."""

    name: str
    module: str
    role: str
    job: Job
    waits: bool = False
    """It goes on until it is told to stop."""


@dataclass
class Round:
    """What a round has brought."""

    messages: int
    seconds: float
    cpu: dict[str, float]
    """Microseconds for a message, by participant; of the server as ``server``."""
    said: dict[str, dict[str, Any]]

    @property
    def rate(self) -> float:
        """Messages a second, from the first to be sent to the last to be handled."""
        return self.messages / self.seconds

    @property
    def sending(self) -> float:
        """Messages a second, until the sender knows of each that it is stored."""
        first = next(iter(self.said.values()))
        return self.messages / float(first["ended"] - first["began"])

    @property
    def cost(self) -> float:
        """Microseconds of all processes for a message."""
        return sum(self.cpu.values())


@asynccontextmanager
async def a_server(
    durability: Literal["process", "power"] = "process",
) -> AsyncIterator[EmbeddedServer]:
    """Yield a server that nobody else uses."""
    async with EmbeddedServer(EmbeddedOptions(durability=durability)) as server:
        yield server


async def play_round(
    server: EmbeddedServer, participants: Sequence[Participant], *, patience: float = PATIENCE
) -> Round:
    """Have the participants do their parts in so many seconds.

    The first one sends; they start in reverse, so that whoever is needed comes after who needs it.
    """
    async with AsyncExitStack() as stack:
        processes: list[asyncio.subprocess.Process] = []
        # Whoever sends comes last: the others have to be there.
        for one in reversed(participants):
            processes.insert(0, await stack.enter_async_context(_process(one)))
            line = await _line(processes[0])
            if line != "ready":
                raise RuntimeError(f"{one.name} is not ready: {line}")
        before = _cpu_of(server.pid)
        for process in processes:
            await _say(process, "go")
        said: dict[str, dict[str, Any]] = {}
        for wanted in (False, True):
            for process, one in zip(processes, participants, strict=True):
                if one.waits is wanted:
                    if wanted:
                        await _say(process, "stop")
                    said[one.name] = json.loads(await _line(process, patience))
        used = _cpu_of(server.pid) - before
    job = participants[0].job
    began = said[participants[0].name]["began"]
    ended = max(one["ended"] for one in said.values() if "handled" in one)
    handled = sum(one.get("handled", 0) for one in said.values())
    if handled != job.messages:
        raise RuntimeError(f"{handled} of {job.messages} messages were handled")
    cpu = {name: one["cpu"] / job.messages * 1e6 for name, one in said.items()}
    cpu["server"] = used / job.messages * 1e6
    return Round(job.messages, ended - began, cpu, said)


@asynccontextmanager
async def _process(one: Participant) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", one.module, one.role, json.dumps(asdict(one.job))),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        # It deregisters: the next round may be played on the same server, by the same names.
        if process.stdin is not None:
            process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE):
                await process.wait()
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _say(process: asyncio.subprocess.Process, word: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{word}\n".encode())
    await process.stdin.drain()


async def _line(process: asyncio.subprocess.Process, patience: float = PATIENCE) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(patience):
        line = await process.stdout.readline()
    if not line:
        raise RuntimeError(f"a participant ended with {await process.wait()} and said nothing")
    return line.decode().strip()


def _cpu_of(pid: int) -> float:
    """Return the processor time of a process in seconds (to a hundredth)."""
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - a file of the kernel's
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
