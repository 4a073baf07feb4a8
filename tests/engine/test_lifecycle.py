"""States of agents in the engine: who gets what, who is told, and when a change has come through."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from caxton_nats.core import codec
from caxton_nats.core.dead_letter import Stage
from caxton_nats.core.disposition import RetryPolicy
from caxton_nats.core.envelope import content_value
from caxton_nats.core.errors import (
    AgentDraining,
    AgentNotFound,
    AgentStopped,
    CaxtonError,
    InvalidEnvelope,
    InvalidStateTransition,
    NotConnected,
    RevisionConflict,
)
from caxton_nats.core.identifiers import AgentId, ConversationId, MessageId
from caxton_nats.core.registry import AgentState, Registration
from caxton_nats.engine.barrier import SYNC
from caxton_nats.engine.ingress import Ingress
from caxton_nats.engine.platform import Platform
from caxton_nats.engine.router import RouterOptions
from caxton_nats.engine.timekeeper import Timekeeper
from caxton_nats.ports import Receipt, StateChange, Submission, Timer
from caxton_nats.tasks import Workers, end
from tests.core.sample import ALICE, BOB, CAROL, sample
from tests.engine.bench import Bench, CountingIds, Failing, Recorder

DRAINING, STOPPED = AgentState.DRAINING, AgentState.STOPPED


async def routed(platform: Platform, **fields: Any) -> Receipt | CaxtonError:
    (result,) = await platform.router.send([Submission(sender=ALICE, envelope=sample(**fields))])
    return result


def talk(number: int, conversation: str = "c", **fields: Any) -> dict[str, Any]:
    return {
        "message_id": MessageId(f"m-{number}"),
        "conversation_id": ConversationId(conversation),
        **fields,
    }


async def becomes(platform: Platform, state: AgentState, agent: AgentId = BOB) -> StateChange:
    return await platform.registrar.update_state(agent, state)


@pytest.fixture
async def platform(bench: Bench) -> Platform:
    """Return a router that everybody asks, and whose registry is kept current."""
    platform = bench.platform()
    await platform.ports.registry_store.follow(platform.registry)
    await platform.ports.peers.join(platform.answers)
    return await bench.known(platform)


async def stored(bench: Bench, agent: AgentId = BOB) -> Registration | None:
    found = await bench.broker.registry_store.load(agent)
    return found[0] if found else None


async def test_change_is_stored_and_known(bench: Bench, platform: Platform) -> None:
    """When the call returns, the registration says so, and so does the router's registry."""
    change = await becomes(platform, DRAINING)
    assert (change.agent, change.state, change.everywhere) == (BOB, DRAINING, True)
    assert change.drain_until == bench.clock.now() + timedelta(seconds=60)
    found = await bench.broker.registry_store.load(BOB)
    assert found is not None
    assert (found[0].state, found[0].drain_until, found[1]) == (
        DRAINING,
        change.drain_until,
        change.revision,
    )
    assert platform.registry.find(BOB) == found[0]


async def test_unknown_agent(platform: Platform) -> None:
    """Nobody has no state."""
    with pytest.raises(AgentNotFound):
        await becomes(platform, STOPPED, AgentId("nobody@here"))


async def test_agent_of_another_platform(bench: Bench, platform: Platform) -> None:
    """It is none of ours, and no other agent of its local name is meant."""
    remote = AgentId("bob@elsewhere")
    with pytest.raises(InvalidEnvelope, match="another platform"):
        await becomes(platform, STOPPED, remote)
    with pytest.raises(InvalidEnvelope, match="another platform"):
        await platform.registrar.deregister(remote)
    assert (await found(bench))[0].state is AgentState.RUNNING


