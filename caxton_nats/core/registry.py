"""resolve: who is registered, in memory, looked up in constant time.

`Registry` is the mirror of the bucket caxton-agents; an adapter keeps it current. It only answers
questions and never fetches anything.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from caxton_nats.core.capability import names_of
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.listeners import Listeners


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
    drain_until: datetime | None = None
    """When an agent that is Draining becomes Stopped."""


class Registry:
    """All registrations by agent, and agents by capability; a search of it sorts nothing."""

    def __init__(self, registrations: Iterable[Registration] = ()) -> None:
        self._by_agent: dict[AgentId, Registration] = {}
        self._names: list[AgentId] = []
        self._offers: dict[str, list[AgentId]] = {}
        """Sorted agents by what is offered, with its version and without."""
        self._found: dict[str, tuple[Registration, ...]] = {}
        """Answers of `find_by_capability`, kept until they change."""
        self.listeners: Listeners[Registration] = Listeners()
        self.revision = 0
        """The last write of the store that is in here; set by whoever keeps it current."""
        self.replace(registrations)

    def __len__(self) -> int:
        """Return how many agents are registered."""
        return len(self._by_agent)

    def __iter__(self) -> Iterator[Registration]:
        """Iterate over the registrations as they are now, by agent name."""
        return iter([self._by_agent[agent] for agent in self._names])

    def find(self, agent: AgentId) -> Registration | None:
        """Return the agent's registration, or None."""
        return self._by_agent.get(agent)

    def find_by_capability(self, capability: str) -> tuple[Registration, ...]:
        """Return who offers the capability, by agent name; empty if nobody does.

        ``name:version`` is offered by those who registered it so, ``name`` by all of any version.
        """
        found = self._found.get(capability)
        if found is None:
            found = tuple(self._by_agent[agent] for agent in self.offering(capability))
            if found:
                self._found[capability] = found
        return found

    def offering(self, capability: str) -> Sequence[AgentId]:
        """Return the names of those who offer the capability, in order; not to be kept."""
        return self._offers.get(capability, ())

    def capabilities(self) -> Iterable[str]:
        """Return what anybody offers, with versions and without; not to be kept."""
        return self._offers.keys()

    def page(
        self, limit: int, *, after: AgentId | None = None, capability: str | None = None
    ) -> tuple[Registration, ...]:
        """Return up to ``limit`` registrations by agent name: the first, or the next after one.

        Args:
            limit: how many at most.
            after: the last one of the page before; it need not be registered any more.
            capability: only those who offer it.
        """
        names = self._names if capability is None else self.offering(capability)
        start = bisect_right(names, after) if after is not None else 0
        return tuple(self._by_agent[agent] for agent in names[start : start + limit])

    def put(self, registration: Registration) -> None:
        """Add the registration, or replace the one of the same agent."""
        agent = registration.agent
        before = self._by_agent.get(agent)
        if before is None:
            _insert(self._names, agent)
        self._by_agent[agent] = registration
        had, has = _names(before), _names(registration)
        self._forget_offers(agent, had - has)
        for name in has - had:
            _insert(self._offers.setdefault(name, []), agent)
        for name in had | has:
            self._found.pop(name, None)
        self.listeners.tell(agent, registration)

    def learn(self, registration: Registration, revision: int) -> None:
        """Put what was written or read elsewhere, unless the registry is as new by itself."""
        if revision > self.revision:
            self.put(registration)

    def remove(self, agent: AgentId) -> None:
        """Forget the agent; nothing happens if it is unknown."""
        registration = self._by_agent.pop(agent, None)
        if registration is None:
            return
        _delete(self._names, agent)
        self._forget_offers(agent, _names(registration))
        self.listeners.tell(agent, None)

    def replace(self, registrations: Iterable[Registration]) -> None:
        """Become exactly these registrations."""
        self._by_agent.clear()
        self._names.clear()
        self._offers.clear()
        self._found.clear()
        # In order, each is put at the end of the lists that it belongs to.
        for registration in sorted(registrations, key=lambda one: one.agent):
            self.put(registration)
        self.listeners.tell_missing(self._by_agent)

    def _forget_offers(self, agent: AgentId, names: Iterable[str]) -> None:
        for name in names:
            self._found.pop(name, None)
            offers = self._offers[name]
            _delete(offers, agent)
            if not offers:
                del self._offers[name]


def _names(registration: Registration | None) -> set[str]:
    if registration is None:
        return set()
    return {name for offer in registration.capabilities for name in names_of(offer)}


def _insert(names: list[AgentId], agent: AgentId) -> None:
    if not names or names[-1] < agent:
        names.append(agent)
    else:
        insort(names, agent)


def _delete(names: list[AgentId], agent: AgentId) -> None:
    del names[bisect_left(names, agent)]
