"""deliver: an agent's circuit breaker, fed by how its messages end, and seen by all routers.

Only the process that has the agent's mailbox decides. It acts at once by what it knows, and writes
it down for the routers behind that: with NATS away, the agent is spared all the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

from caxton_nats.core.breaker import Breaker, Breakers, CircuitBreaker, CircuitBreakerState
from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.errors import AgentNotResponding, HandlerFailed, HandlerRejected
from caxton_nats.core.identifiers import AgentId
from caxton_nats.engine.ended import Ended
from caxton_nats.engine.lanes import Held
from caxton_nats.ports import Ports
from caxton_nats.tasks import end

log = logging.getLogger("caxton_nats")


class MailboxBreaker:
    """Says how many handlers may work, and hears how each message ended."""

    def __init__(
        self,
        agent: AgentId,
        ports: Ports,
        breakers: Breakers,
        *,
        threshold: int,
        timeout: timedelta,
        changed: Callable[[], None],
    ) -> None:
        """Take the policy (see `CircuitBreaker`).

        Args:
            agent: whose breaker.
            ports: the adapter.
            breakers: the mirror of what all others see.
            threshold: messages in a row that fail until it opens; 0: never.
            timeout: until a trial.
            changed: is called when handlers may start that might not before.
        """
        self._agent = agent
        self._ports = ports
        self._breaker = CircuitBreaker(agent, threshold=threshold, timeout=timeout)
        self._changed = changed
        self._trial: Origin | None = None
        self._unwritten = asyncio.Event()
        self._written = False
        """What is on record is ours: if it goes, an operator has closed the breaker."""
        self._timer: asyncio.Task[None] | None = None
        left = breakers.find(agent)
        if left is not None:
            self._breaker.resume(left, ports.clock.now())
            self._unwritten.set()
        self._forget = breakers.listeners.add(agent, self._heard)

    def places(self, concurrency: int) -> int:
        """Return how many handlers may be at work now, instead of so many."""
        record = self._breaker.record
        if record is None:
            return concurrency
        is_open = self._breaker.is_open(self._ports.clock.now())
        return 0 if is_open or self._trial is not None else concurrency

    def begins(self, held: Held) -> None:
        """A handler begins with the delivery, in its turn: half open, it is the trial."""
        if self._breaker.record is not None:
            self._trial = held.delivery.origin
            self._breaker.try_one(self._ports.clock.now())
            self._unwritten.set()

    def ended(self, held: Held, ended: Ended | None) -> None:
        """The handling of a delivery has ended; None if it never began, or nobody knows how."""
        origin, now = held.delivery.origin, self._ports.clock.now()
        was_trial = self._trial == origin
        if was_trial:
            self._trial = None
        if held.alone or (self._breaker.record is not None and not was_trial):
            # It was not in its turn, or began before the breaker opened.
            return
        success = None if ended is None else _succeeded(ended)
        before = self._breaker.record
        if success:
            self._breaker.record_success(now)
        elif success is False and ended is not None and ended.error is not None:
            self._breaker.record_failure(origin, ended.error, now)
        elif was_trial and before is not None:
            # It says nothing of the agent: the next one is the trial.
            self._breaker.resume(before, now)
        self._tell(before)

    async def write(self) -> None:
        """Wait until something has changed, and write it down for the routers."""
        await self._unwritten.wait()
        self._unwritten.clear()
        try:
            await self._write()
        except BaseException:
            self._unwritten.set()
            raise

    async def close(self) -> None:
        """Do nothing more; what is on record stays, for the next start of the agent."""
        self._forget()
        if self._timer is not None:
            await end([self._timer])

    def _tell(self, before: Breaker | None) -> None:
        """Have what has changed take effect, here and elsewhere."""
        record = self._breaker.record
        if record is before:
            return
        self._unwritten.set()
        if record is None:
            log.info("the circuit breaker of %s is closed", self._agent)
        elif record.state is CircuitBreakerState.OPEN:
            reason = record.last_error.get("reason", "")
            log.warning(
                "the circuit breaker of %s is open after %d failures in a row: %s",
                self._agent,
                record.failures,
                reason,
            )
            self._timer = asyncio.create_task(self._open_until(record), name="breaker")

    async def _open_until(self, record: Breaker) -> None:
        await self._ports.clock.sleep(record.until - self._ports.clock.now())
        self._changed()

    def _heard(self, record: Breaker | None) -> None:
        if record is None and self._written:
            # By an operator, or by ourselves before it opened again: what is stored will tell.
            self._unwritten.set()

    async def _write(self) -> None:
        wanted = self._breaker.record
        if wanted is None:
            self._written = False
            await self._ports.breakers.remove(self._agent)
            return
        stored = await self._ports.breakers.load(self._agent)
        if stored is None and self._written:
            log.info("the circuit breaker of %s was closed by hand", self._agent)
            self._written = False
            self._breaker.close()
            self._changed()
        elif stored is None or stored[0] != wanted:
            await self._ports.breakers.save(wanted, revision=stored[1] if stored else None)
            self._written = True


def _succeeded(ended: Ended) -> bool | None:
    """Return whether the agent did its work; None if this says nothing of it.

    A handler that rejects a message works; one that asks for time does neither.
    """
    if ended.repeated:
        return None
    if ended.error is None or isinstance(ended.error, HandlerRejected):
        return True
    if isinstance(ended.error, HandlerFailed | AgentNotResponding):
        return False
    return None
