"""Time that leaps: hours pass at once, in order, and the same in every run."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from time import monotonic

import pytest

from caxton_nats import Agent, Context, Settings, started
from caxton_nats.core.errors import AgentNotResponding
from caxton_nats.testing import Journal, Stuck, VirtualClock, memory_platform, run_in_virtual_time


def test_hours_take_no_time() -> None:
    """Who sleeps wakes at exactly the right moment, and in the right order."""
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((name, asyncio.get_running_loop().time()))

    async def main() -> None:
        await asyncio.gather(sleeper("b", 7200), sleeper("a", 3600.5), sleeper("c", 86400))

    began = monotonic()
    run_in_virtual_time(main())
    assert woken == [("a", 3600.5), ("b", 7200.0), ("c", 86400.0)]
    assert monotonic() - began < 60


def test_a_handler_is_retried_when_the_settings_say() -> None:
    """Retries of half an hour, in a moment: with the real engine."""
    moments: list[float] = []

    async def main() -> None:
        alice, bob = Agent("alice"), Agent("bob")

        @bob.on("inform")
        async def fail(_: Context) -> None:
            moments.append(asyncio.get_running_loop().time())
            if len(moments) < 4:
                raise ValueError("not yet")

        journal = Journal()
        chosen = Settings(retry_delay=300, retry_max_delay=3600)
        async with (
            memory_platform(chosen, observer=journal) as platform,
            started(platform, alice, bob),
        ):
            await alice.send("inform", "bob")
            await journal.settled(within=100_000)

    run_in_virtual_time(main())
    delays = [later - earlier for earlier, later in pairwise(moments)]
    assert [round(delay / 300) for delay in delays] == [1, 2, 4]


def test_an_answer_that_does_not_come() -> None:
    """A request waits for its whole time-out, and that takes none."""

    async def main() -> float:
        alice, bob = Agent("alice"), Agent("bob")

        @bob.on("request")
        async def sleep(_: Context) -> None:
            await asyncio.sleep(10_000)

        async with memory_platform(Settings(drain=0)) as platform, started(platform, alice, bob):
            began = asyncio.get_running_loop().time()
            with pytest.raises(AgentNotResponding):
                await alice.request("bob", "?", timeout=5_000)
            return asyncio.get_running_loop().time() - began

    assert 5_000 <= run_in_virtual_time(main()) < 5_001


def test_who_waits_for_nothing_is_told() -> None:
    """A test that can never end says so, and who waits, instead of standing still."""

    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck, match="these tasks wait: "):
        run_in_virtual_time(main())


def test_threads_are_waited_for() -> None:
    """What a thread brings is waited for while nobody waits for time."""

    async def main() -> int:
        return await asyncio.to_thread(lambda: 7)

    assert run_in_virtual_time(main()) == 7


def test_chance_can_be_played_again() -> None:
    """Two clocks of one seed throw the same dice."""
    one, two, other = VirtualClock(seed=3), VirtualClock(seed=3), VirtualClock(seed=4)
    thrown = [[clock.chance() for _ in range(5)] for clock in (one, two, other)]
    assert thrown[0] == thrown[1] != thrown[2]
