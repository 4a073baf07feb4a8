"""The server's times, which are finer than Python's. Pure."""

from __future__ import annotations

from datetime import datetime


def moment(time: str) -> datetime:
    """Return an RFC 3339 time in UTC, without the nanoseconds that datetime cannot hold."""
    head, dot, fraction = time.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{head}{dot}{fraction[:6].ljust(6, '0') if dot else ''}+00:00")
