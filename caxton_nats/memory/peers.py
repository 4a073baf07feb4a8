"""`Peers` in memory: the routers of one broker call each other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from caxton_nats.memory.mail import turn
from caxton_nats.ports import Answer


class MemoryPeers:
    """One router among those of a broker."""

    def __init__(self, everybody: dict[str, Mapping[str, Answer]], own_id: str) -> None:
        self._everybody = everybody
        self._own_id = own_id

    @property
    def own_id(self) -> str:
        """This router's id."""
        return self._own_id

    async def join(self, answers: Mapping[str, Answer]) -> None:
        """Be asked from now on."""
        await turn()
        self._everybody[self._own_id] = answers

    async def leave(self) -> None:
        """Be asked no more."""
        await turn()
        self._everybody.pop(self._own_id, None)

    async def ask(
        self, question: str, body: bytes = b"", *, wait: timedelta
    ) -> dict[str, bytes | None]:
        """Ask every router at once."""
        await turn()
        asked = dict(self._everybody)
        answers = await asyncio.gather(
            *(_ask(answers.get(question), body, wait) for answers in asked.values())
        )
        return dict(zip(asked, answers, strict=True))


async def _ask(answer: Answer | None, body: bytes, wait: timedelta) -> bytes | None:
    if answer is None:
        return None
    try:
        return await asyncio.wait_for(answer(body), wait.total_seconds())
    except TimeoutError:
        return None
