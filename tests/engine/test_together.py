"""What comes at the same moment is done together."""

from __future__ import annotations

import asyncio

import pytest

from caxton_nats.engine.together import Together


class Acts:
    """What was done, call by call."""

    def __init__(self, most: int = 100) -> None:
        self.calls: list[list[int]] = []
        self.go = asyncio.Event()
        self.errors: list[Exception] = []
        self._most = most

    async def __call__(self, items: list[int]) -> int:
        self.calls.append(items[: self._most])
        await self.go.wait()
        if self.errors:
            raise self.errors.pop()
        return min(self._most, len(items))


async def turns(number: int = 20) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_one_call_for_all_of_a_moment() -> None:
    """And one more for all that come while it is under way, in their order."""
    acts = Acts()
    together = Together(acts, name="test")
    tasks = [asyncio.create_task(together.add(number)) for number in range(4)]
    await turns()
    tasks += [asyncio.create_task(together.add(number)) for number in range(4, 8)]
    await turns()
    acts.go.set()
    await asyncio.gather(*tasks)
    assert acts.calls == [[0, 1, 2, 3], [4, 5, 6, 7]]


async def test_waits_for_who_may_come() -> None:
    """A call begins at once when nobody else can come, and is not held up by who does not."""
    acts = Acts()
    acts.go.set()
    together = Together(acts, name="test", turns=5, coming=lambda: 3)

    async def after(number: int) -> None:
        await turns(2 * number)
        await together.add(number)

    await asyncio.gather(*(after(number) for number in range(3)))
    await together.add(3)
    assert acts.calls == [[0, 1, 2], [3]]


async def test_not_all_at_once() -> None:
    """What one call cannot take is taken by the next; each item is told when it is done with."""
    acts = Acts(most=2)
    acts.go.set()
    together = Together(acts, name="test")
    await asyncio.gather(*(together.add(number) for number in range(5)))
    assert acts.calls == [[0, 1], [2, 3], [4]]


async def test_failure_is_that_of_all_in_the_call() -> None:
    """Everybody in it is told; whoever comes later is not."""
    acts = Acts()
    acts.go.set()
    acts.errors.append(ValueError("no"))
    together = Together(acts, name="test")
    results = await asyncio.gather(together.add(1), together.add(2), return_exceptions=True)
    assert [str(one) for one in results] == ["no", "no"]
    await together.add(3)
    assert acts.calls == [[1, 2], [3]]


async def test_who_is_cancelled_takes_nobody_along() -> None:
    """The call goes on for the others, and with what was asked for."""
    acts = Acts()
    together = Together(acts, name="test")
    tasks = [asyncio.create_task(together.add(number)) for number in range(2)]
    await turns()
    tasks[0].cancel()
    await turns()
    acts.go.set()
    await tasks[1]
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert acts.calls == [[0, 1]]


@pytest.mark.parametrize("goes", [True, False])
async def test_close(*, goes: bool) -> None:
    """It waits for what is under way, but not for ever."""
    acts = Acts()
    together = Together(acts, name="test")
    task = asyncio.create_task(together.add(1))
    await turns()
    if goes:
        acts.go.set()
    await together.close(30 if goes else 0)
    await turns()
    assert task.done() is goes
    task.cancel()
