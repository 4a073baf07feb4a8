"""What comes at the same moment is done together."""

from __future__ import annotations

import asyncio

import pytest

from caxton_nats.engine.together import Together


class Acts:
    """What was done, call by call."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.go = asyncio.Event()
        self.errors: list[Exception] = []

    async def __call__(self, items: list[int]) -> None:
        self.calls.append(items)
        await self.go.wait()
        if self.errors:
            raise self.errors.pop()


async def turns(number: int = 20) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_one_call_for_all_of_a_moment() -> None:
    """And one more for all that come while it is under way, in their order."""
    acts = Acts()
    together = Together(acts, name="test")
    for number in range(4):
        together.add(number)
    await turns()
    for number in range(4, 8):
        together.add(number)
    await turns()
    assert acts.calls == [[0, 1, 2, 3]]
    acts.go.set()
    await together.close(30)
    assert acts.calls == [[0, 1, 2, 3], [4, 5, 6, 7]]


async def test_a_failure_is_not_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """It is a bug, and logged; what comes later is done all the same."""
    acts = Acts()
    acts.go.set()
    acts.errors.append(ValueError("a bug"))
    together = Together(acts, name="the test")
    together.add(1)
    await turns()
    together.add(2)
    await together.close(30)
    assert acts.calls == [[1], [2]]
    assert "the test failed" in caplog.text


async def test_close_does_not_wait_for_ever() -> None:
    """What takes longer is cancelled."""
    acts = Acts()
    together = Together(acts, name="test")
    together.add(1)
    await turns()
    await together.close(0)
    acts.go.set()
    await turns()
    together.add(2)
    await together.close(30)
    assert acts.calls == [[1], [2]]
