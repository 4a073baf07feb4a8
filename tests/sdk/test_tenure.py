"""An agent's hold on its name, from its start to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from caxton_nats.config import Settings
from caxton_nats.core.errors import (
    AgentAlreadyRegistered,
    AgentNotFound,
    AgentStopped,
    CaxtonError,
    InvalidEnvelope,
    NotConnected,
)
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.registry import AgentState, Registration
from caxton_nats.engine.platform import Platform
from caxton_nats.memory import MemoryBroker
from caxton_nats.sdk.agent import Agent
from caxton_nats.sdk.context import Context
from caxton_nats.testing import memory_platform
from tests.engine.bench import Failing
from tests.plugins.clock import ManualClock
from tests.plugins.eventually import eventually
from tests.sdk.stage import QUICK, Stage

LEASE = 9.0
_NOT_NOW = NotConnected("not now")


class Town:
    """Processes that share a broker whose time the test moves."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.clock = ManualClock()
        self.broker = MemoryBroker(self.clock, shards=2)

    async def process(self, **chosen: Any) -> Platform:
        settings = Settings(**{**QUICK, "lease": LEASE, **chosen})
        return await self._stack.enter_async_context(
            memory_platform(settings, broker=self.broker, observer=lambda _: None)
        )

    async def start(self, platform: Platform, name: str, *capabilities: str) -> Agent:
        agent = Agent(name, capabilities=capabilities)
        await agent.start(platform)
        self._stack.push_async_callback(agent.stop)
        return agent

    async def instance(self, agent: Agent) -> str:
        found = await self.broker.leases.load(agent.id)
        assert found is not None
        return found[0].instance


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        yield Town(stack)


async def test_the_lease_of_a_running_agent_is_renewed(town: Town) -> None:
    """Every third of it, for as long as the agent runs; everybody sees it."""
    here, there = await town.process(), await town.process()
    bob = await town.start(here, "bob", "shout")
    alice = await town.start(there, "alice")
    for _ in range(20):
        await town.clock.advance(LEASE / 2)
        assert alice.find("shout") == [bob.id]
    lease = there.health.find(bob.id)
    assert lease is not None
    assert lease.expires_at - lease.last_heartbeat == timedelta(seconds=LEASE)
    assert town.clock.now() - lease.last_heartbeat <= timedelta(seconds=LEASE / 3)


async def test_the_length_of_a_lease_is_a_setting(town: Town) -> None:
    """It is what the agent's own process chose."""
    bob = await town.start(await town.process(lease=33), "bob")
    found = await town.broker.leases.load(bob.id)
    assert found is not None
    assert found[0].expires_at - found[0].last_heartbeat == timedelta(seconds=33)


async def test_who_has_stopped_is_not_found(town: Town) -> None:
    """It is away, at once and everywhere; its name is free, and it still gets its mail."""
    here, there = await town.process(), await town.process()
    bob = await town.start(here, "bob", "shout")
    alice = await town.start(there, "alice")
    await bob.stop()
    assert alice.find("shout") == []
    assert there.health.trouble(bob.id, town.clock.now()) == "stopped"
    await alice.send("inform", "bob")
    await town.start(there, "bob", "shout")
    assert alice.find("shout") == [bob.id]


async def test_who_is_ill_is_not_found(town: Town) -> None:
    """Until the agent says that it is well again; heartbeats meanwhile do not say so."""
    platform = await town.process()
    bob = await town.start(platform, "bob", "shout")
    alice = await town.start(platform, "alice")
    await bob.report_health(healthy=False, reason="no disk")
    await town.clock.advance(5 * LEASE)
    assert alice.find("shout") == []
    assert platform.health.trouble(bob.id, town.clock.now()) == "no disk"
    await alice.send("inform", "bob")
    await bob.report_health(healthy=True)
    assert alice.find("shout") == [bob.id]


async def test_a_report_that_is_refused_changes_nothing(town: Town) -> None:
    """Neither now nor with the next heartbeat."""
    platform = await town.process()
    bob = await town.start(platform, "bob", "shout")
    with pytest.raises(InvalidEnvelope, match="reason"):
        await bob.report_health(healthy=False, reason="x" * 201)
    await town.clock.advance(LEASE)
    assert platform.health.is_available(bob.id, town.clock.now())
    await bob.stop()
    with pytest.raises(NotConnected, match="stopped"):
        await bob.report_health(healthy=True)


async def test_a_second_agent_of_the_name_in_one_process(town: Town) -> None:
    """It is refused like one of another process, and the first one goes on."""
    platform = await town.process()
    bob = await town.start(platform, "bob")
    before = await town.instance(bob)
    with pytest.raises(AgentAlreadyRegistered):
        await Agent("bob").start(platform)
    assert await town.instance(bob) == before
    await town.clock.advance(3 * LEASE)
    assert platform.health.is_available(bob.id, town.clock.now())


