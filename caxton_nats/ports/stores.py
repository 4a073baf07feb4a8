"""What is kept: dead letters, registrations under compare-and-set, large content."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import msgspec

from caxton_nats.core.dead_letter import DeadLetter
from caxton_nats.core.envelope import Claim
from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.core.registry import Registration, Registry
from caxton_nats.core.selection import EVERY, Selection
from caxton_nats.core.staged_receipt import StagedReceipt


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the dead letters of a selection, the oldest first."""

    letters: list[DeadLetter]
    after: int
    """Where the next page begins."""
    until: int
    """Where the last page ends: what was the newest letter when the first page was asked for."""
    is_last: bool


class DeadLetters(Protocol):
    """The dead letters, bounded by the stream's own limits."""

    async def write(self, letter: DeadLetter) -> bool:
        """Store the letter; False if a letter of this id exists already."""

    async def list(self, which: Selection = EVERY, *, limit: int = 100) -> list[DeadLetter]:
        """Return the newest letters first."""

    async def page(
        self, which: Selection = EVERY, *, after: int = 0, until: int | None = None
    ) -> Page:
        """Return the next page of the selection, which may be empty and not the last.

        Pages hold what was there when the first one was asked for, less what has gone since: every
        write that was confirmed by then.

        Args:
            which: the same for all pages.
            after: 0 for the first page, then what the page before says.
            until: None for the first page, then what the page before says.
        """

    async def get(self, letter_id: str) -> DeadLetter | None:
        """Return the letter, or None."""

    async def remove(self, letter_id: str) -> bool:
        """Remove the letter; False if there was none."""

    async def count(self) -> dict[tuple[AgentId, str], int]:
        """Return how many letters there are per (agent, reason)."""


class RegistryStore(Protocol):
    """The durable registry."""

    async def save(self, registration: Registration, *, revision: int | None) -> int:
        """Write it if the stored revision is still this (None: there is none yet).

        Raises:
            RevisionConflict: somebody else wrote first.
        """

    async def load(self, agent: AgentId) -> tuple[Registration, int] | None:
        """Return the registration and its revision."""

    async def remove(self, agent: AgentId) -> int:
        """Remove the registration; return the revision of that, 0 if there was none."""

    async def has_left(self, agent: AgentId) -> bool:
        """Return whether the agent was registered once, and is not any more."""

    async def follow(self, registry: Registry) -> None:
        """Keep ``registry`` equal to the store, for as long as the adapter is connected.

        Returns when the first complete state is in.
        """

    async def caught_up(self, revision: int = 0) -> int:
        """Return when every registry that follows has this write, and misses no change.

        Between a lost connection and the next complete state a change may be missing. The number
        that is returned is another after each such gap.

        Raises:
            NotConnected: it has not caught up in the time that a request may take.
        """

    async def behind(self) -> int:
        """Return how many changes of the store the followed registry has not seen; 0 if equal."""


class ReceiptStore(Protocol):
    """How far messages are whose senders asked for it, changed by compare-and-set, for days."""

    async def load(
        self, sender: AgentId, message_id: MessageId, receiver: AgentId
    ) -> tuple[StagedReceipt, int] | None:
        """Return the record and its revision."""

    async def save(self, record: StagedReceipt, *, revision: int | None) -> int:
        """Write the record if the stored revision is still this (None: there is none yet).

        Raises:
            RevisionConflict: somebody else wrote first.
        """

    async def list(self, sender: AgentId, message_id: MessageId) -> list[StagedReceipt]:
        """Return the message's record with each receiver that has one, by name."""


class ContentStore(Protocol):
    """Content that does not fit into a message."""

    async def put(self, name: str, content: bytes) -> Claim:
        """Store the content under the name (the same name twice is the same content)."""

    async def get(self, claim: Claim) -> bytes:
        """Return the content.

        Raises:
            InvalidEnvelope: it is not there, or its size or digest is not the claim's. Trying
                again cannot help: content is stored before its claim is handed out.
        """

    async def remove(self, claim: Claim) -> None:
        """Forget the content; nothing happens if it is gone."""

    async def names(self, *, before: datetime) -> dict[str, int]:
        """Return what was last stored under its name before this moment, and its revision.

        Names so long that the store keeps them in another form are left out.
        """

    async def forget(self, name: str, *, revision: int) -> bool:
        """Forget the content; False if something was stored under its name since, or it is gone."""
