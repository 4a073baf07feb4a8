"""Requests that wait for a worker: a bounded number of them, and of bytes.

Core NATS pushes, and nobody may hold it back: what is not answered at once would be memory.
"""

from __future__ import annotations

import asyncio
from collections import deque

from nats.aio.msg import Msg

from caxton_nats.core.errors import QueueFull

MOST = 10_000
"""Requests that wait, or are being answered, at most."""
MOST_BYTES = 64 * 1024 * 1024


class Waiting:
    """First in, first out; who comes when it is full is refused."""

    def __init__(self) -> None:
        self._messages: deque[Msg] = deque()
        self._bytes = 0
        self._some = asyncio.Event()

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._messages)

    def put(self, message: Msg) -> None:
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

    def put_back(self, message: Msg) -> None:
        """Let it be the first again."""
        self._messages.appendleft(message)
        self._bytes += len(message.data)
        self._some.set()

    async def get(self) -> Msg:
        """Return the first, as soon as there is one."""
        while not self._messages:
            self._some.clear()
            await self._some.wait()
        (first,) = self.take(1)
        return first

    def take(self, number: int) -> list[Msg]:
        """Return up to so many, without waiting."""
        taken = [self._messages.popleft() for _ in range(min(number, len(self._messages)))]
        self._bytes -= sum(len(message.data) for message in taken)
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
