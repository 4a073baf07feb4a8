from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.engine.bench import Bench


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Give the test a platform in memory whose time it moves."""
    async with AsyncExitStack() as stack:
        yield Bench(stack)
