"""Whether a process has its connection, and how it goes about getting it back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec


class ConnectionState(msgspec.Struct, frozen=True, kw_only=True):
    """The connection of one process to its servers."""

    connected: bool
    server: str = ""
    """Address, without the password."""
    losses: int = 0
    """How often the connection was lost."""
    attempts: int = 0
    """How often it was tried to get it back, this time."""
    down_for: timedelta = timedelta()
    reason: str = ""
    """What went wrong last."""

    def trouble(self, now: datetime) -> str:
        """Return since when there is no connection, and how it is tried; empty if there is one."""
        if self.connected:
            return ""
        since = (now - self.down_for).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        reason = f": {self.reason}" if self.reason else ""
        return f"not connected since {since}, attempt {self.attempts}{reason}"
