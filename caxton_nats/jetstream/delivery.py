"""A delivery on the wire: what a consumer sends, and what gives it back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import cast

import msgspec

from caxton_nats.core.disposition import Nak
from caxton_nats.jetstream.headers import kept_headers, parse_block
from caxton_nats.jetstream.subjects import parse_ack
from caxton_nats.jetstream.wire import Frame
from caxton_nats.ports import Delivery

_NONE: Mapping[str, str] = {}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def giving_back(disposition: Nak) -> bytes:
    """Return what gives a message back."""
    delay = int(disposition.delay.total_seconds() * 1e9)
    if delay <= 0:
        # A delay of 0 would wait for the server's timer, and let new messages go first.
        return b"-NAK"
    return b"-NAK " + msgspec.json.encode({"delay": delay})


class Handle(msgspec.Struct, frozen=True):
    """How a delivery is settled."""

    reply: str
    losses: int
    """Of the connection, when it came."""


def handle_of(delivery: Delivery) -> Handle:
    """Return the handle that this module has given it."""
    return cast("Handle", delivery.handle)


class StoredHeaders(Mapping[str, str]):
    """The headers worth keeping of a message, read once somebody looks: hardly anybody does."""

    def __init__(self, block: bytes) -> None:
        """Take them as they came."""
        self._block = block
        self._read: dict[str, str] | None = None

    def _headers(self) -> dict[str, str]:
        if self._read is None:
            self._read = kept_headers(parse_block(self._block))
        return self._read

    def __getitem__(self, name: str) -> str:
        """Return a header by its name."""
        return self._headers()[name]

    def __iter__(self) -> Iterator[str]:
        """Return all names."""
        return iter(self._headers())

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._headers())


def read_delivery(frame: Frame, losses: int) -> Delivery:
    """Return what a consumer has sent, on a connection that was lost so often before.

    Raises:
        ValueError: it was not sent by a consumer.
        OverflowError: the same.
    """
    reply = frame.reply.decode()
    origin, delivered, stored = parse_ack(reply)
    return Delivery(
        origin=origin,
        subject=frame.subject.decode("utf-8", "replace"),
        body=frame.data,
        headers=StoredHeaders(frame.headers) if frame.headers else _NONE,
        attempt=delivered,
        stored_at=_EPOCH + timedelta(microseconds=stored // 1000),
        handle=Handle(reply, losses),
    )
