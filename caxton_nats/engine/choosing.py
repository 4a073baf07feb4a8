"""resolve: from capabilities in a message to the agents that get it.

What is decided is written down before anybody gets the message, so that a repeat of it, through
any router, reaches the same agents and is a duplicate there. Only messages for capabilities pay
for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from caxton_nats.core.capability import Strategy, is_capability
from caxton_nats.core.choice import Choice, Decision, Scene, choose
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import CaxtonError, InvalidEnvelope, NoCapableAgent
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.lease import Health
from caxton_nats.core.registry import Registry
from caxton_nats.ports import Clock, Mailboxes, Ports

FRESH = timedelta(milliseconds=500)
"""For this long the depths of mailboxes are not asked again; what we send is added to them."""


class Addressed(msgspec.Struct, frozen=True):
    """A message whose receivers are agents."""

    envelope: Envelope
    choices: tuple[Choice, ...] = ()
    unmet: Mapping[AgentId, NoCapableAgent] = {}
    """Capabilities that nobody offers now, with the error for each."""

    def by_agent(self) -> dict[AgentId, Choice]:
        """Return on behalf of which capability each agent gets the message that was chosen."""
        return {agent: choice for choice in self.choices for agent in choice.agents}


class Choosing:
    """Chooses the agents for messages that are addressed to capabilities."""

    def __init__(
        self, ports: Ports, registry: Registry, health: Health, *, max_receivers: int
    ) -> None:
        self._ports = ports
        self._max_receivers = max_receivers
        self._registry = registry
        self._health = health
        self._depths = _Depths(ports.mailboxes, ports.clock)
        self._served: dict[str, AgentId] = {}

    async def address(
        self, envelopes: Mapping[int, Envelope]
    ) -> dict[int, Addressed | CaxtonError]:
        """Return completed envelopes with agents in place of capabilities, or why there are none.

        They are decided in order, and written down at the same time.
        """
        found: dict[int, Addressed | CaxtonError] = {
            at: Addressed(envelope) for at, envelope in envelopes.items()
        }
        asking = [at for at, one in envelopes.items() if any(map(is_capability, one.receiver))]
        if not asking:
            return found
        decided = await asyncio.gather(
            *(self._address(envelopes[at]) for at in asking), return_exceptions=True
        )
        for at, one in zip(asking, decided, strict=True):
            if not isinstance(one, Addressed | CaxtonError):
                raise one
            found[at] = one
        return found

    async def _address(self, envelope: Envelope) -> Addressed:
        """Return the envelope with agents in place of capabilities.

        Raises:
            NoCapableAgent: it has no receiver but capabilities that nobody offers now.
            InvalidEnvelope: more agents would get it than one message may have receivers.
            TransportError: what was decided could not be written down; nobody got the message.
        """
        targets = [receiver for receiver in envelope.receiver if is_capability(receiver)]
        choices, unmet = await self._decide(envelope, targets)
        chosen = {choice.target: choice.agents for choice in choices}
        receivers = dict.fromkeys(
            agent
            for receiver in envelope.receiver
            for agent in chosen.get(receiver, () if receiver in unmet else (receiver,))
        )
        if not receivers:
            raise unmet[targets[0]]
        return Addressed(
            msgspec.structs.replace(envelope, receiver=tuple(receivers)), choices, unmet
        )

    async def _decide(
        self, envelope: Envelope, targets: Sequence[AgentId]
    ) -> tuple[tuple[Choice, ...], dict[AgentId, NoCapableAgent]]:
        """Return what was decided the first time, or now."""
        scene = await self._scene(envelope)
        choices: list[Choice] = []
        unmet: dict[AgentId, NoCapableAgent] = {}
        for target in targets:
            try:
                choices.append(self._choose(target, envelope, scene))
            except NoCapableAgent as error:
                unmet[target] = error
        held: Decision | None = None
        if unmet:
            # Whom it reached the first time may be away now; it has the message.
            held = await self._ports.decisions.find(envelope.sender, envelope.message_id)
        if held is None and choices:
            held = await self._ports.decisions.record(
                Decision(
                    sender=envelope.sender,
                    message_id=envelope.message_id,
                    choices=tuple(choices),
                )
            )
        if held is None:
            return (), unmet
        met = {choice.target for choice in held.choices}
        return held.choices, {
            target: unmet.get(target) or _too_late(target)
            for target in targets
            if target not in met
        }

    def _choose(self, target: AgentId, envelope: Envelope, scene: Scene) -> Choice:
        choice = choose(target, envelope, scene)
        if len(choice.agents) > self._max_receivers:
            raise InvalidEnvelope(
                "more agents offer it than one message may have receivers",
                field="receiver",
                limit=self._max_receivers,
                value=len(choice.agents),
                hint="ask for one of them, or for a version",
            )
        # At once: another message may be decided before this one is on record.
        self._served[choice.offer] = choice.agents[-1]
        for agent in choice.agents:
            self._depths.sent(agent)
        return choice

    async def _scene(self, envelope: Envelope) -> Scene:
        strategy = envelope.strategy
        loads: Mapping[AgentId, int] = {}
        participants: tuple[AgentId, ...] = ()
        if strategy == Strategy.LEAST_LOADED:
            loads = await self._depths.now()
        if strategy == Strategy.AFFINITY and envelope.conversation_id:
            found = await self._ports.conversations.load(envelope.conversation_id)
            participants = found[0].participants if found else ()
        return Scene(
            registry=self._registry,
            health=self._health,
            now=self._ports.clock.now(),
            loads=loads,
            participants=participants,
            served=self._served,
        )


def _too_late(target: AgentId) -> NoCapableAgent:
    return NoCapableAgent(
        "nobody offered it when this message was sent the first time",
        field="receiver",
        value=target,
        hint="send it alone, under a message id of its own",
    )


class _Depths:
    """How many messages wait in each mailbox, as JetStream says, and what we have sent since."""

    def __init__(self, mailboxes: Mailboxes, clock: Clock) -> None:
        self._mailboxes = mailboxes
        self._clock = clock
        self._depths: dict[AgentId, int] = {}
        self._read_at: datetime | None = None
        self._reading = asyncio.Lock()

    async def now(self) -> Mapping[AgentId, int]:
        async with self._reading:
            now = self._clock.now()
            if self._read_at is None or now - self._read_at >= FRESH:
                self._depths, self._read_at = await self._mailboxes.pending(), now
            return self._depths

    def sent(self, agent: AgentId) -> None:
        if self._read_at is not None:
            self._depths[agent] = self._depths.get(agent, 0) + 1
