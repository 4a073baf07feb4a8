"""The routers of a platform, and how one speaks to all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Protocol

Answer = Callable[[bytes], Awaitable[bytes]]
"""What a router does when it is asked; it must not raise."""


class Peers(Protocol):
    """Every process that routes, this one included, whether it serves doors or only itself."""

    @property
    def own_id(self) -> str:
        """This router's id; fresh for each process, a token."""

    async def join(self, answers: Mapping[str, Answer]) -> None:
        """Be asked from now on, by question; who asks after this has returned asks us, too."""

    async def leave(self) -> None:
        """Be asked no more."""

    async def ask(
        self, question: str, body: bytes = b"", *, wait: timedelta
    ) -> dict[str, bytes | None]:
        """Return every router's answer by its id.

        A router that has ended, even by a crash, is left out at once; None is one that is there
        (or cut off for the moment) and did not answer in time, or does not know the question.
        """
