"""What an agent has handled, so that no copy of it is handled again.

A ledger has a fixed number of pages. Entries go into the open page, which is written anew each
time while it is short; then the oldest page is begun afresh. So a ledger has bounds, is read with a
few messages however long it was kept, and nothing of it is ever removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.identifiers import AgentId, MessageId

PAGE_SIZE = 200
"""Entries of a page at most: with the longest names it still fits into a message."""
SHORT = 64
"""A page with fewer entries is written anew with the next ones: each write carries all of them."""
PAGES = 160
REMEMBERED = SHORT * (PAGES - 1)
"""So many are always remembered: each page but the newest has as many, if no more."""


class Entry(NamedTuple):
    """One message: by sender and message id, or by its place if it has no id.

    A tuple, for it is looked up many times: in JSON it is an array.
    """

    sender: AgentId = AgentId("")
    message_id: MessageId = MessageId("")
    origin: Origin | None = None
    """Only of a message without an id, which came past the router: no two of these are the same."""
    stored_at: datetime | None = None
    """The same: a stream that was removed and made again counts from one again."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some of what one agent has handled, in the order in which it was."""

    agent: AgentId
    number: int
    entries: tuple[Entry, ...] = ()


def enter(page: Page, entries: Sequence[Entry]) -> tuple[Page, int]:
    """Return the page to write next, and how many of the entries are on it."""
    if len(page.entries) >= SHORT:
        page = Page(agent=page.agent, number=(page.number + 1) % PAGES)
    fitting = tuple(entries[: PAGE_SIZE - len(page.entries)])
    return msgspec.structs.replace(page, entries=page.entries + fitting), len(fitting)
