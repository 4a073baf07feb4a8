from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from caxton_nats.core.identifiers import AgentId
from tests.conformance.adapters import ADAPTERS, ON_SERVER, Adapter, Limits, named

BY_THE_WIRE = ("inbox", "publisher", "mailboxes", "urgent", "ingress")
"""The tests of what listens and posts; all else is by nats-py's public API anyway."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test of this folder over all adapters."""
    if "adapter_name" in metafunc.fixturenames:
        names = list(ADAPTERS)
        if metafunc.module.__name__.rpartition(".test_")[2] not in BY_THE_WIRE:
            names.remove("public-api")
        metafunc.parametrize("adapter_name", names, scope="function")


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