async def test_two_operators_at_once(bench: Bench, platform: Platform) -> None:
    """One wins; the other is told what happened, and which states are meant."""
    results = await asyncio.gather(
        becomes(platform, DRAINING), becomes(platform, STOPPED), return_exceptions=True
    )
    (won,) = [one for one in results if isinstance(one, StateChange)]
    (lost,) = [one for one in results if isinstance(one, InvalidStateTransition)]
    now = await stored(bench)
    assert now is not None
    assert now.state is won.state
    assert lost.limit == won.state
    assert "by somebody else at the same moment" in str(lost)


async def test_draining(bench: Bench, platform: Platform) -> None:
    """What belongs to a conversation that it takes part in is delivered; all else is refused."""
    assert isinstance(await routed(platform, **talk(1)), Receipt)
    assert isinstance(await routed(platform, **talk(2, "theirs", receiver=(CAROL,))), Receipt)
    await becomes(platform, DRAINING)
    assert isinstance(await routed(platform, **talk(3)), Receipt)
    for refused in (talk(4, "new"), talk(5, "theirs"), {"message_id": MessageId("m-6")}):
        result = await routed(platform, **refused)
        assert isinstance(result, AgentDraining)
    assert await bench.pending() == 2
    assert (await bench.broker.conversations.load(ConversationId("new"))) is None
    theirs = await bench.broker.conversations.load(ConversationId("theirs"))
    assert theirs is not None
    assert (theirs[0].participants, theirs[0].message_count) == ((ALICE, CAROL), 1)


async def test_draining_agent_may_open_conversations(bench: Bench, platform: Platform) -> None:
    """What it begins itself it takes part in: answers reach it."""
    await becomes(platform, DRAINING)
    asks = sample(**talk(1, sender=BOB, receiver=(ALICE,)))
    (receipt,) = await platform.router.send([Submission(sender=BOB, envelope=asks)])
    assert isinstance(receipt, Receipt)
    assert isinstance(await routed(platform, **talk(2)), Receipt)
    assert await bench.pending() == 1


async def test_draining_among_several_receivers(bench: Bench, platform: Platform) -> None:
    """It alone is refused, in its outcome, and takes no part; the others get the message."""
    await becomes(platform, DRAINING)
    receipt = await routed(platform, **talk(1, receiver=(BOB, CAROL)))
    assert isinstance(receipt, Receipt)
    assert [type(one.error) for one in receipt.outcomes] == [AgentDraining, type(None)]
    assert [one.receiver for one in receipt.outcomes] == [BOB, CAROL]
    record = await bench.broker.conversations.load(ConversationId("c"))
    assert record is not None
    assert record[0].participants == (ALICE, CAROL)


async def test_stopped(bench: Bench, platform: Platform) -> None:
    """The sender gets the error, and the message is a dead letter, once per message id."""
    await becomes(platform, STOPPED)
    for _ in range(2):
        assert isinstance(await routed(platform, **talk(1)), AgentStopped)
    assert isinstance(await routed(platform, **talk(2)), AgentStopped)
    two, one = await bench.dead()
    assert (one.message_id, two.message_id) == ("m-1", "m-2")
    assert (one.reason, one.stage, one.agent, one.sender, one.attempts) == (
        "AgentNotResponding",
        Stage.RESOLVE,
        BOB,
        ALICE,
        0,
    )
    assert one.last_error["code"] == "AgentStopped"
    assert await bench.pending() == 0
    assert await bench.broker.conversations.load(ConversationId("c")) is None
    # Told by the door, and not a second time.
    assert not await bench.broker.mailboxes.pending()


async def test_stopped_among_several_receivers(bench: Bench, platform: Platform) -> None:
    """Its copy alone is a dead letter; unknown ones are told, the others get the message."""
    await becomes(platform, STOPPED)
    nobody = AgentId("nobody@here")
    receipt = await routed(platform, **talk(1, receiver=(nobody, BOB, CAROL)))
    assert isinstance(receipt, Receipt)
    kinds = [type(one.error) for one in receipt.outcomes]
    assert kinds == [AgentNotFound, AgentStopped, type(None)]
    (letter,) = await bench.dead()
    assert (letter.agent, letter.message_id) == (BOB, "m-1")


