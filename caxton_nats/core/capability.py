"""Names of capabilities: what an agent offers, and what a message may be addressed to.

An agent offers ``shout`` or, with a version, ``shout:v2.0``. A message goes to whoever offers
``capability:shout`` (any version), or ``capability:shout:v2.0,v1.5`` (the first of these versions
that anybody offers). Who that is in the end is decided by core/choice.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from enum import StrEnum

import msgspec

from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.core.identifiers import CAPABILITY_PREFIX, AgentId, check_text

MAX_CAPABILITY = 100
MAX_CAPABILITIES = 256
"""Capabilities that one agent may offer; every router has them in memory."""
MAX_VERSIONS = 16
"""Versions that one receiver may name."""
MOST_COMPARED = 500
_LONGEST = MAX_CAPABILITY * (MAX_VERSIONS + 1)


class Strategy(StrEnum):
    """How to choose among those who offer what a message asks for."""

    ONE = "one"
    """One of them; which one, the message's id decides."""
    ALL = "all"
    ROUND_ROBIN = "round-robin"
    """One after the other, as each router sees it."""
    LEAST_LOADED = "least-loaded"
    """The one at whom the fewest messages wait."""
    AFFINITY = "affinity"
    """One who takes part in the conversation already, else one by the conversation's id."""


class Wanted(msgspec.Struct, frozen=True):
    """A capability that is asked for."""

    name: str
    versions: tuple[str, ...] = ()
    """The preferred one first; empty: any."""

    @property
    def offers(self) -> tuple[str, ...]:
        """What to look for in the registry, in order of preference."""
        return tuple(f"{self.name}:{version}" for version in self.versions) or (self.name,)

    def __str__(self) -> str:
        return f"{self.name}:{','.join(self.versions)}" if self.versions else self.name


def check_capabilities(names: Iterable[str]) -> tuple[str, ...]:
    """Return what an agent offers, checked, in order, once each.

    Raises:
        InvalidEnvelope: more than 256, not 1..100 visible characters, an empty name or version, or
            a comma in a version (it separates versions where a capability is asked for).
    """
    capabilities = tuple(dict.fromkeys(names))
    if len(capabilities) > MAX_CAPABILITIES:
        raise InvalidEnvelope(
            "are too many for one agent",
            field="capabilities",
            limit=MAX_CAPABILITIES,
            value=len(capabilities),
            hint="offer them by several agents, or one for all of a kind",
        )
    for capability in capabilities:
        check_text(capability, "capabilities", MAX_CAPABILITY)
        name, colon, version = capability.partition(":")
        if not name or (colon and not version) or "," in version:
            raise InvalidEnvelope(
                "is a name, or NAME:VERSION with one version",
                field="capabilities",
                value=ascii(capability),
                hint="for example translate, or translate:v2.0",
            )
    return capabilities


def names_of(capability: str) -> tuple[str, ...]:
    """Return under which names an offer is found: itself, and its name without the version."""
    name, colon, _ = capability.partition(":")
    return (name, capability) if colon else (name,)


def wanted(text: str, *, field: str = "capability") -> Wanted:
    """Return what ``name``, ``name:version`` or ``name:version,version`` asks for.

    Raises:
        InvalidEnvelope: it is none of these, too long, or names too many versions.
    """
    if len(text) > _LONGEST:
        check_text(text, field, _LONGEST)
    name, colon, rest = text.partition(":")
    versions = tuple(dict.fromkeys(rest.split(","))) if colon else ()
    if len(versions) > MAX_VERSIONS:
        raise InvalidEnvelope(
            "names too many versions", field=field, limit=MAX_VERSIONS, value=len(versions)
        )
    if not name or not all(versions):
        raise InvalidEnvelope(
            "a capability is NAME, NAME:VERSION, or NAME:VERSION,VERSION",
            field=field,
            value=ascii(text),
        )
    found = Wanted(name, versions)
    for offer in found.offers:
        check_text(offer, field, MAX_CAPABILITY)
    return found


def is_capability(receiver: str) -> bool:
    """Return whether a receiver is a capability instead of an agent's name."""
    return receiver.startswith(CAPABILITY_PREFIX)


def target(receiver: str, *, field: str = "receiver") -> Wanted:
    """Return what a receiver of the form ``capability:…`` asks for.

    Raises:
        InvalidEnvelope: what follows is no capability.
    """
    return wanted(receiver.removeprefix(CAPABILITY_PREFIX), field=field)


def strategy(text: str) -> Strategy:
    """Return the strategy of this name; empty is ``one``.

    Raises:
        InvalidEnvelope: there is none of this name.
    """
    try:
        return Strategy(text or Strategy.ONE)
    except ValueError:
        raise InvalidEnvelope(
            f"must be {', '.join(Strategy)}", field="strategy", value=ascii(text[:40])
        ) from None


def near(capability: Wanted, offered: Iterable[str]) -> list[str]:
    """Return what of the offered is near what is wanted: other versions first, then similar names.

    Only names with the same first letters are compared letter by letter, and not more than
    ``MOST_COMPARED``: this is for an error's hint, and any sender can cause one.
    """
    versions: list[str] = []
    similar: list[str] = []
    for offer in offered:
        name, colon, _ = offer.partition(":")
        if name == capability.name:
            versions += [offer] if colon or capability.versions else []
        elif not colon and (name[:2] == capability.name[:2] or capability.name in name):
            similar.append(name)
    names = get_close_matches(capability.name, similar[:MOST_COMPARED], n=5, cutoff=0.5)
    return sorted(versions) + names


def as_receiver(capability: Wanted) -> AgentId:
    """Return the receiver that asks for the capability, in one spelling."""
    return AgentId(f"{CAPABILITY_PREFIX}{capability}")
