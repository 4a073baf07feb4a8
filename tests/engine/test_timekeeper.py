"""Due timers go to who knows their kind; none holds up the others, and none is lost."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from caxton_nats.core.errors import NotConnected
from caxton_nats.engine.timekeeper import Timekeeper, WhenDue
from caxton_nats.ports import Timer
from tests.engine.bench import Bench, Failing

NOW = timedelta()


async def keeper(
    bench: Bench, *, settle: list[Exception | None] | None = None, **kinds: WhenDue
) -> Timekeeper:
    inbox = Failing(await bench.broker.timers.inbox(), settle=settle or [])
    return Timekeeper(inbox, bench.clock, kinds)


async def due(bench: Bench, *timers: Timer) -> None:
    for timer in timers:
        await bench.broker.timers.set(timer, bench.clock.now())


class Notes:
    """A handler that notes what it gets, and fails the first so many times."""

    def __init__(self, failures: int = 0) -> None:
        self.keys: list[str] = []
        self._failures = failures

    async def __call__(self, timer: Timer) -> None:
        self.keys.append(timer.key)
        if len(self.keys) <= self._failures:
            raise ValueError("not yet")


async def test_each_goes_to_its_kind(bench: Bench) -> None:
    """And is gone once it has been handled."""
    drain, lease = Notes(), Notes()
    one = await keeper(bench, drain=drain, lease=lease)
    await due(bench, Timer("drain", "bob"), Timer("lease", "carol"))
    assert await one.work_once(NOW) == 2
    assert (drain.keys, lease.keys) == (["bob"], ["carol"])
    assert await one.work_once(NOW) == 0


async def test_one_that_fails_comes_again(bench: Bench) -> None:
    """It alone, after a pause."""
    drain, lease = Notes(failures=1), Notes()
    one = await keeper(bench, drain=drain, lease=lease)
    await due(bench, Timer("drain", "bob"), Timer("lease", "carol"))
    await one.work_once(NOW)
    assert await one.work_once(NOW) == 0
    await bench.clock.advance(5)
    assert await one.work_once(NOW) == 1
    assert (drain.keys, lease.keys) == (["bob", "bob"], ["carol"])


async def test_one_of_an_unknown_kind_is_left_to_others(bench: Bench) -> None:
    """A newer router may have set it; it comes again until somebody knows it."""
    await due(bench, Timer("drain", "bob"))
    assert await (await keeper(bench)).work_once(NOW) == 1
    await bench.clock.advance(5)
    drain = Notes()
    await (await keeper(bench, drain=drain)).work_once(NOW)
    assert drain.keys == ["bob"]


async def test_a_slow_one_holds_up_nobody(bench: Bench) -> None:
    """Those that are due together are handled at the same time."""
    enough = asyncio.Event()
    lease = Notes()

    async def slow(_: Timer) -> None:
        await enough.wait()

    one = await keeper(bench, drain=slow, lease=lease)
    await due(bench, Timer("drain", "bob"), Timer("lease", "carol"))
    working = asyncio.create_task(one.work_once(NOW))
    await bench.clock.idle()
    assert (lease.keys, working.done()) == (["carol"], False)
    enough.set()
    assert await working == 2


async def test_one_that_cannot_be_settled(bench: Bench) -> None:
    """The error is told when all are done; the timer comes again, the others do not."""
    drain, lease = Notes(), Notes()
    one = await keeper(bench, settle=[NotConnected("away")], drain=drain, lease=lease)
    await due(bench, Timer("drain", "bob"), Timer("lease", "carol"))
    (failed,) = await asyncio.gather(one.work_once(NOW), return_exceptions=True)
    assert isinstance(failed, NotConnected)
    await bench.clock.advance(60)
    await one.work_once(NOW)
    assert (drain.keys, lease.keys) == (["bob", "bob"], ["carol"])


async def test_one_that_says_nothing(bench: Bench) -> None:
    """No router sets such a timer: it is not tried again for ever."""
    platform = bench.platform()
    one = Timekeeper(await bench.broker.timers.inbox(), bench.clock, platform.when_due)
    await due(
        bench, *(Timer("expiry", str(at), data) for at, data in enumerate(["", "{}", "\x1b"]))
    )
    assert await one.work_once(NOW) == 3
    await bench.clock.advance(60)
    assert await one.work_once(NOW) == 0
