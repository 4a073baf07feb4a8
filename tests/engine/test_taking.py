"""An inbox whose reader is stopped between two batches."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from caxton_nats.core.disposition import Ack
from caxton_nats.engine.taking import Taking
from caxton_nats.tasks import end
from tests.core.sample import BOB
from tests.engine.bench import Bench


async def test_what_was_taken_is_finished(bench: Bench) -> None:
    """`stop` waits for the reader to come back; after that it gets nothing any more."""
    await bench.post("m-1")
    await bench.post("m-2")
    inbox = Taking(await bench.broker.mailboxes.open(BOB))
    go, taken = asyncio.Event(), 0

    async def read() -> None:
        nonlocal taken
        while True:
            (delivery,) = await inbox.fetch(1, timedelta(seconds=5))
            await go.wait()
            await inbox.settle([(delivery, Ack())])
            taken += 1

    reader = asyncio.create_task(read())
    await bench.clock.idle()
    stopping = asyncio.create_task(inbox.stop())
    await bench.clock.idle()
    assert not stopping.done()
    go.set()
    await stopping
    await bench.clock.advance(60)
    assert (taken, await bench.pending()) == (1, 1)
    await end([reader])


async def test_reader_that_waits_is_stopped_at_once(bench: Bench) -> None:
    """There is nothing to be finished."""
    inbox = Taking(await bench.broker.mailboxes.open(BOB))
    reader = asyncio.create_task(inbox.fetch(1, timedelta(hours=1)))
    await bench.clock.idle()
    await asyncio.wait_for(inbox.stop(), 5)
    await end([reader])


async def test_what_comes_too_late(bench: Bench) -> None:
    """What the inbox hands out in the moment of the stop is not begun, and not lost."""
    inbox = Taking(await bench.broker.mailboxes.open(BOB))
    reader = asyncio.create_task(inbox.fetch(1, timedelta(hours=1)))
    await bench.clock.idle()
    await bench.post("m-1")
    await inbox.stop()
    await bench.clock.idle()
    assert not reader.done()
    await end([reader])
    assert len(await inbox.close()) == 1
