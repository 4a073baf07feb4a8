"""Which dead letters a command means, and its way through many of them.

Each letter is a line of its own as soon as it is done, or a part of one JSON document at the end;
on a terminal a line below says how far it has come. Ctrl-C ends between two letters.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.status import Status

from caxton_nats.cli import exits
from caxton_nats.cli.exits import Exit
from caxton_nats.cli.output import json_text, say, visible
from caxton_nats.core.dead_letter import Stage
from caxton_nats.core.failure import FailureReason
from caxton_nats.core.selection import Selection
from caxton_nats.engine.platform import Platform
from caxton_nats.engine.selected import Ended

OfAgent = Annotated[
    str | None, typer.Option("--agent", metavar="NAME", help="Only this agent's letters.")
]
Reason = Annotated[
    FailureReason | None,
    typer.Option("--reason", case_sensitive=False, help="Only what died for this reason."),
]
OfSender = Annotated[
    str | None, typer.Option("--sender", metavar="NAME", help="Only messages of this sender.")
]
DiedAt = Annotated[
    Stage | None,
    typer.Option("--stage", case_sensitive=False, help="Only what died at this stage."),
]
OfConversation = Annotated[
    str | None,
    typer.Option("--conversation", metavar="ID", help="Only messages of this conversation."),
]
OlderThan = Annotated[
    str | None,
    typer.Option("--older-than", metavar="TIME", help="Only what died before: 90s, 15m, 2h, 7d."),
]
NewerThan = Annotated[
    str | None, typer.Option("--newer-than", metavar="TIME", help="Only what died since then.")
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--rate", metavar="N", min=0.001, max=1_000_000, help="At most N letters a second."
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")
]
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = 36500 * 86400
_MOMENT = 0.1
"""Seconds between two pictures of how far it has come."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the options of a command say."""

    agent: str | None = None
    reason: FailureReason | None = None
    sender: str | None = None
    stage: Stage | None = None
    conversation: str | None = None
    older_than: str | None = None
    newer_than: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no time."""
        _age(self.older_than, "--older-than")
        _age(self.newer_than, "--newer-than")

    @property
    def is_narrow(self) -> bool:
        """Whether any option narrows the choice."""
        return self != Wanted()

    def selection(self, platform: Platform) -> Selection:
        """Return the letters that are meant, as of now."""
        now = platform.ports.clock.now()
        older = _age(self.older_than, "--older-than")
        newer = _age(self.newer_than, "--newer-than")
        return Selection(
            agent=platform.agent_id(self.agent) if self.agent is not None else None,
            reason=self.reason,
            sender=platform.agent_id(self.sender) if self.sender is not None else None,
            stage=self.stage,
            conversation_id=self.conversation,
            died_before=now - older if older is not None else None,
            died_after=now - newer if newer is not None else None,
        )


def _age(text: str | None, option: str) -> timedelta | None:
    """Return how long ago an option says; a number without a unit is seconds."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,9})?)([smhd]?)", text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else _LONGEST + 1
    if seconds > _LONGEST:
        raise typer.BadParameter(f"{option} wants a time as 90s, 15m, 2h or 7d, not {text!r}")
    return timedelta(seconds=seconds)


@contextmanager
def stopping() -> Iterator[asyncio.Event]:
    """Yield an event that Ctrl-C sets; a second Ctrl-C ends at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked() -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    try:
        loop.add_signal_handler(signal.SIGINT, asked)
    except (ValueError, RuntimeError):
        # Only the main thread hears of signals.
        yield stop
        return
    try:
        yield stop
    finally:
        loop.remove_signal_handler(signal.SIGINT)


async def work_off(
    ended: AsyncIterator[Ended], did: str, stop: asyncio.Event, *, as_json: bool
) -> int:
    """Print what becomes of each letter, and in the end of all; return the exit code.

    Args:
        ended: one letter after the other.
        did: what was done to those without an error.
        stop: set if somebody has interrupted.
        as_json: print one document when all is done.
    """
    report = _Document() if as_json else _Lines(did)
    done = failed = 0
    is_over = False
    try:
        async for line in ended:
            failed += line.error is not None
            done += line.error is None
            report.add(line)
        is_over = True
    finally:
        # Also of what ends in an error: what was done by then is done.
        if is_over or done or failed:
            report.end(did, done, failed, interrupted=stop.is_set())
    return Exit.INTERRUPTED if stop.is_set() else exits.of_batch(done, failed)


class _Document:
    def __init__(self) -> None:
        self._done: list[str] = []
        self._failed: list[dict[str, Any]] = []

    def add(self, line: Ended) -> None:
        if line.error is None:
            self._done.append(line.letter_id)
        else:
            self._failed.append({"id": line.letter_id, "error": line.error.to_dict()})

    def end(self, did: str, _: int, __: int, *, interrupted: bool) -> None:
        document = {did.replace(" ", "_"): self._done, "failed": self._failed}
        sys.stdout.write(json_text({**document, "interrupted": interrupted}) + "\n")
        sys.stdout.flush()


class _Lines:
    def __init__(self, did: str) -> None:
        self._did = did
        self._done = self._failed = 0
        self._drawn = 0.0
        self._status: Status | None = None
        if sys.stderr.isatty():
            self._status = Status(f"{did}: 0", console=Console(stderr=True, markup=False))
            self._status.start()

    def add(self, line: Ended) -> None:
        self._done += line.error is None
        self._failed += line.error is not None
        outcome = self._did if line.error is None else f"{line.error.code}: {line.error}"
        if self._status is None:
            self._say(line, outcome)
            return
        if sys.stdout.isatty():
            # Both are one terminal: the line of progress makes room.
            self._status.stop()
        self._say(line, outcome)
        if sys.stdout.isatty():
            self._status.start()
        now = time.monotonic()
        if now - self._drawn > _MOMENT:
            self._drawn = now
            self._status.update(f"{self._did}: {self._done}, failed: {self._failed}")

    def _say(self, line: Ended, outcome: str) -> None:
        say("  ".join(visible(part) for part in (line.letter_id, line.agent, outcome) if part))

    def end(self, did: str, done: int, failed: int, *, interrupted: bool) -> None:
        if self._status is not None:
            self._status.stop()
        if not done and not failed and not interrupted:
            say("no dead letters")
            return
        say(f"{did}: {done}, failed: {failed}")
        if interrupted:
            say("interrupted; the same command goes on with the rest")
