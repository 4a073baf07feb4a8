"""Messages whose time has passed: who finds that out, and that it is found out once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from caxton_nats.core import codec
from caxton_nats.core.disposition import Ack
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import CaxtonError, NotConnected, RedriveRefused
from caxton_nats.engine.platform import Platform
from caxton_nats.engine.timekeeper import Timekeeper
from caxton_nats.ports import Receipt, Submission
from caxton_nats.tasks import end
from caxton_nats.telemetry import Action
from tests.core.sample import ALICE, BOB, NOON, sample
from tests.engine.bench import ACK_WAIT, Bench, Failing, Recorder

LONG = 3 * ACK_WAIT


async def keeping(bench: Bench, platform: Platform) -> Platform:
    """Have the platform's timers worked off until the test ends, as a router service does."""
    inbox = await bench.ports.timers.inbox()
    keeper = Timekeeper(inbox, bench.clock, platform.when_due)
    task = asyncio.create_task(keeper.run())
    bench.at_the_end(lambda: end([task]))
    return platform


async def service(bench: Bench, **changed: Any) -> Platform:
    return await keeping(bench, await bench.known(bench.platform(bench.but(**changed))))


async def send(platform: Platform, **fields: Any) -> Receipt | CaxtonError:
    envelope = sample(created_at=None, **{"timeout": 5, **fields})
    (result,) = await platform.router.send([Submission(sender=ALICE, envelope=envelope)])
    return result


async def told_alice(bench: Bench) -> list[Envelope]:
    inbox = await bench.broker.mailboxes.open(ALICE)
    found = await inbox.fetch(100, timedelta())
    await inbox.settle([(one, Ack()) for one in found])
    await inbox.close()
    return [codec.decode(one.body, max_bytes=100_000) for one in found]


@pytest.mark.parametrize("fields", [{}, {"timeout": None, "reply_by": NOON + timedelta(seconds=5)}])
async def test_nobody_ever_comes(bench: Bench, fields: dict[str, Any]) -> None:
    """At its deadline the message is a dead letter, its sender knows, the mailbox is empty."""
    platform = await service(bench)
    assert isinstance(await send(platform, **fields), Receipt)
    await bench.clock.advance(4.9)
    assert (await bench.dead(), await bench.pending()) == ([], 1)
    await bench.clock.advance(0.2)
    (letter,) = await bench.dead()
    assert (letter.reason, letter.agent, letter.attempts) == ("Timeout", BOB, 0)
    assert letter.last_error["code"] == "Expired"
    (notice,) = await told_alice(bench)
    assert (notice.performative, notice.in_reply_to) == ("failure", "m-1")
    assert b'"Expired"' in bytes(notice.content)
    await bench.clock.advance(LONG)
    assert (len(await bench.dead()), await bench.pending()) == (1, 0)


async def test_handled_in_time(bench: Bench) -> None:
    """What was settled before its deadline is left alone."""
    platform = await service(bench)
    bob = Recorder(bench.clock)
    bench.open(bob)
    await send(platform)
    await bench.clock.advance(LONG)
    assert (bob.done, await bench.dead(), await told_alice(bench)) == (["m-1"], [], [])


async def test_a_handler_that_has_begun_may_finish(bench: Bench) -> None:
    """The deadline is for the start of a handler; what is running counts as handled."""
    platform = await service(bench)

    async def slowly(_: Envelope, __: int) -> None:
        await bench.clock.sleep(timedelta(seconds=LONG))

    bob = Recorder(bench.clock, slowly)
    bench.open(bob)
    await send(platform)
    await bench.clock.advance(4 * LONG)
    assert (bob.done, await bench.dead()) == (["m-1"], [])


async def test_an_agent_refuses_what_it_has_in_hand(bench: Bench) -> None:
    """Behind a busy handler the message expires, too, at the next look: once, and unhandled."""
    platform = await keeping(bench, await bench.known(bench.platform(concurrency=1)))

    async def slowly(_: Envelope, __: int) -> None:
        await bench.clock.sleep(timedelta(seconds=LONG))

    bob = Recorder(bench.clock, slowly)
    bench.open(bob, platform=platform)
    await send(platform, message_id="first", timeout=None)
    await bench.clock.idle()
    await send(platform)
    await bench.clock.advance(ACK_WAIT / 3)
    assert (bob.ids, bob.done) == (["first"], [])
    assert [one.message_id for one in await bench.dead()] == ["m-1"]
    assert len(await told_alice(bench)) == 1
    await bench.clock.advance(2 * LONG)
    assert (bob.done, len(await bench.dead()), await bench.pending()) == (["first"], 1, 0)


