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

from caxton_nats.core.breaker import Breakers
from caxton_nats.core.dead_letter import Stage
from caxton_nats.core.disposition import Ack, Nak, Term
from caxton_nats.core.errors import CaxtonError, TransportError
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.pacing import Pacing
from caxton_nats.engine import stored
from caxton_nats.engine.away import again
from caxton_nats.engine.breaker import MailboxBreaker
from caxton_nats.engine.burial import Burial
from caxton_nats.engine.handling import Ended, Handling
from caxton_nats.engine.intake import Intake
from caxton_nats.engine.lanes import Held, Lanes
from caxton_nats.engine.outbox import Outbox
from caxton_nats.engine.receipts import Stages
from caxton_nats.engine.receiver import MailboxOptions, Receiver
from caxton_nats.engine.takeover import TakeOver
from caxton_nats.ports import Delivery, Ports
from caxton_nats.tasks import end, forever
from caxton_nats.telemetry import Action, Observer, event

_MOMENT = 0.1
_MOST_BYTES = 64 * 1024 * 1024
"""In hand beyond the window."""
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
        self._running: dict[asyncio.Task[None], Held] = {}
        self._handling = Handling(
            agent,
            receiver,
            ports,
            outbox,
            at_work=self._running.__len__,
            options=options,
            observer=observer,
        )
        self._stages = Stages(ports)
        self._lanes = Lanes()
        self._breaker = MailboxBreaker(
            agent,
            ports,
            breakers,
            threshold=options.breaker_threshold,
            timeout=options.breaker_timeout,
            changed=self._start_handlers,
        )
        self._changed = asyncio.Event()
        self._pacing = Pacing(options.concurrency)
        self._intake = Intake(agent, ports.mailboxes)
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
        if self._draining and own not in self._running:
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
        others = [task for task in self._running if task is not own]
        if others:
            await asyncio.wait(others, timeout=self._options.drain.total_seconds())
        await end(others)
        await end(self._loops)
        await self._handling.close()
        await self._intake.finish()
        await self._breaker.close()
        stays = {held.delivery.origin for task, held in self._running.items() if task is own}
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
        self._take_all(await self._intake.fetch(await self._room(), urgent=False))

    async def _fetch_urgent(self) -> None:
        """The same beside it: not behind what lies in the mailbox, nor behind what is in hand."""
        await self._open(urgent=True)
        self._take_all(await self._intake.fetch(await self._room(urgent=True), urgent=True))

    async def _open(self, *, urgent: bool) -> None:
        await self._handling.open()
        left = await self._intake.open(urgent=urgent)
        due = self._ports.clock.now() + self._options.ack_wait
        await self._take_over.go_on(left, urgent=urgent, due=due)

    def _take_all(self, deliveries: Sequence[Delivery]) -> None:
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
            self._launch(answer)

    def _free(self, *, urgent: bool) -> int:
        """Return how many more deliveries may come in by this way.

        What waits behind an earlier message of its conversation leaves a handler idle. Then it
        does not count, within bounds: other conversations go on.
        """
        options = self._options
        in_hand = [
            one for one in self._lanes.in_hand() if self._intake.is_urgent(one.delivery) is urgent
        ]
        most = options.wide_window - len(in_hand)
        if self._receiver.waits():
            return most
        window = options.urgent_window if urgent else options.window
        if len(in_hand) >= window and not self._is_busy():
            held_up = self._lanes.held_up()
            in_hand = [one for one in in_hand if one.delivery.origin not in held_up]
            if sum(len(one.delivery.body) for one in self._lanes.in_hand()) > _MOST_BYTES:
                return 0
        return min(window - len(in_hand), most)

    def _is_busy(self) -> bool:
        """Return whether more work than there is in hand would only wait."""
        return len(self._running) >= self._options.concurrency or self._lanes.has_ready()

    async def _room(self, *, urgent: bool = False) -> int:
        """Return how many deliveries may come in, after waiting until that is at least one."""
        while True:
            self._changed.clear()
            free = self._free(urgent=urgent)
            if free > 0:
                return free
            due, now = self._lanes.next_due(), self._ports.clock.now()
            if due is not None and due <= now:
                # All in hand may wait for a head that went back. It is first in the queue now.
                return 1
            if self._running or due is None:
                # Looked at again in a moment, too: a running handler may have begun to wait.
                with suppress(TimeoutError):
                    async with asyncio.timeout(_MOMENT):
                        await self._changed.wait()
            else:
                await self._ports.clock.sleep(due - now)

    def _start_handlers(self) -> None:
        most = self._options.concurrency
        while not self._draining and len(self._running) < self._breaker.places(most):
            held = self._lanes.take()
            if held is None:
                return
            self._breaker.begins(held)
            self._launch(held)

    def _launch(self, held: Held) -> None:
        task = asyncio.create_task(self._work(held), name=f"handle {held.delivery.origin.key}")
        self._running[task] = held
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._changed.set()
        if not task.cancelled() and task.exception() is not None:
            log.error("%s: settling failed", self._agent, exc_info=task.exception())
        self._start_handlers()

    async def _work(self, held: Held) -> None:
        began = self._ports.clock.now()
        try:
            ended = await self._handling.handle(held)
            self._breaker.ended(held, ended if ended is not None and ended.counts else None)
            if ended is not None and not isinstance(ended.disposition, Nak):
                await self._settle(ended)
        except Exception as error:
            # Whatever it is, its conversation must go on: it is delivered again, and settled then.
            self._breaker.ended(held, None)
            key, told = held.delivery.origin.key, not isinstance(error, CaxtonError)
            log.warning("%s could not settle %s: %s", self._agent, key, error, exc_info=told)
            is_away = isinstance(error, TransportError)
            wait = again(held.delivery.attempt) if is_away else self._options.ack_wait
            self._lanes.block(held, self._ports.clock.now() + wait)
            with suppress(CaxtonError):
                await self._intake.settle([(held.delivery, Nak(wait))])
            return
        if ended is None:
            return  # Not begun, it stays in hand, and is given back with the rest.
        if isinstance(ended.disposition, Nak):
            took = self._ports.clock.now() - began
            await self._give_back(held, ended, self._paced(ended.disposition, took))
        else:
            self._lanes.done(held)
            await self._forget_content(ended)

    async def _settle(self, ended: Ended) -> None:
        held, disposition = ended.held, ended.disposition
        if not self._intake.is_open:
            raise TransportError("the mailbox is closed")
        # By another process, if this one was frozen beyond its lease, and does not know it.
        is_dead, one = isinstance(disposition, Term), held.delivery
        if is_dead and await self._burial.was_handled(one, self._agent):
            disposition = Ack()
        if isinstance(disposition, Term):
            await self._burial.bury(
                held.delivery,
                disposition.error,
                agent=self._agent,
                stage=Stage.DELIVER,
                envelope=held.envelope,
            )
        elif isinstance(ended.disposition, Ack):
            await self._stages.handled(held.envelope, self._agent, held.delivery)
            self._tell(Action.DUPLICATE if ended.repeated else Action.HANDLED, held)
        await self._intake.done(held.delivery, disposition)
        await self._handling.settled(ended)

    def _paced(self, disposition: Nak, took: timedelta) -> Nak:
        """Let fresh mail that waits have its share of the handlers."""
        if not self._is_busy():
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
            self._launch(late)
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
