"""resolve: who is registered, in memory, looked up in constant time.

`Registry` is the mirror of the bucket caxton-agents; an adapter keeps it current. It only answers
questions and never fetches anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum

import msgspec

from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.core.identifiers import AgentId, check_text

MAX_CAPABILITY = 100
QUEUE_SIZE_BOUNDS = (1, 100_000)


class AgentState(StrEnum):
    """The seed's five states of an agent."""

    UNLOADED = "Unloaded"
    LOADED = "Loaded"
    RUNNING = "Running"
    DRAINING = "Draining"
    STOPPED = "Stopped"


class Address(msgspec.Struct, frozen=True):
    """Where an agent's mail lies: what ``nats consumer next STREAM CONSUMER`` needs."""

    stream: str
    subject: str
    consumer: str


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """One registered agent, as it lies in the bucket caxton-agents."""

    agent: AgentId
    state: AgentState = AgentState.RUNNING
    capabilities: tuple[str, ...] = ()
    address: Address
    node: str = ""
    """Host and process that registered the agent, for people."""
    queue_size: int = 1000
    """Messages the mailbox holds at most."""
    registered_at: datetime


def check_capabilities(names: Iterable[str]) -> tuple[str, ...]:
    """Return the capability names, checked (1..100 visible characters), in order, once each."""
    capabilities = tuple(dict.fromkeys(names))
    for name in capabilities:
        check_text(name, "capabilities", MAX_CAPABILITY)
    return capabilities


def check_queue_size(size: int) -> int:
    """Return the size if it is within the seed's AgentQueueSize, 1..100 000."""
    low, high = QUEUE_SIZE_BOUNDS
    if not low <= size <= high:
        raise InvalidEnvelope(
            f"must be {low} to {high}", field="queue_size", limit=high, value=size
        )
    return size


class Registry:
    """All registrations by agent, and agents by capability."""

    def __init__(self, registrations: Iterable[Registration] = ()) -> None:
        self._by_agent: dict[AgentId, Registration] = {}
        self._by_capability: dict[str, dict[AgentId, Registration]] = {}
        for registration in registrations:
            self.put(registration)

    def __len__(self) -> int:
        """Return how many agents are registered."""
        return len(self._by_agent)

    def __iter__(self) -> Iterator[Registration]:
        """Iterate over the registrations as they are now, by agent name."""
        return iter(sorted(self._by_agent.values(), key=lambda one: one.agent))

    def find(self, agent: AgentId) -> Registration | None:
        """Return the agent's registration, or None."""
        return self._by_agent.get(agent)

    def find_by_capability(self, capability: str) -> tuple[Registration, ...]:
        """Return who offers the capability, by agent name; empty if nobody does."""
        offers = self._by_capability.get(capability, {})
        return tuple(sorted(offers.values(), key=lambda one: one.agent))

    def put(self, registration: Registration) -> None:
        """Add the registration, or replace the one of the same agent."""
        self.remove(registration.agent)
        self._by_agent[registration.agent] = registration
        for capability in registration.capabilities:
            self._by_capability.setdefault(capability, {})[registration.agent] = registration

    def remove(self, agent: AgentId) -> None:
        """Forget the agent; nothing happens if it is unknown."""
        registration = self._by_agent.pop(agent, None)
        if registration is None:
            return
        for capability in registration.capabilities:
            offers = self._by_capability[capability]
            del offers[agent]
            if not offers:
                del self._by_capability[capability]

    def replace(self, registrations: Iterable[Registration]) -> None:
        """Become exactly these registrations."""
        self._by_agent.clear()
        self._by_capability.clear()
        for registration in registrations:
            self.put(registration)
