"""What every `RouteStore` promises."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from caxton_nats.core.errors import RevisionConflict
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.remote import RouteInfo, Routes, route_info
from tests.conformance.adapters import PLATFORM, Adapter
from tests.plugins.eventually import eventually

BOB = AgentId("bob@plant")
NOON = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)


def made(agent: str = BOB, hops: int = 1) -> RouteInfo:
    return route_info(AgentId(agent), "plant", hops, NOON, platform=PLATFORM)


@pytest.mark.parametrize("name", ["bob@plant", "*@plant", "a.*.>@ä", "bob@Plant"])
async def test_save_and_load(adapter: Adapter, name: str) -> None:
    """Whatever its name means to NATS, a route is loaded as it was saved, under its revision."""
    await adapter.routes.save(made("bob@there"), revision=None)
    revision = await adapter.routes.save(made(name), revision=None)
    assert await adapter.routes.load(AgentId(name)) == (made(name), revision)


async def test_load_nothing(adapter: Adapter) -> None:
    """A name without a route has none to remove; its platform's is another."""
    await adapter.routes.save(made("*@plant"), revision=None)
    assert await adapter.routes.load(BOB) is None
    assert not await adapter.routes.remove(BOB)


async def test_one_writer_wins(adapter: Adapter) -> None:
    """Of several that read the same state one writes; the others have to decide again."""

    async def save(hops: int) -> bool:
        try:
            await adapter.routes.save(made(hops=hops), revision=None)
        except RevisionConflict:
            return False
        return True

    assert (await asyncio.gather(*map(save, range(5)))).count(True) == 1


async def test_follow(adapter: Adapter) -> None:
    """Who follows has what was there, and hears of changes and removals, in another process too."""
    await adapter.routes.save(made("*@plant"), revision=None)
    async with adapter.another() as other:
        routes = Routes()
        await other.routes.follow(routes)
        assert list(routes) == [made("*@plant")]
        await adapter.routes.save(made(), revision=None)
        assert await adapter.routes.remove(AgentId("*@plant"))

        async def heard() -> bool:
            return list(routes) == [made()]

        await eventually(heard)
