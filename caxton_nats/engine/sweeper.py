"""Mail that nobody will fetch: of agents that are stopped, or have left.

What lies in the mailbox of a stopped agent becomes dead letters at once. Mail of an agent that was
deregistered is kept for as long as the retries of a message would take, because the agent may come
back: then it gets the rest, untouched and in order. Messages that somebody has in hand are left
alone until they come back. Any number of sweepers may work: they share what a mailbox hands out.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from datetime import datetime, timedelta

import msgspec

from caxton_nats.core.dead_letter import Stage
from caxton_nats.core.disposition import Ack, Nak, RetryPolicy, Term, patience
from caxton_nats.core.errors import AgentNotFound, CaxtonError
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.lifecycle import stopped
from caxton_nats.core.registry import AgentState, Registry
from caxton_nats.core.routing import agent_not_found
from caxton_nats.engine import attempts, outbox, stored
from caxton_nats.engine.burial import Burial
from caxton_nats.ports import Delivery, Inbox, Ports
from caxton_nats.tasks import forever

BATCH = 64
AT_A_TIME = 8
"""Mailboxes that are swept at the same time."""
_MOMENT = timedelta(milliseconds=100)
"""How long a mailbox may take to hand out what it holds."""
_AGAIN = timedelta(seconds=5)
_HELD = timedelta(seconds=10)
"""A mailbox goes on by itself after this long, if the sweeper that works on it has died."""
_PAUSE = timedelta(milliseconds=500)
_LOOK_AGAIN = timedelta(minutes=10)
"""Between two looks at all consumers: a request for every 256 of them."""
_PAUSES = 6
"""After this many the mailboxes are looked at although the registry has not changed."""
log = logging.getLogger("caxton_nats")


class Sweeper:
    """Makes dead letters of mail that nobody will fetch."""

    def __init__(
        self, ports: Ports, registry: Registry, burial: Burial, *, policy: RetryPolicy
    ) -> None:
        self._ports = ports
        self._registry = registry
        self._burial = burial
        self._policy = policy
        self._gone_since: dict[AgentId, datetime] = {}
        """Agents that have left, and may still have mail or a consumer."""
        self._not_before: dict[AgentId, datetime] = {}
        """When the mail of one that has left is to be looked at again."""
        self._places = asyncio.Semaphore(AT_A_TIME)
        self._present: set[AgentId] = set()
        """Agents that were registered when it was last looked at."""
        self._look_at: datetime | None = None

    async def run(self) -> None:
        """Work until cancelled; errors are waited out."""
        await forever(
            self._step,
            what="sweeping mailboxes",
            expected=CaxtonError,
            sleep=self._ports.clock.sleep,
        )

    async def sweep(self) -> None:
        """Look at every mailbox once.

        Raises:
            CaxtonError: some mailbox could not be swept; the others were.
        """
        await self._ports.registry_store.caught_up()
        holding = set(await self._ports.mailboxes.pending())
        agents = {agent for agent in holding if self._may_sweep(agent)} | self._gone_since.keys()
        results = await asyncio.gather(
            *(self._visit(agent, has_mail=agent in holding) for agent in agents),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _step(self) -> None:
        known = self._registry.revision
        now = self._ports.clock.now()
        if self._look_at is None or now >= self._look_at:
            await self._remember_who_left(now)
            self._look_at = now + _LOOK_AGAIN
        self._see_who_leaves(now)
        await self.sweep()
        for _ in range(_PAUSES):
            await self._ports.clock.sleep(_PAUSE)
            if self._gone_since or self._registry.revision != known:
                return

    def _see_who_leaves(self, now: datetime) -> None:
        """Note them though they have no mail: what they had in hand may just have been settled."""
        present = {one.agent for one in self._registry}
        for agent in self._present - present:
            self._gone_since.setdefault(agent, now)
        self._present = present

    async def _remember_who_left(self, now: datetime) -> None:
        """Look for consumers of agents that nobody has seen leave, or that came back after that."""
        for agent in await self._ports.mailboxes.statuses():
            if self._registry.find(agent) is None:
                self._gone_since.setdefault(agent, now)

    def _may_sweep(self, agent: AgentId) -> bool:
        registration = self._registry.find(agent)
        return registration is None or registration.state is AgentState.STOPPED

    async def _visit(self, agent: AgentId, *, has_mail: bool) -> None:
        async with self._places:
            while True:
                error = await self._verdict(agent)
                if not isinstance(error, AgentNotFound):
                    self._forget(agent)
                if error is None:
                    return
                if not has_mail and isinstance(error, AgentNotFound):
                    await self._clear_away(agent)
                # Judged anew for each batch: the agent may have come back.
                if not has_mail or not await self._sweep(agent, error):
                    return

    async def _verdict(self, agent: AgentId) -> CaxtonError | None:
        """Return why nobody will fetch the agent's mail, or None: it may. The store knows best."""
        found = await self._ports.registry_store.load(agent)
        if found is not None:
            return stopped(agent) if found[0].state is AgentState.STOPPED else None
        # Notices wait for senders that never were registered: they may read them in their own way.
        return agent_not_found(agent) if await self._ports.registry_store.has_left(agent) else None

    async def _sweep(self, agent: AgentId, error: CaxtonError) -> bool:
        """Work off a batch of urgent mail and one of the rest; False if there is nothing to do."""
        now = self._ports.clock.now()
        waited = timedelta()
        if isinstance(error, AgentNotFound):
            waited = now - self._gone_since.setdefault(agent, now)
            if waited < patience(self._policy) or now < self._not_before.get(agent, now):
                return False
            self._not_before.pop(agent, None)
        found = [await self._batch(agent, error, waited, urgent=urgent) for urgent in (True, False)]
        return any(found)

    async def _batch(
        self, agent: AgentId, error: CaxtonError, waited: timedelta, *, urgent: bool
    ) -> bool:
        inbox = await self._ports.mailboxes.open(agent, urgent=urgent)
        held: deque[Delivery] = deque()
        kept: list[Delivery] = []
        found = 0
        try:
            held += await inbox.fetch(BATCH, _MOMENT)
            found = len(held)
            if held:
                # From here on nobody is handed anything of it, whoever comes back.
                await self._ports.mailboxes.hold(agent, self._ports.clock.now() + _HELD)
                # The agent may have come back before, and have been sent some of these since.
                if type(await self._verdict(agent)) is not type(error):
                    return True
            while held:
                remains = self._remains(held[0], error, waited)
                try:
                    if remains > timedelta():
                        kept.append(held[0])
                        self._look_again(agent, remains)
                    else:
                        await self._end(inbox, held[0], error, agent)
                except Exception as failure:
                    # It alone comes again: one that cannot be buried must not hold up the others.
                    log.warning("%s: %s", held[0].origin.key, failure, exc_info=True)
                    await inbox.settle([(held[0], Nak(_AGAIN))])
                held.popleft()
        finally:
            left = await inbox.close()
            await inbox.settle([(one, Nak(timedelta())) for one in (*kept, *held, *left)])
            if found:
                await self._ports.mailboxes.release(agent)
        return found > len(kept)

    def _remains(self, delivery: Delivery, error: CaxtonError, waited: timedelta) -> timedelta:
        """Return how much longer a message is kept that has more retries than the others."""
        if not isinstance(error, AgentNotFound):
            return timedelta()
        envelope = stored.readable(delivery.body)
        own = envelope.max_retries if envelope is not None else None
        return patience(self._policy, own) - waited

    def _look_again(self, agent: AgentId, remains: timedelta) -> None:
        # Hidden until then, it would come behind newer mail if the agent came back before.
        at = self._ports.clock.now() + remains
        self._not_before[agent] = min(at, self._not_before.get(agent, at))

    def _forget(self, agent: AgentId) -> None:
        self._gone_since.pop(agent, None)
        self._not_before.pop(agent, None)

    async def _end(
        self, inbox: Inbox, delivery: Delivery, error: CaxtonError, agent: AgentId
    ) -> None:
        if delivery.attempt > 1 and await self._burial.was_handled(delivery, agent):
            await inbox.settle([(delivery, Ack())])
            return
        began = await attempts.earlier(self._ports.attempts, delivery)
        await self._burial.bury(
            msgspec.structs.replace(delivery, attempt=began),
            error,
            agent=agent,
            stage=Stage.DELIVER,
            envelope=stored.readable(delivery.body),
        )
        await inbox.settle([(delivery, Term(error))])

    async def _clear_away(self, agent: AgentId) -> None:
        """Remove the consumer of an agent that has left, unless it comes back this very moment."""
        await self._ports.mailboxes.remove(agent)
        self._forget(agent)
        if await self._ports.registry_store.load(agent) is not None:
            await self._ports.mailboxes.ensure(agent)
        else:
            await outbox.clear(self._ports, agent)