@pytest.mark.parametrize("first", ["redriven", "sent again"])
async def test_stopped_and_back(bench: Bench, platform: Platform, first: str) -> None:
    """Redriven by an operator and sent again by its sender, what it missed is stored once."""
    await becomes(platform, STOPPED)
    assert isinstance(await routed(platform, **talk(1)), AgentStopped)
    (letter,) = await bench.dead()
    await platform.registrar.register(BOB)
    if first == "redriven":
        await platform.redrive.redrive(letter.id)
    again = await routed(platform, **talk(1))
    if first == "sent again":
        await platform.redrive.redrive(letter.id)
    assert isinstance(again, Receipt)
    assert again.outcomes[0].duplicate is (first == "redriven")
    assert (await bench.pending(), await bench.dead()) == (1, [])


async def test_stopped_with_content_too_large_for_a_message(bench: Bench) -> None:
    """The content is kept, and arrives with the redriven message when the agent is back."""
    platform = await bench.known(
        bench.platform(router=RouterOptions(platform="here", max_body=900))
    )
    content = b'"' + b"x" * 2000 + b'"'
    await becomes(platform, STOPPED)
    platform.registry.learn(*await found(bench))
    assert isinstance(await routed(platform, content=msgspec.Raw(content)), AgentStopped)
    (letter,) = await bench.dead()
    with pytest.raises(AgentStopped):
        await platform.redrive.redrive(letter.id)
    await platform.registrar.register(BOB)
    await platform.redrive.redrive(letter.id)
    bob = Recorder(bench.clock)
    bench.open(bob, platform=platform)
    await bench.clock.idle()
    assert (bob.contents, await bench.dead()) == ([content], [])


async def test_dead_letter_that_cannot_be_written(bench: Bench) -> None:
    """The sender is told that it is not certain, and may send again; nothing is claimed."""
    away = Failing(bench.broker.dead_letters, write=[NotConnected("away")])
    platform = await bench.known(bench.platform(bench.but(dead_letters=away)))
    await becomes(platform, STOPPED)
    platform.registry.learn(*await found(bench))
    assert isinstance(await routed(platform, **talk(1)), NotConnected)
    assert isinstance(await routed(platform, **talk(1)), AgentStopped)
    assert len(await bench.dead()) == 1


async def test_waiting_states(bench: Bench, platform: Platform) -> None:
    """Mail of an agent that is not Running yet is stored and waits."""
    await platform.registrar.deregister(BOB)
    await platform.registrar.register(BOB, state=AgentState.UNLOADED)
    for state in (AgentState.LOADED, AgentState.RUNNING):
        assert isinstance(await routed(platform, message_id=MessageId(state)), Receipt)
        await becomes(platform, state)
    assert await bench.pending() == 2


@pytest.mark.parametrize("state", [DRAINING, STOPPED])
async def test_states_in_which_nobody_is_registered(bench: Bench, state: AgentState) -> None:
    """Nobody begins with the end."""
    with pytest.raises(InvalidEnvelope) as caught:
        await bench.platform().registrar.register(BOB, state=state)
    assert (caught.value.field, caught.value.value) == ("state", state)
    assert await stored(bench) is None


async def test_registering_again(bench: Bench, platform: Platform) -> None:
    """It is a new life: whatever the agent was, it is Running, without a deadline."""
    for state in (DRAINING, STOPPED):
        await becomes(platform, state)
        await platform.registrar.register(BOB)
        registration, _ = await found(bench)
        assert (registration.state, registration.drain_until) == (AgentState.RUNNING, None)


