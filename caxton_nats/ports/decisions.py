"""What was decided about messages for capabilities, so that a repeat is decided alike."""

from __future__ import annotations

from typing import Protocol

from caxton_nats.core.choice import Decision
from caxton_nats.core.identifiers import AgentId, MessageId


class Decisions(Protocol):
    """Decisions of all routers; each is kept a little longer than a repeat is recognised."""

    async def record(self, decision: Decision) -> Decision:
        """Write it down, unless there is one for this sender and message id; return what holds."""

    async def find(self, sender: AgentId, message_id: MessageId) -> Decision | None:
        """Return what was decided about the message, or None."""
