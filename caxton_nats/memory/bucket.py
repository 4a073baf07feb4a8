"""Records under compare-and-set, in memory."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from caxton_nats.core.errors import RevisionConflict

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Bucket(Generic[_Key, _Value]):
    """Records that change by compare-and-set; revisions count all writes of the bucket."""

    def __init__(self, what: str) -> None:
        self.records: dict[_Key, tuple[_Value, int]] = {}
        self._what = what
        self.last = 0

    def save(self, key: _Key, record: _Value, revision: int | None) -> int:
        """Write the record if its revision is still this (None: there is none yet)."""
        stored = self.records[key][1] if key in self.records else None
        if stored != revision:
            raise RevisionConflict(
                f"somebody else wrote the {self._what} first",
                field="revision",
                limit=stored,
                value=revision,
                hint="read it again and decide again",
            )
        self.last += 1
        self.records[key] = (record, self.last)
        return self.last

    def remove(self, key: _Key) -> int:
        """Remove the record; return the revision of that, 0 if there was none."""
        if self.records.pop(key, None) is None:
            return 0
        self.last += 1
        return self.last
