"""Tasks that must not end by accident, and tasks that must end for certain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

_AGAIN = 0.5
"""Seconds after which a task that goes on in spite of its cancellation is cancelled again."""
_FIRST_PAUSE, _LAST_PAUSE = timedelta(milliseconds=100), timedelta(seconds=1)
_TOLD, _TOLD_AGAIN = 5, 60
"""Failures in a row of which each is logged, and of how many further ones one is."""
log = logging.getLogger("caxton_nats")


class Workers:
    """How much a process takes on: batches of a size, and so many of them at the same time."""

    def __init__(self, number: int, batch_size: int) -> None:
        self.batch_size = batch_size
        """Messages of one batch at most."""
        self.turns = asyncio.Semaphore(number)
        """Whoever works on a batch has one of them."""


async def forever(
    step: Callable[[], Awaitable[object]],
    *,
    what: str,
    expected: type[Exception],
    sleep: Callable[[timedelta], Awaitable[None]],
) -> None:
    """Repeat the step until cancelled; a failure is waited out, up to a second, and logged.

    Whatever the step raises: nobody would notice that a loop in the background has ended, and what
    it should have taken would lie for ever. Never a hot loop: a server that is away answers each
    request at once with an error.

    Args:
        step: what is repeated; it waits by itself when there is nothing to do.
        what: for the log, as in "<what> failed".
        expected: failures of the world; any other is a bug and logged with its traceback.
        sleep: waits.
    """
    pause, failures = _FIRST_PAUSE, 0
    while True:
        try:
            await step()
            pause, failures = _FIRST_PAUSE, 0
        except Exception as error:
            told = None if isinstance(error, expected) else error
            failures += 1
            if failures <= _TOLD or failures % _TOLD_AGAIN == 0:
                log.warning("%s failed, trying again: %s", what, error, exc_info=told)
            await sleep(pause)
            pause = min(pause * 2, _LAST_PAUSE)


@contextmanager
def heeding_cancellation() -> Iterator[None]:
    """Raise a cancellation that came during the body and that the body has swallowed.

    `asyncio.wait_for` of Python 3.11, in which nats-py waits for every answer, swallows one that
    meets the very moment of its result: whoever was cancelled would go on for ever. One that came
    before is left alone, for a task that cleans up after itself may ask, too.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    yield
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks and return when all of them have ended, whatever they ended with.

    Once is not enough: `asyncio.wait_for` of Python 3.11, which nats-py uses, swallows a
    cancellation that meets the very moment of its result.
    """
    going = {task for task in tasks if not task.done()}
    while going:
        for task in going:
            task.cancel()
        _, going = await asyncio.wait(going, timeout=_AGAIN)
