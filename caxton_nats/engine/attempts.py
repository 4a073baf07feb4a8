"""Which deliveries were attempts.

The server counts each time it hands a message over. That is not what a retry policy wants to know:
a mailbox that is stopped hands back what it had fetched and not begun, and a process that crashes
over one message had others in hand. So a message that comes more than once has a record of how
often a handler was started for it; one that comes for the first time costs nothing.

A crash during the very first attempt leaves no record, so such a message gets one attempt more.
"""

from __future__ import annotations

import msgspec

from caxton_nats.ports import Attempts, Delivery


async def earlier(attempts: Attempts, delivery: Delivery) -> int:
    """Return how often a handler was started for it before; what comes first has no record."""
    return 0 if delivery.attempt == 1 else await attempts.recorded(delivery.origin)


async def begin(attempts: Attempts, delivery: Delivery, before: int) -> Delivery:
    """Return the delivery with its attempt number; from the second delivery on it is on record."""
    if delivery.attempt == 1:
        return delivery
    await attempts.record(delivery.origin, before + 1)
    return msgspec.structs.replace(delivery, attempt=before + 1)


async def failed(attempts: Attempts, delivery: Delivery) -> None:
    """Put a failed first attempt on record; later ones are since they began."""
    if delivery.attempt == 1:
        await attempts.record(delivery.origin, 1)


async def count(attempts: Attempts, delivery: Delivery) -> int:
    """Put one more attempt on record, and return how many that makes."""
    number = await attempts.recorded(delivery.origin) + 1
    await attempts.record(delivery.origin, number)
    return number


async def undo(attempts: Attempts, delivery: Delivery, before: int) -> None:
    """Take an attempt off the record that ended with its process, not with a result.

    Args:
        attempts: the records.
        delivery: as the server handed it over.
        before: what was on record when the attempt began.
    """
    if delivery.attempt > 1:
        await attempts.record(delivery.origin, before)
