"""Messages by a schedule, and how long each took from the moment it was due.

The sender is an open loop: what is due is sent whatever became of what was sent before, and the
time of a message counts from when it was due, not from when a slow sender got to it. The clock is
CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import mmap
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from math import ceil
from pathlib import Path

from benchmarks.contest import Job

SATURATED = 0
"""The rate that stands for: as many as the receiver takes."""
WINDOW, BATCH = 256, 32
"""At saturation: messages that are not handled yet, and how many are sent together."""
WARM_UP = 0.2
"""Share of the messages that do not count."""
Send = Callable[[Sequence[str]], Awaitable[object]]


def content_of(number: int, due: int, size: int) -> str:
    """Return content of that many bytes that tells its number and when it was due."""
    return f"{number} {due} ".ljust(size, "x")


class Progress:
    """How many messages the last of the processes has taken; a page of memory that they share."""

    def __init__(self, path: str) -> None:
        with Path(path).open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 8)

    def tell(self, number: int) -> None:
        """Say how many it is now."""
        struct.pack_into("<q", self._page, 0, number)

    def read(self) -> int:
        """Return how many it was last."""
        number: int = struct.unpack_from("<q", self._page)[0]
        return number


class Taken:
    """What has arrived, each message once, and how late."""

    def __init__(self, job: Job) -> None:
        self._latencies: dict[int, int] = {}
        self._job = job
        self._progress = Progress(job.more["progress"])
        self._again = 0
        self.complete = asyncio.Event()

    def take(self, content: str) -> None:
        """Take one message's content."""
        now = time.monotonic_ns()
        number, due, _ = content.split(" ", 2)
        self._again += int(number) in self._latencies
        self._latencies[int(number)] = now - int(due)
        self._progress.tell(len(self._latencies))
        if len(self._latencies) == self._job.messages:
            self.complete.set()

    def figures(self) -> dict[str, float]:
        """Return the quantiles in milliseconds; the first messages do not count."""
        assert not self._again, f"{self._again} messages were handled twice"
        assert sorted(self._latencies) == list(range(self._job.messages)), "others were handled"
        first = int(self._job.messages * WARM_UP)
        counting = sorted(late for number, late in self._latencies.items() if number >= first)
        quantiles = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
        found = {
            name: counting[max(0, ceil(share * len(counting)) - 1)] / 1e6
            for name, share in quantiles.items()
        }
        return {"handled": len(self._latencies), **found}


async def paced(job: Job, send: Send) -> None:
    """Send all messages, at the job's rate or as fast as they are handled."""
    if job.more["rate"] == SATURATED:
        await _as_they_are_handled(job, send)
        return
    loop = asyncio.get_running_loop()
    step = 1_000_000_000 // job.more["rate"]
    began = time.monotonic_ns() + step
    sending: list[asyncio.Task[object]] = []
    done = asyncio.Event()
    number = 0

    def send_due() -> None:
        nonlocal number
        end = min(job.messages, (time.monotonic_ns() - began) // step + 1)
        if end > number:
            due = [content_of(at, began + at * step, job.size) for at in range(number, end)]
            number = end
            sending.append(asyncio.ensure_future(send(due)))
        if number == job.messages:
            done.set()

    def keep_time() -> None:
        # In a thread: a loop's own timers are a millisecond late, which all would be charged with.
        for at in range(job.messages):
            time.sleep(max(0, began + at * step - time.monotonic_ns()) / 1e9)
            if at >= number:
                loop.call_soon_threadsafe(send_due)

    threading.Thread(target=keep_time, daemon=True).start()
    await done.wait()
    await asyncio.gather(*sending)


async def _as_they_are_handled(job: Job, send: Send) -> None:
    progress, sending = Progress(job.more["progress"]), []
    for number in range(0, job.messages, BATCH):
        # A page of memory wakes nobody.
        while number - progress.read() > WINDOW - BATCH:  # noqa: ASYNC110
            await asyncio.sleep(0.0005)
        end = min(job.messages, number + BATCH)
        now = time.monotonic_ns()
        due = [content_of(at, now, job.size) for at in range(number, end)]
        sending.append(asyncio.ensure_future(send(due)))
    await asyncio.gather(*sending)
