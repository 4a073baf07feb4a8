"""Requests that wait for a worker: a bounded number of them, and of bytes.

Core NATS pushes, and nobody may hold it back: what is not answered at once would be memory.
"""

from __future__ import annotations

import asyncio
from collections import deque

from caxton_nats.core.errors import QueueFull
from caxton_nats.jetstream.wire import Frame

MOST = 10_000
"""Requests that wait, or are being answered, at most."""
MOST_BYTES = 64 * 1024 * 1024


class Waiting:
    """First in, first out; who comes when it is full is refused."""

    def __init__(self) -> None:
        self._messages: deque[Frame] = deque()
        self._bytes = 0
        self._some = asyncio.Event()

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._messages)

    def put(self, message: Frame) -> None:
        """Let it wait.

        Raises:
            QueueFull: as much waits already as may.
        """
        size = len(message.data)
        if len(self._messages) >= MOST or self._bytes + size > MOST_BYTES:
            raise refusal(len(self._messages))
        self._messages.append(message)
        self._bytes += size
        self._some.set()

    def put_back(self, message: Frame) -> None:
        """Let it be the first again."""
        self._messages.appendleft(message)
        self._bytes += len(message.data)
        self._some.set()

    async def get(self) -> Frame:
        """Return the first, as soon as there is one."""
        while not self._messages:
            self._some.clear()
            await self._some.wait()
        (first,) = self.take(1)
        return first

    def take(self, number: int, most_bytes: int = MOST_BYTES) -> list[Frame]:
        """Return up to so many, and one of any size, without waiting."""
        taken: list[Frame] = []
        size = 0
        while self._messages and len(taken) < number:
            size += len(self._messages[0].data)
            if taken and size > most_bytes:
                break
            taken.append(self._messages.popleft())
            self._bytes -= len(taken[-1].data)
        return taken


def refusal(waiting: int) -> QueueFull:
    """Return the error for a request that nobody can take up."""
    return QueueFull(
        "the router has as many requests waiting as it may, or as many bytes",
        field="router",
        limit=MOST,
        value=waiting,
        hint="send again with the same message id; start another router if this goes on",
        retry_after=1.0,
    )
