from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.bad_input.town import Town, open_town


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town() -> AsyncIterator[Town]:
    """Yield one deployment for all cases of a module: each leaves it as well as it was."""
    async with open_town() as town:
        yield town