async def test_its_agent_has_died_with_it(bench: Bench) -> None:
    """Taken and never settled, it expires once whoever took it has lost it by ack_wait."""
    platform = await service(bench)
    await send(platform)
    inbox = await bench.broker.mailboxes.open(BOB)
    assert len(await inbox.fetch(1, timedelta())) == 1
    await inbox.close()
    await bench.clock.advance(ACK_WAIT)
    assert await bench.dead() == []
    await bench.clock.advance(6)
    assert [one.message_id for one in await bench.dead()] == ["m-1"]
    assert await bench.pending() == 0


async def test_fetched_at_the_very_moment(bench: Bench) -> None:
    """Mailbox and timer meet the message: one dead letter, one notice, no handler."""
    looking = _Looking(bench)
    platform = await service(bench, mailboxes=looking)
    bob = Recorder(bench.clock)
    looking.bob = bob
    await send(platform)
    await bench.clock.advance(LONG)
    assert (bob.calls, len(await bench.dead()), await bench.pending()) == ([], 1, 0)
    assert len(await told_alice(bench)) == 1
    assert bench.told(Action.DEAD_LETTERED) == ["m-1"]


class _Looking:
    """Mailboxes that are opened right after somebody has seen that nobody has taken a message."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.bob: Recorder | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bench.broker.mailboxes, name)

    async def taken(self, found: Any) -> bool:
        was: bool = await self._bench.broker.mailboxes.taken(found)
        if self.bob is not None:
            self._bench.open(self.bob)
            await self._bench.clock.sleep(timedelta(seconds=1))
        return was


async def test_a_second_try_does_not_prolong(bench: Bench) -> None:
    """The same message sent again has the deadline of the stored one."""
    platform = await service(bench)
    await send(platform)
    await bench.clock.advance(3)
    again = await send(platform)
    assert isinstance(again, Receipt)
    assert again.outcomes[0].duplicate
    await bench.clock.advance(2.1)
    assert len(await bench.dead()) == 1
    settled = await send(platform)
    assert isinstance(settled, Receipt), "and after its end there is nothing to watch"
    await bench.clock.advance(LONG)
    assert len(await bench.dead()) == 1


async def test_a_timer_that_could_not_be_set(bench: Bench) -> None:
    """No receipt then: sending again makes it good, and stores nothing twice."""
    timers = Failing(bench.ports.timers, set=[NotConnected("away")])
    platform = await service(bench, timers=timers)
    refused = await send(platform)
    assert isinstance(refused, NotConnected)
    assert isinstance(await send(platform), Receipt)
    assert await bench.pending() == 1
    await bench.clock.advance(5.1)
    assert len(await bench.dead()) == 1


async def test_a_burial_that_fails(bench: Bench) -> None:
    """The timer comes again until the letter is written and the message gone."""
    letters = Failing(bench.broker.dead_letters, write=[NotConnected("away")])
    boxes = Failing(bench.broker.mailboxes, discard=[NotConnected("away")])
    platform = await service(bench, dead_letters=letters, mailboxes=boxes)
    await send(platform)
    await bench.clock.advance(20)
    assert (len(await bench.dead()), await bench.pending()) == (1, 0)
    assert len(await told_alice(bench)) == 1


async def test_a_deadline_far_away(bench: Bench) -> None:
    """Further than a timer reaches, the message is looked at on the way, and expires in time."""
    platform = await service(bench)
    days = timedelta(days=2.5)
    await send(platform, timeout=None, reply_by=NOON + days)
    await bench.clock.advance(days.total_seconds() - 1)
    assert await bench.dead() == []
    await bench.clock.advance(2)
    assert len(await bench.dead()) == 1


async def test_without_a_deadline_there_is_no_timer(bench: Bench) -> None:
    """A message that cannot expire costs nothing."""
    timers = Failing(bench.ports.timers)
    platform = await service(bench, timers=timers)
    assert isinstance(await send(platform, timeout=None), Receipt)
    assert timers.calls == []


async def test_redriven_after_its_time(bench: Bench) -> None:
    """It expires again, also if nobody fetches it, and so is sent only if somebody insists."""
    platform = await service(bench)
    await send(platform)
    await bench.clock.advance(6)
    (letter,) = await bench.dead()
    with pytest.raises(RedriveRefused, match="deadline"):
        await platform.redrive.redrive(letter.id)
    await platform.redrive.redrive(letter.id, force=True)
    await bench.clock.advance(6)
    (again,) = await bench.dead()
    assert (again.redrives, again.reason, await bench.pending()) == (1, "Timeout", 0)
