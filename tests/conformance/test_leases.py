"""What every `Leases` promises."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from caxton_nats.core.errors import RevisionConflict
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.lease import Health, Lease
from caxton_nats.ports import Pulse
from tests.conformance.adapters import Adapter, named
from tests.plugins.eventually import eventually

BOB = named("bob")
NOON = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)


def lease(agent: AgentId = BOB, instance: str = "one") -> Lease:
    return Lease(
        agent=agent,
        instance=instance,
        node="host-1",
        last_heartbeat=NOON,
        expires_at=NOON + timedelta(seconds=15),
        healthy=False,
        reason="größer",
    )


async def test_save_and_load(adapter: Adapter) -> None:
    """What was saved is loaded whole, under the revision that `save` returned."""
    assert await adapter.leases.load(BOB) is None
    first = await adapter.leases.save(lease(), revision=None)
    second = await adapter.leases.save(lease(instance="two"), revision=first)
    assert second > first
    assert await adapter.leases.load(BOB) == (lease(instance="two"), second)


async def test_one_holder(adapter: Adapter) -> None:
    """Of many that take one lease at once, exactly one gets it; nor does a stale writer."""
    results = await asyncio.gather(
        *(adapter.leases.save(lease(instance=f"i-{n}"), revision=None) for n in range(10)),
        return_exceptions=True,
    )
    (winner,) = [number for number, result in enumerate(results) if isinstance(result, int)]
    assert sum(isinstance(result, RevisionConflict) for result in results) == 9
    stored = await adapter.leases.load(BOB)
    assert stored is not None
    assert stored[0].instance == f"i-{winner}"
    await adapter.leases.save(lease(), revision=stored[1])
    with pytest.raises(RevisionConflict):
        await adapter.leases.save(lease(instance="late"), revision=stored[1])


async def test_remove(adapter: Adapter) -> None:
    """A removed lease is gone, once, and may be taken anew."""
    await adapter.leases.save(lease(), revision=None)
    assert await adapter.leases.remove(BOB)
    assert not await adapter.leases.remove(BOB)
    assert await adapter.leases.load(BOB) is None
    await adapter.leases.save(lease(), revision=None)


async def test_followers(adapter: Adapter) -> None:
    """A mirror has what was there, and follows what comes."""
    await adapter.leases.save(lease(named("gone")), revision=None)
    await adapter.leases.remove(named("gone"))
    first = await adapter.leases.save(lease(), revision=None)
    mirrors = [Health([lease(named("left-over"))]), Health()]
    for mirror in mirrors:
        await adapter.leases.follow(mirror)
        assert list(mirror) == [lease()]
    changed = msgspec.structs.replace(lease(), healthy=True, reason="")
    await adapter.leases.save(changed, revision=first)
    await eventually(lambda: all(mirror.find(BOB) == changed for mirror in mirrors))
    await adapter.leases.remove(BOB)
    await eventually(lambda: not any(len(mirror) for mirror in mirrors))


async def test_pulse(adapter: Adapter) -> None:
    """An instance answers, to every process, from when it has begun until it falls silent."""
    async with adapter.another() as ports:
        assert await ports.leases.pulse("one") is Pulse.GONE
        await adapter.leases.answer_for("one")
        assert await ports.leases.pulse("one") is Pulse.ANSWERS
        assert await adapter.leases.pulse("one") is Pulse.ANSWERS
        assert await ports.leases.pulse("two") is Pulse.GONE
        await adapter.leases.fall_silent("one")
        await adapter.leases.fall_silent("one")

        async def gone() -> bool:
            return await ports.leases.pulse("one") is Pulse.GONE

        await eventually(gone)
