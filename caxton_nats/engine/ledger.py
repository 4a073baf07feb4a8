"""One agent's ledger: what it has handled, in memory and on record.

Entries that are made at the same moment go into one write. A write that failed may have been made
all the same, and another process may write the same ledger for a moment (one that was frozen, and
does not know yet that it was replaced): then the pages are read again, and nobody's entries are
lost.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import RevisionConflict
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.ledger import REMEMBERED, Entry, Page, enter
from caxton_nats.ports import Delivery, Ledgers, Ports

_PATIENCE = 5.0
"""Seconds that the last write may take when the mailbox closes."""
_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Recent(OrderedDict[_Key, _Value], Generic[_Key, _Value]):
    """A dict that forgets the oldest when it has too many."""

    def __setitem__(self, key: _Key, value: _Value) -> None:
        super().__setitem__(key, value)
        self.forget()

    def forget(self) -> None:
        """Forget what is too much."""
        while len(self) > REMEMBERED:
            self.popitem(last=False)


class Ledger:
    """What one agent has handled."""

    def __init__(self, agent: AgentId, ledgers: Ledgers) -> None:
        """Take whose ledger, and where it is kept."""
        self._agent = agent
        self._ledgers = ledgers
        self._page = Page(agent=agent, number=0)
        self._revisions: dict[int, int] = {}
        self._is_sure = False
        """Page and revisions are what is stored."""
        self._is_open = False
        self._opening = asyncio.Lock()
        self._recorded: Recent[Entry, None] = Recent()
        self._unsettled: Recent[Entry, bool] = Recent()
        """Handled by this process and not settled yet, and whether it is on record."""
        self._coming: list[Entry] = []
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        """Learn what is on record, unless that has happened.

        Raises:
            CaxtonError: it could not be read; nothing may be handled yet.
        """
        async with self._opening:
            if not self._is_open:
                await self._read()
            self._is_open = True

    def __contains__(self, entry: object) -> bool:
        """Return whether the message was handled, on record or not."""
        return entry in self._recorded or entry in self._unsettled

    def note(self, entry: Entry) -> None:
        """The message was handled: this process knows it from now on; `enter` makes it certain."""
        if entry not in self._recorded:
            self._unsettled.setdefault(entry, False)

    async def enter(self, *entries: Entry) -> None:
        """Note that the messages were handled; returns when that is on record.

        Raises:
            TransportError: that is not certain. This process knows it all the same.
        """
        new = [one for one in entries if one not in self._recorded and not self._unsettled.get(one)]
        for entry in new:
            self._unsettled.setdefault(entry, False)
        self._coming += new
        async with self._writing:
            # Whoever comes first writes for all who have come meanwhile.
            rest = [one for one in new if one not in self._recorded]
            coming, self._coming = self._coming, []
            if rest:
                await self._write_all([*dict.fromkeys((*coming, *rest))])

    async def _write_all(self, entries: list[Entry]) -> None:
        while entries:
            number = await self._write(entries)
            entries = entries[number:]

    def settled(self, entry: Entry) -> None:
        """The message is settled: it does not come again, but a copy of it may."""
        self._unsettled.pop(entry, None)

    async def close(self) -> None:
        """Return when nothing is being written any more, or that takes too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE), self._writing:
                pass

    def _are_on_record(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            OrderedDict.__setitem__(self._recorded, entry, None)
            if entry in self._unsettled:
                OrderedDict.__setitem__(self._unsettled, entry, True)
        self._recorded.forget()

    async def _write(self, entries: list[Entry]) -> int:
        """Write as many as go on one page; return how many."""
        try:
            return await self._write_once(entries)
        except RevisionConflict:
            # The page was forgotten for its age, or another process has written it.
            return await self._write_once(entries)

    async def _write_once(self, entries: list[Entry]) -> int:
        if not self._is_sure:
            await self._read()
        page, number = enter(self._page, entries)
        self._is_sure = False
        revision = self._revisions.get(page.number)
        self._revisions[page.number] = await self._ledgers.save(page, revision=revision)
        self._is_sure, self._page = True, page
        self._are_on_record(entries[:number])
        return number

    async def _read(self) -> None:
        pages = await self._ledgers.pages(self._agent)
        self._revisions = {page.number: revision for page, revision in pages}
        self._page = pages[-1][0] if pages else Page(agent=self._agent, number=0)
        for page, _ in pages:
            for entry in page.entries:
                self._recorded[entry] = None
        self._is_sure = True


def entry_of(envelope: Envelope | None, delivery: Delivery) -> Entry:
    """Return what names the message in a ledger."""
    if envelope is None or not envelope.message_id:
        return Entry(origin=delivery.origin, stored_at=delivery.stored_at)
    return Entry(envelope.sender, envelope.message_id)


async def is_on_record(ports: Ports, agent: AgentId, entry: Entry) -> bool:
    """Return whether an agent that is not there has handled the message.

    Raises:
        CaxtonError: its ledger could not be read.
    """
    return any(entry in page.entries for page, _ in await ports.ledgers.pages(agent))
