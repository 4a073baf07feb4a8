"""The timer of a stored message that has a deadline."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.identifiers import AgentId
from caxton_nats.ports import Ports, Timer

KIND = "expiry"
_FARTHEST = timedelta(days=1)
"""A timer is set this far ahead at most, and set again then: a server counts in nanoseconds, and
its time ends before ours."""


class Watched(msgspec.Struct, frozen=True):
    """Which message a timer is for: its data."""

    stream: str
    sequence: int
    receiver: AgentId

    @property
    def origin(self) -> Origin:
        """Return the stored message."""
        return Origin(self.stream, self.sequence)


_decoder = msgspec.json.Decoder(Watched)


async def watch(ports: Ports, origin: Origin, receiver: AgentId, deadline: datetime) -> None:
    """Have the stored message looked at when its time has come."""
    data = msgspec.json.encode(Watched(origin.stream, origin.sequence, receiver)).decode()
    at = min(deadline, ports.clock.now() + _FARTHEST)
    await ports.timers.set(Timer(KIND, origin.key, data), at)


def watched(timer: Timer) -> Watched:
    """Return which message the timer is for."""
    return _decoder.decode(timer.data)
