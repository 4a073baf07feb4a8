"""The door ``caxton.send.<sender>``: a message, or an array of messages, and what became of each.

Requests that come in together are routed as one batch, and answered in one write. An array is
answered by an array, in its order; whatever is wrong with one of its messages is said in its place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

import msgspec
from nats.errors import Error as NatsError

from caxton_nats.core.errors import CaxtonError, InvalidEnvelope, MalformedEnvelope
from caxton_nats.core.reading import UNREADABLE, complaint
from caxton_nats.jetstream import subjects
from caxton_nats.jetstream.answers import error_body, respond, result_body
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.headers import kept_headers, parse_block
from caxton_nats.jetstream.waiting import Waiting
from caxton_nats.jetstream.wire import Frame, Listener
from caxton_nats.ports import Door, Submission
from caxton_nats.tasks import Workers, end

QUEUE_GROUP = "caxton-router"
SEND = f"{subjects.SEND}.*"
MANY = 1_000
"""Messages of one request at most."""
_BATCH_BYTES = 1024 * 1024
"""Of the requests that are routed together."""
_many = msgspec.json.Decoder(list[msgspec.Raw])
log = logging.getLogger("caxton_nats.jetstream")


class _Asked(msgspec.Struct, frozen=True):
    """A request that could be read."""

    subject: str
    reply: str
    submissions: list[Submission]
    is_many: bool


class SendDoor:
    """Answers until closed."""

    def __init__(
        self, connection: Connection, door: Door, *, platform: str, workers: Workers
    ) -> None:
        self._connection = connection
        self._door = door
        self._platform = platform
        self._workers = workers
        self._requests = Waiting()
        self._listener: Listener | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._worker: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to answer."""
        self._worker = asyncio.create_task(self._send_forever(), name="send door")
        self._listener = await self._connection.client.listen(SEND, self._hear, queue=QUEUE_GROUP)

    async def close(self, *, within: float) -> None:
        """Refuse new requests, answer those that are in, if that takes no more seconds than these.

        Who gets no answer does not know whether the message is stored, and may send it again.
        """
        if self._listener is not None:
            try:
                async with asyncio.timeout(self._connection.timeout):
                    await self._listener.drain()
            except (NatsError, TimeoutError) as error:
                log.warning("closing the door %s: %r", SEND, error)
        if self._worker is not None:
            await end([self._worker])
        answering = asyncio.create_task(self._answer_all())
        await asyncio.wait({answering}, timeout=within)
        await end([answering, *self._tasks])

    def _hear(self, frames: list[Frame]) -> None:
        refused: list[tuple[str, str, object]] = []
        for frame in frames:
            try:
                self._requests.put(frame)
            except CaxtonError as error:
                refused.append((*_names(frame), error_body(error)))
        if refused:
            self._start(respond(self._connection, refused))

    async def _answer_all(self) -> None:
        while self._requests:
            await self._workers.turns.acquire()
            self._start(self._send_batch(self._waiting()))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _send_forever(self) -> None:
        while True:
            first = await self._requests.get()
            try:
                # What comes in while all workers are busy shares the next batch.
                await self._workers.turns.acquire()
            except asyncio.CancelledError:
                self._requests.put_back(first)
                raise
            self._start(self._send_batch([first, *self._waiting(first)]))

    def _waiting(self, *taken: Frame) -> list[Frame]:
        room = _BATCH_BYTES - sum(len(frame.data) for frame in taken)
        if room <= 0:
            return []
        return self._requests.take(self._workers.batch_size - len(taken), room)

    async def _send_batch(self, frames: Sequence[Frame]) -> None:
        """Route the batch and answer it; its turn ends with it."""
        try:
            await self._route(frames)
        finally:
            self._workers.turns.release()

    async def _route(self, frames: Sequence[Frame]) -> None:
        asked: list[_Asked] = []
        answers: list[tuple[str, str, object]] = []
        for frame in frames:
            try:
                asked.append(self._read(frame))
            except CaxtonError as error:
                answers.append((*_names(frame), error_body(error)))
        results = iter(
            await self._door.send([one for request in asked for one in request.submissions])
        )
        for request in asked:
            bodies = [result_body(next(results)) for _ in request.submissions]
            answer = bodies if request.is_many else bodies[0]
            answers.append((request.subject, request.reply, answer))
        await respond(self._connection, answers)

    def _read(self, frame: Frame) -> _Asked:
        subject, reply = _names(frame)
        sender = subjects.agent_of(subject, self._platform)
        headers = kept_headers(parse_block(frame.headers)) if frame.headers else {}
        is_many = frame.data[:1] == b"["
        bodies = read_many(frame.data) if is_many else [frame.data]
        submissions = [Submission(sender=sender, body=body, headers=headers) for body in bodies]
        return _Asked(subject, reply, submissions, is_many)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def read_many(body: bytes) -> list[bytes]:
    """Return the messages of an array, as they are written there.

    Raises:
        MalformedEnvelope: it is no array in JSON.
        InvalidEnvelope: there are too many.
    """
    try:
        found = _many.decode(body)
    except UNREADABLE as error:
        raise MalformedEnvelope(
            complaint(body, error), field="body", hint="a JSON array of messages, or one message"
        ) from None
    if len(found) > MANY:
        raise InvalidEnvelope(
            "has too many messages for one request",
            field="body",
            limit=MANY,
            value=len(found),
            hint="send them in several requests",
        )
    return [bytes(one) for one in found]


def _names(frame: Frame) -> tuple[str, str]:
    return frame.subject.decode("utf-8", "replace"), frame.reply.decode("utf-8", "replace")
