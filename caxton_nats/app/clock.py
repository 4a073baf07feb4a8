"""The real clock and the real ids; everything below can be given others."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from os import urandom


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
        # Written out, for every message needs one: the standard library takes four times as long.
        text = urandom(16).hex()
        variant = "89ab"[int(text[16], 16) & 3]
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"
