"""Tasks that must not end by accident, and tasks that must end for certain."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest

from caxton_nats import tasks
from caxton_nats.core.errors import CaxtonError, TransportError
from caxton_nats.tasks import end, forever, heeding_cancellation


class Stop(BaseException):
    """Ends `forever` from within, as only a cancellation could."""


async def test_a_task_that_swallows_cancellations_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is cancelled again until it goes."""
    monkeypatch.setattr(tasks, "_AGAIN", 0.01)
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > 2:
                    raise

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end([task])
    assert (task.cancelled(), swallowed) == (True, 3)


async def test_end_waits_until_all_have_cleaned_up() -> None:
    """One that needs a moment to end is not left behind."""
    cleaned: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(name)

    going = [asyncio.create_task(work(name)) for name in "ab"]
    await asyncio.sleep(0)
    await end(going)
    assert sorted(cleaned) == ["a", "b"]
    assert all(task.cancelled() for task in going)


async def test_end_does_not_care_what_a_task_ends_with() -> None:
    """A failure, a result, one that has ended long before, none at all: nothing is raised."""

    async def fails() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("in the end")

    async def returns() -> int:
        return 1

    failing, done = asyncio.create_task(fails()), asyncio.create_task(returns())
    assert await done == 1
    await asyncio.sleep(0)
    await end([failing, done])
    await end([])
    assert isinstance(failing.exception(), OSError)
    assert done.result() == 1


async def test_whoever_ends_others_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that never goes does not hold up the one that waits for it for ever."""
    monkeypatch.setattr(tasks, "_AGAIN", 0.01)
    release = asyncio.Event()

    async def immortal() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(immortal())
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await end([task])
    assert not task.done()
    release.set()
    await task


async def repeated(*outcomes: BaseException | None) -> list[float]:
    """Have the step end in these ways, one after another; return the pauses that were made."""
    pauses: list[float] = []
    left = [*outcomes, Stop()]

    async def step() -> None:
        outcome = left.pop(0)
        if outcome is not None:
            raise outcome

    async def sleep(pause: timedelta) -> None:
        pauses.append(pause.total_seconds())

    with pytest.raises(Stop):
        await forever(step, what="reading", expected=CaxtonError, sleep=sleep)
    assert not left
    return pauses


async def test_a_step_is_repeated_without_a_pause() -> None:
    """It waits by itself when there is nothing to do."""
    assert await repeated(None, None, None) == []


async def test_a_failing_step_is_repeated_after_longer_and_longer_pauses() -> None:
    """Up to a second, and from the beginning after a success."""
    failures = [TransportError("away")] * 6
    pauses = await repeated(*failures, None, TransportError("away"))
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 0.1]


async def test_what_fails_for_hours_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The first failures are told one by one, then one a minute or so."""
    with caplog.at_level(logging.WARNING, "caxton_nats"):
        await repeated(*[TransportError("away")] * 3600)
    assert len(caplog.records) == 5 + 60


async def test_a_bug_does_not_end_the_loop_and_is_told_in_full(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With its traceback; a failure of the world is told in one line."""
    with caplog.at_level(logging.WARNING, "caxton_nats"):
        assert len(await repeated(TransportError("away"), KeyError("bug"))) == 2
    expected, bug = caplog.records
    assert (expected.message, expected.exc_info) == ("reading failed, trying again: away", None)
    assert bug.exc_info is not None


async def test_a_cancellation_ends_the_loop() -> None:
    """It is not a failure of a step."""
    task = asyncio.create_task(
        forever(asyncio.Event().wait, what="x", expected=CaxtonError, sleep=_no_sleep)
    )
    await asyncio.sleep(0)
    await end([task])
    assert task.cancelled()


async def _no_sleep(_: timedelta) -> None:
    raise AssertionError("there was nothing to wait for")


async def _swallow_one_cancellation(begun: asyncio.Event) -> str:
    begun.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "an answer that came in the same moment"
    return "never"


async def test_a_swallowed_cancellation_is_raised_after_all() -> None:
    """Who is cancelled while waiting for an answer does not go on with the answer."""
    begun = asyncio.Event()

    async def ask() -> str:
        with heeding_cancellation():
            return await _swallow_one_cancellation(begun)

    task = asyncio.create_task(ask())
    await begun.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_a_cancelled_task_may_still_ask_while_it_cleans_up() -> None:
    """A cancellation from before is not raised again in the middle of the cleaning up."""
    begun, asked = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            with heeding_cancellation():
                await asyncio.get_running_loop().run_in_executor(None, int)
            asked.set()

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    await asyncio.wait({task})
    assert asked.is_set()
