from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.sdk.stage import Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """Give the test a platform in memory that agents can be started on."""
    async with AsyncExitStack() as stack:
        yield await Stage.open(stack)