async def test_an_agent_with_full_hands_is_still_there(stage: Stage) -> None:
    """That nobody waits at a mailbox does not say that nobody runs."""
    bob = Agent("bob")
    alice = await stage.agent()

    @bob.on("inform")
    async def never_done(ctx: Context) -> None:
        await stage.platform.ports.clock.sleep(timedelta(hours=1))

    await stage.start(bob)
    await alice.send_many([alice.message("inform", "bob") for _ in range(100)])

    async def nobody_waits() -> bool:
        return not (await stage.platform.ports.mailboxes.status(bob.id)).attended

    await eventually(nobody_waits)
    with pytest.raises(AgentAlreadyRegistered, match="it runs on"):
        await Agent("bob").start(stage.platform)


async def test_who_has_lost_its_name_stops(town: Town) -> None:
    """An instance that was taken for gone hears of another one in its place; it leaves the mail."""
    bob = await town.start(await town.process(), "bob")
    await town.broker.leases.fall_silent(await town.instance(bob))
    await town.clock.advance(0.1)
    second = await town.start(await town.process(), "bob")
    await town.clock.idle()
    with pytest.raises(NotConnected, match="stopped"):
        await bob.request("alice")
    lease = await town.broker.leases.load(second.id)
    assert lease is not None
    assert lease[0].expires_at > town.clock.now()


async def test_who_was_deregistered_stops(town: Town) -> None:
    """Nobody can send to it any more, and the mail that is left is for who registers next."""
    platform = await town.process()
    bob = await town.start(platform, "bob")
    await platform.registrar.deregister(bob.id)
    await town.clock.advance(LEASE)
    with pytest.raises(NotConnected, match="stopped"):
        await bob.request("alice")
    assert await town.broker.leases.load(bob.id) is None


async def test_who_was_made_stopped_stops(town: Town) -> None:
    """At once, in whatever process; the lease is given back, and no message is taken any more."""
    operator = await town.process()
    bob = await town.start(await town.process(), "bob")
    await operator.registrar.update_state(bob.id, AgentState.STOPPED)
    await town.clock.idle()
    for sent in (bob.request("alice"), bob.send("inform", "alice")):
        with pytest.raises(NotConnected, match="stopped"):
            await sent
    assert operator.health.trouble(bob.id, town.clock.now()) == "stopped"


async def test_stopped_is_of_one_registration(town: Town) -> None:
    """An agent that has registered again does not mind what its predecessor was."""
    platform = await town.process()
    bob = await town.start(platform, "bob")
    before = platform.registry.find(bob.id)
    assert before is not None
    await bob.stop()
    await town.clock.advance(1)
    await bob.start(platform)
    platform.registry.put(msgspec.structs.replace(before, state=AgentState.STOPPED))
    await town.clock.idle()
    alice = await town.start(platform, "alice")
    await bob.send("inform", alice.id)
    await bob.stop()


@pytest.mark.parametrize("how", ["stopped", "removed", "told to stop"])
async def test_ended_while_it_starts(town: Town, how: str) -> None:
    """A start that does not come to its end, because somebody else ended it, says why."""
    operator, platform = await town.process(), await town.process()
    mailboxes = Failing(platform.ports.mailboxes, open=[_NOT_NOW] * 100)
    slow = msgspec.structs.replace(platform.ports, mailboxes=mailboxes)
    object.__setattr__(platform, "ports", slow)
    bob = Agent("bob")
    starting = asyncio.create_task(bob.start(platform))
    await eventually(lambda: "open" in mailboxes.calls, what="the start is under way")
    expected: type[CaxtonError] = NotConnected
    if how == "stopped":
        await operator.registrar.update_state(operator.agent_id("bob"), AgentState.STOPPED)
        expected = AgentStopped
    elif how == "removed":
        await operator.registrar.deregister(operator.agent_id("bob"))
        expected = AgentNotFound
    else:
        await bob.stop()
    await town.clock.advance(LEASE)
    with pytest.raises(expected):
        await asyncio.wait_for(starting, 10)


async def test_who_leaves_under_another_s_name(town: Town) -> None:
    """An agent whose name is another's by now leaves alone, and takes nobody's registration along."""
    here, there, operator = [await town.process() for _ in range(3)]
    bob = await town.start(here, "bob")
    await operator.registrar.deregister(bob.id)
    await town.clock.idle()
    other = await town.start(there, "bob")
    await bob.leave()
    assert await town.broker.registry_store.load(other.id) is not None
    assert await town.instance(other)


