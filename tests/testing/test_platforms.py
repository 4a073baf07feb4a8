"""What `caxton_nats.testing` promises to people who test their own agents."""

from __future__ import annotations

import asyncio

import pytest

from caxton_nats import Agent, Context, Settings, started
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import (
    AgentNotFound,
    ConversationTimeout,
    QueueFull,
    TooManyParticipants,
)
from caxton_nats.core.identifiers import ConversationId
from caxton_nats.memory import MemoryBroker
from caxton_nats.ports import Receipt, Submission
from caxton_nats.telemetry import Action, Event
from caxton_nats.testing import memory_platform
from tests.plugins.clock import ManualClock, RealClock
from tests.plugins.eventually import eventually


def counting(name: str, calls: list[int], *, failures: int = 0) -> Agent:
    """Return an agent that notes its attempts, and fails the first so many."""
    agent = Agent(name)

    @agent.on("inform")
    async def handle(ctx: Context) -> None:
        calls.append(ctx.attempt)
        if ctx.attempt <= failures:
            raise ValueError("not yet")

    return agent


async def test_platform_is_empty_and_goes_with_the_test() -> None:
    """Two platforms know nothing of each other."""
    alice = Agent("alice")
    async with (
        memory_platform() as one,
        memory_platform() as other,
        started(one, Agent("bob")),
        started(other, alice),
    ):
        assert [registration.agent for registration in one.registry] == ["bob@caxton"]
        with pytest.raises(AgentNotFound):
            await alice.send("inform", "bob")


async def test_terms_of_conversations_apply() -> None:
    """How many may take part, and for how long nobody may write, are what was chosen."""
    clock = ManualClock()
    chosen = Settings(max_participants=2, conversation_timeout=300, conversation_lifetime=500)
    async with memory_platform(chosen, clock=clock) as platform:
        for name in ("alice", "bob", "carol"):
            await platform.registrar.register(platform.agent_id(name))

        async def send(*receivers: str) -> object:
            message = Envelope(
                performative="inform",
                receiver=tuple(map(platform.agent_id, receivers)),
                conversation_id=ConversationId("c"),
            )
            submission = Submission(sender=platform.agent_id("alice"), envelope=message)
            return (await platform.router.send([submission]))[0]

        assert isinstance(await send("bob", "carol"), TooManyParticipants)
        for seconds in (299, 200, 1):
            assert isinstance(await send("bob"), Receipt)
            await clock.advance(seconds)
        assert isinstance(await send("bob"), ConversationTimeout)


async def test_settings_apply() -> None:
    """Name, bound and retries of the platform are those that were chosen."""
    chosen = Settings(platform="mars", queue_size=2, retry_delay=0.1, max_retries=1)
    calls: list[int] = []
    alice = Agent("alice")
    async with memory_platform(chosen) as platform, started(platform, alice):
        assert alice.id == "alice@mars"
        async with started(platform, Agent("bob")):
            pass
        for _ in range(2):
            await alice.send("inform", "bob")
        with pytest.raises(QueueFull):
            await alice.send("inform", "bob")
        async with started(platform, counting("bob", calls, failures=1)):
            await eventually(lambda: sorted(calls) == [1, 1, 2, 2])
        assert await platform.ports.dead_letters.list() == []


async def test_broker_is_shared() -> None:
    """Platforms over one broker are processes on one server: agents meet, mail waits for them."""
    broker = MemoryBroker(RealClock())
    calls: list[int] = []
    async with memory_platform(broker=broker) as one, memory_platform(broker=broker) as other:
        alice = Agent("alice")
        async with started(one, alice), started(other, Agent("bob")):
            await alice.send("inform", "bob")
        async with started(one, counting("bob", calls)):
            await eventually(lambda: calls == [1])


async def test_clock_is_the_tests_own() -> None:
    """With a clock that the test moves, retries of minutes take no time and come no sooner."""
    clock, calls = ManualClock(), list[int]()
    chosen = Settings(retry_delay=60.0, retry_max_delay=3600.0, drain=0)
    async with memory_platform(chosen, clock=clock) as platform:
        alice = Agent("alice")
        async with started(platform, alice, counting("bob", calls, failures=2)):
            await alice.send("inform", "bob")
            await clock.advance(59.9)
            assert calls == [1]
            await clock.advance(0.1)
            assert calls == [1, 2]
            await clock.advance(120)
            assert calls == [1, 2, 3]


async def test_observer_is_told() -> None:
    """A test can wait for what became of a message."""
    events: list[Event] = []
    async with memory_platform(observer=events.append) as platform:
        alice = Agent("alice")
        async with started(platform, alice, counting("bob", [])):
            await alice.send("inform", "bob", message_id="m-1")
            await eventually(lambda: Action.HANDLED in [one.action for one in events])
    told = [one.action for one in events if one.message_id == "m-1"]
    assert told == [Action.ROUTED, Action.DELIVERED, Action.HANDLED]
    others = [one.action for one in events if one.message_id != "m-1"]
    assert others == [Action.REGISTERED] * 2


async def test_observer_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the message goes its way."""

    def observe(_: Event) -> None:
        raise RuntimeError("a bug of the observer")

    calls: list[int] = []
    async with memory_platform(observer=observe) as platform:
        alice = Agent("alice")
        async with started(platform, alice, counting("bob", calls)):
            receipt = await alice.send("inform", "bob")
            await eventually(lambda: calls == [1])
    assert receipt.outcomes[0].error is None
    assert "the observer failed for routed" in caplog.text


async def test_agents_stop_in_any_case() -> None:
    """If one agent of several cannot start, those before it are stopped again."""
    async with memory_platform() as platform:
        held = Agent("held")
        async with started(platform, held):
            with pytest.raises(Exception, match="registered already"):
                async with started(platform, Agent("alice"), Agent("held")):
                    pass
        assert not [task for task in asyncio.all_tasks() if "alice" in task.get_name()]
