"""A KV bucket of JSON records with compare-and-set, and a mirror of it kept by a watch.

Buckets are ordinary streams: ``nats kv get`` reads them. Writing goes through the publisher with
the expected sequence of the key, so that of two writers exactly one wins.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Generic, TypeVar

import msgspec
from nats.errors import Error as NatsError
from nats.js.kv import KeyValue

from caxton_nats.core.errors import (
    CaxtonError,
    ConfigurationError,
    NotConnected,
    RevisionConflict,
    StreamMissing,
)
from caxton_nats.core.reading import UNREADABLE
from caxton_nats.jetstream import direct
from caxton_nats.jetstream.acks import Post
from caxton_nats.jetstream.client import place_of_delivery
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.errors import translate
from caxton_nats.jetstream.headers import (
    EXPECTED_LAST_SUBJECT_SEQUENCE,
    KV_OPERATION,
    MSG_ID,
    ROLLUP,
)
from caxton_nats.jetstream.publisher import TRIES, JetStreamPublisher
from caxton_nats.jetstream.watch import Mirror, Watch
from caxton_nats.tasks import end, heeding_cancellation

T = TypeVar("T")
_AT_ONCE = 0.5
"""Seconds that a replica has to answer before the leader is asked."""
_PAUSE = 0.5
"""Seconds between two tries to watch."""
_PATIENCE = 3
"""Seconds without a record after which a state that is not complete is read anew."""
log = logging.getLogger("caxton_nats.jetstream")


class Bucket(Generic[T]):
    """Records of one type, by key."""

    def __init__(
        self, connection: Connection, publisher: JetStreamPublisher, name: str, kind: type[T]
    ) -> None:
        self._connection = connection
        self._publisher = publisher
        self._name = name
        self._decoder = msgspec.json.Decoder(kind)
        self._encoder = msgspec.json.Encoder()
        self._watching: set[asyncio.Task[None]] = set()
        self._watches: list[Watch[T]] = []
        self._stopped = False

    async def load(self, key: str, *, latest: bool = True) -> tuple[T, int] | None:
        """Return the record and its revision; None if there is none.

        Args:
            key: its key.
            latest: ask the stream's leader. Without it, in a cluster, the record may be an old one,
                or missing: good enough for who writes by its revision, and cheaper.

        Raises:
            ConfigurationError: somebody put something else there.
        """
        record = await (self._last(key) if latest else self._nearest(key))
        if record is None or record.deleted:
            return None
        return self._record(record)

    async def save(self, key: str, value: T, *, revision: int | None) -> int:
        """Write the record if its revision is still this; return the new one.

        Raises:
            RevisionConflict: it is not.
        """
        message_id = self._publisher.new_id()
        try:
            return await self._write(key, value, revision or 0, message_id)
        except RevisionConflict as conflict:
            record = await self._last(key)
            if record is not None and record.message_id == message_id:
                # Our own: it was stored, and its acknowledgement was lost on the way.
                return record.sequence
            if revision is not None or record is None or not record.deleted:
                raise RevisionConflict(f"{self._name} {key} has changed") from conflict
        # A removed key keeps a deletion marker with a sequence of its own.
        return await self._write(key, value, record.sequence, message_id)

    async def put(self, key: str, value: T) -> None:
        """Write the record whatever its revision."""
        await self._publisher.store_one(Post(self._subject(key), self._encoder.encode(value), {}))

    async def was_removed(self, key: str) -> bool:
        """Return whether there was a record, and is none any more."""
        record = await self._last(key)
        return record is not None and record.deleted

    async def remove(self, key: str) -> int:
        """Remove the record; return the revision of that, 0 if there was none."""
        record = await self._last(key)
        if record is None or record.deleted:
            return 0
        headers = {KV_OPERATION: "PURGE", ROLLUP: "sub"}
        return (await self._publisher.store_one(Post(self._subject(key), b"", headers))).sequence

    async def purge(self, key: str, *, revision: int) -> None:
        """Remove the record if its revision is still this, without a marker of its deletion.

        Not for a bucket that somebody watches: a watch would not hear of it.
        """
        request = {"filter": self._subject(key), "seq": revision + 1}
        await self._connection.api(f"STREAM.PURGE.{self._stream}", request)

    async def count(self) -> int:
        """Return how many keys there are; removed ones count until their marker goes."""
        info = await self._connection.api(f"STREAM.INFO.{self._stream}")
        return int(info["state"].get("num_subjects", 0))

    async def written(self) -> int:
        """Return how many writes there ever were."""
        return await direct.last_sequence(self._connection, self._stream)

    async def newest(self, limit: int, wanted: Callable[[T], bool] = lambda _: True) -> list[T]:
        """Return up to ``limit`` wanted records, the last written first.

        What is no record is left out. As far back as it takes is read, everything at worst.
        """

        def read(found: direct.Record) -> T | None:
            record = None if found.deleted else self._read(found.subject, found.body)
            return record if record is not None and wanted(record) else None

        subject = self._subject(">")
        return await direct.newest_of(self._connection, self._stream, subject, limit, read)

    async def each(self, keys: str = ">") -> AsyncIterator[T]:
        """Read the records whose keys fit, page by page, in the order they were written in."""
        async for page in direct.pages(self._connection, self._stream, self._subject(keys), 1):
            for found in page:
                record = None if found.deleted else self._read(found.subject, found.body)
                if record is not None:
                    yield record

    async def state(self, keys: str) -> list[tuple[T, int]]:
        """Return the records whose keys fit and their revisions, the one written last at the end.

        None that was confirmed is missing, also if a replica that is behind has answered.

        Raises:
            NotConnected: it still is; to be tried again.
            ConfigurationError: somebody put something else there.
        """
        newest = await direct.last_of_leader(self._connection, self._stream, self._subject(keys))
        found: list[tuple[T, int]] = []
        last = 0
        async for page in direct.pages(self._connection, self._stream, self._subject(keys), 1):
            last = max(last, *(one.sequence for one in page), 0)
            found += [self._record(one) for one in page if not one.deleted]
        if newest is not None and last < newest.sequence:
            raise NotConnected(f"a replica of {self._name} is behind", hint="try again")
        return found

    async def follow(
        self, mirror: Mirror[T], *, reached: Callable[[int], None] = lambda _: None
    ) -> None:
        """Keep the mirror equal to the bucket until `stop`; returns when all records are in.

        After a lost connection the records are given as a whole again, so that no change can be
        missed.

        Args:
            mirror: what is kept.
            reached: is told the revision of the last change that is in it.
        """
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        watch = Watch(mirror, reached, ready)
        self._watching.add(asyncio.create_task(self._watch_forever(watch)))
        await ready
        self._watches.append(watch)

    async def caught_up(self, revision: int = 0) -> int:
        """Return when all mirrors have this write and miss no change, and how often they might.

        Raises:
            NotConnected: they have not, in the time that a write is tried for, or never will.
        """
        try:
            async with asyncio.timeout(self._connection.timeout * TRIES):
                for watch in self._watches:
                    while self._stopped or not self._has(watch, revision):
                        self._refuse_if_stopped()
                        await watch.moved()
        except TimeoutError:
            raise NotConnected(
                f"what is known of {self._name} may be out of date",
                hint="the connection to NATS was lost; sending again is safe",
            ) from None
        return self._connection.losses

    def _refuse_if_stopped(self) -> None:
        if self._stopped:
            raise NotConnected("this platform was closed", hint="connect again")

    def _has(self, watch: Watch[T], revision: int) -> bool:
        return (
            watch.is_complete()
            and watch.revision >= revision
            and watch.losses == self._connection.losses
            and self._connection.is_connected
        )

    async def behind(self) -> int:
        """Return how many revisions the newest record is ahead of what the mirrors have."""
        newest = await self._last(">")
        last = newest.sequence if newest else 0
        return max([0, *(last - watch.revision for watch in self._watches)])

    async def stop(self) -> None:
        """End all watches; who waits for one of them is told."""
        self._stopped = True
        await end(self._watching)
        for watch in self._watches:
            watch.wake()
        self._watching.clear()

    async def _watch_forever(self, watch: Watch[T]) -> None:
        reconnected = asyncio.Event()
        forget = self._connection.on_reconnect(reconnected.set)
        try:
            while True:
                reconnected.clear()
                try:
                    await self._watch_until(watch, reconnected)
                except (NatsError, CaxtonError, TimeoutError) as error:
                    if not watch.ready.done():
                        watch.ready.set_exception(translate(error, f"watching {self._name}"))
                        return
                    log.warning("watch of %s ended, starting again: %s", self._name, error)
                    await asyncio.sleep(_PAUSE)
        finally:
            forget()

    async def _watch_until(self, watch: Watch[T], reconnected: asyncio.Event) -> None:
        """Watch until the connection is another: what it missed nobody tells the watcher."""
        watching = asyncio.create_task(self._watch(watch))
        waiting = asyncio.create_task(reconnected.wait())
        try:
            await asyncio.wait({watching, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
        finally:
            await end([watching, waiting])

    async def _watch(self, watch: Watch[T]) -> None:
        """Watch for ever; return only if what was there does not come, or may have been missed."""
        losses = self._connection.losses
        bucket = await self._connection.client.jetstream().key_value(self._name)
        watcher = await bucket.watchall()
        place = place_of_delivery(watcher)
        watch.begin(losses)
        quiet = 0
        try:
            while watch.is_complete() or quiet < _PATIENCE:
                if place_of_delivery(watcher) != place:
                    log.info("%s is read anew: its watch was interrupted", self._name)
                    return
                try:
                    with heeding_cancellation():
                        entry = await watcher.updates(timeout=1.0)  # type: ignore[no-untyped-call]
                except TimeoutError:
                    self._give_up_if_never_complete(watch)
                    quiet += 1
                    continue
                quiet = 0
                if entry is None:
                    newest = await self._last(">")
                    watch.complete(newest.sequence if newest is not None else 0)
                else:
                    watch.take(entry.key, self._decode(entry), int(entry.revision or 0))
        finally:
            await watcher.stop()  # type: ignore[no-untyped-call]

    def _give_up_if_never_complete(self, watch: Watch[T]) -> None:
        """Nobody waits for the first state of a server that has gone meanwhile."""
        if not watch.ready.done() and not self._connection.is_connected:
            raise NotConnected(
                f"the connection was lost while reading {self._name}",
                hint="is the server still running? try again",
            )

    def _decode(self, entry: KeyValue.Entry) -> T | None:
        """Return the record, or None for a deletion; what is no record is logged and skipped."""
        if entry.operation is not None or not entry.value:
            return None
        return self._read(entry.key, entry.value)

    def _read(self, key: str, body: bytes) -> T | None:
        try:
            return self._decoder.decode(body)
        except UNREADABLE as error:
            log.warning("%s %s is not readable: %s", self._name, key, error)
            return None

    async def _last(self, key: str) -> direct.Record | None:
        """Return what was written last, removals included, as the stream's leader knows it."""
        return await direct.last_of_leader(self._connection, self._stream, self._subject(key))

    def _record(self, found: direct.Record) -> tuple[T, int]:
        try:
            return self._decoder.decode(found.body), found.sequence
        except UNREADABLE as error:
            key = found.subject.removeprefix(self._subject(""))
            raise ConfigurationError(
                f"the record is not readable: {error}",
                field=f"{self._name} {key}",
                hint=f"somebody else wrote it: remove it with `nats kv del {self._name} {key}`",
            ) from None

    async def _nearest(self, key: str) -> direct.Record | None:
        """Return what some replica has. One that was cut off a moment ago may be asked, in vain."""
        with suppress(StreamMissing, TimeoutError):
            async with asyncio.timeout(_AT_ONCE):
                return await direct.last(self._connection, self._stream, self._subject(key))
        return await self._last(key)

    async def _write(self, key: str, value: T, expected: int, message_id: str) -> int:
        headers = {EXPECTED_LAST_SUBJECT_SEQUENCE: str(expected), MSG_ID: message_id}
        post = Post(self._subject(key), self._encoder.encode(value), headers)
        return (await self._publisher.store_one(post)).sequence

    @property
    def _stream(self) -> str:
        return f"KV_{self._name}"

    def _subject(self, key: str) -> str:
        return f"$KV.{self._name}.{key}"