async def test_removed_while_it_registered(town: Town) -> None:
    """Removed before it could listen, it hears of it at once: nobody tells it a second time."""
    operator, platform = await town.process(), await town.process()
    register = platform.registrar.register

    async def and_removed(agent: AgentId, **named: Any) -> Registration:
        made = await register(agent, **named)
        await operator.registrar.deregister(agent)
        return made

    object.__setattr__(platform.registrar, "register", and_removed)
    with pytest.raises(AgentNotFound):
        await Agent("bob").start(platform)
    assert await town.broker.leases.load(platform.agent_id("bob")) is None


async def test_a_sign_of_life_that_cannot_be_ended(town: Town) -> None:
    """The agent is stopped all the same, and can be started again."""
    platform = await town.process()
    leases = Failing(platform.ports.leases, fall_silent=[_NOT_NOW])
    object.__setattr__(platform, "ports", msgspec.structs.replace(platform.ports, leases=leases))
    bob = await town.start(platform, "bob")
    await bob.stop()
    await bob.start(platform)
    await bob.stop()


async def test_removed_as_soon_as_it_has_started(town: Town) -> None:
    """The registry tells it though it had shown the agent before that began to listen."""
    operator, platform = await town.process(), await town.process()
    bob = await town.start(platform, "bob")
    await operator.registrar.deregister(bob.id)
    await town.clock.idle()
    with pytest.raises(NotConnected, match="stopped"):
        await bob.request("alice")


async def test_stopped_twice_and_started_again(town: Town) -> None:
    """Whoever stops an agent that is being stopped waits for the end, and may start it at once."""
    operator, platform = await town.process(), await town.process(drain=600)
    go, began, got = asyncio.Event(), asyncio.Event(), []
    bob = Agent("bob")

    @bob.on("*")
    async def slow(context: Context) -> None:
        began.set()
        await go.wait()
        got.append(context.content)

    await bob.start(platform)
    alice = await town.start(operator, "alice")
    await alice.send("inform", bob.id, 1)
    await began.wait()
    await operator.registrar.update_state(bob.id, AgentState.STOPPED)
    await town.clock.idle()
    stopping = asyncio.create_task(bob.stop())
    await town.clock.idle()
    go.set()
    await stopping
    await bob.start(platform)
    await town.clock.idle()
    await alice.send("inform", bob.id, 2)
    await town.clock.idle()
    assert got == [1, 2]
    await bob.stop()


async def test_who_does_not_run_is_not_found(town: Town) -> None:
    """A draining agent takes nothing new, so nobody is sent to it."""
    platform = await town.process()
    bob, alice = await town.start(platform, "bob", "shout"), await town.start(platform, "alice")
    await platform.registrar.update_state(bob.id, AgentState.DRAINING)
    assert alice.find("shout") == []


async def test_stopped_before_the_agent_listened(town: Town) -> None:
    """It is noticed with the next heartbeat."""
    platform = await town.process()
    bob = await town.start(platform, "bob")
    found = platform.registry.find(bob.id)
    assert found is not None
    platform.registry._by_agent[bob.id] = msgspec.structs.replace(found, state=AgentState.STOPPED)
    await town.clock.advance(LEASE)
    with pytest.raises(NotConnected, match="stopped"):
        await bob.request("alice")


async def test_heartbeats_go_on_when_one_fails(town: Town) -> None:
    """A server that was away, however long, hears of the agent within half a second."""
    platform = await town.process()
    away = NotConnected("the server is away")
    leases = Failing(town.broker.leases, load=[None, *[away] * 20])
    object.__setattr__(platform, "ports", msgspec.structs.replace(platform.ports, leases=leases))
    platform.registrar._ports = platform.ports  # type: ignore[attr-defined]
    bob = await town.start(platform, "bob")
    await town.clock.advance(LEASE / 3 + 9.9)
    assert not platform.health.is_available(bob.id, town.clock.now())
    await town.clock.advance(0.1)
    lease = platform.health.find(bob.id)
    assert lease is not None
    assert lease.last_heartbeat == town.clock.now()


async def test_a_start_that_fails_leaves_no_sign_of_life(town: Town) -> None:
    """The name of an agent that could not be registered is nobody's."""
    platform = await town.process()
    bob = Agent("bob", capabilities=[""])
    with pytest.raises(InvalidEnvelope):
        await bob.start(platform)
    assert not town.broker.leases._answering  # type: ignore[attr-defined]
    with pytest.raises(AgentNotFound):
        await (await town.start(platform, "alice")).send("inform", "bob")


async def test_a_stop_that_cannot_give_the_lease_back(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    """The agent stops all the same; its name is free, for it gives no sign of life."""
    platform = await town.process()
    bob = await town.start(platform, "bob")
    leases = Failing(town.broker.leases, load=[NotConnected("the server is away")])
    platform.registrar._ports = msgspec.structs.replace(platform.ports, leases=leases)  # type: ignore[attr-defined]
    await bob.stop()
    assert "the lease of bob@here ends by itself" in caplog.text
    await town.start(await town.process(), "bob")
