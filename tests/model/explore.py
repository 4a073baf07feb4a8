"""Runs schedules, and finds the smallest part of one that still fails."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence

from tests.model.commands import Command, Draw, Schedule, Send
from tests.model.ground import Ground, MemoryGround
from tests.model.virtual_loop import VirtualLoop
from tests.model.world import Violation, opened

LENGTH = 30
_PARTICULARS = re.compile(r"^at [\d.]+ s: |\b\S*\d\S*|\b(ann|bob|cay|nobody)\S*")


def schedule(seed: int, length: int = LENGTH) -> Schedule:
    """Return the schedule of this seed."""
    return Draw(seed).schedule(length)


def run(commands: Sequence[Command], seed: int) -> Violation | None:
    """Carry out a schedule over the broker in memory; return what was wrong."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_run(commands, seed))


async def _run(commands: Sequence[Command], seed: int) -> Violation | None:
    try:
        await carried_out(commands, MemoryGround(seed), seed)
    except Violation as violation:
        return violation
    return None


async def carried_out(commands: Sequence[Command], ground: Ground, seed: int) -> None:
    """Carry out a schedule, let everything settle, and look whether it adds up.

    Raises:
        Violation: the engine did what the model forbids.
    """
    async with opened(ground, seed) as world:
        for command in commands:
            await world.carry_out(command)
        await world.settle()


def kind(violation: Violation | None) -> str:
    """Return what was wrong without whom and when it met: two of a kind have one cause."""
    return _PARTICULARS.sub("", str(violation).splitlines()[0]) if violation else ""


def pieces(commands: Schedule) -> Schedule:
    """Return the schedule with each batch in as many sends as it has messages."""
    found: list[Command] = []
    for one in commands:
        found += (
            [Send(one.router, (mail,)) for mail in one.batch] if isinstance(one, Send) else [one]
        )
    return tuple(found)


def smallest(commands: Schedule, seed: int) -> Schedule:
    """Return the smallest part of a schedule that fails in the same way."""
    wanted = kind(run(commands, seed))

    def fails(some: Schedule) -> bool:
        return kind(run(some, seed)) == wanted

    small = shrink(commands, fails)
    apart = pieces(small)
    return shrink(apart, fails) if fails(apart) else small


def shrink(commands: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """Return a part of the schedule that still fails, and of which no piece can be left out."""
    size = max(len(commands) // 2, 1)
    while True:
        at, before = 0, len(commands)
        while at < len(commands):
            rest = commands[:at] + commands[at + size :]
            if fails(rest):
                commands = rest
            else:
                at += size
        if size == 1 and len(commands) == before:
            return commands
        size = max(size // 2, 1)


def report(seed: int, commands: Schedule, violation: Violation) -> str:
    """Return what a reader needs to run it again."""
    lines = "\n".join(f"  {command!r}" for command in commands)
    return f"seed {seed}: {violation}\nafter\n{lines}"


def find(seeds: Sequence[int], length: int = LENGTH) -> str:
    """Run the schedules of these seeds; return the first that fails, made small, or ""."""
    for seed in seeds:
        commands = schedule(seed, length)
        if run(commands, seed) is not None:
            small = smallest(commands, seed)
            violation = run(small, seed)
            assert violation is not None
            return report(seed, small, violation)
    return ""
