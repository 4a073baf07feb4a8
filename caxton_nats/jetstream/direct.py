"""Reading stored messages straight from a stream (JetStream ADR-31, direct get).

In a cluster any replica answers a direct get, and one that was cut off or is catching up answers
with what was true a while ago. It will do for lists and for what a compare-and-set will check.
Whatever is decided by what was read, or by finding nothing, asks the leader: `*_of_leader`.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from caxton_nats.core.errors import CaxtonError, PublishUnconfirmed, StreamMissing, TransportError
from caxton_nats.jetstream.client import Denied
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.errors import translate
from caxton_nats.jetstream.headers import (
    DESCRIPTION,
    KV_OPERATION,
    MSG_ID,
    NUM_PENDING,
    SEQUENCE,
    STATUS,
    SUBJECT,
    TIME_STAMP,
    kept_headers,
    stored_headers,
)
from caxton_nats.jetstream.times import moment
from caxton_nats.tasks import heeding_cancellation

T = TypeVar("T")
BATCH = 256
"""Messages per request; the server stops at 1,024 subjects."""


class Record(msgspec.Struct, frozen=True):
    """One stored message."""

    subject: str
    sequence: int
    body: bytes
    deleted: bool
    """It marks the deletion of a key."""
    stored_at: datetime
    headers: Mapping[str, str]
    """Without NATS's own."""
    message_id: str = ""
    """Its ``Nats-Msg-Id``."""
    behind_it: int = 0
    """How many more messages a batch request would have got."""


async def last(connection: Connection, stream: str, subject: str) -> Record | None:
    """Return the newest message of a subject, deletion markers included."""
    try:
        with heeding_cancellation():
            message = await connection.client.request(
                f"$JS.API.DIRECT.GET.{stream}.{subject}", timeout=connection.timeout
            )
    except (NatsError, TimeoutError) as error:
        raise translate(error, f"reading {subject}") from None
    return _record(message)


async def last_of_leader(connection: Connection, stream: str, subject: str) -> Record | None:
    """Return the newest message of a subject (wildcards allowed), deletion markers included."""
    return await _one_of_leader(connection, stream, {"last_by_subj": subject})


async def first_of_leader(connection: Connection, stream: str, subject: str) -> Record | None:
    """Return the oldest message of a subject, which may have wildcards."""
    return await _one_of_leader(connection, stream, {"seq": 1, "next_by_subj": subject})


async def at_leader(connection: Connection, stream: str, sequence: int) -> Record | None:
    """Return the message of this sequence, if it is stored."""
    return await _one_of_leader(connection, stream, {"seq": sequence})


async def _one_of_leader(
    connection: Connection, stream: str, request: dict[str, Any]
) -> Record | None:
    """Ask the stream's leader, which knows of every write that was confirmed."""
    try:
        answer = await connection.api(f"STREAM.MSG.GET.{stream}", request)
    except StreamMissing as error:
        if "no message found" in error.reason:
            return None
        raise
    message = answer["message"]
    headers = stored_headers(message.get("hdrs"))
    return Record(
        subject=message["subject"],
        sequence=message["seq"],
        body=b64decode(message.get("data") or ""),
        deleted=_is_marker(headers),
        stored_at=moment(message["time"]),
        headers=kept_headers(headers),
        message_id=headers.get(MSG_ID, ""),
    )


async def each_of_leader(
    connection: Connection, stream: str, subject: str, start: int
) -> AsyncIterator[Record]:
    """Yield the messages of a subject from a sequence on, in stream order, one request each."""
    while (
        found := await _one_of_leader(connection, stream, {"seq": start, "next_by_subj": subject})
    ) is not None:
        yield found
        start = found.sequence + 1


async def newest_of_leader(
    connection: Connection, stream: str, subject: str, limit: int
) -> list[Record]:
    """Return up to ``limit`` messages of a subject, the newest first; all of them are read."""
    found = [one async for one in each_of_leader(connection, stream, subject, 1)]
    return found[::-1][:limit]


async def first(connection: Connection, stream: str, subject: str) -> Record | None:
    """Return the oldest message of a subject, which may have wildcards."""
    found = await batch(connection, stream, {"seq": 1, "next_by_subj": subject, "batch": 1})
    return found[0] if found else None


