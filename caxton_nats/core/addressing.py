"""validate: whom a message is for, and who gets the answers."""

from __future__ import annotations

from caxton_nats.core import capability
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.core.identifiers import AgentId, agent_id


def identifiers(names: tuple[str, ...], platform: str, field: str) -> tuple[AgentId, ...]:
    """Return the checked identifiers of agents; see `agent_id`."""
    return tuple([agent_id(name, platform, field=field) for name in names]) if names else ()


def receiver(name: str, platform: str) -> AgentId:
    """Return one receiver, which may also be a capability, in one spelling.

    Raises:
        InvalidEnvelope: it is neither.
    """
    if capability.is_capability(name):
        return capability.as_receiver(capability.target(name))
    return agent_id(name, platform, field="receiver")


def check_lengths(envelope: Envelope, most: int) -> None:
    """Refuse more names than a message may have, before any of them is looked at.

    Args:
        envelope: as decoded at a door, or completed.
        most: names that ``receiver`` and ``reply_to`` may have.

    Raises:
        InvalidEnvelope: see its field.
    """
    if not envelope.receiver:
        raise InvalidEnvelope("is missing or empty", field="receiver", limit=1, value=0)
    for field in ("receiver", "reply_to"):
        count = len(getattr(envelope, field))
        if count > most:
            raise InvalidEnvelope(
                "names too many agents",
                field=field,
                limit=most,
                value=count,
                hint="send to some of them, and then to the others",
            )


def check_names(envelope: Envelope) -> None:
    """Refuse names, of a completed envelope, that contradict each other.

    Raises:
        InvalidEnvelope: see its field.
    """
    for field in ("receiver", "reply_to"):
        names = getattr(envelope, field)
        if len(names) > 1 and len(set(names)) != len(names):
            raise InvalidEnvelope("names an agent twice", field=field)
    if envelope.sender in envelope.receiver:
        raise InvalidEnvelope(
            "sender and receiver are the same agent", field="receiver", value=envelope.sender
        )
