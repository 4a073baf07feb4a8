"""A journal of a test: who said what to whom, and what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from difflib import unified_diff

from caxton_nats.core.identifiers import local_part
from caxton_nats.telemetry import Action, Event

_ENDS = frozenset({Action.HANDLED, Action.DEAD_LETTERED})


class Journal:
    """An observer that takes note of everything, to be asked by a test.

    Pass it as ``observer`` to `memory_platform` or ``caxton_nats.connect``; several platforms may
    share one, as it takes all of them for it to know what ended elsewhere.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        """Everything, in its order."""
        self._more = asyncio.Event()

    def __call__(self, happened: Event) -> None:
        """Take note; called by the platform."""
        self.events.append(happened)
        self._more.set()

    def lines(self, conversation_id: str = "") -> list[str]:
        """Return what was said, a line each, like ``alice -> bob: request``, as it was accepted.

        Args:
            conversation_id: of this conversation only.
        """
        return [_line(said) for said in self._said(conversation_id)]

    def acts(self, conversation_id: str) -> list[str]:
        """Return the performatives of a conversation, in the order in which they were accepted."""
        return [said.performative for said in self._said(conversation_id)]

    def outcome(self, message_id: str) -> Action | None:
        """Return the last that happened to a message; None if nothing has."""
        found = [one.action for one in self.events if one.message_id == message_id]
        return found[-1] if found else None

    def open(self) -> list[str]:
        """Return the lines of what was accepted and is neither handled nor a dead letter."""
        left = {}
        for one in self.events:
            if one.action is Action.ROUTED:
                left[one.origin] = _line(one)
            elif one.action in _ENDS:
                left.pop(one.origin, None)
        return list(left.values())

    async def until(self, condition: Callable[[], bool], *, within: float = 10.0) -> None:
        """Return once the condition holds, which is looked at after each thing that happens.

        Args:
            condition: what is waited for.
            within: seconds of the loop's time.

        Raises:
            AssertionError: not in time; it has the journal's lines.
        """
        try:
            async with asyncio.timeout(within):
                while not condition():
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            told = "\n  ".join(self.lines() or ["nothing"])
            raise AssertionError(f"not within {within} s; what was said:\n  {told}") from None

    async def settled(self, *, within: float = 10.0) -> None:
        """Return once everything that was accepted has been handled, or is a dead letter.

        Raises:
            AssertionError: not in time; it says what is open.
        """
        try:
            await self.until(lambda: not self.open(), within=within)
        except AssertionError:
            told = "\n  ".join(self.open())
            raise AssertionError(f"still open after {within} s:\n  {told}") from None

    def expect(self, *lines: str, conversation_id: str = "") -> None:
        """Insist that exactly this was said.

        Args:
            lines: as `lines` has them.
            conversation_id: in this conversation; by default in all.

        Raises:
            AssertionError: something else was; it shows the difference.
        """
        said = self.lines(conversation_id)
        if said != list(lines):
            differences = unified_diff(lines, said, "expected", "said", lineterm="", n=99)
            raise AssertionError("\n".join(("something else was said:", *differences)))

    def _said(self, conversation_id: str) -> Iterator[Event]:
        for one in self.events:
            if one.action is Action.ROUTED and conversation_id in ("", one.conversation_id):
                yield one


def _line(said: Event) -> str:
    return f"{local_part(said.sender)} -> {local_part(said.agent)}: {said.performative}"
