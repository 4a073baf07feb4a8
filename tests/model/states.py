"""Which state each agent was in, and when."""

from __future__ import annotations

from caxton_nats.core.registry import AgentState

State = AgentState | None
"""None: it is not registered."""


class States:
    """The history of all registrations."""

    def __init__(self) -> None:
        self._history: dict[str, list[tuple[float, State]]] = {}

    def put(self, agent: str, state: State, at: float) -> None:
        self._history.setdefault(agent, [(-1.0, None)]).append((at, state))

    def now(self, agent: str) -> State:
        return self._history.get(agent, [(-1.0, None)])[-1][1]

    def between(self, agent: str, begin: float, end: float) -> set[State]:
        """Return the states that the agent was in at any moment of that time, both ends included."""
        history = self._history.get(agent, [(-1.0, None)])
        found: set[State] = set()
        for (at, state), after in zip(history, [*history[1:], (float("inf"), None)], strict=True):
            if at <= end and after[0] >= begin:
                found.add(state)
        return found

    def gone_for(self, agent: str, begin: float, end: float) -> float:
        """Return for how long the agent had been unregistered at some moment of that time."""
        history = self._history.get(agent, [(-1.0, None)])
        longest = 0.0
        for (at, state), after in zip(history, [*history[1:], (float("inf"), None)], strict=True):
            if state is None and at <= end and after[0] >= begin:
                longest = max(longest, min(end, after[0]) - at)
        return longest

    def ever(self, agent: str) -> bool:
        """Return whether the agent was ever registered."""
        return len(self._history.get(agent, ())) > 1
