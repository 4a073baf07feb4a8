"""Mail that nobody will fetch becomes dead letters; mail that somebody may fetch is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest

from caxton_nats.core import codec
from caxton_nats.core.dead_letter import Origin, Stage
from caxton_nats.core.disposition import Ack
from caxton_nats.core.envelope import content_value
from caxton_nats.core.errors import InvalidEnvelope, NotConnected
from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.core.ledger import Entry
from caxton_nats.core.outbox import Commit
from caxton_nats.core.registry import AgentState
from caxton_nats.engine.platform import Platform
from caxton_nats.engine.sweeper import Sweeper
from caxton_nats.ports import Inbox, Letter, Ports
from caxton_nats.tasks import end
from tests.core.sample import ALICE, BOB, sample
from tests.engine.bench import ACK_WAIT, POLICY, Bench, Failing, Recorder

RETRIES = 7.0
"""Seconds that the three retries of the bench's policy take: 1 + 2 + 4."""


@pytest.fixture
async def platform(bench: Bench) -> Platform:
    platform = bench.platform()
    await platform.ports.registry_store.follow(platform.registry)
    await platform.ports.peers.join(platform.answers)
    return await bench.known(platform)


def sweeper(bench: Bench, platform: Platform, ports: Ports | None = None) -> Sweeper:
    return Sweeper(ports or bench.ports, platform.registry, platform.burial, policy=POLICY)


@pytest.fixture
async def sweeping(bench: Bench, platform: Platform) -> AsyncIterator[Sweeper]:
    """Run a sweeper while the test goes on."""
    made = sweeper(bench, platform)
    running = asyncio.create_task(made.run())
    yield made
    await end([running])


async def stop(platform: Platform) -> None:
    await platform.registrar.update_state(BOB, AgentState.STOPPED)


async def told(bench: Bench) -> list[str]:
    """Return what alice is told, by the code of the error."""
    inbox = await bench.broker.mailboxes.open(ALICE)
    found = await inbox.fetch(99, timedelta())
    envelopes = [codec.decode(one.body, max_bytes=9999) for one in found]
    return [content_value(one)["error"]["code"] for one in envelopes]


@pytest.mark.usefixtures("sweeping")
async def test_mail_of_a_stopped_agent(bench: Bench, platform: Platform) -> None:
    """It dies within a moment, in order, and the senders are told."""
    for number in range(100):
        await bench.post(f"m-{number}")
    await stop(platform)
    await bench.clock.advance(3)
    letters = await bench.dead()
    assert [one.message_id for one in reversed(letters)] == [f"m-{n}" for n in range(100)]
    assert {(one.stage, one.agent, one.attempts) for one in letters} == {(Stage.DELIVER, BOB, 0)}
    assert {one.last_error["code"] for one in letters} == {"AgentStopped"}
    assert await bench.pending() == 0
    assert await told(bench) == ["AgentStopped"] * 99


@pytest.mark.usefixtures("sweeping")
async def test_urgent_mail_of_a_stopped_agent(bench: Bench, platform: Platform) -> None:
    """What lies past the ordinary mail dies, too."""
    address = bench.broker.mailboxes.address(BOB, urgent=True)
    letter = Letter(BOB, address, "key", codec.encode(sample(priority=8)))
    await bench.broker.publisher.publish([letter])
    await bench.post("m-2")
    await stop(platform)
    await bench.clock.advance(3)
    assert {one.message_id for one in await bench.dead()} == {"m-1", "m-2"}
    assert await bench.pending() == 0


@pytest.mark.usefixtures("sweeping")
async def test_mail_of_an_agent_that_has_left(bench: Bench, platform: Platform) -> None:
    """It is kept for as long as its retries take; then it dies, and the senders are told."""
    await bench.post("m-1")
    await bench.post("m-2")
    await platform.registrar.deregister(BOB)
    await bench.clock.advance(RETRIES - 0.5)
    assert (await bench.pending(), await bench.dead()) == (2, [])
    await bench.clock.advance(2)
    letters = await bench.dead()
    assert [(one.message_id, one.reason) for one in reversed(letters)] == [
        ("m-1", "AgentNotFound"),
        ("m-2", "AgentNotFound"),
    ]
    assert await bench.pending() == 0
    assert await told(bench) == ["AgentNotFound"] * 2


@pytest.mark.usefixtures("sweeping")
async def test_agent_that_comes_back(bench: Bench, platform: Platform) -> None:
    """It gets all its mail, in order and as if nothing had been, and later what comes then."""
    for number in range(5):
        await bench.post(f"m-{number}", conversation_id="c")
    await platform.registrar.deregister(BOB)
    await bench.clock.advance(RETRIES - 1)
    await platform.registrar.register(BOB)
    bob = Recorder(bench.clock)
    bench.open(bob, platform=platform)
    await bench.clock.advance(2 * RETRIES)
    assert bob.calls == [(f"m-{n}", 1, RETRIES - 1) for n in range(5)]
    await bench.post("m-5")
    await bench.clock.advance(2 * RETRIES)
    assert (bob.ids[-1], await bench.dead()) == ("m-5", [])


