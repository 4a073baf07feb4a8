"""What the broker in memory does beside the ports; tests/conformance has the rest."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from caxton_nats.core.dead_letter import DeadLetter, Origin, Stage
from caxton_nats.core.disposition import Ack, Nak
from caxton_nats.core.errors import QueueFull, StreamMissing
from caxton_nats.core.failure import FailureReason
from caxton_nats.core.identifiers import agent_id
from caxton_nats.memory import MemoryBroker
from caxton_nats.memory.work_queue import Exhausted
from caxton_nats.ports import Letter
from tests.plugins.eventually import eventually

BOB = agent_id("bob", "here")
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class SteppedClock:
    """Time passes when everybody sleeps, and then at once up to the first to wake."""

    def __init__(self) -> None:
        self._now = NOON
        self.slept: list[timedelta] = []

    def now(self) -> datetime:
        return self._now

    def chance(self) -> float:
        return 0.5

    async def sleep(self, delay: timedelta) -> None:
        self.slept.append(delay)
        await asyncio.sleep(0)
        self._now += delay


class EndlessClock(SteppedClock):
    """A clock on which nobody ever wakes."""

    async def sleep(self, delay: timedelta) -> None:
        self.slept.append(delay)
        await asyncio.get_running_loop().create_future()


async def store(broker: MemoryBroker, *keys: str) -> None:
    address = await broker.mailboxes.ensure(BOB)
    await broker.publisher.publish([Letter(BOB, address, key, key.encode()) for key in keys])


async def until_attended(broker: MemoryBroker) -> None:
    async def attended() -> bool:
        return (await broker.mailboxes.status(BOB)).attended

    await eventually(attended, what="the fetch waits")


async def test_time_is_the_clocks() -> None:
    """An ack wait of an hour passes without waiting, and nothing sleeps twice for it."""
    clock = SteppedClock()
    broker = MemoryBroker(clock, ack_wait=HOUR)
    await store(broker, "one")
    inbox = await broker.mailboxes.open(BOB)
    (first,) = await inbox.fetch(1, HOUR)
    assert first.stored_at == NOON
    (again,) = await inbox.fetch(1, 3 * HOUR)
    assert (again.attempt, clock.now()) == (2, NOON + HOUR)
    assert clock.slept == [HOUR]


async def test_wait_is_the_clocks() -> None:
    """A fetch that finds nothing ends when the clock says so."""
    clock = SteppedClock()
    inbox = await MemoryBroker(clock).mailboxes.open(BOB)
    assert await inbox.fetch(1, HOUR) == []
    assert clock.now() == NOON + HOUR


async def test_duplicate_window_is_the_clocks() -> None:
    """A key is known within the window, and free when the window has passed."""
    clock = SteppedClock()
    broker = MemoryBroker(clock, duplicate_window=HOUR)
    await store(broker, "one")
    await clock.sleep(HOUR - timedelta(microseconds=1))
    await store(broker, "one")
    assert (await broker.mailboxes.status(BOB)).pending == 1
    await clock.sleep(timedelta(microseconds=1))
    await store(broker, "one")
    assert (await broker.mailboxes.status(BOB)).pending == 2


async def test_exhausted_is_the_advisory() -> None:
    """A message that reached max_deliver is named with its consumer and deliveries, once."""
    broker = MemoryBroker(SteppedClock(), max_deliver=2, ack_wait=HOUR)
    await store(broker, "hopeless")
    inbox = await broker.mailboxes.open(BOB)
    (hopeless,) = await inbox.fetch(1, HOUR)
    await inbox.settle([(hopeless, Nak(timedelta(0)))])
    await inbox.fetch(1, HOUR)
    assert broker.exhausted == []
    assert await inbox.fetch(1, 3 * HOUR) == []
    assert await inbox.fetch(1, 3 * HOUR) == []
    assert broker.exhausted == [Exhausted(hopeless.origin, "bob", 2)]


async def test_waiting_reader_of_a_removed_mailbox() -> None:
    """A fetch that waits while its mailbox is removed ends with an error, not after its wait."""
    broker = MemoryBroker(EndlessClock())
    inbox = await broker.mailboxes.open(BOB)
    fetching = asyncio.ensure_future(inbox.fetch(1, HOUR))
    await until_attended(broker)
    await broker.mailboxes.remove(BOB)
    with pytest.raises(StreamMissing):
        await fetching


async def test_waiting_reader_that_is_closed() -> None:
    """A fetch that waits while its inbox is closed returns [] at once."""
    broker = MemoryBroker(EndlessClock())
    inbox = await broker.mailboxes.open(BOB)
    fetching = asyncio.ensure_future(inbox.fetch(1, HOUR))
    await until_attended(broker)
    await inbox.close()
    assert await fetching == []


async def test_cancelled_reader_leaves_nothing_behind() -> None:
    """A reader that is cancelled while it waits attends no mailbox and takes no message."""
    broker = MemoryBroker(EndlessClock())
    inbox = await broker.mailboxes.open(BOB)
    fetching = asyncio.ensure_future(inbox.fetch(1, HOUR))
    await until_attended(broker)
    fetching.cancel()
    await asyncio.gather(fetching, return_exceptions=True)
    assert not (await broker.mailboxes.status(BOB)).attended
    await store(broker, "one")
    (one,) = await (await broker.mailboxes.open(BOB)).fetch(1, HOUR)
    assert one.attempt == 1


async def test_broken_clock_is_noticed() -> None:
    """A clock that fails ends the fetch with its error rather than in a spin."""

    class BrokenClock(SteppedClock):
        async def sleep(self, delay: timedelta) -> None:
            await super().sleep(delay)
            raise OSError("no time")

    inbox = await MemoryBroker(BrokenClock()).mailboxes.open(BOB)
    with pytest.raises(OSError, match="no time"):
        await inbox.fetch(1, HOUR)


async def test_ingress_is_bounded() -> None:
    """The ingress holds as many submissions as it may; a routed one frees its place."""
    broker = MemoryBroker(SteppedClock(), ingress_size=3)
    for _ in range(3):
        await broker.submit(BOB, b"{}")
    with pytest.raises(QueueFull) as caught:
        await broker.submit(BOB, b"{}")
    assert caught.value.limit == caught.value.value == 3
    (routed,) = await broker.ingress.fetch(1, HOUR)
    await broker.ingress.settle([(routed, Ack())])
    await broker.submit(BOB, b"{}")


async def test_dead_letters_are_bounded() -> None:
    """Beyond the bound the oldest dead letter goes."""
    letters = MemoryBroker(SteppedClock(), dead_letter_size=2).dead_letters
    for sequence in (1, 2, 3):
        assert await letters.write(dead(sequence))
    assert [letter.origin.sequence for letter in await letters.list()] == [3, 2]


def dead(sequence: int) -> DeadLetter:
    origin = Origin("S", sequence)
    return DeadLetter(
        id=origin.key,
        reason=FailureReason.TIMEOUT,
        stage=Stage.DELIVER,
        agent=BOB,
        attempts=1,
        first_at=NOON,
        last_at=NOON,
        last_error={},
        origin=origin,
        subject="s",
    )


async def test_messages_are_their_own() -> None:
    """What a sender does with its buffers and headers afterwards does not reach the reader."""
    broker = MemoryBroker(SteppedClock())
    body, headers = bytearray(b"abc"), {"a": "b"}
    address = await broker.mailboxes.ensure(BOB)
    await broker.publisher.publish([Letter(BOB, address, "k", body, headers)])  # type: ignore[arg-type]
    body[:] = b"xyz"
    headers["a"] = "changed"
    (delivery,) = await (await broker.mailboxes.open(BOB)).fetch(1, HOUR)
    assert (delivery.body, delivery.headers) == (b"abc", {"a": "b"})
