"""Virtual time: an event loop that does not wait for time to pass, but lets it pass at once.

Whenever everybody waits for time, the loop's clock leaps to the moment at which the first of them
goes on. So ``asyncio.sleep(3600)``, the retries of a mailbox and a deadline of tomorrow take no
time, come in the order and at the moment they should, and the same in every run. It is for code
that waits for time and for other tasks, as agents on `memory_platform` do; whoever waits for a
socket or a thread finds that time has leapt meanwhile.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

_T = TypeVar("_T")
_BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
_PATIENCE = 1.0
"""Real seconds in which a thread or a socket may come to the help of those who wait."""


class Stuck(Exception):
    """Everybody waits, and nobody for time: the test would never end."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time leaps."""

    def __init__(self) -> None:
        self._passed = 0.0
        super().__init__(_Leaping(self))

    def time(self) -> float:
        """Return the seconds that have passed for those who run in it."""
        return self._passed

    def leap(self, seconds: float) -> None:
        """Let time pass."""
        self._passed += seconds

    def who_waits(self) -> str:
        """Return the names of the tasks, for an error."""
        names = sorted(task.get_name() for task in asyncio.all_tasks(self))
        return ", ".join(names) or "nobody"


class _Leaping(selectors.DefaultSelector):
    """A selector that never waits for time."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is not None:
            self._loop.leap(timeout)
            return []
        ready = super().select(_PATIENCE)
        if not ready:
            raise Stuck(
                "everybody waits for somebody else, and nobody for time; these tasks wait: "
                f"{self._loop.who_waits()}"
            )
        return ready


class VirtualClock:
    """The `Clock` of a platform in virtual time: its moments are those of the running loop.

    Args:
        start: the moment at which the loop's time is 0.
        seed: of what is left to chance (jitter), which is the same in every run.
    """

    def __init__(self, start: datetime = _BEGINNING, *, seed: int = 0) -> None:
        self._start = start
        self._random = random.Random(seed)  # noqa: S311 - chance that can be played again

    def now(self) -> datetime:
        """Return the time in UTC."""
        return self._start + timedelta(seconds=asyncio.get_running_loop().time())

    def chance(self) -> float:
        """Return the next number in 0..1 of the seed's."""
        return self._random.random()

    async def sleep(self, delay: timedelta) -> None:
        """Wait, virtually."""
        await asyncio.sleep(delay.total_seconds())


def run_in_virtual_time(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine in a loop of its own whose time leaps, and return what it returns.

    Raises:
        Stuck: everybody waits, and nobody for time.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
