"""What a mailbox consumer has handed out and nobody has settled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.registry import Address
from caxton_nats.jetstream import direct
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.delivery import Handle
from caxton_nats.ports import Delivery


async def unsettled(
    connection: Connection, address: Address, consumer: Mapping[str, Any]
) -> list[Delivery]:
    """Return it, oldest first; they can be settled like those that came by a pull.

    A mailbox is a work queue: whatever was handed out and is still stored is not settled. That is
    read only if the consumer says, by its info, that there is any.
    """
    if not consumer["num_ack_pending"]:
        return []
    where = f"{address.stream}.{address.consumer}"
    last, turn = consumer["delivered"]["stream_seq"], consumer["delivered"]["consumer_seq"]
    found: list[Delivery] = []
    start = consumer["ack_floor"]["stream_seq"] + 1
    async for page in direct.pages(connection, address.stream, address.subject, start):
        for record in page:
            if record.sequence > last:
                return found
            handle = Handle(f"$JS.ACK.{where}.1.{record.sequence}.{turn}.0.0", connection.losses)
            found.append(delivery(record, address.stream, handle=handle))
    return found


def delivery(record: direct.Record, stream: str, *, handle: object = None) -> Delivery:
    """Return a stored message as a delivery whose attempt says nothing."""
    return Delivery(
        origin=Origin(stream, record.sequence),
        subject=record.subject,
        body=record.body,
        headers=record.headers,
        attempt=1,
        stored_at=record.stored_at,
        handle=handle,
    )
