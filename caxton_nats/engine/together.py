"""What comes while something is under way is done together afterwards: a round trip costs more.

Nobody waits for a clock. What comes alone begins at once; what comes meanwhile gathers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from caxton_nats.tasks import end

T = TypeVar("T")
log = logging.getLogger("caxton_nats")


class Together(Generic[T]):
    """Has items done with, several at a time, in the order in which they are added."""

    def __init__(self, act: Callable[[list[T]], Awaitable[None]], *, name: str) -> None:
        """Take what to do.

        Args:
            act: does with these items, whatever goes wrong with them: it must not raise.
            name: of its task.
        """
        self._act = act
        self._name = name
        self._waiting: list[T] = []
        self._acting: asyncio.Task[None] | None = None

    def add(self, item: T) -> None:
        """Have this done with, too."""
        self._waiting.append(item)
        if not self.is_at_work:
            self._acting = asyncio.create_task(self._act_on_all(), name=self._name)

    @property
    def is_at_work(self) -> bool:
        """Whether anything is being done, or waits for it."""
        return self._acting is not None and not self._acting.done()

    async def close(self, patience: float) -> None:
        """Return when nothing is being done any more, or after so many seconds."""
        if self._acting is not None:
            _, going = await asyncio.wait([self._acting], timeout=patience)
            await end(going)

    async def _act_on_all(self) -> None:
        while self._waiting:
            items, self._waiting = self._waiting, []
            try:
                await self._act(items)
            except Exception:
                # A bug; whoever comes later must not wait for ever.
                log.exception("%s failed", self._name)
