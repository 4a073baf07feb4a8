"""Which agents run: their leases, and the signs of life of those who hold them."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.lease import Health, Lease


class Pulse(StrEnum):
    """What one finds out who asks an instance for a sign of life."""

    ANSWERS = "answers"
    """It runs."""
    SILENT = "silent"
    """It is connected, and does not answer: stopped, or very busy."""
    GONE = "gone"
    """Nobody is there: it has ended, crashed, or lost its connection."""


class Leases(Protocol):
    """Leases, one for each agent that runs; changed by compare-and-set."""

    async def save(self, lease: Lease, *, revision: int | None) -> int:
        """Write it if the stored revision is still this (None: there is none yet).

        Raises:
            RevisionConflict: somebody else wrote first.
        """

    async def load(self, agent: AgentId) -> tuple[Lease, int] | None:
        """Return the agent's lease and its revision."""

    async def remove(self, agent: AgentId) -> bool:
        """Remove the lease; False if there was none."""

    async def follow(self, health: Health) -> None:
        """Keep ``health`` equal to what is stored, for as long as the adapter is connected.

        Returns when the first complete state is in.
        """

    async def answer_for(self, instance: str) -> None:
        """Answer for this instance, an agent of this process, for as long as the process runs."""

    async def fall_silent(self, instance: str) -> None:
        """Answer for the instance no more; nothing happens if that has never begun."""

    async def pulse(self, instance: str) -> Pulse:
        """Ask the instance for a sign of life; at once, unless it is `Pulse.SILENT`."""
