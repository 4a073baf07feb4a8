"""A sender's limit is the platform's: each router service allows its share of it.

NATS gives requests and submissions to all router services alike, at random, so that each of them
sees about the same part of what a sender sends. A process that routes for its own agents only
sees all that these send, and allows the whole.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from caxton_nats.core.errors import CaxtonError
from caxton_nats.core.rate_limit import RateLimit
from caxton_nats.ports import Ports
from caxton_nats.tasks import forever

SHARING = "sharing"
"""The question whether a router serves the doors of the platform."""
_WAIT = timedelta(seconds=2)
_YES, _NO = b"yes", b"no"
_NEW = b"new"


class Sharing:
    """Counts the router services, while this is one of them."""

    def __init__(self, ports: Ports, rate_limit: RateLimit, *, interval: timedelta) -> None:
        self._ports = ports
        self._rate_limit = rate_limit
        self._interval = interval
        self._serves = False
        self._count: asyncio.Task[None] | None = None

    async def answer(self, body: bytes) -> bytes:
        """Say whether this is a router service; when a new one asks, count again."""
        if self._serves and body == _NEW:
            self._count = asyncio.create_task(self._count_again(), name="count the routers")
        return _YES if self._serves else _NO

    async def run(self) -> None:
        """Be a router service, and count again at each interval, until cancelled."""
        if not self._rate_limit.limit:
            await asyncio.Event().wait()
        self._serves = True
        news = [_NEW]
        try:
            await forever(
                lambda: self._count_and_rest(news),
                what="counting the routers that share the limits of senders",
                expected=CaxtonError,
                sleep=self._ports.clock.sleep,
            )
        finally:
            self._serves = False

    async def _count_and_rest(self, news: list[bytes]) -> None:
        await self._ask(news[0] if news else b"")
        news.clear()
        await self._ports.clock.sleep(self._interval)

    async def _ask(self, body: bytes) -> None:
        answers = await self._ports.peers.ask(SHARING, body, wait=_WAIT)
        serving = sum(answer == _YES for answer in answers.values())
        self._rate_limit.share(max(serving, 1))

    async def _count_again(self) -> None:
        try:
            await self._ask(b"")
        except CaxtonError:
            # The next count is due anyway.
            return
