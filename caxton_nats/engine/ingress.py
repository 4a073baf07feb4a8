"""The store-and-forward door: what was submitted is durable before any router sees it.

Whatever is found wrong with a message comes back to its sender as a notice, and stays as a dead
letter. Only infrastructure failures, full mailboxes and open circuit breakers are tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from caxton_nats.core import representation
from caxton_nats.core.addressing import check_lengths
from caxton_nats.core.codec import REPRESENTATION
from caxton_nats.core.dead_letter import Stage
from caxton_nats.core.disposition import Ack, Disposition, Nak, RetryPolicy, Term, retry_delay
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import (
    AgentStopped,
    CaxtonError,
    CircuitBreakerOpen,
    MessageError,
    QueueFull,
    ResourceExhausted,
    TransportError,
)
from caxton_nats.core.identifiers import AMS, AgentId, agent_id
from caxton_nats.core.legible import legible
from caxton_nats.core.validation import complete
from caxton_nats.engine import attempts, stored
from caxton_nats.engine.burial import Burial
from caxton_nats.ports import Delivery, Door, Inbox, Ports, Receipt, Submission
from caxton_nats.tasks import Workers, forever

_MOST_NAMES = 10_000
"""Receivers that are read of a refused message: the most that any deployment allows."""
_DONE = Ack()
log = logging.getLogger("caxton_nats")


class Ingress:
    """Takes submissions from the ingress inbox through the router."""

    def __init__(  # noqa: PLR0913 - a stage between everything else
        self,
        inbox: Inbox,
        door: Door,
        burial: Burial,
        ports: Ports,
        *,
        platform: str,
        sender_of: Callable[[str], AgentId],
        policy: RetryPolicy,
        workers: Workers,
    ) -> None:
        self._inbox = inbox
        self._door = door
        self._burial = burial
        self._ports = ports
        self._platform = platform
        self._sender_of = sender_of
        self._policy = policy
        self._workers = workers

    async def run(self) -> None:
        """Work until cancelled; errors are waited out."""
        await forever(
            lambda: self.work_once(timedelta(seconds=5)),
            what="taking in what was submitted",
            expected=CaxtonError,
            sleep=self._ports.clock.sleep,
        )

    async def work_once(self, wait: timedelta) -> int:
        """Take one batch through; return how many messages it had."""
        deliveries = await self._inbox.fetch(self._workers.batch_size, wait)
        # One batch after the other: two at once could change places.
        async with self._workers.turns:
            await self._route(deliveries)
        return len(deliveries)

    async def _route(self, deliveries: Sequence[Delivery]) -> None:
        taken = [(delivery, self._submission(delivery)) for delivery in deliveries]
        known = [one for _, one in taken if isinstance(one, Submission)]
        results = iter(await self._door.send(known))
        settled: dict[int, tuple[Delivery, Disposition]] = {}
        failed: list[tuple[int, Awaitable[tuple[Delivery, Disposition]]]] = []
        for at, (delivery, one) in enumerate(taken):
            result = next(results) if isinstance(one, Submission) else one
            errors = _errors(result)
            # A task each only for what failed: for the rest it would cost as much as routing it.
            if errors:
                failed.append((at, self._settle(delivery, one, result, errors)))
            else:
                settled[at] = delivery, _DONE
        given = await asyncio.gather(*(one for _, one in failed))
        settled |= {at: way for (at, _), way in zip(failed, given, strict=True)}
        await self._inbox.settle([settled[at] for at in range(len(taken))])

    def _submission(self, delivery: Delivery) -> Submission | MessageError:
        """Return the submission, or what is wrong with a subject that names no agent."""
        try:
            sender = self._sender_of(delivery.subject)
        except MessageError as error:
            return error
        # The same id at each try, or a crash after publishing would deliver a second copy.
        stamp = int(delivery.stored_at.timestamp() * 1e6)
        return Submission(
            sender=sender,
            body=delivery.body,
            headers=delivery.headers,
            since=delivery.stored_at,
            waited=delivery.attempt > 1,
            fallback_id=f"submitted-{delivery.origin.sequence}-{stamp}",
        )

    async def _settle(
        self,
        delivery: Delivery,
        submission: Submission | MessageError,
        result: Receipt | CaxtonError,
        failed: Sequence[CaxtonError],
    ) -> tuple[Delivery, Disposition]:
        """Bury what was refused, and return what becomes of the delivery."""
        again = await self._again(failed, delivery)
        if again is not None:
            return delivery, Nak(again)
        try:
            await self._bury(delivery, result, submission)
        except Exception as error:
            # It alone comes again: one that cannot be buried must not hold up the others.
            log.warning("%s cannot be buried: %s", delivery.origin.key, error, exc_info=True)
            return delivery, Nak(self._delay(failed[0], delivery.attempt))
        return delivery, Term(failed[0])

    async def _again(self, failed: Sequence[CaxtonError], delivery: Delivery) -> timedelta | None:
        """Return when to try again; None if that cannot help, or was done often enough.

        While NATS is away, and while it only has to wait for its turn, nothing has been tried.
        """
        number = delivery.attempt
        if not any(isinstance(error, TransportError | ResourceExhausted) for error in failed):
            if not any(isinstance(error, QueueFull | CircuitBreakerOpen) for error in failed):
                return None
            try:
                number = await attempts.count(self._ports.attempts, delivery)
            except CaxtonError as error:
                log.warning("the try of %s counts as none: %s", delivery.origin.key, error)
            else:
                if number > self._policy.max_retries:
                    return None
        return max(self._delay(error, number) for error in failed)

    def _delay(self, error: CaxtonError, attempt: int) -> timedelta:
        if error.retry_after is not None:
            return timedelta(seconds=error.retry_after)
        return retry_delay(self._policy, attempt, self._ports.clock.chance())

    async def _bury(
        self,
        delivery: Delivery,
        result: Receipt | CaxtonError,
        submission: Submission | MessageError,
    ) -> None:
        envelope, agent = None, agent_id(AMS, self._platform)
        if isinstance(submission, Submission):
            envelope, agent = self._envelope(submission), submission.sender
        failed = _errors(result)
        if envelope is not None and _kept(result, envelope):
            # The router has made each copy a dead letter of its own.
            for number, error in enumerate(failed):
                await self._burial.tell(
                    agent, error, envelope, key=f"{delivery.origin.key}-{number}"
                )
            return
        await self._burial.bury(
            delivery, failed[0], agent=agent, stage=Stage.ROUTE, envelope=envelope
        )

    def _envelope(self, submission: Submission) -> Envelope | None:
        """Return what can be read of a refused message, for its dead letter and notice."""
        now = submission.since or self._ports.clock.now()
        named = submission.headers.get(REPRESENTATION)
        try:
            body, size = submission.body, len(submission.body)
            decoded = (
                stored.decode(body)
                if named is None
                else representation.decode(body, named, max_bytes=size, now=now)
            )
            check_lengths(decoded, _MOST_NAMES)
            return complete(
                decoded,
                sender=submission.sender,
                platform=self._platform,
                now=now,
                new_id=lambda: submission.fallback_id,
            )
        except CaxtonError:
            return legible(
                submission.body,
                named,
                sender=submission.sender,
                fallback_id=submission.fallback_id,
                now=now,
            )


def _kept(result: Receipt | CaxtonError, envelope: Envelope) -> bool:
    """Return whether every copy that failed was for a stopped receiver."""
    if isinstance(result, CaxtonError) and len(envelope.receiver) > 1:
        # It is the first receiver's alone.
        return False
    return all(isinstance(error, AgentStopped) for error in _errors(result))


def _errors(result: Receipt | CaxtonError) -> list[CaxtonError]:
    if isinstance(result, CaxtonError):
        return [result]
    return [outcome.error for outcome in result.outcomes if outcome.error is not None]
