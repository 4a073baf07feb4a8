"""Scenarios in which the disk of a single server fails it."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from caxton_nats import connect
from caxton_nats.core.health import reason_of
from chaos.disk import Disk, disk
from chaos.effects import now
from chaos.load import Shape
from chaos.needs import LOOP
from chaos.oracle import Promises
from chaos.process_faults import the_server
from chaos.scenario import USUAL, Casting, scenario
from chaos.servers import Server, Single, single
from chaos.stage import NotResumed, Stage
from chaos.up import Up

MEGABYTES = 96
_LOST = re.compile(r"(\S+) has lost its end, (\d+)\.\.(\d+)")
DISK_FULL = Promises(unordered=USUAL.unordered, leaves=True)
TRUNCATED = Promises(max_reported=100_000, unordered=frozenset({"sender-"}))
"""What is left of the stream comes again, also what was settled: in order, but not at once."""
WITHOUT_PATIENCE = Shape(patience=1.0)


class OnDisk(Single):
    """A server whose streams lie on a disk of their own."""

    def __init__(self, server: Single, disk: Disk) -> None:
        super().__init__(server.embedded)
        self.disk = disk

    async def lose_power(self) -> None:
        """Stop the server and its disk at one moment, as a power cut would."""
        # Frozen first: it must not acknowledge anything after its disk has gone.
        self.freeze()
        self.disk.cut()
        await self.kill()
        await self.disk.unmount()

    async def get_power(self) -> None:
        """Start both again."""
        await self.disk.mount()
        await self.restart()


@asynccontextmanager
async def _power_safe(casting: Casting) -> AsyncIterator[Server]:
    async with _on_disk(casting, "power") as server:
        yield server


@asynccontextmanager
async def _not_power_safe(casting: Casting) -> AsyncIterator[Server]:
    async with _on_disk(casting, "process") as server:
        yield server


@asynccontextmanager
async def _power_safe_anywhere(casting: Casting) -> AsyncIterator[Server]:
    async with single(casting.folder / "store", "power") as server:
        yield server


@asynccontextmanager
async def _on_disk(
    casting: Casting, durability: Literal["power", "process"]
) -> AsyncIterator[OnDisk]:
    async with disk(casting.folder, MEGABYTES) as made:
        store = made.path / "store"
        store.mkdir()
        # Of what a careless server loses, the folder itself is of no interest.
        os.sync()
        async with single(store, durability) as server:
            yield OnDisk(server, made)


@scenario("power-cut", server=_power_safe, needs=(LOOP,))
async def power_cut(stage: Stage) -> None:
    """A server with --durability power loses its power, with mail waiting."""
    async for _ in stage.moments():
        server = _disk_server(stage)
        await _cut(stage, server)
        await server.get_power()
        for name in stage.workers:
            stage.processes[name].thaw()
        await stage.resumed()


@scenario(
    "power-cut-control",
    server=_not_power_safe,
    needs=(LOOP,),
    promises=Promises(loses=True),
    shape=WITHOUT_PATIENCE,
)
async def power_cut_control(stage: Stage) -> None:
    """The same with the server's own default must lose: else the rig shows nothing."""
    await stage.wait(0.2, 1.0)
    server = _disk_server(stage)
    await _cut(stage, server)
    for name in [*stage.routers, *stage.workers]:
        # What would they do without streams?
        await stage.processes[name].kill()
    await server.get_power()


async def _cut(stage: Stage, server: OnDisk) -> None:
    """Let mail pile up, so that there is something to lose, and cut."""
    for name in stage.workers:
        stage.freeze(name)
    await stage.wait(0.5, 1.5)
    stage.say("cut the power")
    await server.lose_power()


class UpOnDisk(Up):
    """`caxton up`, whose streams lie on a disk of their own."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        super().__init__(disk.path / "store", folder, "power")
        self.disk = disk


@asynccontextmanager
async def _up_on_disk(casting: Casting) -> AsyncIterator[Server]:
    async with disk(casting.folder, MEGABYTES) as made:
        server = UpOnDisk(made, casting.folder)
        try:
            await server.start()
            yield server
        finally:
            await server.stop()


@scenario("disk-full", server=_up_on_disk, routers=0, needs=(LOOP,), promises=DISK_FULL)
async def disk_full(stage: Stage) -> None:
    """Somebody fills the disk under `caxton up`, and makes room: senders are told, and go on."""
    server = stage.server
    assert isinstance(server, UpOnDisk)
    async for _ in stage.moments():
        stage.say("fill the disk")
        server.disk.fill()
        full = now()
        await stage.until(
            partial(_told_at_both_doors, stage, full), "nobody was told at one of the doors"
        )
        await stage.wait(1.0, 3.0)
        stage.say("make room")
        server.disk.free()
        await stage.resumed()


def _told_at_both_doors(stage: Stage, since: float) -> bool:
    """Return whether senders were told the reason; nobody answers a submission."""
    told = {
        one.task.sender
        for one in stage.load.sent.values()
        if (one.accepted or now()) > since and "ServerExhausted" in one.errors
    }
    return {"sender-embedded", "sender-service"} <= told


@scenario(
    "store-truncated",
    server=_power_safe_anywhere,
    promises=TRUNCATED,
    shape=Shape(doors=("embedded", "service")),
)
async def store_truncated(stage: Stage) -> None:
    """The end of a mailbox stream's file is cut off: what is gone with it is told by health."""
    server = the_server(stage)
    await stage.wait(0.5, 1.0)
    for name in stage.workers:
        stage.freeze(name)
    await stage.wait(0.8, 1.5)
    stage.say("kill the server")
    await server.kill()
    killed = now()
    victim = max(server.embedded.folder.path.rglob("CAXTON_MAILBOX_*/msgs/*.blk"), key=_size)
    size = _size(victim)
    left = int(size * stage.rng.uniform(0.3, 0.9))
    stage.say(f"cut {victim.parent.parent.name}/{victim.name} from {size} to {left} bytes")
    os.truncate(victim, left)
    await server.restart()
    for name in stage.workers:
        stage.thaw(stage.processes[name])
    await stage.resumed()
    await stage.wait(1.0, 2.0)
    lost = await _lost_ranges(stage)
    for key, sent in stage.load.sent.items():
        stream, sequence = sent.stored or ("", 0)
        first, last = lost.get(stream, (1, 0))
        if sent.accepted and sent.accepted < killed and first <= sequence <= last:
            stage.books.reported[key] = f"{stream} {first}..{last}"
    told = "; ".join(f"{stream} {first}..{last}" for stream, (first, last) in lost.items())
    stage.say(f"health and the logs name as lost: {told}")


async def _lost_ranges(stage: Stage) -> dict[str, tuple[int, int]]:
    """Return what each process that routes says that streams have lost.

    Raises:
        NotResumed: `caxton health` says nothing of it.
    """
    async with connect(stage.settings(), observer=lambda _: None) as platform:
        health = await platform.health_check()
    if not reason_of(health.components["acknowledged"].status):
        raise NotResumed("health does not tell that a stream has lost its end")
    lost: dict[str, tuple[int, int]] = {}
    for log in stage.folder.glob("*.log"):
        for stream, first, last in _LOST.findall(log.read_text()):
            known = lost.get(stream, (int(first), int(last)))
            lost[stream] = min(int(first), known[0]), max(int(last), known[1])
    return lost


def _size(file: Path) -> int:
    return file.stat().st_size


def _disk_server(stage: Stage) -> OnDisk:
    assert isinstance(stage.server, OnDisk)
    return stage.server
