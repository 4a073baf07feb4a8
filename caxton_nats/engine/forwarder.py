"""Mail for other platforms: from the outbound stream across the link, and only then settled.

A link that is down keeps the mail waiting, tried again with a growing pause, for as long as it
takes. Each node is worked off by itself. Messages of one conversation to one node go one after the
other, each when the one before it has arrived, so they stay in order however often a link fails.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Hashable, Sequence
from datetime import datetime, timedelta

import msgspec

from caxton_nats.core.codec import encode
from caxton_nats.core.dead_letter import Stage
from caxton_nats.core.deadline import check_deadline
from caxton_nats.core.disposition import Ack, Disposition, Nak, Term
from caxton_nats.core.envelope import Envelope, with_content
from caxton_nats.core.errors import (
    CaxtonError,
    ConfigurationError,
    MessageError,
    MessageTooLarge,
    StreamMissing,
)
from caxton_nats.core.identifiers import AMS, agent_id
from caxton_nats.core.remote import NodeId
from caxton_nats.core.routing import RECEIVER_HEADER
from caxton_nats.engine import stored
from caxton_nats.engine.burial import Burial
from caxton_nats.engine.dispatch import message_key
from caxton_nats.ports import Delivery, Inbox, Ports, Stored
from caxton_nats.ports.remote import Parcel
from caxton_nats.tasks import end, forever
from caxton_nats.telemetry import Action, Observer, event

BATCH = 64
_FIRST_PAUSE, _LAST_PAUSE = timedelta(milliseconds=100), timedelta(seconds=5)
_A_LOOK = timedelta(milliseconds=100)
log = logging.getLogger("caxton_nats")
_Lanes = dict[Hashable, deque["_Held"]]


class _Held(msgspec.Struct, frozen=True):
    """One message in hand, and what it decodes to."""

    delivery: Delivery
    envelope: Envelope | None

    @property
    def lane(self) -> Hashable:
        """What must stay in order: a conversation; other messages go each by itself."""
        conversation = self.envelope.conversation_id if self.envelope else ""
        return conversation or self.delivery.origin

    def late(self, now: datetime) -> bool:
        """Return whether its deadline has passed."""
        until = self.envelope.reply_by if self.envelope else None
        return until is not None and until <= now


class Forwarder:
    """Forwards what waits for one node (seed: deliver_remote)."""

    def __init__(
        self, node: NodeId, ports: Ports, burial: Burial, *, ack_wait: timedelta, observer: Observer
    ) -> None:
        self._node = node
        self._ports = ports
        self._burial = burial
        self._ack_wait = ack_wait
        self._observe = observer
        self._in_hand: dict[int, Delivery] = {}
        self._inbox: Inbox | None = None

    async def run(self) -> None:
        """Work until cancelled; errors are waited out. Then `close` it."""
        keeping = asyncio.create_task(self._keep())
        try:
            await forever(
                self._serve,
                what=f"forwarding to {self._node}",
                expected=CaxtonError,
                sleep=self._ports.clock.sleep,
            )
        finally:
            await end([keeping])

    async def close(self) -> None:
        """Give back in order what has not crossed, for the next router to take at once."""
        inbox, self._inbox = self._inbox, None
        if inbox is None:
            return
        held = sorted(self._in_hand.values(), key=lambda one: one.origin.sequence)
        self._in_hand.clear()
        try:
            left = await inbox.close()
            await inbox.settle([(one, Nak(timedelta())) for one in (*held, *left)])
        except CaxtonError as error:
            log.warning("mail for %s comes again after ack_wait: %s", self._node, error)

    async def work_once(self, inbox: Inbox, wait: timedelta) -> int:
        """Take what waits across, however long that takes; return how many messages it was.

        While a link is down it goes on taking mail into its hands, as much as a batch: what has a
        deadline must be looked at.
        """
        self._in_hand = {}
        lanes: _Lanes = {}
        number = await self._take(inbox, lanes, wait)
        pause = _FIRST_PAUSE
        while lanes:
            if await self._step(inbox, lanes):
                pause = _FIRST_PAUSE
                continue
            await self._ports.clock.sleep(pause)
            pause = min(pause * 2, _LAST_PAUSE)
            number += await self._take_more(inbox, lanes)
        return number

    async def _take(self, inbox: Inbox, lanes: _Lanes, wait: timedelta) -> int:
        deliveries = await inbox.fetch(BATCH - len(self._in_hand), wait)
        new = [one for one in deliveries if one.origin.sequence not in self._in_hand]
        for delivery in new:
            self._in_hand[delivery.origin.sequence] = delivery
            held = _Held(delivery, stored.readable(delivery.body))
            lanes.setdefault(held.lane, deque()).append(held)
        return len(new)

    async def _take_more(self, inbox: Inbox, lanes: _Lanes) -> int:
        if len(self._in_hand) >= BATCH:
            return 0
        try:
            return await self._take(inbox, lanes, _A_LOOK)
        except CaxtonError as error:
            # What is in hand comes first; who has nothing in hand meets the error again.
            log.warning("taking mail for %s: %s", self._node, error)
            return 0

    async def _serve(self) -> None:
        if self._inbox is None:
            self._inbox = await self._ports.links.outbound(self._node)
        try:
            await self.work_once(self._inbox, timedelta(seconds=5))
        except StreamMissing:
            # The consumer is gone: it is made anew.
            await self.close()
            raise

    async def _step(self, inbox: Inbox, lanes: _Lanes) -> bool:
        """Try the head of each lane, and end what is too late behind it.

        Returns whether none has to be tried again.
        """
        now = self._ports.clock.now()
        tried = [
            held
            for waiting in lanes.values()
            for place, held in enumerate(waiting)
            if place == 0 or held.late(now)
        ]
        try:
            ends = await self._cross(tried)
            done = [
                (held, ended) for held, ended in zip(tried, ends, strict=True) if ended is not None
            ]
            await inbox.settle([(held.delivery, ended) for held, ended in done])
        except CaxtonError as error:
            log.warning("forwarding to %s: %s", self._node, error)
            return False
        for held, ended in done:
            if isinstance(ended, Ack):
                # Not before: without its content it could not cross once more after a crash.
                await self._forget_content(held)
            self._in_hand.pop(held.delivery.origin.sequence, None)
            lanes[held.lane].remove(held)
            if not lanes[held.lane]:
                del lanes[held.lane]
        return len(done) == len(tried)

    async def _cross(self, heads: Sequence[_Held]) -> list[Disposition | None]:
        """Forward each; return how it ended, or None for what has to be tried again."""
        ready = await asyncio.gather(*(self._prepare(held) for held in heads))
        parcels = [one for one in ready if isinstance(one, Parcel)]
        answers = iter(await self._ports.links.forward(self._node, parcels) if parcels else [])
        ends: list[Disposition | None] = []
        for held, one in zip(heads, ready, strict=True):
            answer = next(answers) if isinstance(one, Parcel) else one
            ends.append(await self._ended(held, answer))
        return ends

    async def _prepare(self, held: _Held) -> Parcel | CaxtonError:
        """Return what crosses, or why it never will or cannot now."""
        try:
            receiver = self._ports.links.receiver(held.delivery.subject)
            envelope = held.envelope or stored.decode(held.delivery.body)
            check_deadline(envelope, self._ports.clock.now())
            body = await self._whole(envelope, held.delivery.body)
        except CaxtonError as error:
            return error
        headers = {**held.delivery.headers, RECEIVER_HEADER: receiver}
        return Parcel(envelope.sender, receiver, message_key(envelope, receiver), body, headers)

    async def _whole(self, envelope: Envelope, body: bytes) -> bytes:
        """Return the message with its content: what was set aside here cannot be fetched there."""
        if envelope.claim is not None:
            content = await self._ports.contents.get(envelope.claim)
            body = encode(with_content(envelope, content))
        limit = self._ports.links.max_parcel
        if len(body) > limit:
            raise MessageTooLarge(
                "the message is larger than what crosses a link to another platform",
                field="content",
                limit=limit,
                value=len(body),
            )
        return body

    async def _ended(self, held: _Held, answer: Stored | CaxtonError) -> Disposition | None:
        if isinstance(answer, MessageError | ConfigurationError):
            # The other end, or its server, would refuse it each time.
            await self._bury(held, answer)
            return Term(answer)
        if isinstance(answer, CaxtonError):
            log.info("%s waits for node %s: %s", held.delivery.origin.key, self._node, answer)
            return None
        self._observe(
            event(
                Action.FORWARDED,
                self._ports.links.receiver(held.delivery.subject),
                held.envelope,
                origin=held.delivery.origin,
                attempt=held.delivery.attempt,
                detail=f"over {self._node}",
            )
        )
        return Ack()

    async def _bury(self, held: _Held, error: CaxtonError) -> None:
        try:
            receiver = self._ports.links.receiver(held.delivery.subject)
        except MessageError:
            receiver = agent_id(AMS, self._node)
        await self._burial.bury(
            held.delivery, error, agent=receiver, stage=Stage.DELIVER, envelope=held.envelope
        )

    async def _forget_content(self, held: _Held) -> None:
        """Remove content that was set aside for this receiver alone."""
        if held.envelope is None or held.envelope.claim is None:
            return
        try:
            await self._ports.contents.remove(held.envelope.claim)
        except CaxtonError as error:
            log.warning("the content %s stays behind: %s", held.envelope.claim.object, error)

    async def _keep(self) -> None:
        """Tell the server what is in hand, well within ack_wait."""

        async def once() -> None:
            await self._ports.clock.sleep(self._ack_wait / 3)
            if self._inbox is not None:
                await self._inbox.keep(list(self._in_hand.values()))

        await forever(
            once,
            what=f"keeping mail for {self._node}",
            expected=CaxtonError,
            sleep=self._ports.clock.sleep,
        )
