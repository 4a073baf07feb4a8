"""Calls that come at about the same moment go to a server as one: a round trip is the larger part.

Nobody waits for a clock: while one call is under way the next gathers, and a call that could begin
lets the loop turn a few times first, as long as somebody may come and comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from caxton_nats.tasks import end

T = TypeVar("T")


class Together(Generic[T]):
    """Has items done with that are added one by one, several at a time, in their order."""

    def __init__(
        self,
        act: Callable[[list[T]], Awaitable[int]],
        *,
        name: str,
        turns: int = 1,
        coming: Callable[[], int] | None = None,
    ) -> None:
        """Take what to do and how long to wait for company.

        Args:
            act: does with the first of these items, one at least, and returns how many.
            name: of its task.
            turns: of the loop, after which nobody else is waited for.
            coming: how many items there may be at most at this moment.
        """
        self._act = act
        self._name = name
        self._turns = turns
        self._coming = coming
        self._waiting: list[tuple[T, asyncio.Future[None]]] = []
        self._acting: asyncio.Task[None] | None = None

    async def add(self, item: T) -> None:
        """Return when it was done with, or raise why it was not."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._acting is None or self._acting.done():
            self._acting = asyncio.create_task(self._act_on_all(), name=self._name)
        await done

    async def close(self, patience: float) -> None:
        """Return when nothing is being done any more, or after so many seconds."""
        if self._acting is not None:
            _, going = await asyncio.wait([self._acting], timeout=patience)
            await end(going)

    async def _act_on_all(self) -> None:
        while self._waiting:
            await self._gather()
            waiting, self._waiting = self._waiting, []
            error: Exception | None = None
            try:
                while waiting:
                    number = await self._act([item for item, _ in waiting])
                    for _, done in waiting[:number]:
                        if not done.done():
                            done.set_result(None)
                    del waiting[:number]
            except Exception as failed:  # noqa: BLE001 - whoever waits is told
                error = failed
            for _, done in waiting:
                if error is not None and not done.done():
                    done.set_exception(error)

    async def _gather(self) -> None:
        quiet, number = 0, len(self._waiting)
        while quiet < self._turns and (self._coming is None or number < self._coming()):
            await asyncio.sleep(0)
            quiet = 0 if len(self._waiting) > number else quiet + 1
            number = len(self._waiting)
