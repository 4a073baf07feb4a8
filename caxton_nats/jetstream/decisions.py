"""Decisions in the bucket caxton-decisions, whose own age limit forgets them."""

from __future__ import annotations

import hashlib

from caxton_nats.core.choice import Decision
from caxton_nats.core.errors import RevisionConflict
from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.jetstream import subjects
from caxton_nats.jetstream.bucket import Bucket
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.publisher import JetStreamPublisher


class KvDecisions:
    """See `ports.Decisions`."""

    def __init__(self, connection: Connection, publisher: JetStreamPublisher) -> None:
        self._bucket = Bucket(connection, publisher, subjects.DECISIONS_BUCKET, Decision)

    async def record(self, decision: Decision) -> Decision:
        """Write it down, unless there is one already."""
        try:
            await self._bucket.save(
                _key(decision.sender, decision.message_id), decision, revision=None
            )
        except RevisionConflict:
            held = await self.find(decision.sender, decision.message_id)
            if held is None:
                raise
            return held
        return decision

    async def find(self, sender: AgentId, message_id: MessageId) -> Decision | None:
        """Return what was decided about the message."""
        found = await self._bucket.load(_key(sender, message_id))
        return found[0] if found else None


def _key(sender: AgentId, message_id: MessageId) -> str:
    """Return a key that is short, however long the two are; the record says them in full."""
    # A message id has no white space, so no two pairs make the same text.
    return hashlib.sha256(f"{sender} {message_id}".encode()).hexdigest()
