"""resolve: which mailboxes a message goes to, and whom nobody answers for."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import AgentNotFound, CaxtonError, InvalidEnvelope, QueueFull
from caxton_nats.core.identifiers import AgentId, platform_part
from caxton_nats.core.registry import Registration, Registry

RECEIVER_HEADER = "Caxton-Receiver"
"""Header of what crosses a link: which of the message's receivers this copy is for."""


class Route(msgspec.Struct, frozen=True):
    """Where one message goes: found receivers, unknown ones, and others with what is wrong."""

    found: tuple[Registration, ...]
    unknown: tuple[AgentId, ...]
    refused: Mapping[AgentId, CaxtonError] = {}

    @property
    def errors(self) -> dict[AgentId, CaxtonError]:
        """Return what is wrong with each receiver that the message does not go to."""
        return {**{agent: agent_not_found(agent) for agent in self.unknown}, **self.refused}


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


def meant(found: Route, headers: Mapping[str, str], platform: str) -> Route:
    """Return the route of what came over a link: to the receiver that this copy is for.

    The other receivers have copies of their own, which the sender's platform has seen to. Without
    the header all receivers of this platform are meant; nobody of another one ever is.
    """

    def is_meant(agent: AgentId) -> bool:
        return platform_part(agent) == platform and headers.get(RECEIVER_HEADER, agent) == agent

    return Route(
        tuple(one for one in found.found if is_meant(one.agent)),
        tuple(agent for agent in found.unknown if is_meant(agent)),
        {agent: error for agent, error in found.refused.items() if is_meant(agent)},
    )


def agent_not_found(agent: AgentId, *, field: str = "receiver") -> AgentNotFound:
    """Return the error for an agent that nobody registered; ``field`` says what it was to be."""
    return AgentNotFound(
        f"no agent {agent} is registered",
        field=field,
        value=agent,
        hint="see `caxton agents` for the registered names",
    )


def mailbox_full(agent: AgentId, size: int) -> QueueFull:
    """Return the error for a mailbox that holds as many messages as it may."""
    return QueueFull(
        f"the mailbox of {agent} is full",
        field="receiver",
        limit=size,
        value=size,
        hint="send again when the agent has worked some of it off",
    )


def check_own(agent: AgentId, platform: str) -> None:
    """Refuse an agent of another platform: its registration and its mailbox are there.

    Raises:
        InvalidEnvelope: it is one.
    """
    if platform_part(agent) != platform:
        raise InvalidEnvelope(
            "an agent of another platform is registered there, not here",
            field="agent",
            limit=platform,
            value=agent,
            hint="what waits for other platforms: see `caxton routes`",
        )
