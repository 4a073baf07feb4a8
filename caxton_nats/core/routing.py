"""resolve: which mailboxes a message goes to, and whom nobody answers for."""

from __future__ import annotations

import msgspec

from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import AgentNotFound
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.registry import Registration, Registry


class Route(msgspec.Struct, frozen=True):
    """Where one message goes: found receivers in the message's order, and unknown ones."""

    found: tuple[Registration, ...]
    unknown: tuple[AgentId, ...]


def route(envelope: Envelope, registry: Registry) -> Route:
    """Return the route of a completed envelope; unknown receivers are reported, not raised."""
    found: list[Registration] = []
    unknown: list[AgentId] = []
    for agent in envelope.receiver:
        registration = registry.find(agent)
        if registration is None:
            unknown.append(agent)
        else:
            found.append(registration)
    return Route(tuple(found), tuple(unknown))


def agent_not_found(agent: AgentId) -> AgentNotFound:
    """Return the error for a receiver that nobody registered."""
    return AgentNotFound(
        f"no agent {agent} is registered",
        field="receiver",
        value=agent,
        hint="see `caxton agents` for the registered names",
    )
