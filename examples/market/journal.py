"""Journals: what each process has said and seen, one JSON line each, in a file of its own.

A line is in the file as soon as it is written, so what a process has noted outlives its SIGKILL.
From the journals the director makes the picture on the screen, and in the end the books.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from caxton_nats import CaxtonError, Envelope, Receipt
from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.core.staged_receipt import StagedReceipt
from caxton_nats.engine.platform import Platform
from caxton_nats.ports import Door, Submission
from caxton_nats.telemetry import Event


class Started(msgspec.Struct, frozen=True, tag="started"):
    """A process is ready."""

    at: float
    name: str
    pid: int


class Said(msgspec.Struct, frozen=True, tag="said"):
    """An agent has sent a message and holds the receipt for it."""

    at: float
    sender: str
    receivers: tuple[str, ...]
    performative: str
    content: msgspec.Raw
    stored: tuple[Origin, ...]
    """From the receipt: where the message lies, for each receiver."""


class Happened(msgspec.Struct, frozen=True, tag="happened"):
    """The engine in this process has told its observer of something."""

    at: float
    event: Event


Entry = Started | Said | Happened

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


def now() -> float:
    """Return the time on a clock that all processes of this machine share."""
    return time.monotonic()


class Journal:
    """One process's own journal; it is only ever added to."""

    def __init__(self, path: Path) -> None:
        # Not a buffered file: a killed process would take its buffer along.
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, entry: Entry) -> None:
        """Add a line."""
        os.write(self._file, _encoder.encode(entry) + b"\n")

    def started(self, name: str) -> None:
        """Note that this process is ready."""
        self.write(Started(now(), name, os.getpid()))

    def happened(self, event: Event) -> None:
        """Note an event; the observer of `caxton_nats.connect` and `caxton_nats.serve`."""
        self.write(Happened(now(), event))


class JournalingDoor:
    """A door that notes what goes out through another one."""

    def __init__(self, door: Door, journal: Journal) -> None:
        self._door = door
        self._journal = journal

    async def send(self, batch: Sequence[Submission]) -> list[Receipt | CaxtonError]:
        """Send the batch, and note each message that was stored."""
        at = now()
        results = await self._door.send(batch)
        for submission, result in zip(batch, results, strict=True):
            envelope = submission.envelope
            if isinstance(result, Receipt) and envelope is not None:
                self._note(at, submission.sender, envelope, result)
        return results

    async def receipts(self, sender: AgentId, message_id: MessageId) -> list[StagedReceipt]:
        """Ask the other door."""
        return await self._door.receipts(sender, message_id)

    def _note(self, at: float, sender: str, envelope: Envelope, receipt: Receipt) -> None:
        stored = [outcome for outcome in receipt.outcomes if outcome.error is None]
        self._journal.write(
            Said(
                at,
                sender,
                tuple(outcome.receiver for outcome in stored),
                envelope.performative,
                envelope.content if bytes(envelope.content) else msgspec.Raw(b"null"),
                tuple(Origin(outcome.stream, outcome.sequence) for outcome in stored),
            )
        )


def journaled(platform: Platform, journal: Journal) -> Platform:
    """Return the platform with a door that notes what its agents say."""
    return dataclasses.replace(platform, door=JournalingDoor(platform.door, journal))


class Reader:
    """Reads all journals of a folder, while they are being written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}

    def new_entries(self) -> list[Entry]:
        """Return what was added since the last call, in the order in which it happened."""
        found: list[Entry] = []
        for path in sorted(self._folder.glob("*.jsonl")):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                data = file.read()
            # The last line may be on its way into the file.
            whole = data[: data.rfind(b"\n") + 1]
            self._read[path] = self._read.get(path, 0) + len(whole)
            found += [_decoder.decode(line) for line in whole.splitlines()]
        return sorted(found, key=lambda entry: entry.at)
