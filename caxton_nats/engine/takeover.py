"""What an earlier process of the agent left unsettled when it ended.

It had some messages in hand, and others wait for their retry. The server hands out newer messages
meanwhile, of the same conversations, too. So whoever opens the mailbox next asks for them first:
each conversation waits for all of these, oldest first. What was never tried, or tried for the first
time when the process ended, comes again at once instead of after ack_wait. What has an attempt on
record waits for its retry, or may have crashed that process: it comes when the server says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from caxton_nats.core.disposition import Nak
from caxton_nats.engine import stored
from caxton_nats.engine.intake import Intake
from caxton_nats.engine.lanes import Held, Lanes
from caxton_nats.ports import Attempts, Delivery


class TakeOver:
    """Goes on with what was left, for one mailbox."""

    def __init__(self, lanes: Lanes, intake: Intake, attempts: Attempts) -> None:
        self._lanes = lanes
        self._intake = intake
        self._attempts = attempts
        self._left: dict[bool, list[Delivery]] = {False: [], True: []}
        """What has not been asked for yet, by way."""

    async def go_on(self, left: Sequence[Delivery], *, urgent: bool, due: datetime) -> None:
        """Have the lanes wait for what was left, and have the untried of it come again at once.

        Args:
            left: oldest first; nothing, to try again what has failed.
            urgent: by which way it came.
            due: when the last of them should have come by itself.

        Raises:
            TransportError: the records could not be read, or a message not be given back.
        """
        others = [one for one in left if not self._lanes.knows(one.origin)]
        for one in others:
            self._lanes.expect(Held(one, stored.readable(one.body)), due)
        self._left[urgent] += others
        asked = self._left[urgent]
        if asked:
            recorded = await asyncio.gather(*(self._attempts.recorded(one.origin) for one in asked))
            at_once = [one for one, number in zip(asked, recorded, strict=True) if not number]
            await self._intake.settle([(one, Nak(timedelta())) for one in at_once])
            self._left[urgent] = []
