"""Leases: which agents run at this moment, and which of them are well.

An agent that runs has a lease, which it renews by heartbeats. An agent without a lease (mail that
is read with the nats command line tool) is nobody's to judge, and counts as available.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from caxton_nats.core.breaker import Breakers
from caxton_nats.core.errors import AgentAlreadyRegistered, InvalidEnvelope
from caxton_nats.core.identifiers import AgentId, check_text, token
from caxton_nats.core.registry import AgentState, Registry

LEASE_BOUNDS = (1.0, 3600.0)
"""Seconds that a lease may last."""
MAX_REASON = 200
STOPPED = "stopped"
"""The reason of a lease that was given back."""


class Lease(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run of an agent, as it lies in the bucket caxton-leases."""

    agent: AgentId
    instance: str
    """One start of the agent; another start is another instance. Empty: it was given back."""
    node: str = ""
    """Host and process, for people."""
    last_heartbeat: datetime
    expires_at: datetime
    healthy: bool = True
    reason: str = ""
    """Why it is not healthy."""


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a running agent says of itself, again and again."""

    instance: str
    lease: float = 15.0
    """Seconds after which the agent counts as silent, unless it says something before."""
    healthy: bool = True
    reason: str = ""


def check_heartbeat(beat: Heartbeat) -> Heartbeat:
    """Return the heartbeat if it is one.

    Raises:
        InvalidEnvelope: an instance that is no token, a lease out of its bounds, or a reason of
            more than 200 characters.
    """
    check_text(beat.instance, "instance", MAX_REASON)
    if token(beat.instance) != beat.instance:
        raise InvalidEnvelope(
            "has letters, digits, - and _ only", field="instance", value=ascii(beat.instance)
        )
    low, high = LEASE_BOUNDS
    # Not a number is neither.
    if not low <= beat.lease <= high:
        raise InvalidEnvelope(
            f"must be {low:g} to {high:g} seconds",
            field="lease",
            limit=f"{high if beat.lease > high else low:g}",
            value=f"{beat.lease:g}",
        )
    if beat.reason:
        check_text(beat.reason, "reason", MAX_REASON)
    return beat


def renewed(
    agent: AgentId, before: Lease | None, beat: Heartbeat, *, now: datetime, node: str = ""
) -> Lease:
    """Return the lease after a heartbeat.

    Raises:
        AgentAlreadyRegistered: the lease is another instance's now.
    """
    if before is not None and before.instance not in ("", beat.instance):
        raise AgentAlreadyRegistered(
            f"another instance of {agent} has taken its name over, on {before.node or 'some host'}",
            field="instance",
            limit=before.instance,
            value=beat.instance,
            hint="stop this instance: the name, and the mail, are the other's",
        )
    return leased(agent, beat, now=now, node=node or (before.node if before else ""))


def leased(agent: AgentId, beat: Heartbeat, *, now: datetime, node: str = "") -> Lease:
    """Return the lease that a heartbeat asks for, whoever had one before."""
    return Lease(
        agent=agent,
        instance=beat.instance,
        node=node,
        last_heartbeat=now,
        expires_at=now + timedelta(seconds=beat.lease),
        healthy=beat.healthy,
        reason="" if beat.healthy else beat.reason or "said so",
    )


def given_back(lease: Lease, *, now: datetime) -> Lease:
    """Return the lease of an agent that has stopped: it is away, and its name is free."""
    return msgspec.structs.replace(
        lease, instance="", last_heartbeat=now, expires_at=now, healthy=False, reason=STOPPED
    )


def is_available(
    agent: AgentId,
    registry: Registry,
    health: Health,
    now: datetime,
    *,
    states: Sequence[AgentState] = (AgentState.RUNNING,),
) -> bool:
    """Return whether the agent may be found: it is in one of the states, and is well."""
    found = registry.find(agent)
    return found is not None and found.state in states and health.is_available(agent, now)


class Health:
    """All leases by agent: the mirror of the bucket caxton-leases, which an adapter keeps current.

    A lease that has run out is judged by the reader's own clock, so that nobody has to write down
    that an agent has gone silent. Clocks of hosts must agree to a fraction of a lease.
    """

    def __init__(self, leases: Iterable[Lease] = ()) -> None:
        self._by_agent: dict[AgentId, Lease] = {}
        self.breakers = Breakers()
        """Agents that fail again and again."""
        self.replace(leases)

    def __len__(self) -> int:
        """Return how many leases there are, those that have run out included."""
        return len(self._by_agent)

    def __iter__(self) -> Iterator[Lease]:
        """Iterate over the leases as they are now."""
        return iter(list(self._by_agent.values()))

    def find(self, agent: AgentId) -> Lease | None:
        """Return the agent's lease, or None."""
        return self._by_agent.get(agent)

    def is_available(self, agent: AgentId, now: datetime) -> bool:
        """Return whether nothing speaks against it: away, silent, ill, or its breaker is open."""
        lease = self._by_agent.get(agent)
        well = lease is None or (lease.healthy and now < lease.expires_at)
        return well and self.breakers.lets_in(agent, now)

    def is_silent(self, agent: AgentId, now: datetime) -> bool:
        """Return whether no instance that has a lease gives signs of life."""
        lease = self._by_agent.get(agent)
        return lease is None or now >= lease.expires_at

    def trouble(self, agent: AgentId, now: datetime) -> str:
        """Return what speaks against the agent, in a few words; empty if nothing does."""
        if self.is_available(agent, now):
            return ""
        lease = self._by_agent.get(agent)
        if lease is None or (lease.healthy and now < lease.expires_at):
            return "its circuit breaker is open"
        if not lease.healthy:
            return lease.reason
        return f"silent since {lease.last_heartbeat.isoformat(timespec='seconds')}"

    def put(self, lease: Lease) -> None:
        """Add the lease, or replace the one of the same agent."""
        self._by_agent[lease.agent] = lease

    def remove(self, agent: AgentId) -> None:
        """Forget the agent's lease; nothing happens if there is none."""
        self._by_agent.pop(agent, None)

    def replace(self, leases: Iterable[Lease]) -> None:
        """Become exactly these leases."""
        self._by_agent = {lease.agent: lease for lease in leases}