async def test_submit_door(bench: Bench, platform: Platform) -> None:
    """Whoever stored and went is told by notice; what a stopped agent misses dies once."""
    await becomes(platform, DRAINING, CAROL)
    await becomes(platform, STOPPED)
    ingress = Ingress(
        bench.broker.ingress,
        platform.router,
        platform.burial,
        platform.ports,
        platform="here",
        sender_of=lambda _: ALICE,
        policy=RetryPolicy(),
        workers=Workers(1, 256),
    )
    for receiver in ("bob", "carol"):
        await bench.broker.submit(
            ALICE, b'{"performative":"inform","receiver":"%b"}' % receiver.encode()
        )
    await ingress.work_once(timedelta())
    letters = {letter.last_error["code"]: letter for letter in await bench.dead()}
    assert {code: (one.stage, one.agent) for code, one in letters.items()} == {
        "AgentStopped": (Stage.RESOLVE, BOB),
        "AgentDraining": (Stage.ROUTE, ALICE),
    }
    inbox = await bench.broker.mailboxes.open(ALICE)
    notices = [codec.decode(one.body, max_bytes=9999) for one in await inbox.fetch(9, timedelta())]
    assert [one.performative for one in notices] == ["failure", "failure"]
    told = {content_value(one)["error"]["code"] for one in notices}
    assert told == {"AgentStopped", "AgentDraining"}
    assert (await bench.broker.ingress.fetch(9, timedelta())) == []


async def test_notices_to_the_stopped(bench: Bench, platform: Platform) -> None:
    """A sender that is stopped is not told: the notice itself could only die."""
    await bench.post("m-1", sender=CAROL)
    await becomes(platform, STOPPED, CAROL)
    inbox = await bench.broker.mailboxes.open(BOB)
    (delivery,) = await inbox.fetch(1, timedelta())
    await platform.burial.bury(
        delivery,
        AgentNotFound("nobody"),
        agent=BOB,
        stage=Stage.DELIVER,
        envelope=codec.decode(delivery.body, max_bytes=9999),
    )
    assert CAROL not in await bench.broker.mailboxes.pending()


class Held(Failing):
    """A conversation store whose reads wait until the test lets them go on."""

    def __init__(self, real: Any) -> None:
        super().__init__(real)
        self.go = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            await self.go.wait()
            return await real(*arguments, **named)

        return call


async def test_change_waits_for_what_is_being_routed(bench: Bench) -> None:
    """What was resolved by the old state is through before the call that changed it returns."""
    slow = Held(bench.broker.conversations)
    platform = await bench.known(bench.platform(bench.but(conversations=slow)))
    await platform.ports.registry_store.follow(platform.registry)
    await platform.ports.peers.join(platform.answers)
    sending = asyncio.create_task(routed(platform, **talk(1)))
    await bench.clock.idle()
    changing = asyncio.create_task(becomes(platform, DRAINING))
    await bench.clock.idle()
    found = await stored(bench)
    assert found is not None
    assert (found.state, changing.done()) == (DRAINING, False)
    slow.go.set()
    assert (await changing).everywhere
    assert isinstance(sending.result(), Receipt)


async def test_router_that_does_not_answer(bench: Bench, platform: Platform) -> None:
    """The change is made all the same, and the call says which router may not know of it."""

    async def deaf(_: bytes) -> bytes:
        raise TimeoutError

    other = bench.broker.ports(CountingIds())
    await other.peers.join({SYNC: deaf})
    change = await becomes(platform, DRAINING)
    assert (change.state, change.everywhere, change.missing) == (
        DRAINING,
        False,
        (other.peers.own_id,),
    )


async def test_routers_that_cannot_be_asked(bench: Bench) -> None:
    """The change is made, and the call says that nobody knows how far it has come."""
    peers = Failing(bench.ports.peers, ask=[NotConnected("away")])
    platform = await bench.known(bench.platform(bench.but(peers=peers)))
    change = await becomes(platform, DRAINING)
    assert (change.state, change.everywhere, change.missing) == (DRAINING, False, ())


@pytest.fixture
async def timekeeper(bench: Bench, platform: Platform) -> Timekeeper:
    """Return what a router service does with timers."""
    return Timekeeper(await bench.broker.timers.inbox(), bench.clock, platform.when_due)


