"""resolve: who of a message's receivers takes nothing now, because its circuit breaker is open.

The mirror of the breakers answers, and is nearly always empty. When the time for a trial has come,
one message is let in: of all routers the one that writes so first has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from caxton_nats.core.breaker import Breaker
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import CaxtonError, RevisionConflict
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.lease import Health
from caxton_nats.core.registry import Registration
from caxton_nats.ports import Ports


class Trials:
    """Lets nobody in to an agent whose breaker is open, but a single message to try it."""

    def __init__(self, ports: Ports, health: Health) -> None:
        self._ports = ports
        self._health = health
        self._breakers = health.breakers
        self._won: dict[AgentId, tuple[AgentId, str]] = {}
        """The trial that was let in here last: its sender and message id."""

    @property
    def any(self) -> bool:
        """Whether any breaker is not closed."""
        return bool(self._breakers)

    async def refusals(
        self, envelope: Envelope, found: Sequence[Registration]
    ) -> dict[AgentId, CaxtonError]:
        """Return those who do not take the message, and why.

        An answer passes: it ends work that has begun, and it is new work that is held back.
        """
        if envelope.in_reply_to:
            return {}
        refused: dict[AgentId, CaxtonError] = {}
        for agent in [one.agent for one in found if self._breakers.find(one.agent) is not None]:
            refusal = await self._ask(agent, envelope)
            if refusal is not None:
                refused[agent] = refusal
        return refused

    def check(self, agent: AgentId) -> None:
        """Refuse what would go past the router to an agent that takes nothing now.

        Raises:
            CircuitBreakerOpen: its breaker is open.
        """
        now = self._ports.clock.now()
        breaker = self._holds(agent, now)
        if breaker is not None and now < breaker.until:
            raise breaker.refusal(now)

    def _holds(self, agent: AgentId, now: datetime) -> Breaker | None:
        """Return the breaker, unless nobody is there who could ever close it.

        Mail for an agent that is away waits for it, as always; when it is back, it is tried.
        """
        return None if self._health.is_silent(agent, now) else self._breakers.find(agent)

    async def _ask(self, agent: AgentId, envelope: Envelope) -> CaxtonError | None:
        now = self._ports.clock.now()
        breaker = self._holds(agent, now)
        this = envelope.sender, envelope.message_id
        if breaker is None or self._won.get(agent) == this:
            # The trial itself, looked at again or sent again, is no second one.
            return None
        if now < breaker.until:
            return breaker.refusal(now)
        try:
            return await self._take_trial(agent, this, now)
        except CaxtonError as error:
            return error

    async def _take_trial(
        self, agent: AgentId, message: tuple[AgentId, str], now: datetime
    ) -> CaxtonError | None:
        stored = await self._ports.breakers.load(agent)
        if stored is None:
            # Closed, and this process has not heard of it yet.
            return None
        breaker, revision = stored
        if now >= breaker.until:
            tried = breaker.tried(now)
            try:
                await self._ports.breakers.save(tried, revision=revision)
            except RevisionConflict:
                # Another router has let one in, or the agent itself has a trial under way.
                return tried.refusal(now)
            self._breakers.put(tried)
            self._forget_closed()
            self._won[agent] = message
            return None
        return breaker.refusal(now)

    def _forget_closed(self) -> None:
        self._won = {
            agent: message
            for agent, message in self._won.items()
            if self._breakers.find(agent) is not None
        }