async def batch(connection: Connection, stream: str, request: dict[str, Any]) -> list[Record]:
    """Return the messages that one batch request gets, in stream order.

    Args:
        connection: where to ask.
        stream: which stream.
        request: for example ``{"seq": 1, "batch": 256, "next_by_subj": "caxton.dlq.>"}``.

    Raises:
        StreamMissing: no such stream. PublishUnconfirmed: no end within the time limit.
        PermissionDenied: this user may not read there.
    """
    inbox = connection.client.new_inbox()
    address = f"$JS.API.DIRECT.GET.{stream}"
    arrived: asyncio.Queue[Msg | Denied] = asyncio.Queue()

    def on_denied(denied: Denied) -> None:
        if denied.subject in (address, inbox):
            arrived.put_nowait(denied)

    forget = connection.client.on_denied(on_denied)
    subscription = await connection.client.subscribe(inbox, cb=arrived.put)
    found: list[Record] = []
    try:
        await connection.client.publish(address, msgspec.json.encode(request), reply=inbox)
        while True:
            async with asyncio.timeout(connection.timeout):
                message = await arrived.get()
            if isinstance(message, Denied):
                raise translate(message, f"reading {stream}")
            record = _record(message)
            if record is None:
                return found
            found.append(record)
    except TimeoutError:
        raise PublishUnconfirmed(f"reading {stream}: no answer in time") from None
    except NatsError as error:
        raise translate(error, f"reading {stream}") from None
    finally:
        forget()
        await subscription.unsubscribe()


async def last_sequence(connection: Connection, stream: str) -> int:
    """Return the sequence of the newest message that was ever stored."""
    info = await connection.api(f"STREAM.INFO.{stream}")
    return int(info["state"]["last_seq"])


async def newest(connection: Connection, stream: str, subject: str, limit: int) -> list[Record]:
    """Return up to ``limit`` messages of a subject (wildcards allowed), the newest first."""
    return await newest_of(connection, stream, subject, limit, lambda record: record)


async def newest_of(
    connection: Connection,
    stream: str,
    subject: str,
    limit: int,
    read: Callable[[Record], T | None],
) -> list[T]:
    """Return up to ``limit`` of what ``read`` makes of the messages, the newest first.

    Those of which it makes None do not count; as far back as it takes is read.
    """
    end = await last_sequence(connection, stream)
    found: list[T] = []
    window = max(limit, BATCH)
    while end >= 1 and len(found) < limit:
        start = max(1, end - window + 1)
        older: list[T] = []
        async for page in pages(connection, stream, subject, start):
            within = [one for one in page if one.sequence <= end]
            older += [made for one in within if (made := read(one)) is not None]
            if len(within) < len(page):
                break
        found += reversed(older)
        # Gaps left by removed messages, or other subjects: take larger steps.
        end, window = start - 1, window * 4
    return found[:limit]


async def pages(
    connection: Connection, stream: str, subject: str, start: int
) -> AsyncIterator[list[Record]]:
    """Read the messages of a subject from a sequence on, in stream order."""
    while True:
        page = await batch(
            connection, stream, {"seq": start, "next_by_subj": subject, "batch": BATCH}
        )
        yield page
        # Fewer than asked for are no sign of the end: an answer has so many bytes at most.
        if not page or not page[-1].behind_it:
            return
        start = page[-1].sequence + 1


def _record(message: Msg) -> Record | None:
    """Return the stored message, or None for the end of a batch or nothing found."""
    headers = message.headers or {}
    status = headers.get(STATUS)
    if status is not None and SEQUENCE not in headers:
        if status in ("204", "404"):
            return None
        raise _failure(status, str(headers.get(DESCRIPTION, "")))
    return Record(
        subject=str(headers[SUBJECT]),
        sequence=int(headers[SEQUENCE]),
        body=bytes(message.data),
        deleted=_is_marker(headers),
        stored_at=moment(str(headers[TIME_STAMP])),
        headers=kept_headers(headers),
        message_id=str(headers.get(MSG_ID, "")),
        behind_it=int(headers.get(NUM_PENDING, 0)),
    )


def _is_marker(headers: Mapping[str, str]) -> bool:
    return KV_OPERATION in headers or "Nats-Marker-Reason" in headers


def _failure(status: str, description: str) -> CaxtonError:
    if status == "503":
        return StreamMissing("no stream answers a direct get", hint="run `caxton topology check`")
    return TransportError(f"direct get failed: {status} {description}")
