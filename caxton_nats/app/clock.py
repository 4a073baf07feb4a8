"""The real clock and the real ids; everything below can be given others."""

from __future__ import annotations

import asyncio
import random
import uuid
from datetime import UTC, datetime, timedelta


class SystemClock:
    """Time of this machine."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)

    def chance(self) -> float:
        """Return a random number in 0..1."""
        return random.random()  # noqa: S311 - jitter, not a secret

    async def sleep(self, delay: timedelta) -> None:
        """Wait."""
        await asyncio.sleep(delay.total_seconds())


class RandomIds:
    """Ids that nobody can guess: 122 random bits."""

    def new_id(self) -> str:
        """Return a UUID, version 4."""
        return str(uuid.uuid4())
