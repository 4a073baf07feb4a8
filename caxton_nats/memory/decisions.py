"""`Decisions` in memory."""

from __future__ import annotations

from datetime import datetime, timedelta

from caxton_nats.core.choice import Decision
from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.memory.mail import turn
from caxton_nats.ports import Clock


class MemoryDecisions:
    """`Decisions` that forget the old ones when a new one comes."""

    def __init__(self, clock: Clock, keep: timedelta) -> None:
        self._clock = clock
        self._keep = keep
        self._decisions: dict[tuple[AgentId, MessageId], tuple[Decision, datetime]] = {}

    async def record(self, decision: Decision) -> Decision:
        """Write it down, unless there is one already."""
        held = await self.find(decision.sender, decision.message_id)
        if held is not None:
            return held
        key = (decision.sender, decision.message_id)
        self._decisions[key] = (decision, self._clock.now() + self._keep)
        return decision

    async def find(self, sender: AgentId, message_id: MessageId) -> Decision | None:
        """Return what was decided about the message."""
        await turn()
        self._forget()
        held = self._decisions.get((sender, message_id))
        return held[0] if held else None

    def _forget(self) -> None:
        now = self._clock.now()
        for key, (_, until) in list(self._decisions.items()):
            if now < until:
                return
            del self._decisions[key]
