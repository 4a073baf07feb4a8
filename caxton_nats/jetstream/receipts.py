"""Staged receipts in the bucket caxton-receipts."""

from __future__ import annotations

from caxton_nats.core.identifiers import AgentId, MessageId, token
from caxton_nats.core.remote import any_agent_token
from caxton_nats.core.staged_receipt import StagedReceipt
from caxton_nats.jetstream import subjects
from caxton_nats.jetstream.bucket import Bucket
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.publisher import JetStreamPublisher


class KvReceiptStore:
    """See `ports.stores.ReceiptStore`; keys are ``<sender>.<message id>.<receiver>``."""

    def __init__(
        self, connection: Connection, publisher: JetStreamPublisher, platform: str
    ) -> None:
        self._bucket = Bucket(connection, publisher, subjects.RECEIPTS_BUCKET, StagedReceipt)
        self._platform = platform

    async def load(
        self, sender: AgentId, message_id: MessageId, receiver: AgentId
    ) -> tuple[StagedReceipt, int] | None:
        """Return the record and its revision."""
        return await self._bucket.load(self._key(sender, message_id, receiver))

    async def save(self, record: StagedReceipt, *, revision: int | None) -> int:
        """Write the record if the stored revision is still this."""
        key = self._key(record.sender, record.message_id, record.receiver)
        return await self._bucket.save(key, record, revision=revision)

    async def list(self, sender: AgentId, message_id: MessageId) -> list[StagedReceipt]:
        """Return the message's record with each receiver, by name."""
        keys = f"{self._message(sender, message_id)}.*"
        found = [one async for one in self._bucket.each(keys)]
        return sorted(found, key=lambda one: one.receiver)

    def _key(self, sender: AgentId, message_id: MessageId, receiver: AgentId) -> str:
        return f"{self._message(sender, message_id)}.{self._whose(receiver)}"

    def _message(self, sender: AgentId, message_id: MessageId) -> str:
        return f"{self._whose(sender)}.{token(message_id)}"

    def _whose(self, agent: AgentId) -> str:
        # Two long names in one subject would make a line that no server takes.
        return subjects.short(any_agent_token(agent, self._platform), 255)
