"""deliver and settle: fetch, have it handled, keep alive, settle.

At least once, in order per conversation. How a message is handled is engine/handling.py; here each
delivery is handed out once, kept in hand, and settled, after its dead letter if any, or given back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec

from caxton_nats.core.breaker import Breakers
from caxton_nats.core.dead_letter import Stage
from caxton_nats.core.disposition import Ack, Disposition, Nak, Term
from caxton_nats.core.errors import CaxtonError, TransportError
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.pacing import Pacing
from caxton_nats.engine import stored
from caxton_nats.engine.away import again
from caxton_nats.engine.breaker import MailboxBreaker
from caxton_nats.engine.burial import Burial
from caxton_nats.engine.ended import Ended
from caxton_nats.engine.handling import Handling
from caxton_nats.engine.hands import Hands
from caxton_nats.engine.intake import Intake
from caxton_nats.engine.lanes import Held, Lanes
from caxton_nats.engine.outbox import Outbox
from caxton_nats.engine.receipts import Stages
from caxton_nats.engine.receiver import MailboxOptions, Receiver
from caxton_nats.engine.room import Room
from caxton_nats.engine.settling import Settling
from caxton_nats.engine.takeover import TakeOver
from caxton_nats.ports import Delivery, Ports
from caxton_nats.tasks import end, forever
from caxton_nats.telemetry import Action, Observer, event

_PATIENCE = 5.0
"""Seconds that the last record, and the last acks, may take when the mailbox closes."""
log = logging.getLogger("caxton_nats")


class Mailbox:
    """One agent's mail, from the inbox to the handler and back (seed: DeliveryEngine)."""

    def __init__(  # noqa: PLR0913 - what the way of a message takes
        self,
        agent: AgentId,
        receiver: Receiver,
        ports: Ports,
        burial: Burial,
        breakers: Breakers,
        *,
        outbox: Outbox,
        options: MailboxOptions,
        observer: Observer,
    ) -> None:
        self._agent = agent
        self._receiver = receiver
        self._ports = ports
        self._burial = burial
        self._options = options
        self._observe = observer
        self._hands = Hands(self._work, self._next, self._hand_ended)
        self._handling = Handling(
            agent,
            receiver,
            ports,
            outbox,
            options=options,
            observer=observer,
        )
        self._lanes = Lanes()
        self._breaker = MailboxBreaker(
            agent,
            ports,
            breakers,
            threshold=options.breaker_threshold,
            timeout=options.breaker_timeout,
            changed=self._start_handlers,
        )
        self._pacing = Pacing(options.concurrency)
        self._intake = Intake(agent, ports.mailboxes)
        self._settling = Settling(
            agent,
            self._handling,
            self._intake,
            Stages(ports),
            tell=self._tell,
            done=self._settled,
            failed=self._failed,
        )
        self._room = Room(
            self._lanes,
            self._intake,
            receiver,
            ports.clock,
            options,
            at_work=self._hands.__len__,
            settling=lambda: self._settling.is_at_work,
        )
        self._take_over = TakeOver(self._lanes, self._intake, ports.attempts)
        self._loops: list[asyncio.Task[None]] = []
        self._draining = False
        self._drained = asyncio.Event()
        self.attended = asyncio.Event()
        """Set once the mailbox has been opened, or will not be any more."""

    def start(self) -> None:
        """Begin to take mail."""
        self._loops = [
            asyncio.create_task(
                forever(
                    step,
                    what=f"{what} the mail of {self._agent}",
                    expected=CaxtonError,
                    sleep=self._ports.clock.sleep,
                ),
                name=f"{what} {self._agent}",
            )
            for step, what in (
                (self._fetch, "fetching"),
                (self._fetch_urgent, "fetching urgent"),
                (self._keep, "keeping"),
                (self._breaker.write, "telling whether the breaker is open for"),
            )
        ]

    @property
    def is_draining(self) -> bool:
        """Whether it takes no more mail."""
        return self._draining

    async def drain(self) -> None:
        """Take no more, let running handlers finish within the limit, give the rest back.

        A handler that stops its own agent is not waited for; whoever else asks waits for the end.
        """
        own = asyncio.current_task()
        if self._draining and own not in self._hands:
            await self._drained.wait()
            return
        try:
            await self._drain(own)
        finally:
            self._drained.set()

    async def _drain(self, own: asyncio.Task[Any] | None) -> None:
        self._draining = True
        self._handling.stop()
        await end(self._loops[:2])
        self.attended.set()
        # First of all: what is given back must not come again to this very inbox.
        left = await self._intake.close()
        others = [task for task in self._hands if task is not own]
        if others:
            await asyncio.wait(others, timeout=self._options.drain.total_seconds())
        await end(others)
        await end(self._loops)
        await self._settling.close(_PATIENCE)
        await self._handling.close()
        await self._breaker.close()
        stays = {held.delivery.origin for held in self._hands.holding(own)}
        in_hand = [one.delivery for one in self._lanes.in_hand()]
        back = [one for one in (*in_hand, *left) if one.origin not in stays]
        back.sort(key=lambda delivery: delivery.origin.sequence)
        try:
            await self._intake.settle([(delivery, Nak(timedelta())) for delivery in back])
        except CaxtonError as error:
            log.warning("%s could not give back %d messages: %s", self._agent, len(back), error)

    async def _fetch(self) -> None:
        await self._open(urgent=False)
        self.attended.set()
        self._take_all(await self._intake.fetch(await self._room.wait(), urgent=False))

    async def _fetch_urgent(self) -> None:
        """The same beside it: not behind what lies in the mailbox, nor behind what is in hand."""
        await self._open(urgent=True)
        self._take_all(await self._intake.fetch(await self._room.wait(urgent=True), urgent=True))

    async def _open(self, *, urgent: bool) -> None:
        await self._handling.open()
        left = await self._intake.open(urgent=urgent)
        due = self._ports.clock.now() + self._options.ack_wait
        await self._take_over.go_on(left, urgent=urgent, due=due)

    def _take_all(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            self._room.window.came(max(len(delivery.body) for delivery in deliveries))
        for delivery in deliveries:
            self._take(Held(delivery, stored.readable(delivery.body)))
        self._start_handlers()

    def _take(self, held: Held) -> None:
        if held.envelope is None or not self._receiver.expects(held.envelope):
            self._lanes.put(held)
            return
        # A handler waits for it: behind that, in its lane or for its place, it would wait for ever.
        answer = self._lanes.take_at_once(held)
        if answer is not None:
            self._hands.begin(answer)

    def _start_handlers(self) -> None:
        while (held := self._next()) is not None:
            self._hands.begin(held)

    def _next(self) -> Held | None:
        """Take what may be handled now, besides all that is."""
        places = self._breaker.places(self._options.concurrency)
        if self._draining or len(self._hands) >= places:
            return None
        held = self._lanes.take()
        if held is not None:
            self._breaker.begins(held)
        return held

    def _hand_ended(self) -> None:
        self._room.changed.set()
        self._start_handlers()

    async def _work(self, held: Held) -> None:
        began = self._ports.clock.now()
        try:
            ended = await self._handling.handle(held)
        except Exception as error:  # noqa: BLE001 - whatever it is, its conversation must go on
            self._breaker.ended(held, None)
            await self._failed([held], error)
            return
        self._breaker.ended(held, ended if ended is not None and ended.counts else None)
        if ended is None:
            return  # Not begun, it stays in hand, and is given back with the rest.
        if isinstance(ended.disposition, Nak):
            took = self._ports.clock.now() - began
            await self._give_back(held, ended, self._paced(ended.disposition, took))
            return
        if isinstance(ended.disposition, Term):
            try:
                ended = await self._buried(ended, ended.disposition)
            except Exception as error:  # noqa: BLE001 - it comes again, and is buried then
                await self._failed([held], error)
                return
        self._settling.add(ended)

    async def _buried(self, ended: Ended, disposition: Term) -> Ended:
        """Write the dead letter, and return how it has ended now.

        By another process it may have been handled, if this one was frozen beyond its lease, and
        does not know it.
        """
        held = ended.held
        if await self._burial.was_handled(held.delivery, self._agent):
            return msgspec.structs.replace(ended, repeated=True)
        await self._burial.bury(
            held.delivery,
            disposition.error,
            agent=self._agent,
            stage=Stage.DELIVER,
            envelope=held.envelope,
        )
        return ended

    async def _failed(self, those: Sequence[Held], error: Exception) -> None:
        """Have messages that could not be settled come again: they are settled then."""
        told = error if not isinstance(error, CaxtonError) else None
        key, more = those[0].delivery.origin.key, f" and {len(those) - 1} more" * (len(those) > 1)
        log.warning("%s could not settle %s%s: %s", self._agent, key, more, error, exc_info=told)
        now, back = self._ports.clock.now(), list[tuple[Delivery, Disposition]]()
        is_away = isinstance(error, TransportError)
        for held in those:
            wait = again(held.delivery.attempt) if is_away else self._options.ack_wait
            self._lanes.block(held, now + wait)
            back.append((held.delivery, Nak(wait)))
        self._room.changed.set()
        with suppress(CaxtonError):
            await self._intake.settle(back)

    async def _settled(self, ends: Sequence[Ended]) -> None:
        self._room.window.settled(len(ends), self._ports.clock.now())
        for one in ends:
            await self._handling.settled(one)
            self._lanes.done(one.held)
        self._room.changed.set()
        self._start_handlers()
        for one in ends:
            await self._forget_content(one)

    def _paced(self, disposition: Nak, took: timedelta) -> Nak:
        """Let fresh mail that waits have its share of the handlers."""
        if not self._room.is_busy():
            return disposition
        return Nak(self._pacing.book(self._ports.clock.now(), disposition.delay, took))

    async def _give_back(self, held: Held, ended: Ended, disposition: Nak) -> None:
        # First of all: it may come again before this has returned.
        self._lanes.block(held, self._ports.clock.now() + disposition.delay)
        seconds = disposition.delay.total_seconds()
        self._tell(Action.RETRIED, ended.held, f"again in {seconds:.1f} s after {ended.error}")
        try:
            await self._intake.settle([(ended.held.delivery, disposition)])
        except CaxtonError as error:
            key = held.delivery.origin.key
            log.warning("%s: %s comes again after ack_wait: %s", self._agent, key, error)

    async def _forget_content(self, ended: Ended) -> None:
        """Remove content that was set aside for this receiver alone."""
        envelope = ended.held.envelope
        if envelope is None or envelope.claim is None or not isinstance(ended.disposition, Ack):
            return
        try:
            await self._ports.contents.remove(envelope.claim)
        except CaxtonError as error:
            log.warning("the content %s stays behind: %s", envelope.claim.object, error)

    async def _keep(self) -> None:
        """Tell the server what is in hand, well within ack_wait; look after what waits."""
        await self._ports.clock.sleep(self._options.ack_wait / 3)
        await self._intake.keep([held.delivery for held in self._lanes.in_hand()])
        # Behind a long conversation, its sender would hear late that nobody will handle it.
        for late in self._lanes.take_expired(self._ports.clock.now()):
            self._hands.begin(late)
        await self._release_settled()

    async def _release_settled(self) -> None:
        """Unblock lanes whose head was settled elsewhere: by another reader, or an operator."""
        for origin in self._lanes.overdue(self._ports.clock.now() - self._options.ack_wait):
            if await self._ports.mailboxes.get(origin) is None:
                self._lanes.unblock(origin)
                self._start_handlers()

    def _tell(self, action: Action, held: Held, detail: str = "") -> None:
        envelope, one = held.envelope, held.delivery
        self._observe(
            event(
                action, self._agent, envelope, origin=one.origin, attempt=one.attempt, detail=detail
            )
        )
