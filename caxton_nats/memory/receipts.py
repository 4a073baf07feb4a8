"""Staged receipts, in memory."""

from __future__ import annotations

from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.core.staged_receipt import StagedReceipt
from caxton_nats.memory.bucket import Bucket
from caxton_nats.memory.mail import turn


class MemoryReceiptStore:
    """See `ports.stores.ReceiptStore`."""

    def __init__(self) -> None:
        self._bucket: Bucket[tuple[AgentId, MessageId, AgentId], StagedReceipt] = Bucket("receipt")

    async def load(
        self, sender: AgentId, message_id: MessageId, receiver: AgentId
    ) -> tuple[StagedReceipt, int] | None:
        """Return the record and its revision."""
        await turn()
        return self._bucket.records.get((sender, message_id, receiver))

    async def save(self, record: StagedReceipt, *, revision: int | None) -> int:
        """Write the record if the stored revision is still this."""
        await turn()
        key = (record.sender, record.message_id, record.receiver)
        return self._bucket.save(key, record, revision)

    async def list(self, sender: AgentId, message_id: MessageId) -> list[StagedReceipt]:
        """Return the message's record with each receiver, by name."""
        await turn()
        return [
            record
            for key, (record, _) in sorted(self._bucket.records.items(), key=lambda one: one[0])
            if key[:2] == (sender, message_id)
        ]
