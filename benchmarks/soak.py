"""Whether memory is steady: a million messages through a router service, and what each process has.

    python -m benchmarks.soak --messages 1000000
    python -m benchmarks.soak sender|router|receiver JOB     (started by the first)

The table has the resident memory of each process when 10 %, 50 % and 100 % of the messages are
handled. Each message is handled once, or the run fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from benchmarks import routed
from benchmarks.contest import Job, Participant, a_server, play, play_round
from benchmarks.growth import resident
from benchmarks.paced import Progress
from caxton_nats import Agent, CaxtonError, Context, connect, serve, started

CHUNK, AHEAD = 500, 5_000
"""Messages that are sent together; how many may wait for the receiver."""
MARKS = (10, 50, 100)
"""Per cent of the messages after which memory is looked at."""


async def sender(job: Job) -> dict[str, Any]:
    """Send all messages, never far ahead of the receiver."""
    logging.disable(logging.WARNING)
    alice, progress = Agent("alice"), Progress(job.more["progress"])
    marks = Marks(job)
    async with (
        connect(routed.settings(job, router="service"), observer=lambda _: None) as platform,
        started(platform, alice),
    ):
        await job.go()
        for start in range(0, job.messages, CHUNK):
            while start - progress.read() > AHEAD:  # noqa: ASYNC110 - a page of memory wakes nobody
                await asyncio.sleep(0.002)
            end = min(job.messages, start + CHUNK)
            batch = [
                alice.message("inform", "bob", f"{at} ".ljust(job.size, "x"))
                for at in range(start, end)
            ]
            for result in await alice.send_many(batch):
                if isinstance(result, CaxtonError):
                    raise result
            marks.look(end)
    return {"rss": marks.found}


async def router(job: Job) -> dict[str, Any]:
    """Route until told to stop."""
    logging.disable(logging.WARNING)
    marks, progress = Marks(job), Progress(job.more["progress"])

    async def watch() -> None:
        while True:
            marks.look(progress.read())
            await asyncio.sleep(0.05)

    async with serve(routed.settings(job)):
        await job.go()
        watching = asyncio.create_task(watch())
        await job.stopped()
        marks.look(progress.read())
        watching.cancel()
    return {"rss": marks.found}


async def receiver(job: Job) -> dict[str, Any]:
    """Handle all messages, each once."""
    logging.disable(logging.WARNING)
    bob, progress = Agent("bob"), Progress(job.more["progress"])
    marks, seen = Marks(job), bytearray(job.messages)
    handled, complete = 0, asyncio.Event()

    @bob.on("inform")
    async def take(ctx: Context) -> None:
        nonlocal handled
        number = int(ctx.content.split(" ", 1)[0])
        assert not seen[number], f"message {number} was handled twice"
        seen[number] = 1
        handled += 1
        marks.look(handled)
        progress.tell(handled)
        if handled == job.messages:
            complete.set()

    async with (
        connect(routed.settings(job), observer=lambda _: None) as platform,
        started(platform, bob),
    ):
        await job.go()
        await complete.wait()
        await routed.emptied(platform, bob)
    assert all(seen), "a message was not handled"
    return {"handled": handled, "rss": marks.found}


class Marks:
    """This process's memory in MiB, at each mark."""

    def __init__(self, job: Job) -> None:
        self._messages = job.messages
        self.found: dict[str, float] = {}

    def look(self, number: int) -> None:
        """Look at it if so many messages are a mark."""
        for mark in MARKS:
            if str(mark) not in self.found and number >= self._messages * mark // 100:
                self.found[str(mark)] = round(resident("self") / 2**20, 1)


async def measure(messages: int) -> dict[str, Any]:
    """Return messages a second, CPU microseconds and the MiB of each process at each mark."""
    with tempfile.NamedTemporaryFile() as shared:
        shared.write(bytes(8))
        shared.flush()
        async with a_server() as server:
            await routed.prepare(server.url)
            job = Job(url=server.url, messages=messages, more={"progress": shared.name})
            module = "benchmarks.soak"
            parts = [
                Participant("sender", module, "sender", job),
                Participant("receiver", module, "receiver", job),
                Participant("router", module, "router", job, waits=True),
            ]
            played = await play_round(server, parts, patience=3_600)
    return {
        "messages": messages,
        "rate": played.rate,
        "cpu": played.cpu,
        "mib": {name: one["rss"] for name, one in played.said.items() if "rss" in one},
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print the result, and return it."""
    parser = argparse.ArgumentParser(prog="benchmarks.soak", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    found = asyncio.run(measure(parser.parse_args(arguments).messages))
    print(json.dumps(found, indent=1))
    return found


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] in ("sender", "router", "receiver"):
        play(sys.argv, {"sender": sender, "router": router, "receiver": receiver})
    else:
        main()
