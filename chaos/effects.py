"""A handler's own books, as docs/effects.md tells users to keep them: effects by message id.

An effect is a file whose name is made of the message id. It is written aside and linked into its
place: there is either the whole effect or none, and never two, however many processes of one agent
are alive, whoever of them was frozen or killed on the way, and without a lock that a frozen process
could hold. That a handler began and ended is added to a journal, one write each.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import msgspec

from chaos.books import Done, Effect, Run

Entry = Run | Done
_entries: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


def now() -> float:
    """Return the time on a clock that all processes of this machine share."""
    return time.monotonic()


class Journal:
    """The books of one process."""

    def __init__(self, folder: Path, instance: str) -> None:
        self._effects = folder / "effects"
        self._aside = folder / "aside"
        for place in (self._effects, self._aside, folder / "journals"):
            place.mkdir(parents=True, exist_ok=True)
        self._aside /= instance
        # Not a buffered file: a killed process would take its buffer along.
        path = folder / "journals" / f"{instance}.jsonl"
        self._journal = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, entry: Entry) -> None:
        """Add a line to the journal."""
        os.write(self._journal, msgspec.json.encode(entry) + b"\n")

    def effect(self, effect: Effect) -> bool:
        """Make the effect; False if this message has had its effect already."""
        name = hashlib.sha256(effect.message_id.encode()).hexdigest()[:32]
        self._aside.write_bytes(msgspec.json.encode(effect))
        try:
            (self._effects / name).hardlink_to(self._aside)
        except FileExistsError:
            return False
        finally:
            # The next effect must be a file of its own.
            self._aside.unlink()
        return True


def read_effects(folder: Path) -> list[Effect]:
    """Return all effects of all processes."""
    files = (folder / "effects").glob("*")
    return [msgspec.json.decode(file.read_bytes(), type=Effect) for file in files]


def read_journals(folder: Path) -> tuple[list[Run], list[Done]]:
    """Return what handlers of all processes began and ended."""
    entries = [
        _entries.decode(line)
        for file in (folder / "journals").glob("*.jsonl")
        for line in file.read_bytes().splitlines()
    ]
    runs = [one for one in entries if isinstance(one, Run)]
    return runs, [one for one in entries if isinstance(one, Done)]


def last_effect(folder: Path) -> float:
    """Return when the newest effect was made, on the wall clock; 0 if there is none."""
    place = folder / "effects"
    return place.stat().st_mtime if place.exists() and any(place.iterdir()) else 0.0
