"""Registration: one agent, one name, one instance of it that runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from caxton_nats.core.capability import check_capabilities
from caxton_nats.core.errors import AgentAlreadyRegistered, RevisionConflict
from caxton_nats.core.identifiers import (
    MAX_NAME,
    AgentId,
    check_free,
    check_text,
)
from caxton_nats.core.lease import (
    Health,
    Heartbeat,
    Lease,
    check_heartbeat,
    given_back,
    leased,
    renewed,
)
from caxton_nats.core.lifecycle import first_state
from caxton_nats.core.registry import AgentState, Registration, Registry
from caxton_nats.core.routing import agent_not_found, check_own
from caxton_nats.engine.lifecycle import Lifecycle
from caxton_nats.ports import Ports, Pulse, StateChange
from caxton_nats.telemetry import Action, Observer, event

_CHECKS = 6
_PAUSE = timedelta(milliseconds=250)
_TRIES = 5
"""Compare-and-set tries: two writers of one lease are a heartbeat and its own end, at most."""


class LocalRegistrar:
    """Registers agents in the store (seed: register_agent, deregister_agent)."""

    def __init__(  # noqa: PLR0913 - everything that a registration touches
        self,
        ports: Ports,
        registry: Registry,
        health: Health,
        lifecycle: Lifecycle,
        *,
        platform: str,
        queue_size: int,
        observer: Observer,
    ) -> None:
        self._ports = ports
        self._registry = registry
        self._health = health
        self._platform = platform
        self._queue_size = queue_size
        self._lifecycle = lifecycle
        self._observe = observer

    async def register(
        self,
        agent: AgentId,
        *,
        capabilities: Sequence[str] = (),
        node: str = "",
        beat: Heartbeat | None = None,
        state: AgentState = AgentState.RUNNING,
    ) -> Registration:
        """Register the agent and make its mailbox readable (see `ports.Registrar`).

        An agent that comes back takes over its registration and its mail. What counts as gone is
        an instance that gives no sign of life, or whose lease has run out; where nobody has a
        lease, that nobody waits for messages at the mailbox.

        Raises:
            AgentAlreadyRegistered: an agent of that name runs, or somebody reads its mailbox.
        """
        self._check_name(agent)
        names, begins = check_capabilities(capabilities), first_state(state)
        if node:
            check_text(node, "node", MAX_NAME)
        instance = check_heartbeat(beat).instance if beat is not None else ""
        stored = await self._ports.registry_store.load(agent)
        found = await self._ports.leases.load(agent)
        await self._refuse_if_taken(agent, stored and stored[0], found and found[0], instance)
        # The lease first: of two at the same moment, one gets it.
        if beat is not None:
            await self._lease(agent, beat, found, node)
        registration = Registration(
            agent=agent,
            state=begins,
            capabilities=names,
            address=await self._ports.mailboxes.ensure(agent),
            node=node,
            queue_size=self._queue_size,
            registered_at=self._ports.clock.now(),
        )
        try:
            revision = await self._ports.registry_store.save(
                registration, revision=stored[1] if stored else None
            )
        except RevisionConflict:
            await self.release(agent, instance)
            raise _already(agent, "another process registers it at this moment") from None
        if beat is None and found is not None:
            await self._ports.leases.remove(agent)
            self._health.remove(agent)
        if beat is None and self._health.breakers.find(agent) is not None:
            # Without a lease nobody of ours handles its mail, and could ever close it.
            await self._ports.breakers.remove(agent)
        self._registry.learn(registration, revision)
        # Again: a sweeper that did not see the registration may have cleared the consumer away.
        await self._ports.mailboxes.ensure(agent)
        self._observe(event(Action.REGISTERED, agent, detail=node))
        return registration

    async def heartbeat(self, agent: AgentId, beat: Heartbeat) -> Lease:
        """Renew the agent's lease (seed: update_agent_health).

        Raises:
            AgentAlreadyRegistered: another instance has taken the name over.
            AgentNotFound: the agent is not registered, or not any more.
        """
        check_heartbeat(beat)
        for _ in range(_TRIES):
            found = await self._ports.leases.load(agent)
            if found is None and await self._ports.registry_store.load(agent) is None:
                raise agent_not_found(agent, field="agent")
            before, revision = found or (None, None)
            lease = renewed(agent, before, beat, now=self._ports.clock.now())
            try:
                await self._ports.leases.save(lease, revision=revision)
            except RevisionConflict:
                continue
            self._health.put(lease)
            return lease
        raise RevisionConflict(f"the lease of {agent} changes all the time", field="agent")

    async def release(self, agent: AgentId, instance: str) -> bool:
        """Give the lease back; False if it is another's, or nobody's."""
        for _ in range(_TRIES):
            found = await self._ports.leases.load(agent)
            if found is None or not instance or found[0].instance != instance:
                return False
            lease = given_back(found[0], now=self._ports.clock.now())
            try:
                await self._ports.leases.save(lease, revision=found[1])
            except RevisionConflict:
                continue
            self._health.put(lease)
            return True
        raise RevisionConflict(f"the lease of {agent} changes all the time", field="agent")

    async def update_state(
        self, agent: AgentId, state: AgentState, *, drain: timedelta | None = None
    ) -> StateChange:
        """Change the agent's state (see `ports.Registrar`)."""
        self._check_name(agent)
        return await self._lifecycle.update(agent, state, drain=drain)

    async def deregister(self, agent: AgentId) -> bool:
        """Remove registration and lease; False if there was none.

        Returns when every router knows. Mail that is stored is left to a router service, and the
        consumer with it; without mail the consumer goes at once.
        """
        self._check_name(agent)
        # The lease first: behind the registration, it might be that of somebody who has come since.
        known = await self._ports.registry_store.load(agent) is not None
        if known:
            await self._ports.leases.remove(agent)
        revision = await self._ports.registry_store.remove(agent)
        if revision and not known:
            await self._ports.leases.remove(agent)
        self._registry.remove(agent)
        self._health.remove(agent)
        await self._ports.breakers.remove(agent)
        if revision:
            await self._lifecycle.known(revision)
            self._observe(event(Action.DEREGISTERED, agent))
        if not (await self._ports.mailboxes.status(agent)).pending:
            await self._ports.mailboxes.remove(agent)
        return bool(revision)

    def _check_name(self, agent: AgentId) -> None:
        check_own(agent, self._platform)
        check_free(agent, field="agent")

    async def _lease(
        self, agent: AgentId, beat: Heartbeat, found: tuple[Lease, int] | None, node: str
    ) -> None:
        lease = leased(agent, beat, now=self._ports.clock.now(), node=node)
        try:
            await self._ports.leases.save(lease, revision=found[1] if found else None)
        except RevisionConflict:
            raise _already(agent, "another process starts it at this moment") from None
        self._health.put(lease)

    async def _refuse_if_taken(
        self, agent: AgentId, before: Registration | None, lease: Lease | None, instance: str
    ) -> None:
        if lease is None or not lease.instance:
            if before is not None:
                await self._refuse_if_attended(agent, before)
            return
        if lease.instance == instance:
            # The same start, asked again because the answer was lost.
            return
        pulse = await self._ports.leases.pulse(lease.instance)
        silent = pulse is Pulse.SILENT and self._ports.clock.now() < lease.expires_at
        if pulse is Pulse.ANSWERS or silent:
            raise _already(agent, f"it runs on {lease.node or 'another host'}")

    async def _refuse_if_attended(self, agent: AgentId, before: Registration) -> None:
        """A process that has just ended may leave its last pull waiting for a moment."""
        for _ in range(_CHECKS):
            if not (await self._ports.mailboxes.status(agent)).attended:
                return
            await self._ports.clock.sleep(_PAUSE)
        raise _already(agent, f"its mailbox is being read by {before.node or 'another process'}")


def _already(agent: AgentId, why: str) -> AgentAlreadyRegistered:
    return AgentAlreadyRegistered(
        f"{agent} is registered already: {why}",
        field="agent",
        value=agent,
        hint="choose another name, or stop the other process first",
    )
