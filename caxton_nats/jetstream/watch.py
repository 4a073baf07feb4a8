"""A mirror of a bucket in memory, and how far it has come. Nothing here talks to a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from caxton_nats.core.errors import InvalidEnvelope

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Mirror(Protocol[T_contra]):
    """What a bucket keeps current."""

    def replace(self, records: Sequence[T_contra], /) -> None:
        """Become exactly these records."""

    def put(self, record: T_contra, /) -> None:
        """Add or replace one record."""

    def forget(self, key: str, /) -> None:
        """Remove the record of a key."""


class Watch(Generic[T]):
    """Gives a mirror the first records in one go, then each change."""

    def __init__(
        self, mirror: Mirror[T], reached: Callable[[int], None], ready: asyncio.Future[None]
    ) -> None:
        self._mirror = mirror
        self._reached = reached
        self._initial: list[T] | None = []
        self._last = 0
        self._newest: int | None = None
        """How far the state goes that is being read, once that is known."""
        self._moved = asyncio.Event()
        self.ready = ready
        self.losses = 0
        """Connections lost before this watch began: at the next one it may miss changes."""
        self.revision = 0
        """The last change that is in the mirror; 0 while it is being read as a whole."""

    def begin(self, losses: int) -> None:
        """Read everything anew, on a connection that was lost so often before."""
        self._initial = []
        self._last = self.revision = 0
        self._newest = None
        self.losses = losses

    def take(self, key: str, record: T | None, revision: int) -> None:
        """Carry one change into the mirror, or keep it until all that was there has come."""
        self._last = revision
        if self._initial is not None:
            self._initial += [] if record is None else [record]
            self._complete()
            return
        if record is None:
            # A key that names nobody was never in the mirror.
            with suppress(InvalidEnvelope):
                self._mirror.forget(key)
        else:
            self._mirror.put(record)
        self._move()

    def complete(self, newest: int) -> None:
        """All that was there has been given, says nats-py (and says it again after a quiet time).

        It says so, too, when a connection that broke at that moment took with it what was given:
        the mirror would be empty. So it is believed only once the newest record has come.

        Args:
            newest: revision of the last record that the bucket has; 0 if it has none.
        """
        self._newest = newest
        self._complete()

    def _complete(self) -> None:
        if self._newest is None or self._last < self._newest:
            return
        if self._initial is not None:
            self._mirror.replace(self._initial)
            self._initial = None
            self._move()
        if not self.ready.done():
            self.ready.set_result(None)

    def is_complete(self) -> bool:
        """Return whether all that was there has come."""
        return self._initial is None

    async def moved(self) -> None:
        """Return when there is something new."""
        await self._moved.wait()

    def _move(self) -> None:
        self.revision = self._last
        self._reached(self._last)
        self.wake()

    def wake(self) -> None:
        """Have those look again who wait for something new."""
        self._moved.set()
        self._moved = asyncio.Event()
