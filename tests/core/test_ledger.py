"""The pages of a ledger."""

from __future__ import annotations

import msgspec
import pytest

from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.core.ledger import PAGE_SIZE, PAGES, REMEMBERED, SHORT, Entry, Page, enter
from tests.core.sample import ALICE, BOB


def entries(number: int, start: int = 0) -> list[Entry]:
    return [Entry(ALICE, MessageId(f"m-{at}")) for at in range(start, start + number)]


def test_entries_go_on_the_open_page() -> None:
    """They are added in order, and what was on it stays."""
    first, number = enter(Page(agent=BOB, number=3), entries(2))
    second, more = enter(first, entries(1, start=2))
    assert (number, more) == (2, 1)
    assert second == Page(agent=BOB, number=3, entries=tuple(entries(3)))


@pytest.mark.parametrize("held", [0, SHORT - 1, SHORT, PAGE_SIZE])
def test_page_is_never_over_full(held: int) -> None:
    """What does not fit waits for the next page; a page that is no longer short is left alone."""
    page = Page(agent=BOB, number=3, entries=tuple(entries(held)))
    after, number = enter(page, entries(2 * PAGE_SIZE, start=held))
    room = PAGE_SIZE - held if held < SHORT else PAGE_SIZE
    assert (after.number, number) == (3 if held < SHORT else 4, room)
    assert len(after.entries) == PAGE_SIZE


def test_the_oldest_page_is_begun_afresh() -> None:
    """After the last page comes the first: whatever happens, at least 10,000 are remembered."""
    pages: dict[int, Page] = {}
    page, waiting = Page(agent=BOB, number=0), entries(3 * REMEMBERED)
    done = 0
    while done < len(waiting):
        page, number = enter(page, waiting[done : done + 7])
        pages[page.number] = page
        done += number
        known = {entry for one in pages.values() for entry in one.entries}
        assert known >= set(waiting[max(0, done - REMEMBERED) : done])
        if done > 2 * REMEMBERED:
            break
    assert len(pages) == PAGES
    assert REMEMBERED >= 10_000


def test_page_is_bounded() -> None:
    """With the longest names there are, a page fits into a NATS message."""
    longest = Entry(AgentId("🦉" * 255 + "@" + "🦉" * 255), MessageId("m" * 128))
    page = Page(agent=BOB, number=0, entries=(longest,) * PAGE_SIZE)
    assert len(msgspec.json.encode(page)) < 500_000


def test_page_is_readable() -> None:
    """It is JSON that says what was handled, by name."""
    page = Page(agent=BOB, number=0, entries=(Entry(ALICE, MessageId("m-1")),))
    text = '{"agent":"bob@here","number":0,"entries":[["alice@here","m-1",null,null]]}'
    assert msgspec.json.encode(page).decode() == text
