"""What was handled is not handled again, in this process or the next."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import PublishUnconfirmed, RevisionConflict
from caxton_nats.core.identifiers import MessageId
from caxton_nats.core.ledger import PAGE_SIZE, PAGES, REMEMBERED, Entry
from caxton_nats.engine.ledger import Ledger
from caxton_nats.memory.effects import MAX_AGE
from caxton_nats.telemetry import Action
from tests.core.sample import ALICE, BOB
from tests.engine.bench import ACK_WAIT, After, Bench, Failing, Mortal, Process, Recorder


def entry(number: int) -> Entry:
    return Entry(ALICE, MessageId(f"m-{number}"))


async def opened(bench: Bench, ledgers: Any = None) -> Ledger:
    ledger = Ledger(BOB, ledgers or bench.broker.ledgers)
    await ledger.open()
    return ledger


async def remembered(bench: Bench) -> set[Entry]:
    pages = await bench.broker.ledgers.pages(BOB)
    return {one for page, _ in pages for one in page.entries}


async def test_second_copy_after_a_restart(bench: Bench) -> None:
    """A copy that was stored again, long after, is settled by the next process without a handler."""
    bob = Recorder(bench.clock)
    await bench.post("m-1")
    first = bench.open(bob)
    await bench.clock.idle()
    await first.drain()
    await bench.clock.advance(timedelta(days=1).total_seconds())
    assert not (await bench.post("m-1")).duplicate
    bench.open(bob)
    await bench.clock.idle()
    assert (bob.ids, await bench.pending()) == (["m-1"], 0)
    assert bench.told(Action.DUPLICATE) == ["m-1"]


async def test_crash_before_the_ack(bench: Bench) -> None:
    """Whoever was killed between the ledger and the ack does not handle the message again."""
    process = Process(bench.ports)
    mailboxes = Mortal(process.ports.mailboxes, process, "settle", 1, "before")
    platform = bench.platform(msgspec.structs.replace(process.ports, mailboxes=mailboxes))
    killed = Recorder(bench.clock)
    await bench.post("m-1")
    bench.open(killed, platform=platform, process=process)
    await bench.clock.idle()
    assert (process.dead, killed.done) == (True, ["m-1"])
    bob = Recorder(bench.clock)
    bench.open(bob)
    await bench.clock.advance(ACK_WAIT)
    assert (bob.ids, await bench.pending()) == ([], 0)


async def test_without_an_id(bench: Bench) -> None:
    """A message that came past the router is known by its place: it too is handled once."""
    process = Process(bench.ports)
    mailboxes = Mortal(process.ports.mailboxes, process, "settle", 1, "before")
    platform = bench.platform(msgspec.structs.replace(process.ports, mailboxes=mailboxes))
    killed, bob = Recorder(bench.clock), Recorder(bench.clock)
    for key in ("a", "b"):
        await bench.put(b'{"performative":"inform","receiver":["bob@here"]}', key)
    bench.open(killed, platform=platform, process=process, concurrency=1)
    await bench.clock.idle()
    bench.open(bob)
    await bench.clock.advance(ACK_WAIT)
    assert (len(killed.done), len(bob.done), await bench.pending()) == (1, 1, 0)


@pytest.mark.parametrize("awaited", [False, True])
async def test_two_copies_at_once(bench: Bench, *, awaited: bool) -> None:
    """Two copies in hand at the same time: the second waits, and is only settled.

    Also if a handler waits for them, so that they do not wait in a lane.
    """
    go = asyncio.Event()

    async def slow(_: Envelope, __: int) -> None:
        await go.wait()

    await bench.post("m-1")
    await bench.clock.advance(timedelta(hours=1).total_seconds())
    await bench.post("m-1")
    bob = Recorder(bench.clock, slow)
    bob.awaited = {"m-1"} if awaited else set()
    bench.open(bob)
    await bench.clock.idle()
    go.set()
    await bench.clock.idle()
    assert (bob.ids, await bench.pending()) == (["m-1"], 0)


async def test_second_copy_after_a_failure(bench: Bench) -> None:
    """Only what was handled counts: if the first copy is rejected, the second gets its chance."""
    errors: list[Exception | None] = [ValueError("no"), None]

    async def second_time(_: Envelope, __: int) -> None:
        if (error := errors.pop(0)) is not None:
            raise error

    bob = Recorder(bench.clock, second_time)
    await bench.post("m-1", max_retries=1)
    await bench.clock.advance(timedelta(hours=1).total_seconds())
    await bench.post("m-1", max_retries=1)
    bench.open(bob)
    await bench.clock.advance(10)
    assert (len(bob.calls), bob.done, await bench.pending()) == (2, ["m-1"], 0)


async def test_no_handler_before_the_ledger_is_read(bench: Bench) -> None:
    """While nobody knows what was handled nothing is; it is tried again until it can be read."""
    ledgers = Failing(bench.broker.ledgers, pages=[PublishUnconfirmed("away")] * 20)
    bob = Recorder(bench.clock)
    await bench.post("m-1")
    mailbox = bench.open(bob, bench.but(ledgers=ledgers))
    await bench.clock.advance(5)
    assert (bob.ids, mailbox.attended.is_set()) == ([], False)
    await bench.clock.advance(60)
    assert (bob.done, await bench.pending()) == (["m-1"], 0)


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_entry_that_is_not_confirmed(bench: Bench, lost: str) -> None:
    """The message is not settled, comes again, and is settled when the entry is on record."""
    error = PublishUnconfirmed("away")
    plan: list[Exception | None] = [After(error) if lost == "answer" else error]
    bob = Recorder(bench.clock)
    await bench.post("m-1")
    bench.open(bob, bench.but(ledgers=Failing(bench.broker.ledgers, save=plan)))
    await bench.clock.idle()
    assert (bob.done, await bench.pending()) == (["m-1"], 1)
    await bench.clock.advance(ACK_WAIT)
    assert (bob.ids, await bench.pending()) == (["m-1"], 0)
    assert entry(1) in await remembered(bench)


async def test_entries_of_one_moment_are_one_write(bench: Bench) -> None:
    """Many messages that end together cost one write, and none when all are known."""
    ledgers = Failing(bench.broker.ledgers)
    ledger = await opened(bench, ledgers)
    for _ in range(2):
        await ledger.enter(*map(entry, range(200)))
    assert ledgers.calls == ["pages", "save"]
    assert await remembered(bench) == {entry(number) for number in range(200)}


async def test_what_comes_during_a_write_is_in_the_next(bench: Bench) -> None:
    """However many come meanwhile, and whoever is cancelled; `close` waits for it."""
    ledgers = Failing(bench.broker.ledgers)
    ledger = await opened(bench, ledgers)
    waiting = [asyncio.create_task(ledger.enter(entry(number))) for number in range(9)]
    await asyncio.sleep(0)
    waiting[4].cancel()
    await ledger.close()
    assert ledgers.calls == ["pages", "save", "save"]
    assert await remembered(bench) == {entry(number) for number in range(9)}


async def test_frozen_predecessor(bench: Bench) -> None:
    """If two processes write one ledger for a moment, the entries of both are kept."""
    one, other = await opened(bench), await opened(bench)
    for number in range(0, 40, 2):
        await one.enter(entry(number))
        await other.enter(entry(number + 1))
    assert await remembered(bench) == {entry(number) for number in range(40)}


async def test_page_is_contended_for_ever(bench: Bench) -> None:
    """A writer that loses again and again is told; it does not try for ever."""
    ledger = await opened(
        bench, Failing(bench.broker.ledgers, save=[RevisionConflict("other")] * 2)
    )
    with pytest.raises(RevisionConflict):
        await ledger.enter(entry(1))
    assert entry(1) in ledger
    await ledger.enter(entry(1))
    assert await remembered(bench) == {entry(1)}


async def test_whatever_goes_wrong_is_told(bench: Bench) -> None:
    """Also an error that nobody thought of: a handler that waits for ever would hold its place."""
    ledger = await opened(bench, Failing(bench.broker.ledgers, save=[ValueError("a bug")]))
    with pytest.raises(ValueError, match="a bug"):
        await ledger.enter(entry(1))


async def test_what_is_remembered_is_bounded(bench: Bench) -> None:
    """The last 10,000, in memory no more, and on record no more than fits on all pages."""
    ledger = await opened(bench)
    total = PAGES * PAGE_SIZE + REMEMBERED
    for start in range(0, total, 64):
        await ledger.enter(*map(entry, range(start, start + 64)))
    for n in range(total):
        ledger.settled(entry(n))
    fresh = await opened(bench)
    for one in (ledger, fresh):
        assert all(entry(n) in one for n in range(total - REMEMBERED, total))
        assert entry(0) not in one
    assert len(await remembered(bench)) <= PAGES * PAGE_SIZE


async def test_unsettled_is_not_forgotten(bench: Bench) -> None:
    """What was handled and not settled comes again, however much was handled meanwhile."""
    ledger = await opened(bench)
    await ledger.enter(entry(0))
    for start in range(1, REMEMBERED + 2 * PAGE_SIZE, PAGE_SIZE):
        among = range(start, start + PAGE_SIZE)
        await ledger.enter(*map(entry, among))
        for n in among:
            ledger.settled(entry(n))
    assert entry(0) in ledger
    ledger.settled(entry(0))
    assert entry(0) not in ledger


async def test_forgotten_after_days(bench: Bench) -> None:
    """A page that nobody has written for seven days goes; the ledger goes on without it."""
    ledger = await opened(bench)
    await ledger.enter(entry(0))
    await bench.clock.advance(MAX_AGE.total_seconds())
    await ledger.enter(entry(1))
    assert await remembered(bench) == {entry(1)}