@pytest.mark.usefixtures("sweeping")
async def test_message_with_retries_of_its_own(bench: Bench, platform: Platform) -> None:
    """One with more of them than the policy gives waits longer; with fewer, not less."""
    await bench.post("more", max_retries=4)
    await bench.post("fewer", max_retries=1)
    await platform.registrar.deregister(BOB)
    await bench.clock.advance(RETRIES + 3)
    assert [one.message_id for one in await bench.dead()] == ["fewer"]
    await bench.clock.advance(8)
    assert [one.message_id for one in await bench.dead()] == ["more", "fewer"]


@pytest.mark.usefixtures("sweeping")
async def test_retries_of_its_own_change_no_order(bench: Bench, platform: Platform) -> None:
    """An agent that comes back gets what was kept for it before what it is sent then."""
    await bench.post("c1", conversation_id="c", max_retries=5)
    await platform.registrar.deregister(BOB)
    await bench.clock.advance(RETRIES + 2)
    await platform.registrar.register(BOB)
    await bench.post("c2", conversation_id="c")
    bob = Recorder(bench.clock)
    bench.open(bob, platform=platform)
    await bench.clock.idle()
    assert (bob.done, await bench.dead()) == (["c1", "c2"], [])


async def test_agent_that_comes_back_while_its_mail_is_fetched(
    bench: Bench, platform: Platform
) -> None:
    """What it is sent from then on is none of a stopped agent's."""
    await stop(platform)
    await bench.post("m-1")

    class Returning(Failing):
        async def open(self, agent: AgentId, *, urgent: bool = False) -> Inbox:
            if not urgent:
                await platform.registrar.register(BOB)
                await bench.post("m-2")
            inbox: Inbox = await self._real.open(agent, urgent=urgent)
            return inbox

    ports = bench.but(mailboxes=Returning(bench.broker.mailboxes))
    sweeping = asyncio.create_task(sweeper(bench, platform, ports).sweep())
    await bench.clock.advance(1)
    await sweeping
    assert await bench.dead() == []
    bob = Recorder(bench.clock)
    bench.open(bob, platform=platform)
    await bench.clock.idle()
    assert bob.done == ["m-1", "m-2"]


async def test_what_somebody_has_in_hand(bench: Bench, platform: Platform) -> None:
    """It is left alone until it comes back; what was handled meanwhile is not dead, too."""
    go = asyncio.Event()

    async def slow(*_: object) -> None:
        await go.wait()

    bob = Recorder(bench.clock, slow)
    mailbox = bench.open(bob, platform=platform)
    await bench.post("m-1")
    await bench.clock.idle()
    await stop(platform)
    running = asyncio.create_task(sweeper(bench, platform).run())
    await bench.clock.advance(ACK_WAIT * 2)
    assert (await bench.dead(), await bench.pending()) == ([], 1)
    go.set()
    await bench.clock.idle()
    assert (bob.done, await bench.dead(), await bench.pending()) == (["m-1"], [], 0)
    await mailbox.drain()
    await end([running])


@pytest.mark.usefixtures("sweeping")
async def test_attempts_of_handlers_are_told(bench: Bench, platform: Platform) -> None:
    """The dead letter says how often a handler was started, as ever."""

    async def fails(*_: object) -> None:
        raise ValueError("no")

    mailbox = bench.open(Recorder(bench.clock, fails), platform=platform)
    await bench.post("m-1")
    await bench.clock.advance(1.5)
    await mailbox.drain()
    await stop(platform)
    await bench.clock.advance(5)
    (letter,) = await bench.dead()
    assert (letter.attempts, letter.last_error["code"]) == (2, "AgentStopped")


@pytest.mark.usefixtures("sweeping")
async def test_who_never_was_registered(bench: Bench, platform: Platform) -> None:
    """A notice waits for a sender that never registered: it may read it in its own way."""
    bench.events.clear()
    await bench.broker.registry_store.remove(ALICE)
    unknown = AgentId("erin@here")
    envelope = sample(sender=unknown)
    await platform.burial.tell(unknown, NotConnected("x"), envelope, key="k")
    await bench.clock.advance(100)
    assert await bench.broker.mailboxes.pending() == {unknown: 1}


@pytest.mark.usefixtures("sweeping")
async def test_running_and_waiting_agents_keep_their_mail(bench: Bench, platform: Platform) -> None:
    """However long nobody fetches it."""
    await bench.post("m-1")
    await bench.clock.advance(1000)
    found = await bench.broker.registry_store.load(BOB)
    assert found is not None
    waits = msgspec.structs.replace(found[0], state=AgentState.LOADED)
    await bench.broker.registry_store.save(waits, revision=found[1])
    await bench.clock.advance(1000)
    assert (await bench.pending(), await bench.dead()) == (1, [])


async def test_two_sweepers(bench: Bench, platform: Platform) -> None:
    """They share the work: each message dies once."""
    running = [asyncio.create_task(sweeper(bench, platform).run()) for _ in range(2)]
    for number in range(200):
        await bench.post(f"m-{number}")
    await stop(platform)
    await bench.clock.advance(5)
    letters = await bench.broker.dead_letters.list(limit=1000)
    assert len(letters) == len({one.message_id for one in letters}) == 200
    assert await bench.pending() == 0
    await end(running)


