"""How many deliveries a mailbox has room for, and waiting until it has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from caxton_nats.core.window import Window
from caxton_nats.engine.intake import Intake
from caxton_nats.engine.lanes import Lanes
from caxton_nats.engine.receiver import MailboxOptions, Receiver
from caxton_nats.ports import Clock

_MOMENT = 0.1
_MOST_BYTES = 64 * 1024 * 1024
"""In hand beyond the window."""


class Room:
    """The room of one mailbox."""

    def __init__(  # noqa: PLR0913 - what room depends on
        self,
        lanes: Lanes,
        intake: Intake,
        receiver: Receiver,
        clock: Clock,
        options: MailboxOptions,
        *,
        at_work: Callable[[], int],
        settling: Callable[[], bool],
    ) -> None:
        """Take what it depends on.

        Args:
            lanes: what is in hand.
            intake: the ways in.
            receiver: says whether a handler waits for an answer.
            clock: the platform's.
            options: of the mailbox.
            at_work: how many handlers are.
            settling: whether anything is on its way to be settled.
        """
        self._lanes = lanes
        self._intake = intake
        self._receiver = receiver
        self._clock = clock
        self._options = options
        self._at_work = at_work
        self._settling = settling
        self.window = Window(options.window)
        self.changed = asyncio.Event()
        """To be set when there may be more of it."""

    def is_busy(self) -> bool:
        """Return whether more work than there is in hand would only wait."""
        return self._at_work() >= self._options.concurrency or self._lanes.has_ready()

    async def wait(self, *, urgent: bool = False) -> int:
        """Return how many deliveries may come in, after waiting until that is at least one."""
        while True:
            self.changed.clear()
            free = self._free(urgent=urgent)
            if free > 0:
                return free
            due, now = self._lanes.next_due(), self._clock.now()
            if due is not None and due <= now:
                # All in hand may wait for a head that went back. It is first in the queue now.
                return 1
            if self._at_work() or self._settling() or due is None:
                # Looked at again in a moment, too: a running handler may have begun to wait.
                with suppress(TimeoutError):
                    async with asyncio.timeout(_MOMENT):
                        await self.changed.wait()
            else:
                await self._clock.sleep(due - now)

    def _free(self, *, urgent: bool) -> int:
        """Return how many more deliveries may come in by this way.

        What waits behind an earlier message of its conversation leaves a handler idle. Then it
        does not count, within bounds: other conversations go on.
        """
        options, lanes = self._options, self._lanes
        number = lanes.number(self._intake.urgent_subject)
        number = number if urgent else len(lanes) - number
        most = options.wide_window - number
        if self._receiver.waits():
            return most
        window = options.urgent_window if urgent else self.window.size
        if number >= window and not self.is_busy():
            if lanes.bytes > _MOST_BYTES:
                return 0
            number -= sum(
                self._intake.is_urgent(held.delivery) is urgent for held in lanes.held_up()
            )
        return min(window - number, most)
