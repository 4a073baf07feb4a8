from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from caxton_nats.core.identifiers import AgentId
from tests.conformance.adapters import ADAPTERS, ON_SERVER, Adapter, Limits, named


@pytest.fixture(params=list(ADAPTERS))
def adapter_name(request: pytest.FixtureRequest) -> str:
    """Name the adapter; every test of this folder runs over all of them."""
    name: str = request.param
    return name


@pytest.fixture
def adapter_url(adapter_name: str, request: pytest.FixtureRequest) -> str:
    """Return the server's URL; a run over memory alone starts no server."""
    return request.getfixturevalue("embedded_url") if adapter_name in ON_SERVER else ""


@pytest.fixture
async def adapter(adapter_name: str, adapter_url: str) -> AsyncIterator[Adapter]:
    """One adapter over empty state."""
    async with ADAPTERS[adapter_name](adapter_url, Limits()) as made:
        yield made


@pytest.fixture
def bob() -> AgentId:
    """Return an agent who gets mail."""
    return named("bob")
