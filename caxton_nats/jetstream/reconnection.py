"""Which server is tried next and when, without end; and what is known of a lost connection."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from random import uniform
from time import monotonic
from typing import Any

from nats.aio.client import Server

from caxton_nats.core.connection_state import ConnectionState

WAIT = 0.25
"""Seconds between two rounds through all servers, more or less: not all clients at once."""


class Reconnection:
    """Keeps the books of one connection; nats-py asks it for the next server."""

    def __init__(self) -> None:
        self.losses = 0
        """How often the connection was lost."""
        self.reason = ""
        """What went wrong last."""
        self._lost_at: float | None = None
        self._attempts = 0
        self._tried: list[str] = []

    def lost(self, server: str) -> None:
        """Begin to look for a server; the one that was lost is tried last."""
        self.losses += 1
        if self._lost_at is None:
            self._lost_at = monotonic()
            self._attempts = 0
        self._tried = [server]

    def found(self) -> None:
        """End it."""
        self._lost_at = None
        self.reason = ""

    def choose(self, servers: Sequence[Server], _: dict[str, Any]) -> tuple[Server, float]:
        """Return who is tried next, and the seconds to wait before that."""
        self._attempts += 1
        pause = 0.0
        left = [one for one in servers if one.uri.netloc not in self._tried]
        if not left:
            left, self._tried = list(servers), []
            pause = uniform(0.5, 1.5) * WAIT  # noqa: S311 - to spread, not to hide
        self._tried.append(left[0].uri.netloc)
        return left[0], pause

    def state(self, server: str) -> ConnectionState:
        """Return what is to be told, of a connection to this server."""
        if self._lost_at is None:
            return ConnectionState(connected=True, server=server, losses=self.losses)
        return ConnectionState(
            connected=False,
            server=server,
            losses=self.losses,
            attempts=self._attempts,
            down_for=timedelta(seconds=monotonic() - self._lost_at),
            reason=self.reason,
        )
