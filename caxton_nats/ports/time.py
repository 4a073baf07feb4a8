"""Time, chance, fresh ids, and what is to happen later."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from caxton_nats.ports.mail import Inbox


class Clock(Protocol):
    """Time, chance and waiting."""

    def now(self) -> datetime:
        """Return the time in UTC."""

    def chance(self) -> float:
        """Return a random number in 0..1."""

    async def sleep(self, delay: timedelta) -> None:
        """Wait."""


class Ids(Protocol):
    """Fresh unique ids."""

    def new_id(self) -> str:
        """Return an id that nobody can guess."""


class Timer(msgspec.Struct, frozen=True):
    """What comes due: the body of a delivery from `Timers.inbox`, as JSON."""

    kind: str
    """What it is about, one lower-case word: who handles it is chosen by this."""
    key: str
    """Which one of its kind."""
    data: str = ""
    """For its handler; the truth may have changed since, so it is a hint."""


class Due(msgspec.Struct, frozen=True):
    """Timers that have come due and are not settled."""

    number: int = 0
    since: datetime | None = None
    """When the first of them came due."""


class Timers(Protocol):
    """Durable timers, one for each (kind, key); they outlive every process.

    Due timers are deliveries like any others: they come at least once, up to half a second late,
    to one of those who read, and stay until they are settled.
    """

    async def set(self, timer: Timer, at: datetime) -> None:
        """Have the timer come due at a moment, at once if that has passed.

        An earlier one of the same kind and key is replaced, unless it has come due already.
        """

    async def cancel(self, kind: str, key: str) -> None:
        """Forget the timer, if it has not come due; nothing happens if there is none."""

    async def inbox(self) -> Inbox:
        """Return what is due, for reading; all readers share it."""

    async def due(self) -> Due:
        """Return how many have come due and are not settled, in the hands of a reader or not."""
