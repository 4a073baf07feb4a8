"""Who wants to be told of changes, by agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from caxton_nats.core.identifiers import AgentId

T = TypeVar("T")


class Listeners(Generic[T]):
    """Functions that are called with what an agent's record is now; None when it is removed."""

    def __init__(self) -> None:
        self._by_agent: dict[AgentId, list[Callable[[T | None], None]]] = {}

    def add(self, agent: AgentId, listener: Callable[[T | None], None]) -> Callable[[], None]:
        """Tell the listener of each change of the agent; the returned function ends that."""
        self._by_agent.setdefault(agent, []).append(listener)

        def forget() -> None:
            listeners = self._by_agent.get(agent, [])
            if listener in listeners:
                listeners.remove(listener)
            if not listeners:
                self._by_agent.pop(agent, None)

        return forget

    def tell(self, agent: AgentId, record: T | None) -> None:
        """Call those who listen for the agent."""
        for listener in list(self._by_agent.get(agent, ())):
            listener(record)

    def tell_missing(self, agents: dict[AgentId, T]) -> None:
        """Call those who listen for an agent that is not among these."""
        for agent in self._by_agent.keys() - agents.keys():
            self.tell(agent, None)
