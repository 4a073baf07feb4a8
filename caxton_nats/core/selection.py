"""Which dead letters an operator means."""

from __future__ import annotations

from datetime import datetime

import msgspec

from caxton_nats.core.dead_letter import DeadLetter, Stage
from caxton_nats.core.failure import FailureReason
from caxton_nats.core.identifiers import AgentId


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters that have all of these in common; without any, every one."""

    agent: AgentId | None = None
    """Whose they are: the receiver, or the sender where no receiver was reached."""
    reason: FailureReason | None = None
    sender: AgentId | None = None
    stage: Stage | None = None
    conversation_id: str | None = None
    died_before: datetime | None = None
    died_after: datetime | None = None

    def has(self, letter: DeadLetter) -> bool:
        """Return whether the letter is one of them."""
        return (
            self.agent in (None, letter.agent)
            and self.reason in (None, letter.reason)
            and self.sender in (None, letter.sender)
            and self.stage in (None, letter.stage)
            and self.conversation_id in (None, letter.conversation_id)
            and (self.died_before is None or letter.last_at < self.died_before)
            and (self.died_after is None or letter.last_at > self.died_after)
        )


EVERY = Selection()
"""All dead letters there are."""
