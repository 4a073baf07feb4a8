"""Where the records of conversations are kept while these go on, and afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from caxton_nats.core.conversation import Conversation
from caxton_nats.core.identifiers import AgentId, ConversationId


class ConversationStore(Protocol):
    """Conversation records, changed by compare-and-set."""

    async def load(
        self, conversation_id: ConversationId, *, latest: bool = False
    ) -> tuple[Conversation, int] | None:
        """Return the record and its revision.

        Args:
            conversation_id: whose.
            latest: it must be what was written last; otherwise, in a cluster, it may be a moment
                old. A write by its revision is safe all the same, a decision without one is not.
        """

    async def save(self, record: Conversation, *, revision: int | None) -> int:
        """Write the record if the stored revision is still this (None: there is none yet).

        Raises:
            RevisionConflict: somebody else wrote first.
        """

    async def remove(self, conversation_id: ConversationId, *, revision: int) -> None:
        """Remove the record if its revision is still this; nothing happens if it is not."""

    async def count(self) -> int:
        """Return how many records there are."""

    async def list(self, *, limit: int = 100, agent: AgentId | None = None) -> list[Conversation]:
        """Return the records with the latest activity first, without those that have ended.

        Args:
            limit: how many at most.
            agent: only those that it takes part in. All records may have to be read for that.
        """

    def each(self) -> AsyncIterator[Conversation]:
        """Read all records, page by page, in no order; one that changes meanwhile may come twice.

        Those that have ended are left out.
        """


class ConversationArchive(Protocol):
    """Conversations that have ended, each for the retention of the deployment."""

    async def add(self, record: Conversation) -> bool:
        """Keep the record; False if there is one of this id already."""

    async def load(self, conversation_id: ConversationId) -> Conversation | None:
        """Return the record, if it is still kept."""

    async def list(self, *, limit: int = 100, agent: AgentId | None = None) -> list[Conversation]:
        """Return the records that were added last, the latest first; see `ConversationStore`."""

    async def added(self) -> int:
        """Return how many records were ever added, those that are no longer kept included."""
