"""One delivery in the hands of its receiver: from the count of the attempt to what follows from it.

What a handler leaves behind becomes a disposition in core/disposition.py; the mailbox carries it
out. A message that is in the agent's ledger (engine/ledger.py) is not handled again, only settled;
of one in its outbox (engine/outbox.py) only the answers are sent. Lanes are not known here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from caxton_nats.core.dead_letter import Origin, is_of
from caxton_nats.core.deadline import check_deadline
from caxton_nats.core.disposition import (
    Ack,
    Nak,
    Reject,
    Retry,
    Term,
    exhausted,
    settle,
)
from caxton_nats.core.envelope import Envelope, with_content
from caxton_nats.core.errors import (
    CaxtonError,
    HandlerDeferred,
    HandlerFailed,
    HandlerRejected,
)
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.ledger import Entry
from caxton_nats.engine import attempts, stored
from caxton_nats.engine.away import Away, again, failure, not_theirs
from caxton_nats.engine.ended import Ended
from caxton_nats.engine.lanes import Held
from caxton_nats.engine.ledger import Ledger, Recent, entry_of
from caxton_nats.engine.outbox import Outbox
from caxton_nats.engine.receipts import Stages
from caxton_nats.engine.receiver import MailboxOptions, Receiver
from caxton_nats.ports import Delivery, Ports
from caxton_nats.telemetry import Action, Observer, event

_Stored = tuple[Origin, datetime]
log = logging.getLogger("caxton_nats")


class _Left(msgspec.Struct, frozen=True, kw_only=True):
    """What a handler has left behind."""

    answers: Sequence[Envelope] = ()
    error: CaxtonError | None = None
    after: timedelta | None = None
    """The delay it asked for."""


class Handling:
    """Has the messages of one mailbox handled, one call per delivery."""

    def __init__(
        self,
        agent: AgentId,
        receiver: Receiver,
        ports: Ports,
        outbox: Outbox,
        *,
        options: MailboxOptions,
        observer: Observer,
    ) -> None:
        """Take what it works with.

        Args:
            agent: whose mailbox.
            receiver: who handles.
            ports: the adapter.
            outbox: the agent's.
            options: how the agent takes its mail.
            observer: is told of each start of a handler.
        """
        self._agent = agent
        self._receiver = receiver
        self._ports = ports
        self._options = options
        self._observe = observer
        self._stages = Stages(ports)
        self._outbox = outbox
        self._opening = asyncio.Lock()
        self._is_open = False
        self._at_work: dict[Entry, asyncio.Event | None] = {}
        """What is being handled, and whether a second copy of it waits."""
        self._ledger = Ledger(agent, ports.ledgers)
        self._failed: Recent[_Stored, None] = Recent()
        self._given_up: Recent[_Stored, Ended] = Recent()
        self._uncommitted: Recent[Entry, _Left] = Recent()  # left, and not on record
        self._one_suspect = asyncio.Lock()
        self._stopping = False

    async def open(self) -> None:
        """Learn what was handled before; to be called before anything is handled.

        Raises:
            CaxtonError: that could not be read.
        """
        async with self._opening:
            if not self._is_open:
                await self._ledger.open()
                await self._outbox.open(self._ledger)
            self._is_open = True

    def stop(self) -> None:
        """Start no handler from now on."""
        self._stopping = True

    async def record(self, ends: Sequence[Ended]) -> None:
        """Put on record that these were handled; to be called before they are settled.

        Raises:
            CaxtonError: that is not certain of any of them.
        """
        await self._ledger.enter(*(entry_of(one.held.envelope, one.held.delivery) for one in ends))

    async def settled(self, ended: Ended) -> None:
        """What `handle` has returned is settled."""
        entry = entry_of(ended.held.envelope, ended.held.delivery)
        self._ledger.settled(entry)
        self._uncommitted.pop(entry, None)
        if entry in self._outbox:
            await self._outbox.release(entry)

    async def close(self) -> None:
        """Return when all that was handled is on record."""
        await self._ledger.close()
        await self._outbox.close()

    async def handle(self, held: Held) -> Ended | None:
        """Have the delivery handled, unless that has happened; None if it must be given back.

        That it was handled is known here from then on, and on record by `record`.

        Raises:
            TransportError: its attempts could not be counted, so that it counts as not attempted.
        """
        entry = entry_of(held.envelope, held.delivery)
        while entry in self._at_work:
            await self._wait_for_twin(entry)
        self._at_work[entry] = None
        try:
            if entry in self._ledger:
                return Ended(held=held, disposition=Ack(), repeated=True)
            return await self._begin(held, entry)
        finally:
            waiting = self._at_work.pop(entry)
            if waiting is not None:
                waiting.set()

    async def _wait_for_twin(self, entry: Entry) -> None:
        """Wait until another copy of the message has ended: then the ledger knows of it."""
        waiting = self._at_work[entry]
        if waiting is None:
            waiting = self._at_work[entry] = asyncio.Event()
        await waiting.wait()

    async def _begin(self, held: Held, entry: Entry) -> Ended | None:
        before = self._given_up.get(_stored(held.delivery))
        if before is not None:
            return msgspec.structs.replace(
                before, held=_numbered(held, before.held.delivery.attempt)
            )
        buried = await self._buried(held) if held.delivery.attempt > 1 else None
        if buried is not None:
            return buried
        earlier = await attempts.earlier(self._ports.attempts, held.delivery)
        if not self._is_suspect(held.delivery, earlier):
            return await self._attempt_and_remember(held, earlier, entry)
        async with self._one_suspect:
            ended = await self._attempt_and_remember(held, earlier, entry)
            # Within its turn: the next one may end this process. Whatever ends this task.
            if entry in self._ledger:
                await asyncio.shield(self._ledger.enter(entry))
            return ended

    async def _attempt_and_remember(self, held: Held, earlier: int, entry: Entry) -> Ended | None:
        if self._stopping:
            return None
        ended = await self._attempt(held, earlier, entry)
        await self._remember(ended, entry)
        return ended

    async def _buried(self, held: Held) -> Ended | None:
        """Return how it ended, if a process died after it had written the dead letter."""
        letter = await self._ports.dead_letters.get(held.delivery.origin.key)
        if letter is None or not is_of(letter, held.delivery.stored_at):
            return None
        error = CaxtonError.from_dict(letter.last_error)
        return Ended(held=_numbered(held, letter.attempts), disposition=Term(error), error=error)

    def _is_suspect(self, delivery: Delivery, earlier: int) -> bool:
        """Return whether it may have crashed an earlier process: these run one at a time.

        Whatever ran beside the message that crashes the process has an attempt on record, too. If
        these ran together again, the innocent would die with the guilty.
        """
        return earlier > 0 and _stored(delivery) not in self._failed

    async def _attempt(self, held: Held, earlier: int, entry: Entry) -> Ended:
        try:
            delivery = await attempts.begin(self._ports.attempts, held.delivery, earlier)
            begun = msgspec.structs.replace(held, delivery=delivery)
            left = await self._run(begun, entry)
        except asyncio.CancelledError:
            # Stopped, not failed: a shutdown is not an attempt.
            await self._undo(held.delivery, earlier)
            raise
        except Away as away:
            await self._undo(held.delivery, earlier)
            nak = Nak(again(held.delivery.attempt))
            return Ended(held=held, disposition=nak, error=away.error, counts=False)
        disposition = settle(
            left.error,
            attempt=delivery.attempt,
            policy=self._options.policy,
            max_retries=held.envelope.max_retries if held.envelope else None,
            chance=self._ports.clock.chance(),
            after=left.after,
        )
        return Ended(held=begun, disposition=disposition, error=left.error)

    async def _undo(self, delivery: Delivery, earlier: int) -> None:
        try:
            await attempts.undo(self._ports.attempts, delivery, earlier)
        except CaxtonError as error:
            log.warning("%s: the attempt at %s counts: %s", self._agent, delivery.origin.key, error)

    async def _run(self, held: Held, entry: Entry) -> _Left:
        """Run the handler, unless the message must not reach it or has, and send its answers."""
        left = _Left()
        try:
            if self._outbox.is_unsure:
                with not_theirs():
                    await self._outbox.make_sure(self._ledger)
            if entry not in self._outbox:
                left = self._uncommitted.get(entry) or await self._offer(held)
                if left.answers:
                    self._uncommitted[entry] = left
                    with not_theirs():
                        await self._outbox.commit(entry, held.delivery, left.answers)
            if entry in self._outbox:
                with not_theirs():
                    await self._outbox.send(entry)
        except CaxtonError as refused:
            return _Left(error=refused)
        return left

    async def _offer(self, held: Held) -> _Left:
        """Run the handler, unless the message must not reach it."""
        readable = self._admissible(held)
        if readable.claim is not None or readable.require_receipt:
            readable = await self._with_content(readable)
            with not_theirs():
                await self._stages.offered(readable, self._agent, held.delivery)
            # Again, for that took its time: between this and the handler's start is nothing.
            check_deadline(readable, self._ports.clock.now())
        return await self._run_handler(readable, held.delivery.attempt)

    async def _run_handler(self, envelope: Envelope, attempt: int) -> _Left:
        try:
            return _Left(answers=await self._receiver.receive(envelope, attempt))
        except Reject as signal:
            return _Left(error=HandlerRejected(str(signal) or "rejected by the handler"))
        except Retry as signal:
            return _Left(error=HandlerDeferred(str(signal)), after=signal.after)
        except asyncio.CancelledError as raised:
            if _is_being_cancelled():
                raise
            # What the handler waited for was cancelled, not the handler.
            return _Left(error=HandlerFailed(f"CancelledError: {raised}"))
        except Exception as raised:  # noqa: BLE001 - a handler may raise anything; it is reported
            return _Left(error=failure(raised))

    def _admissible(self, held: Held) -> Envelope:
        """Return the envelope if a handler may see it, else raise why not."""
        # What could not be read raises why not.
        envelope = held.envelope or stored.decode(held.delivery.body)
        attempt = held.delivery.attempt
        spent = exhausted(attempt, self._options.policy, envelope.max_retries)
        if spent is not None:
            raise spent
        if envelope.reply_by is not None:
            check_deadline(envelope, self._ports.clock.now())
        self._observe(
            event(
                Action.DELIVERED,
                self._agent,
                envelope,
                origin=held.delivery.origin,
                attempt=attempt,
            )
        )
        return envelope

    async def _with_content(self, envelope: Envelope) -> Envelope:
        """Fetch content that was set aside, so that the receiver need not know."""
        if envelope.claim is None:
            return envelope
        return with_content(envelope, await self._ports.contents.get(envelope.claim))

    async def _remember(self, ended: Ended, entry: Entry) -> None:
        delivery = ended.held.delivery
        if not ended.counts:
            return
        if isinstance(ended.disposition, Nak):
            await attempts.failed(self._ports.attempts, delivery)
            self._failed[_stored(delivery)] = None
        elif isinstance(ended.disposition, Term):
            self._given_up[_stored(delivery)] = ended
        else:
            self._ledger.note(entry)


def _stored(delivery: Delivery) -> _Stored:
    # A stream that was removed and made again counts from one again.
    return delivery.origin, delivery.stored_at


def _numbered(held: Held, attempt: int) -> Held:
    delivery = msgspec.structs.replace(held.delivery, attempt=attempt)
    return msgspec.structs.replace(held, delivery=delivery)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
