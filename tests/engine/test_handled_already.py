"""What an agent had handled when it died is never a dead letter, whoever comes upon it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.disposition import Reject
from caxton_nats.core.identifiers import MessageId, agent_from_token
from caxton_nats.core.ledger import Entry, Page
from caxton_nats.core.registry import AgentState
from caxton_nats.engine import deadlines
from caxton_nats.engine.exhaustion import Exhaustion
from caxton_nats.engine.expiry import Expiry
from caxton_nats.engine.platform import Platform
from caxton_nats.engine.sweeper import Sweeper
from caxton_nats.ports import Stored, Timer
from caxton_nats.telemetry import Action
from tests.core.sample import ALICE, BOB
from tests.engine.bench import ACK_WAIT, POLICY, Bench, Recorder
from tests.engine.test_exhaustion import Advisories, advisory


async def by_expiry(bench: Bench, platform: Platform, stored: Stored) -> None:
    """Its deadline has passed, and its agent is gone."""
    timers = Watched()
    origin = Origin(stored.stream, stored.sequence)
    await deadlines.watch(bench.but(timers=timers), origin, BOB, bench.clock.now())
    expiry = Expiry(bench.ports, platform.burial, ack_wait=timedelta(seconds=ACK_WAIT))
    assert timers.timer is not None
    await expiry.when_due(timers.timer)


class Watched:
    """Timers that keep the one that was set."""

    def __init__(self) -> None:
        self.timer: Timer | None = None

    async def set(self, timer: Timer, _: object) -> None:
        self.timer = timer


async def by_advisory(bench: Bench, platform: Platform, stored: Stored) -> None:
    """It was delivered as often as the server allows."""
    exhaustion = Exhaustion(
        Advisories(advisory(stored)),
        platform.burial,
        bench.ports,
        receiver_of=lambda subject: agent_from_token(subject.rsplit(".", 1)[-1], "here"),
    )
    await exhaustion.work_once(timedelta())


async def by_sweeper(bench: Bench, platform: Platform, _: Stored) -> None:
    """Its agent is stopped."""
    await platform.registrar.update_state(BOB, AgentState.STOPPED)
    sweeper = Sweeper(bench.ports, platform.registry, platform.burial, policy=POLICY)
    running = asyncio.create_task(sweeper.sweep())
    await bench.clock.advance(3)
    await running


@pytest.mark.parametrize("is_handled", [True, False], ids=["handled", "not handled"])
@pytest.mark.parametrize("come_upon", [by_expiry, by_advisory, by_sweeper])
async def test_no_letter_for_what_is_in_the_ledger(
    bench: Bench,
    come_upon: Callable[[Bench, Platform, Stored], Awaitable[None]],
    is_handled: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Its agent died between ledger and settling: it is settled; what is not there is buried."""
    platform = bench.platform()
    await platform.ports.registry_store.follow(platform.registry)
    await platform.ports.peers.join(platform.answers)
    await bench.known(platform)
    deadline = bench.clock.now() + timedelta(seconds=1)
    stored = await bench.post("m-1", reply_by=deadline)
    inbox = await bench.broker.mailboxes.open(BOB)
    await inbox.fetch(1, timedelta())
    await inbox.close()
    if is_handled:
        page = Page(agent=BOB, number=0, entries=(Entry(ALICE, MessageId("m-1")),))
        await bench.ports.ledgers.save(page, revision=None)
    await bench.clock.advance(2 * ACK_WAIT)
    await come_upon(bench, platform, stored)
    await bench.clock.idle()
    assert (len(await bench.dead()), await bench.pending()) == (0 if is_handled else 1, 0)
    assert bench.told(Action.DUPLICATE) == (["m-1"] if is_handled else [])


async def test_a_frozen_process_buries_nothing_of_its_successor(bench: Bench) -> None:
    """While this one stood still, another took over and handled the message; this one gave up."""

    async def is_replaced(*_: object) -> None:
        page = Page(agent=BOB, number=0, entries=(Entry(ALICE, MessageId("m-1")),))
        await bench.ports.ledgers.save(page, revision=None)
        raise Reject("by what it sees now")

    await bench.post("m-1")
    bench.open(Recorder(bench.clock, is_replaced))
    await bench.clock.advance(1)
    assert (await bench.dead(), await bench.pending()) == ([], 0)
    assert bench.told(Action.DUPLICATE) == ["m-1"]
