"""Changes of agents' states: by an operator, or because the time to drain is over.

A change is a compare-and-set on the registration, so of two at once one wins; then it is waited
for until every router goes by it. The end of a drain is part of the registration, and a durable
timer carries the same moment: one that fires late, twice or for an earlier drain changes nothing.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from caxton_nats.core.errors import CaxtonError, InvalidStateTransition, RevisionConflict
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.lifecycle import change, invalid_transition
from caxton_nats.core.registry import AgentState, Registration
from caxton_nats.core.routing import agent_not_found
from caxton_nats.engine.barrier import Barrier, Reach
from caxton_nats.ports import Ports, StateChange, Timer

KIND = "drain"
log = logging.getLogger("caxton_nats")


class Lifecycle:
    """Changes the states of agents (seed: update_agent_state)."""

    def __init__(self, ports: Ports, barrier: Barrier) -> None:
        self._ports = ports
        self._barrier = barrier

    async def update(
        self, agent: AgentId, state: AgentState, *, drain: timedelta | None = None
    ) -> StateChange:
        """Change the state, and return when it has taken effect or who does not know of it.

        Raises:
            AgentNotFound: nobody of that name is registered.
            InvalidStateTransition: the state may not follow the present one, or somebody else
                changed it at the same moment.
            InvalidEnvelope: the drain is out of its bounds.
        """
        after, revision = await self._change(agent, state, drain)
        reach = await self.known(revision)
        return StateChange(
            agent=agent,
            state=after.state,
            drain_until=after.drain_until,
            revision=revision,
            everywhere=reach.everywhere,
            missing=reach.missing,
        )

    async def known(self, revision: int) -> Reach:
        """Return when every router goes by the write, or who does not."""
        return await self._barrier.reached(revision)

    async def when_due(self, timer: Timer) -> None:
        """Stop the agent if this very drain is still going on."""
        moment, _, name = timer.data.partition(" ")
        stored = await self._ports.registry_store.load(AgentId(name))
        if stored is None or stored[0].state is not AgentState.DRAINING:
            return
        if _moment(stored[0]) != moment:
            return
        try:
            await self._change(AgentId(name), AgentState.STOPPED, None)
        except InvalidStateTransition as error:
            log.info("the end of a drain changes nothing: %s", error)

    async def _change(
        self, agent: AgentId, state: AgentState, drain: timedelta | None
    ) -> tuple[Registration, int]:
        """Return the registration in its new state, and the revision of that."""
        before, revision = await self._load(agent)
        after = change(before, state, drain=drain, now=self._ports.clock.now())
        if after.drain_until is not None:
            # Before the change: an agent that drains without a timer would drain for ever.
            timer = Timer(KIND, f"{agent} {_moment(after)}", f"{_moment(after)} {agent}")
            await self._ports.timers.set(timer, after.drain_until)
        try:
            return after, await self._ports.registry_store.save(after, revision=revision)
        except RevisionConflict:
            raise await self._lost(agent, state) from None

    async def _load(self, agent: AgentId) -> tuple[Registration, int]:
        stored = await self._ports.registry_store.load(agent)
        if stored is None:
            raise agent_not_found(agent, field="agent")
        return stored

    async def _lost(self, agent: AgentId, wanted: AgentState) -> CaxtonError:
        """Return what has become of the agent that somebody else changed at the same moment."""
        now, _ = await self._load(agent)
        return invalid_transition(
            agent, now.state, wanted, why=", changed by somebody else at the same moment,"
        )


def _moment(registration: Registration) -> str:
    return registration.drain_until.isoformat() if registration.drain_until else ""
