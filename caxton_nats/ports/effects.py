"""What an agent's handlers have done, kept so that it happens once."""

from __future__ import annotations

from typing import Protocol

from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.ledger import Page
from caxton_nats.core.outbox import Commit


class Ledgers(Protocol):
    """The pages of agents' ledgers, each changed by compare-and-set and kept for days."""

    async def pages(self, agent: AgentId) -> list[tuple[Page, int]]:
        """Return the agent's pages and their revisions, the one written last at the end.

        Every write that was confirmed is in it, whoever made it.

        Raises:
            ConfigurationError: somebody put something else there.
        """

    async def save(self, page: Page, *, revision: int | None) -> int:
        """Write the page if its stored revision is still this (None: there is none).

        Raises:
            RevisionConflict: somebody else wrote first, or the page was forgotten for its age.
        """


class Outboxes(Protocol):
    """What handlers have committed, by agent and slot, each changed by compare-and-set."""

    async def commits(self, agent: AgentId) -> list[tuple[Commit, int]]:
        """Return what the agent's slots hold, and their revisions.

        Every write that was confirmed is in it, whoever made it.

        Raises:
            ConfigurationError: somebody put something else there.
        """

    async def save(self, commit: Commit, *, revision: int | None) -> int:
        """Write the slot if its stored revision is still this (None: it was never used).

        Raises:
            RevisionConflict: somebody else wrote first.
        """

    async def forget(self, agent: AgentId, slot: int, *, revision: int) -> None:
        """Forget what the slot holds, if its stored revision is still this; else do nothing."""
