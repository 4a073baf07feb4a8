"""Inbox: deliveries from a pull consumer, and what becomes of them.

One pull request is out at a time and is renewed by `fetch`. It ends by itself on the server, and
is forgotten here on a reconnection, so that a pull lost with a server is asked again at once.
Status messages of the server are told from stored ones by their missing reply subject, never by
a header: any client can send a ``Status`` header.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from time import monotonic

import msgspec
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.disposition import Disposition, Nak
from caxton_nats.core.errors import CaxtonError, StreamMissing, TransportError
from caxton_nats.jetstream import direct
from caxton_nats.jetstream.client import Denied
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.delivery import giving_back, handle_of, read_delivery
from caxton_nats.jetstream.errors import translate
from caxton_nats.jetstream.headers import status_of
from caxton_nats.jetstream.subjects import may_be_answered
from caxton_nats.jetstream.wire import Frame, Listener, Post
from caxton_nats.ports import Delivery

_GONE = ("404 consumer", "409 consumer deleted")
_NOBODY = "503"
_LEADERLESS = 0.5
"""Seconds in which it shows whether a consumer is there that nobody answers for."""
_PASSING = ("shutdown", "leader", "batch completed")
PAUSE = 0.25
"""Seconds before the next pull after one that was answered at once and brought nothing."""
_ACK_TRIES = 3
_GRACE = 1.0
"""Seconds after which a pull that the server should have ended counts as lost."""
log = logging.getLogger("caxton_nats.jetstream")


class PullInbox:
    """One durable pull consumer; open it with `start`."""

    def __init__(
        self,
        connection: Connection,
        stream: str,
        consumer: str,
        *,
        presence: str = "",
        ensure: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """Take what to read.

        Args:
            connection: to the server.
            stream: which stream.
            consumer: which of its durable consumers.
            presence: subject on which others learn that this inbox is open, if they may.
            ensure: makes the consumer, at the start and whenever it was found to be gone.
        """
        self._presence = presence
        self._ensure = ensure
        self._present: Subscription | None = None
        self._connection = connection
        self._stream = stream
        self._consumer = consumer
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._reply = connection.client.new_inbox()
        self._listener: Listener | None = None
        self._buffer: deque[Delivery] = deque()
        self._newest: dict[Origin, str] = {}
        """How to settle what came and is not settled: a server that was killed may have forgotten a
        delivery, and heeds the reply subject of the next one only."""
        self._arrived = asyncio.Event()
        self._outstanding = self._batch = 0
        self._ends_at = 0.0
        self._pulled_at = 0.0
        self._hasty = False
        """The last pull was answered long before its end, and brought nothing."""
        self._gone = False
        self._failure: CaxtonError | None = None
        self._unanswered = False
        self._forget = connection.on_reconnect(self._reset)
        self._forget_denied = connection.client.on_denied(self._on_denied)

    async def start(self) -> None:
        """Listen for deliveries."""
        await self._make_consumer()
        self._listener = await self._connection.client.listen(self._reply, self._hear)
        if self._presence:
            self._present = await self._connection.client.subscribe(
                self._presence, cb=self._on_question
            )

    async def fetch(self, limit: int, wait: timedelta) -> list[Delivery]:
        """Return 1..limit deliveries as soon as there is one, or [] after ``wait``.

        Raises:
            StreamMissing: the consumer or its stream is gone.
            PermissionDenied: this user may not pull, or not hear the answer.
            TransportError: the pull could not be sent.
        """
        if self._reply in self._connection.client.refused:
            self._on_denied(self._connection.client.refused[self._reply])
        if self._gone:
            await self._make_consumer()
        deadline = monotonic() + wait.total_seconds()
        while not self._buffer:
            remaining = deadline - monotonic()
            if self._failure is not None:
                failure, self._failure = self._failure, None
                self._gone = isinstance(failure, StreamMissing)
                raise failure
            if remaining <= 0:
                return []
            self._arrived.clear()
            lost = self._outstanding > 0 and monotonic() > self._ends_at + _GRACE
            if lost:
                self._connection.reach.unconfirmed(self._connection.reach.now())
            if self._hasty or self._unanswered:
                await self._rest(remaining)
                continue
            if lost or self._outstanding <= 0:
                await self._pull(limit, remaining)
            # Not wait_for: that of Python 3.11 can swallow a cancellation.
            with suppress(TimeoutError):
                async with asyncio.timeout(remaining):
                    await self._arrived.wait()
        return [self._buffer.popleft() for _ in range(min(limit, len(self._buffer)))]

    async def settle(self, settled: Sequence[tuple[Delivery, Disposition]]) -> None:
        """Carry out the dispositions; acks are confirmed by the server before this returns.

        Raises:
            TransportError: an ack was not confirmed; that message may come again.
        """
        settled = await self._still_stored(settled)
        back = [(one, way) for one, way in settled if isinstance(way, Nak)]
        done = [one for one, way in settled if not isinstance(way, Nak)]
        results = await asyncio.gather(
            self._give_back(back), self._ack(done), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        for delivery, _ in settled:
            self._newest.pop(delivery.origin, None)

    async def _still_stored(
        self, settled: Sequence[tuple[Delivery, Disposition]]
    ) -> Sequence[tuple[Delivery, Disposition]]:
        losses = self._connection.losses
        old = [one for one, _ in settled if handle_of(one).losses != losses]
        stored = await asyncio.gather(*map(self._is_stored, old))
        gone = {one.origin for one, is_stored in zip(old, stored, strict=True) if not is_stored}
        return [one for one in settled if one[0].origin not in gone] if gone else settled

    async def _is_stored(self, delivery: Delivery) -> bool:
        """Return whether the message under this number is the one that was delivered.

        A server that was lost may have lost the end of its stream, too, and given the number to
        another message: settled in its place, that one would never be handled.
        """
        origin = delivery.origin
        stored = await direct.at_leader(self._connection, origin.stream, origin.sequence)
        same = stored is not None and stored.stored_at == delivery.stored_at
        if not same:
            log.warning("%s is not stored any more, and not settled", origin.key)
        return same

    async def keep(self, deliveries: Sequence[Delivery]) -> None:
        """Tell the server that these are still being worked on, and what nobody has fetched yet."""
        await self._post([(delivery, b"+WPI") for delivery in (*deliveries, *self._buffer)])

    async def close(self) -> list[Delivery]:
        """Stop pulling; return what came and nobody has fetched."""
        self._forget()
        self._forget_denied()
        listener, self._listener = self._listener, None
        if listener is None:
            return []
        try:
            if self._connection.is_connected:
                # Unlike unsubscribe(), this waits for what the server has sent already: dropped,
                # it would come again after ack_wait only.
                async with asyncio.timeout(self._connection.timeout):
                    await listener.drain()
                # Asked, the server forgets the pull that nobody waits for; else it would take the
                # next message for it, find nobody, and put the message behind all others.
                if self._ends_at:
                    where = f"{self._stream}.{self._consumer}"
                    await self._connection.api(f"CONSUMER.INFO.{where}")
            else:
                await listener.stop()
        except (NatsError, CaxtonError, TimeoutError) as error:
            log.warning("closing the inbox of %s: %s", self._consumer, error)
        await self._be_gone()
        left = list(self._buffer)
        self._buffer.clear()
        return left

    async def _be_gone(self) -> None:
        present, self._present = self._present, None
        if present is not None:
            # A connection that is closed has nobody present.
            with suppress(NatsError):
                await present.unsubscribe()

    async def _on_question(self, message: Msg) -> None:
        with suppress(NatsError):
            if may_be_answered(message.reply):
                await message.respond(b"")

    async def _give_back(self, back: Sequence[tuple[Delivery, Nak]]) -> None:
        """Give back in order; what goes back at once has when this returns.

        The server takes naks and pulls from two queues: unconfirmed, a pull that was sent later
        may be served first, with newer messages than those that come back.
        """
        at_once = [delivery for delivery, nak in back if not nak.delay]
        await self._post(
            [
                (delivery, giving_back(nak))
                for delivery, nak in back
                if not at_once or delivery is not at_once[-1]
            ]
        )
        if at_once:
            # Not repeated if it fails: the message may be in other hands by then.
            await self._request(at_once[-1], b"-NAK")

    async def _ack(self, done: Sequence[Delivery]) -> None:
        """Have all acks confirmed by that of the last: the server takes them in order."""
        failure = TransportError("the connection was lost while acks were on their way")
        for _ in range(_ACK_TRIES):
            losses, used = self._connection.losses, [*map(self._settles, done)]
            try:
                await self._post([(delivery, b"+ACK") for delivery in done[:-1]])
                for delivery in done[-1:]:
                    await self._request(delivery, b"+ACK")
            except TransportError as error:
                # An ack may come twice; one that never comes has a handled message come again.
                failure = error
            else:
                # What was sent before a connection was lost may be lost with it; and of what has
                # come again meanwhile, it is the copy that has to be acknowledged.
                if losses == self._connection.losses and used == [*map(self._settles, done)]:
                    return
        raise failure

    async def _request(self, delivery: Delivery, answer: bytes) -> None:
        what = f"settling {delivery.origin.stream} {delivery.origin.sequence}"
        await self._connection.request(self._settles(delivery), answer, what=what)

    def _settles(self, delivery: Delivery) -> str:
        return self._newest.get(delivery.origin) or handle_of(delivery).reply

    async def _post(self, answers: Sequence[tuple[Delivery, bytes]]) -> None:
        try:
            await self._connection.client.post(
                [Post(self._settles(delivery), answer) for delivery, answer in answers]
            )
        except NatsError as error:
            raise translate(error, "settling") from None

    async def _pull(self, batch: int, expires: float) -> None:
        request = {"batch": batch, "expires": max(int(expires * 1e9), 1_000_000)}
        self._outstanding = self._batch = batch
        self._pulled_at = monotonic()
        self._ends_at = self._pulled_at + expires
        try:
            pull = Post(self._next, msgspec.json.encode(request), self._reply)
            await self._connection.client.post([pull])
        except NatsError as error:
            self._outstanding = 0
            raise translate(error, f"pull from {self._stream} {self._consumer}") from None

    def _hear(self, frames: list[Frame]) -> None:
        for frame in frames:
            if not frame.reply:
                self._on_status(status_of(frame.headers).lower())
                continue
            try:
                delivery = read_delivery(frame, self._connection.losses)
            except (ValueError, OverflowError):  # Who knows the name of this inbox may write to it.
                log.warning("what came from %a was not delivered by a consumer", frame.reply)
                continue
            self._outstanding -= 1
            self._newest[delivery.origin] = handle_of(delivery).reply
            self._buffer.append(delivery)
        self._arrived.set()

    def _on_status(self, status: str) -> None:
        if status.startswith("100"):
            return
        at_once = monotonic() < min(self._pulled_at + PAUSE, self._ends_at)
        self._hasty = at_once and self._outstanding >= self._batch
        self._outstanding = 0
        where = f"{self._stream} {self._consumer}"
        if status.startswith(_NOBODY):
            self._unanswered = True
        elif status.startswith(_GONE):
            self._failure = StreamMissing(f"the consumer {where} is gone ({status})")
        elif status.startswith("409") and not any(word in status for word in _PASSING):
            self._failure = TransportError(f"pull from {where} refused ({status})")

    def _on_denied(self, denied: Denied) -> None:
        """Unless it is told, a pull that the server refuses looks like an empty mailbox."""
        if denied.subject in (self._next, self._reply):
            self._outstanding = 0
            self._failure = translate(denied, f"pull from {self._stream} {self._consumer}")
            self._arrived.set()

    async def _rest(self, most: float) -> None:
        """Let some time pass: asked again at once, the server would say the same again."""
        unanswered, self._hasty, self._unanswered = self._unanswered, False, False
        if unanswered:
            await self._look_whether_gone()
        if self._failure is None:
            await asyncio.sleep(min(PAUSE, most))

    async def _look_whether_gone(self) -> None:
        """Find out if the consumer is no more; in a cluster it may only be without a leader."""
        with suppress(TransportError, TimeoutError):
            async with asyncio.timeout(_LEADERLESS):
                try:
                    await self._connection.api(f"CONSUMER.INFO.{self._stream}.{self._consumer}")
                except StreamMissing as error:
                    self._failure = StreamMissing(
                        f"the consumer {self._stream} {self._consumer} is gone ({error.reason})"
                    )

    def _reset(self) -> None:
        self._outstanding = 0
        self._arrived.set()

    async def _make_consumer(self) -> None:
        if self._ensure is not None:
            await self._ensure()
        self._gone = False
