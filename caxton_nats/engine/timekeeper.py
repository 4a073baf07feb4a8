"""What is to happen at a time: timers that have come due go to who knows their kind.

A timer is a hint: its handler looks at the truth, which may have changed since it was set, and
must do nothing the second time. It is settled when the handler has returned.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

import msgspec

from caxton_nats.core.disposition import Ack, Disposition, Nak
from caxton_nats.core.errors import CaxtonError, MessageError
from caxton_nats.core.reading import UNREADABLE
from caxton_nats.ports import Clock, Delivery, Inbox, Timer
from caxton_nats.tasks import forever

BATCH = 64
_AGAIN = timedelta(seconds=5)
_decoder = msgspec.json.Decoder(Timer)
log = logging.getLogger("caxton_nats")
WhenDue = Callable[[Timer], Awaitable[None]]


class Timekeeper:
    """Has due timers handled, by kind."""

    def __init__(self, inbox: Inbox, clock: Clock, handlers: Mapping[str, WhenDue]) -> None:
        self._inbox = inbox
        self._clock = clock
        self._handlers = handlers

    async def run(self) -> None:
        """Work until cancelled; errors are waited out."""
        await forever(
            lambda: self.work_once(timedelta(seconds=5)),
            what="working off timers",
            expected=CaxtonError,
            sleep=self._clock.sleep,
        )

    async def work_once(self, wait: timedelta) -> int:
        """Have one batch of due timers handled; return how many there were."""
        deliveries = await self._inbox.fetch(BATCH, wait)
        # At the same time: a slow one, or an hour's worth of one kind, must not hold up the others.
        done = await asyncio.gather(*map(self._work_off, deliveries), return_exceptions=True)
        for failure in done:
            if failure is not None:
                raise failure
        return len(deliveries)

    async def _work_off(self, delivery: Delivery) -> None:
        await self._inbox.settle([(delivery, await self._handle(delivery))])

    async def _handle(self, delivery: Delivery) -> Disposition:
        try:
            timer = _decoder.decode(delivery.body)
        except UNREADABLE as error:
            log.warning("a timer on %s is not readable: %s", delivery.subject, error)
            return Ack()
        handler = self._handlers.get(timer.kind)
        if handler is None:
            # A newer router has set it, and will take it.
            log.warning("nobody here knows timers of kind %a", timer.kind)
            return Nak(_AGAIN)
        try:
            await handler(timer)
        except (MessageError, *UNREADABLE) as error:
            # No router sets such a timer: tried again, it would be tried for ever.
            log.warning("the timer %a %a says nothing: %s", timer.kind, timer.key, error)
            return Ack()
        except Exception as error:
            # It alone comes again: one that fails must not hold up the others.
            told = None if isinstance(error, CaxtonError) else error
            log.warning("the timer %s %a failed: %s", timer.kind, timer.key, error, exc_info=told)
            return Nak(_AGAIN)
        return Ack()
