"""The tasks that handlers run in: as many as there is work for, each for one message after another.

A task for each message would cost more than many a handler does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator

from caxton_nats.engine.lanes import Held

_IN_A_ROW = 64
"""Messages that one task works on before others get their turn, if none of them waits."""
log = logging.getLogger("caxton_nats")


class Hands:
    """What is at work in one mailbox."""

    def __init__(
        self,
        work: Callable[[Held], Awaitable[None]],
        following: Callable[[], Held | None],
        ended: Callable[[], None],
    ) -> None:
        """Take what to do.

        Args:
            work: has a message handled.
            following: returns what a task works on next; None if it is to end.
            ended: is called when a task has.
        """
        self._work = work
        self._following = following
        self._ended = ended
        self._busy: dict[asyncio.Task[None], Held] = {}

    def __len__(self) -> int:
        """Return how many messages are being handled."""
        return len(self._busy)

    def __contains__(self, task: object) -> bool:
        """Return whether a handler runs in the task."""
        return task in self._busy

    def __iter__(self) -> Iterator[asyncio.Task[None]]:
        """Return the tasks."""
        return iter(list(self._busy))

    def holding(self, task: object) -> list[Held]:
        """Return what the task works on: one message, or none if it is not one of these."""
        return [held for one, held in self._busy.items() if one is task]

    def begin(self, held: Held) -> None:
        """Have the message worked on."""
        task = asyncio.create_task(self._run(held), name=f"handle {held.delivery.origin.key}")
        self._busy[task] = held
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._busy.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("handling failed", exc_info=task.exception())
        self._ended()

    async def _run(self, first: Held) -> None:
        task, held, number = asyncio.current_task(), first, 0
        while task is not None:
            await self._work(held)
            del self._busy[task]
            # What was handed out past all others has a task of its own.
            following = None if held.alone else self._following()
            if following is None:
                return
            self._busy[task] = held = following
            number += 1
            if number % _IN_A_ROW == 0:
                await asyncio.sleep(0)
