"""resolve: who gets a message that is addressed to a capability, and why. Pure.

The first version that anybody available offers wins; among those who offer it, the message's
strategy decides. Nobody gets his own message. Nearly all of this takes the same time for ten
providers as for ten thousand; ``all`` and ``least-loaded`` look at each of them.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import msgspec

from caxton_nats.core import capability
from caxton_nats.core.capability import Strategy, Wanted, names_of
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import NoCapableAgent
from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.core.lease import Health, is_available
from caxton_nats.core.registry import AgentState, Registry

_NAMED = 3
"""Agents, and near capabilities, that an error names."""


class Choice(msgspec.Struct, frozen=True):
    """Who gets a message for a capability."""

    target: AgentId
    """The receiver as the message has it: ``capability:…``."""
    offer: str
    """What these agents offer: the name, with the version that was taken."""
    agents: tuple[AgentId, ...]
    reason: str


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """All choices for one message, as they lie in the bucket caxton-decisions."""

    sender: AgentId
    message_id: MessageId
    choices: tuple[Choice, ...]


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What is known when a choice is made."""

    registry: Registry
    health: Health
    now: datetime
    loads: Mapping[AgentId, int] = {}
    """Messages that wait at each agent; who is not in it has none. For ``least-loaded``."""
    participants: Sequence[AgentId] = ()
    """Of the message's conversation, the latest last. For ``affinity``."""
    served: Mapping[str, AgentId] = {}
    """Whose turn was the last, by what was offered. For ``round-robin``."""


class _Among(msgspec.Struct, frozen=True):
    """Those who offer one thing, in order of their names, before anybody was asked how he is."""

    offer: str
    agents: Sequence[AgentId]
    envelope: Envelope
    scene: Scene

    def available(self, agent: AgentId, *states: AgentState) -> bool:
        scene, states = self.scene, (AgentState.RUNNING, *states)
        return agent != self.envelope.sender and is_available(
            agent, scene.registry, scene.health, scene.now, states=states
        )

    def first(self, start: int) -> AgentId | None:
        """Return the first who is available, from a place on and round to it."""
        number = len(self.agents)
        around = (self.agents[(start + step) % number] for step in range(number))
        return next((agent for agent in around if self.available(agent)), None)

    def place(self, key: str) -> int:
        """Return a place that depends on the key alone."""
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % len(self.agents)

    def __str__(self) -> str:
        return f"{len(self.agents)} that offer {self.offer}"


_Found = tuple[tuple[AgentId, ...], str] | None


def _one(among: _Among) -> _Found:
    agent = among.first(among.place(among.envelope.message_id))
    return ((agent,), f"one of {among}, by the message's id") if agent else None


def _all(among: _Among) -> _Found:
    agents = tuple(agent for agent in among.agents if among.available(agent))
    return (agents, f"every available one of {among}") if agents else None


def _round_robin(among: _Among) -> _Found:
    last = among.scene.served.get(among.offer, AgentId(""))
    agent = among.first(bisect_right(among.agents, last) % len(among.agents))
    if agent is None:
        return None
    after = f" after {last}" if last else ""
    return (agent,), f"its turn{after}, of {among}"


def _least_loaded(among: _Among) -> _Found:
    loads, number = among.scene.loads, len(among.agents)
    start = among.place(among.envelope.message_id)
    places = [place for place in range(number) if among.available(among.agents[place])]
    if not places:
        return None
    # Of those with the same load the message's id decides, or all would go to the first name.
    best = min(places, key=lambda at: (loads.get(among.agents[at], 0), (at - start) % number))
    agent = among.agents[best]
    return (agent,), f"{loads.get(agent, 0)} messages wait there, the fewest of {among}"


def _affinity(among: _Among) -> _Found:
    conversation = among.envelope.conversation_id
    if not conversation:
        return _one(among)
    for agent in reversed(among.scene.participants):
        registration = among.scene.registry.find(agent)
        offered = registration.capabilities if registration else ()
        offers_it = any(among.offer in names_of(one) for one in offered)
        if offers_it and among.available(agent, AgentState.DRAINING):
            return (agent,), f"takes part in conversation {conversation}"
    # By its id, so that its first messages go to the same agent though they come at once.
    first = among.first(among.place(conversation))
    return ((first,), f"one of {among}, by the conversation's id") if first else None


_STRATEGIES: Mapping[Strategy, Callable[[_Among], _Found]] = {
    Strategy.ONE: _one,
    Strategy.ALL: _all,
    Strategy.ROUND_ROBIN: _round_robin,
    Strategy.LEAST_LOADED: _least_loaded,
    Strategy.AFFINITY: _affinity,
}


def choose(target: AgentId, envelope: Envelope, scene: Scene) -> Choice:
    """Return who gets a completed envelope on behalf of one of its receivers, a capability.

    Raises:
        NoCapableAgent: nobody who offers it is available; what is near it is named.
    """
    wanted = capability.target(target)
    decide = _STRATEGIES[capability.strategy(envelope.strategy)]
    missed: list[str] = []
    for offer in wanted.offers:
        agents = scene.registry.offering(offer)
        found = decide(_Among(offer, agents, envelope, scene)) if agents else None
        if found is not None:
            instead = f"; nobody available offers {', '.join(missed)}" if missed else ""
            return Choice(target, offer, found[0], found[1] + instead)
        missed.append(offer)
    raise _nobody(target, wanted, envelope, scene)


def _nobody(target: AgentId, wanted: Wanted, envelope: Envelope, scene: Scene) -> NoCapableAgent:
    names = [agent for offer in wanted.offers for agent in scene.registry.offering(offer)]
    why = [
        f"{agent} ({_trouble(agent, envelope, scene)})" for agent in dict.fromkeys(names[:_NAMED])
    ]
    if len(names) > _NAMED:
        why.append(f"{len(names) - _NAMED} more")
    reason = f"nobody offers {wanted}"
    if why:
        reason = f"nobody who offers {wanted} is available: {', '.join(why)}"
    near = [
        f"{offer} ({number} available)"
        for offer in capability.near(wanted, scene.registry.capabilities())
        if (number := _available(offer, envelope, scene))
    ]
    hint = f"near it: {', '.join(near[:_NAMED])}" if near else "nothing near it is offered either"
    return NoCapableAgent(reason, field="receiver", value=target, hint=hint)


def _trouble(agent: AgentId, envelope: Envelope, scene: Scene) -> str:
    if agent == envelope.sender:
        return "the sender"
    registration = scene.registry.find(agent)
    if registration is not None and registration.state is not AgentState.RUNNING:
        return registration.state.lower()
    return scene.health.trouble(agent, scene.now)


def _available(offer: str, envelope: Envelope, scene: Scene) -> int:
    among = _Among(offer, scene.registry.offering(offer), envelope, scene)
    return sum(map(among.available, among.agents))
