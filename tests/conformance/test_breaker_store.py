"""What every `BreakerStore` promises."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from caxton_nats.core.breaker import Breaker, Breakers, CircuitBreakerState
from caxton_nats.core.errors import RevisionConflict
from tests.conformance.adapters import Adapter, named
from tests.plugins.eventually import eventually

NOON = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)


def made(name: str = "bob", failures: int = 3) -> Breaker:
    return Breaker(
        agent=named(name),
        state=CircuitBreakerState.OPEN,
        failures=failures,
        opened_at=NOON,
        until=NOON,
        timeout=60.0,
        last_error={"code": "HandlerFailed", "reason": "ValueError: ü"},
    )


@pytest.mark.parametrize("name", ["bob", "a.b", "*", ">", "böb"])
async def test_save_load_and_remove(adapter: Adapter, name: str) -> None:
    """Whatever its name means to NATS, a breaker is loaded as it was saved, until it is removed."""
    revision = await adapter.breakers.save(made(name), revision=None)
    assert await adapter.breakers.load(named(name)) == (made(name), revision)
    assert await adapter.breakers.remove(named(name))
    assert not await adapter.breakers.remove(named(name))
    assert await adapter.breakers.load(named(name)) is None
    await adapter.breakers.save(made(name), revision=None)


async def test_one_writer_wins(adapter: Adapter) -> None:
    """Of several that take the same trial one gets it."""
    revision = await adapter.breakers.save(made(), revision=None)

    async def save(failures: int) -> bool:
        try:
            await adapter.breakers.save(made(failures=failures), revision=revision)
        except RevisionConflict:
            return False
        return True

    assert (await asyncio.gather(*map(save, range(5)))).count(True) == 1


async def test_follow(adapter: Adapter) -> None:
    """Who follows has what was there, and hears of changes and removals, in another process too."""
    await adapter.breakers.save(made("alice"), revision=None)
    async with adapter.another() as other:
        breakers = Breakers()
        await other.breakers.follow(breakers)
        assert list(breakers) == [made("alice")]
        await adapter.breakers.save(made(), revision=None)
        assert await adapter.breakers.remove(named("alice"))

        async def heard() -> bool:
            return list(breakers) == [made()]

        await eventually(heard)
