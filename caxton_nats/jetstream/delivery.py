"""A delivery on the wire: what a consumer sends, and what gives it back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast

import msgspec
from nats.aio.msg import Msg

from caxton_nats.core.disposition import Nak
from caxton_nats.jetstream.headers import kept_headers
from caxton_nats.jetstream.subjects import parse_ack
from caxton_nats.ports import Delivery

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


def read_delivery(message: Msg, losses: int) -> Delivery:
    """Return what a consumer has sent, on a connection that was lost so often before."""
    origin, delivered, stored = parse_ack(message.reply)
    return Delivery(
        origin=origin,
        subject=message.subject,
        body=bytes(message.data),
        headers=kept_headers(message.headers),
        attempt=delivered,
        stored_at=_EPOCH + timedelta(microseconds=stored // 1000),
        handle=Handle(message.reply, losses),
    )
