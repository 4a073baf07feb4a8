"""Publisher: letters into mailboxes, each confirmed by its PubAck.

A batch is written at once and its acks are awaited together on one shared inbox. What was not
confirmed is published again under the same ``Nats-Msg-Id``, which the stream stores once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic

from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError

from caxton_nats.core.errors import (
    CaxtonError,
    ConfigurationError,
    PublishUnconfirmed,
    QueueFull,
    RevisionConflict,
    ServerExhausted,
)
from caxton_nats.core.grouping import Grouping
from caxton_nats.core.routing import mailbox_full
from caxton_nats.jetstream import group_commit, wire
from caxton_nats.jetstream.acks import Batch, Post, count_of, read_ack
from caxton_nats.jetstream.client import Denied
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.errors import translate
from caxton_nats.jetstream.headers import MSG_ID, block, status_of
from caxton_nats.jetstream.marks import Marks
from caxton_nats.jetstream.write_errors import write_error
from caxton_nats.ports import Letter, Stored

WINDOW = 10_000
TRIES = 4
_WRITE = 500
"""Messages that are written at once."""
FIRST_PAUSE = 0.1
"""Seconds before the second try; doubled before each further one."""


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
        self._batches: dict[bytes, Batch] = {}
        """What waits for its acks, by its number."""
        self._next = 0
        self._grouping = Grouping()
        self.marks = Marks()
        """What was acknowledged to this process."""

    async def start(self) -> None:
        """Listen for acks."""
        self._connection.on_reconnect(self.marks.reconnected)
        self._connection.on_reconnect(self._give_up_waiting)
        self._connection.client.on_denied(self._on_denied)
        await self._connection.client.listen(self._answers, self._hear)

    @property
    def _answers(self) -> str:
        return f"{self._inbox}.*"

    def new_id(self) -> str:
        """Return a ``Nats-Msg-Id`` that no other write has."""
        self._next += 1
        return f"{self._inbox}.{self._next}"

    async def publish(self, letters: Sequence[Letter]) -> list[Stored | CaxtonError]:
        """Store the letters (see `ports.Publisher`)."""
        first = self._grouping.sample(len(letters))
        if first:
            return [*await self._publish(letters[:first]), *await self._publish(letters[first:])]
        return await self._publish(letters)

    async def _publish(self, letters: Sequence[Letter]) -> list[Stored | CaxtonError]:
        posts = [
            Post(
                letter.address.subject,
                letter.body,
                {**letter.headers, MSG_ID: letter.message_key},
            )
            for letter in letters
        ]
        groups = self._grouping.groups([one.address.stream for one in letters])
        began, grouped = monotonic(), bool(groups) and self._grouping.wanted(len(posts))
        if grouped:
            results = await self._store_grouped(posts, groups)
        else:
            results = await self.store(posts)
        if all(isinstance(result, Stored) for result in results):
            self._grouping.measured(len(posts), monotonic() - began, grouped=grouped)
        return [
            mailbox_full(letter.receiver, self._queue_size)
            if isinstance(result, QueueFull)
            else result
            for letter, result in zip(letters, results, strict=True)
        ]

    async def _store_grouped(
        self, posts: Sequence[Post], groups: Sequence[Sequence[int]]
    ) -> list[Stored | CaxtonError]:
        """Store the messages, those of each group together, and the rest one by one."""
        rest = sorted(set(range(len(posts))).difference(*groups))
        results: dict[int, Stored | CaxtonError] = {}

        async def store(places: Sequence[int], *, together: bool) -> None:
            part = [posts[at] for at in places]
            stored = await (self._store_group(part) if together else self.store(part))
            results.update(zip(places, stored, strict=True))

        await asyncio.gather(
            store(rest, together=False), *(store(group, together=True) for group in groups)
        )
        return [results[at] for at in range(len(posts))]

    async def _store_group(self, posts: Sequence[Post]) -> list[Stored | CaxtonError]:
        """Store messages of one stream; one by one where the server refuses."""
        results: list[Stored | CaxtonError] = []
        for part in group_commit.cut([len(post.body) for post in posts]):
            # A part keeps its place, however it is stored: the next one waits for all of it.
            results += await self._commit(posts[part]) or await self.store(posts[part])
        return results

    async def _commit(self, posts: Sequence[Post]) -> list[Stored] | None:
        """Store all, or return None: whether any is stored is to be found out one by one."""
        async with self._places(min(len(posts), self._window)):
            self._next += 1
            number = b"%d" % self._next
            pending = self._batches[number] = Batch([posts[-1]], is_group=True)
            frames = [wire.Post(one.subject, one.body, "", _block(one.headers)) for one in posts]
            frames[-1] = frames[-1]._replace(reply=f"{self._inbox}.{number.decode()}-0")
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._connection.timeout / 2):
                        name = f"{self._inbox[-40:]}.{self._next}"
                        await self._connection.client.post(group_commit.batch(frames, name))
                        await pending.complete.wait()
            except (NatsError, ValueError):
                return None
            finally:
                del self._batches[number]
        ack = pending.results[0]
        if isinstance(ack, CaxtonError) and ack.value == group_commit.DISABLED:
            self._grouping.impossible()
        stored = group_commit.results(len(posts), ack, pending.count)
        if stored:
            self._connection.reach.confirmed()
            # The ack named the last one only, and what a stream has lost may end before that.
            self.marks.acknowledged(stored[0].stream, stored[0].sequence, duplicate=False)
        return stored

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
        self._next += 1
        number = b"%d" % self._next
        batch = self._batches[number] = Batch(posts)
        patience = self._connection.timeout / 2
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    # Writing may take its time, too: until there is room for what is written.
                    await self._write(batch, f"{self._inbox}.{number.decode()}")
                    await batch.complete.wait()
            if batch.left and not await self._explain(batch):
                with suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        await batch.complete.wait()
        finally:
            del self._batches[number]
        results = [
            _unconfirmed(post) if result is None else result
            for post, result in zip(posts, batch.results, strict=True)
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
        for batch in self._batches.values():
            batch.end(PublishUnconfirmed("the connection was lost before the PubAck"))

    async def _explain(self, batch: Batch) -> bool:
        """Let those that wait have the reason why the server cannot write, if that is why."""
        waiting = next(
            post for post, result in zip(batch.posts, batch.results, strict=True) if result is None
        )
        error = await write_error(self._connection, waiting.subject)
        if error is None:
            return False
        batch.end(error)
        return True

    async def _write(self, batch: Batch, answers: str) -> None:
        client = self._connection.client
        room = client.max_payload
        for start in range(0, len(batch.posts), _WRITE):
            frames: list[wire.Post] = []
            for at, post in enumerate(batch.posts[start : start + _WRITE], start):
                headers = _block(post.headers)
                if len(post.body) + len(headers) > room:
                    batch.put(at, translate(MaxPayloadError(), f"publish to {post.subject}"))
                else:
                    frames.append(wire.Post(post.subject, post.body, f"{answers}-{at}", headers))
            try:
                await client.post(frames)
            except (NatsError, ValueError) as error:
                for at, post in enumerate(batch.posts[start : start + _WRITE], start):
                    batch.put(at, translate(error, f"publish to {post.subject}"))

    def _hear(self, frames: list[wire.Frame]) -> None:
        begins = len(self._inbox) + 1
        for frame in frames:
            number, _, at = frame.subject[begins:].partition(b"-")
            batch = self._batches.get(number)
            # Who has seen the name of this inbox may write to it.
            if batch is None or not at.isdigit() or int(at) >= len(batch.posts):
                continue
            result = read_ack(frame.data, status_of(frame.headers))
            if batch.is_group:
                batch.count = count_of(frame.data)
            if batch.put(int(at), result) and isinstance(result, Stored):
                self.marks.acknowledged(result.stream, result.sequence, duplicate=result.duplicate)

    def _on_denied(self, denied: Denied) -> None:
        for batch in self._batches.values():
            for at, post in enumerate(batch.posts):
                if denied.subject in (post.subject, self._answers):
                    batch.put(at, translate(denied, f"publish to {post.subject}"))


def _block(headers: Mapping[str, str]) -> bytes:
    key = headers.get(MSG_ID)
    if key is not None and len(headers) == 1 and key.isascii() and key.isprintable():
        return f"NATS/1.0\r\n{MSG_ID}: {key}\r\n\r\n".encode()
    return block(headers)


def _unconfirmed(post: Post) -> CaxtonError:
    return PublishUnconfirmed(
        f"publish to {post.subject}: no PubAck in time; stored or not is unknown",
        hint="send again with the same message id: it is stored once",
    )


def _is_transient(result: Stored | CaxtonError) -> bool:
    return isinstance(result, CaxtonError) and not isinstance(
        result, QueueFull | RevisionConflict | ConfigurationError | ServerExhausted
    )