async def test_letter_that_cannot_be_written(bench: Bench, platform: Platform) -> None:
    """The message stays, and dies when it comes back; the others die meanwhile."""
    letters = Failing(bench.broker.dead_letters, write=[NotConnected("away")])
    other = bench.platform(bench.but(dead_letters=letters))
    running = asyncio.create_task(
        Sweeper(bench.ports, platform.registry, other.burial, policy=POLICY).run()
    )
    await bench.post("m-1")
    await bench.post("m-2")
    await stop(platform)
    await bench.clock.advance(4)
    assert [one.message_id for one in await bench.dead()] == ["m-2"]
    assert await bench.pending() == 1
    await bench.clock.advance(10)
    assert [one.message_id for one in await bench.dead()] == ["m-1", "m-2"]
    assert await bench.pending() == 0
    await end([running])


async def test_consumer_of_an_agent_that_has_left(bench: Bench, platform: Platform) -> None:
    """It is removed when its mail is gone, at once if there is none, and not if it comes back."""
    removed = Failing(bench.broker.mailboxes)
    other = bench.platform(bench.but(mailboxes=removed))
    await bench.post("m-1")
    await other.registrar.deregister(BOB)
    assert "remove" not in removed.calls
    running = asyncio.create_task(sweeper(bench, platform, bench.but(mailboxes=removed)).run())
    await bench.clock.advance(RETRIES + 5)
    assert removed.calls.count("remove") == 1
    await bench.clock.advance(100)
    assert removed.calls.count("remove") == 1
    await end([running])
    await other.registrar.register(BOB)
    await other.registrar.deregister(BOB)
    assert removed.calls.count("remove") == 2


async def test_consumer_of_an_agent_that_left_with_mail_in_hand(
    bench: Bench, platform: Platform
) -> None:
    """It is removed though the mail is settled before anybody has looked at it."""
    mailboxes = Failing(bench.broker.mailboxes)
    running = asyncio.create_task(sweeper(bench, platform, bench.but(mailboxes=mailboxes)).run())
    await bench.post("m-1")
    (held,) = await (inbox := await bench.broker.mailboxes.open(BOB)).fetch(1, timedelta())
    await bench.clock.idle()
    await platform.registrar.deregister(BOB)
    await inbox.settle([(held, Ack())])
    await inbox.close()
    await bench.clock.advance(5)
    assert mailboxes.calls.count("remove") == 1
    await end([running])


async def test_consumer_that_nobody_saw_being_left(bench: Bench, platform: Platform) -> None:
    """It is found in the end, though its agent was registered for a moment only."""
    mailboxes = Failing(bench.broker.mailboxes)
    await platform.registrar.deregister(BOB)
    running = asyncio.create_task(sweeper(bench, platform, bench.but(mailboxes=mailboxes)).run())
    await bench.clock.advance(5)
    await bench.broker.mailboxes.ensure(BOB)
    await bench.clock.advance(900)
    assert mailboxes.calls.count("remove") == 1
    await end([running])


@pytest.mark.usefixtures("sweeping")
async def test_debts_of_an_agent_that_has_left(bench: Bench, platform: Platform) -> None:
    """What it had committed and not sent goes with its mail, content that was set aside included."""
    stored = await bench.post("m-1")
    claim = await bench.broker.contents.put("aside", b"[]")
    commit = Commit(
        agent=BOB,
        slot=0,
        entry=Entry(ALICE, MessageId("m-1")),
        origin=Origin(stored.stream, stored.sequence),
        at=bench.clock.now(),
        claim=claim,
    )
    await bench.broker.outboxes.save(commit, revision=None)
    await platform.registrar.deregister(BOB)
    await bench.clock.advance(2 * RETRIES)
    assert [one.message_id for one in await bench.dead()] == ["m-1"]
    assert await bench.broker.outboxes.commits(BOB) == []
    with pytest.raises(InvalidEnvelope):
        await bench.broker.contents.get(claim)


async def test_agent_that_comes_back_while_its_consumer_is_removed(
    bench: Bench, platform: Platform
) -> None:
    """Its mailbox is readable in the end."""
    mailboxes = Comes(bench.broker.mailboxes, platform)
    running = asyncio.create_task(sweeper(bench, platform, bench.but(mailboxes=mailboxes)).run())
    await bench.post("m-1")
    await platform.registrar.deregister(BOB)
    await bench.clock.advance(RETRIES + 5)
    at = mailboxes.calls.index("remove")
    assert mailboxes.calls[at : at + 2] == ["remove", "ensure"]
    assert mailboxes.calls.count("remove") == 1
    await end([running])


class Comes(Failing):
    """Mailboxes whose owner registers again while they are removed."""

    def __init__(self, real: object, platform: Platform) -> None:
        super().__init__(real)
        self._platform = platform

    async def remove(self, agent: AgentId) -> None:
        self.calls.append("remove")
        await self._platform.registrar.register(agent)
        await self._real.remove(agent)
