"""What every `RegistryStore` keeps of its promises when there are many agents."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from caxton_nats.core.registry import Registration, Registry
from tests.conformance.adapters import Adapter, named
from tests.plugins.eventually import eventually


async def test_a_thousand_of_one_capability(adapter: Adapter) -> None:
    """All of them are found, by a mirror that was there and by a fresh one."""
    names = sorted(named(f"agent-{number}") for number in range(1000))
    before, after = Registry(), Registry()
    await adapter.registry_store.follow(before)
    registrations = [
        Registration(
            agent=name,
            capabilities=("shout",),
            address=adapter.mailboxes.address(name),
            registered_at=datetime(2026, 5, 1, tzinfo=UTC),
        )
        for name in names
    ]
    await asyncio.gather(
        *(adapter.registry_store.save(one, revision=None) for one in registrations)
    )
    async with adapter.another() as ports:
        await ports.registry_store.follow(after)
        assert [one.agent for one in after.find_by_capability("shout")] == names
        await eventually(lambda: list(before.offering("shout")) == names)