async def test_drain_ends(bench: Bench, platform: Platform, timekeeper: Timekeeper) -> None:
    """At the deadline, and not before, the agent becomes Stopped."""
    await platform.registrar.update_state(BOB, DRAINING, drain=timedelta(seconds=5))
    running = asyncio.create_task(timekeeper.run())
    await bench.clock.advance(4.9)
    assert (await found(bench))[0].state is DRAINING
    await bench.clock.advance(0.2)
    stopped = (await found(bench))[0]
    assert (stopped.state, stopped.drain_until) == (STOPPED, None)
    assert isinstance(await routed(platform, **talk(1)), AgentStopped)
    await end([running])


async def test_timer_of_an_earlier_drain(
    bench: Bench, platform: Platform, timekeeper: Timekeeper
) -> None:
    """It stops nobody: neither who has registered again since nor who drains anew, for longer."""
    await platform.registrar.update_state(BOB, DRAINING, drain=timedelta(seconds=10))
    await platform.registrar.register(BOB)
    await bench.clock.advance(5)
    await platform.registrar.update_state(BOB, DRAINING, drain=timedelta(seconds=60))
    await bench.clock.advance(6)
    assert await timekeeper.work_once(timedelta()) == 1
    assert (await found(bench))[0].state is DRAINING
    await bench.clock.advance(60)
    assert await timekeeper.work_once(timedelta()) == 1
    assert (await found(bench))[0].state is STOPPED


async def test_timer_that_comes_twice(bench: Bench, platform: Platform) -> None:
    """The second time, and for an agent that is gone, it changes nothing."""
    change = await becomes(platform, DRAINING)
    assert change.drain_until is not None
    timer = Timer("drain", "any", f"{change.drain_until.isoformat()} bob@here")
    for _ in range(2):
        await platform.when_due["drain"](timer)
    assert (await found(bench))[0].state is STOPPED
    await platform.registrar.register(BOB)
    await platform.when_due["drain"](timer)
    assert (await found(bench))[0].state is AgentState.RUNNING
    await platform.registrar.deregister(BOB)
    await platform.when_due["drain"](timer)
    assert await stored(bench) is None


async def test_timer_that_meets_another_change(bench: Bench) -> None:
    """If somebody is faster, the timer has nothing left to do."""
    plan: list[Exception | None] = [None, None, None, None, RevisionConflict("somebody")]
    store = Failing(bench.broker.registry_store, save=plan)
    platform = await bench.known(bench.platform(bench.but(registry_store=store)))
    change = await becomes(platform, DRAINING)
    assert change.drain_until is not None
    await platform.when_due["drain"](
        Timer("drain", "any", f"{change.drain_until.isoformat()} bob@here")
    )
    assert (await found(bench))[0].state is DRAINING


async def test_registry_that_may_have_missed_a_change(bench: Bench) -> None:
    """A message is resolved anew if the connection was lost while it was being admitted."""
    known = await bench.known(bench.platform())
    store = Gap(bench.broker.registry_store)
    platform = bench.platform(bench.but(registry_store=store))
    platform.registry.replace(known.registry)
    running, _ = await found(bench)
    store.during = lambda: platform.registry.put(msgspec.structs.replace(running, state=DRAINING))
    assert isinstance(await routed(platform), AgentDraining)
    assert await bench.pending() == 0


class Gap(Failing):
    """A registry store that loses its connection once, and then knows something new."""

    def __init__(self, real: Any) -> None:
        super().__init__(real)
        self.numbers = iter((0, 1))
        self.during: Callable[[], None] = lambda: None

    async def caught_up(self, _: int = 0) -> int:
        number = next(self.numbers, 1)
        if number:
            self.during()
        return number


async def found(bench: Bench) -> tuple[Registration, int]:
    """Return bob's registration and its revision."""
    loaded = await bench.broker.registry_store.load(BOB)
    assert loaded is not None
    return loaded
