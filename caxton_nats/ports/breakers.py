"""Circuit breakers that are not closed, for everybody to see."""

from __future__ import annotations

from typing import Protocol

from caxton_nats.core.breaker import Breaker, Breakers
from caxton_nats.core.identifiers import AgentId


class BreakerStore(Protocol):
    """One record for each breaker that is not closed, changed by compare-and-set."""

    async def save(self, breaker: Breaker, *, revision: int | None) -> int:
        """Write it if the stored revision is still this (None: there is none yet).

        Raises:
            RevisionConflict: somebody else wrote first.
        """

    async def load(self, agent: AgentId) -> tuple[Breaker, int] | None:
        """Return the latest record and its revision; None if the breaker is closed."""

    async def remove(self, agent: AgentId) -> bool:
        """Remove the record, which closes the breaker; False if there was none."""

    async def follow(self, breakers: Breakers) -> None:
        """Keep ``breakers`` equal to what is stored, for as long as the adapter is connected.

        Returns when the first complete state is in.
        """
