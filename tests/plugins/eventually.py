"""Wait for a condition instead of for a time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable

PATIENCE = 30.0
"""Seconds that a busy machine may take; who waits for a condition pays only for what it takes."""


async def eventually(
    condition: Callable[[], bool | Awaitable[bool]], *, within: float = PATIENCE, what: str = ""
) -> None:
    """Return as soon as the condition holds; fail the test if it does not within the seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    while True:
        held = condition()
        if inspect.isawaitable(held):
            held = await held
        if held:
            return
        if loop.time() > end:
            raise AssertionError(f"not within {within} s: {what or inspect.getsource(condition)}")
        await asyncio.sleep(0.01)
