"""Publisher: letters into mailboxes, each confirmed by its PubAck.

A batch is written at once and its acks are awaited together on one shared inbox. What was not
confirmed is published again under the same ``Nats-Msg-Id``, which the stream stores once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import msgspec
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from caxton_nats.core.errors import (
    CaxtonError,
    ConfigurationError,
    PublishUnconfirmed,
    QueueFull,
    RevisionConflict,
    ServerExhausted,
)
from caxton_nats.core.reading import UNREADABLE
from caxton_nats.core.routing import mailbox_full
from caxton_nats.jetstream.client import Denied
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.errors import api_error, translate
from caxton_nats.jetstream.headers import MSG_ID, STATUS
from caxton_nats.jetstream.marks import Marks
from caxton_nats.jetstream.write_errors import write_error
from caxton_nats.ports import Letter, Stored

WINDOW = 10_000
TRIES = 4
FIRST_PAUSE = 0.1
"""Seconds before the second try; doubled before each further one."""


class _Error(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class _PubAck(msgspec.Struct):
    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: _Error | None = None


_decoder = msgspec.json.Decoder(_PubAck)


class Post(msgspec.Struct, frozen=True):
    """One message to be stored: subject, headers, payload."""

    subject: str
    body: bytes
    headers: Mapping[str, str]


class JetStreamPublisher:
    """Publishes with one shared ack inbox; open it with `start`."""

    def __init__(self, connection: Connection, *, queue_size: int, window: int = WINDOW) -> None:
        """Take two bounds.

        Args:
            connection: to the server.
            queue_size: of a mailbox, for the error's words; the server enforces it.
            window: messages that wait for their ack at most; who has more waits with them.
        """
        self._connection = connection
        self._queue_size = queue_size
        self._window = window
        self._room = window
        self._freed = asyncio.Event()
        self._entrance = asyncio.Lock()
        self._inbox = connection.client.new_inbox()
        self._waiting: dict[str, tuple[Post, asyncio.Future[Stored | CaxtonError]]] = {}
        self._next = 0
        self.marks = Marks()
        """What was acknowledged to this process."""

    async def start(self) -> None:
        """Listen for acks."""
        self._connection.on_reconnect(self.marks.reconnected)
        self._connection.on_reconnect(self._give_up_waiting)
        self._connection.client.on_denied(self._on_denied)
        await self._connection.client.subscribe(f"{self._inbox}.*", cb=self._on_ack)

    def new_id(self) -> str:
        """Return a ``Nats-Msg-Id`` that no other write has."""
        self._next += 1
        return f"{self._inbox}.{self._next}"

    async def publish(self, letters: Sequence[Letter]) -> list[Stored | CaxtonError]:
        """Store the letters (see `ports.Publisher`)."""
        results = await self.store(
            [
                Post(
                    letter.address.subject,
                    letter.body,
                    {**letter.headers, MSG_ID: letter.message_key},
                )
                for letter in letters
            ]
        )
        return [
            mailbox_full(letter.receiver, self._queue_size)
            if isinstance(result, QueueFull)
            else result
            for letter, result in zip(letters, results, strict=True)
        ]

    async def store(self, posts: Sequence[Post]) -> list[Stored | CaxtonError]:
        """Store the messages; one result each, in order.

        Transient failures are tried again, so each message needs a ``Nats-Msg-Id`` or an
        expected sequence in its headers.
        """
        results: list[Stored | CaxtonError] = await self._try(posts)
        pause = FIRST_PAUSE
        for _ in range(TRIES - 1):
            again = [at for at, result in enumerate(results) if _is_transient(result)]
            if not again:
                break
            await asyncio.sleep(pause)
            pause *= 2
            retried = await self._try([posts[at] for at in again])
            for at, result in zip(again, retried, strict=True):
                results[at] = result
        return results

    async def store_one(self, post: Post) -> Stored:
        """Store one message, or raise why not."""
        result = (await self.store([post]))[0]
        if isinstance(result, CaxtonError):
            raise result
        return result

    async def _try(self, posts: Sequence[Post]) -> list[Stored | CaxtonError]:
        results: list[Stored | CaxtonError] = []
        for start in range(0, len(posts), self._window):
            part = posts[start : start + self._window]
            async with self._places(len(part)):
                results += await self._try_at_once(part)
        return results

    @asynccontextmanager
    async def _places(self, number: int) -> AsyncIterator[None]:
        """Wait until so many more messages may be on their way."""
        # One after the other, or small batches would pass a large one for ever.
        async with self._entrance:
            while self._room < number:
                self._freed.clear()
                await self._freed.wait()
            self._room -= number
        try:
            yield
        finally:
            self._room += number
            self._freed.set()

    async def _try_at_once(self, posts: Sequence[Post]) -> list[Stored | CaxtonError]:
        began = self._connection.reach.now()
        tokens: list[str] = []
        futures: list[asyncio.Future[Stored | CaxtonError]] = []
        for post in posts:
            self._next += 1
            token = str(self._next)
            future: asyncio.Future[Stored | CaxtonError] = (
                asyncio.get_running_loop().create_future()
            )
            self._waiting[token] = post, future
            tokens.append(token)
            futures.append(future)
        patience = self._connection.timeout / 2
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    # Writing may take its time, too: until there is room for what is written.
                    for post, token, future in zip(posts, tokens, futures, strict=True):
                        await self._write(post, token, future)
                    await asyncio.wait(futures)
            silent = not all(future.done() for future in futures)
            if silent and not await self._explain(posts, futures):
                await asyncio.wait(futures, timeout=patience)
        finally:
            for token in tokens:
                self._waiting.pop(token, None)
        results = [
            future.result() if future.done() else _unconfirmed(post)
            for post, future in zip(posts, futures, strict=True)
        ]
        self._tell(results, began)
        return results

    def _tell(self, results: Sequence[Stored | CaxtonError], began: float) -> None:
        if any(isinstance(result, Stored) for result in results):
            self._connection.reach.confirmed()
        elif any(map(_is_transient, results)):
            self._connection.reach.unconfirmed(began)

    def _give_up_waiting(self) -> None:
        """What went out on a connection that was lost is published again at once."""
        for _, future in self._waiting.values():
            if not future.done():
                future.set_result(PublishUnconfirmed("the connection was lost before the PubAck"))

    async def _explain(
        self, posts: Sequence[Post], futures: Sequence[asyncio.Future[Stored | CaxtonError]]
    ) -> bool:
        """Let those that wait have the reason why the server cannot write, if that is why."""
        waiting = [(post, one) for post, one in zip(posts, futures, strict=True) if not one.done()]
        error = await write_error(self._connection, waiting[0][0].subject)
        if error is None:
            return False
        for _, future in waiting:
            if not future.done():
                future.set_result(error)
        return True

    async def _write(
        self, post: Post, token: str, future: asyncio.Future[Stored | CaxtonError]
    ) -> None:
        try:
            await self._connection.client.publish(
                post.subject,
                post.body,
                reply=f"{self._inbox}.{token}",
                headers=dict(post.headers) or None,
            )
        except (NatsError, ValueError) as error:
            if not future.done():
                future.set_result(translate(error, f"publish to {post.subject}"))

    async def _on_ack(self, message: Msg) -> None:
        waiting = self._waiting.pop(message.subject.rsplit(".", 1)[-1], None)
        if waiting is None or waiting[1].done():
            return
        result = read_ack(message)
        if isinstance(result, Stored):
            self.marks.acknowledged(result.stream, result.sequence, duplicate=result.duplicate)
        waiting[1].set_result(result)

    def _on_denied(self, denied: Denied) -> None:
        for post, future in self._waiting.values():
            if denied.subject in (post.subject, f"{self._inbox}.*") and not future.done():
                future.set_result(translate(denied, f"publish to {post.subject}"))


def read_ack(message: Msg) -> Stored | CaxtonError:
    """Return what a PubAck says."""
    if message.headers and message.headers.get(STATUS) == "503":
        return api_error(10059, "no stream answers for this subject", "publish")
    try:
        ack = _decoder.decode(message.data)
    except UNREADABLE as error:
        return PublishUnconfirmed(f"publish: the ack could not be read: {error}")
    if ack.error is not None:
        return api_error(ack.error.err_code, ack.error.description, "publish")
    return Stored(ack.stream, ack.seq, ack.duplicate)


def _unconfirmed(post: Post) -> CaxtonError:
    return PublishUnconfirmed(
        f"publish to {post.subject}: no PubAck in time; stored or not is unknown",
        hint="send again with the same message id: it is stored once",
    )


def _is_transient(result: Stored | CaxtonError) -> bool:
    return isinstance(result, CaxtonError) and not isinstance(
        result, QueueFull | RevisionConflict | ConfigurationError | ServerExhausted
    )
