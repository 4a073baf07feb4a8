"""`Attempts`: a number per stored message."""

from __future__ import annotations

import asyncio

import pytest

from caxton_nats.core.dead_letter import Origin
from tests.conformance.adapters import Adapter

ONE = Origin("CAXTON_MAILBOX_0", 1)


async def test_nothing_is_on_record_at_first(adapter: Adapter) -> None:
    """A message without a record was never attempted, as far as anybody knows."""
    assert await adapter.attempts.recorded(ONE) == 0


@pytest.mark.parametrize("numbers", [[1], [1, 2, 3], [3, 2], [1, 0], [2, 2]])
async def test_last_number_counts(adapter: Adapter, numbers: list[int]) -> None:
    """What was recorded last is on record: more, less, nought, or the same."""
    for number in numbers:
        await adapter.attempts.record(ONE, number)
    assert await adapter.attempts.recorded(ONE) == numbers[-1]


async def test_messages_are_told_apart(adapter: Adapter) -> None:
    """Neither another sequence nor another stream has the same record."""
    others = [Origin("CAXTON_MAILBOX_0", 11), Origin("CAXTON_MAILBOX_1", 1)]
    await adapter.attempts.record(ONE, 1)
    for number, other in enumerate(others, 2):
        await adapter.attempts.record(other, number)
    found = [await adapter.attempts.recorded(origin) for origin in (ONE, *others)]
    assert found == [1, 2, 3]


async def test_many_at_once(adapter: Adapter) -> None:
    """Handlers that begin at the same time each find their own number."""
    origins = [Origin("CAXTON_MAILBOX_0", sequence) for sequence in range(1, 51)]
    await asyncio.gather(*(adapter.attempts.record(origin, origin.sequence) for origin in origins))
    found = await asyncio.gather(*(adapter.attempts.recorded(origin) for origin in origins))
    assert found == [origin.sequence for origin in origins]
