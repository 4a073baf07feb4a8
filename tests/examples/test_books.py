"""The demo's books: what adds up, and every way in which it may not."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from caxton_nats.core.dead_letter import DeadLetter, Origin, Stage
from caxton_nats.core.failure import FailureReason
from caxton_nats.core.identifiers import AgentId
from caxton_nats.telemetry import Action, Event
from examples.market.books import Books, close
from examples.market.journal import Entry, Happened, Said

BOB = AgentId("bob@market")


def at(sequence: int) -> Origin:
    return Origin("MAILBOX", sequence)


def noted(action: Action, sequence: int) -> Happened:
    event = Event(action=action, agent=BOB, origin=at(sequence), sender=AgentId("ann@market"))
    return Happened(0.0, event)


def receipt(*sequences: int) -> Said:
    origins = tuple(map(at, sequences))
    return Said(0.0, "ann@market", (BOB,) * len(origins), "inform", msgspec.Raw(b"null"), origins)


def dead(sequence: int, stage: Stage = Stage.DELIVER) -> DeadLetter:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return DeadLetter(
        id=at(sequence).key,
        reason=FailureReason.TIMEOUT,
        stage=stage,
        agent=BOB,
        attempts=1,
        first_at=moment,
        last_at=moment,
        last_error={},
        origin=at(sequence),
        subject="",
    )


# Four messages: 1 is handled, 2 is a dead letter, 3 was redriven as 4, and 4 waits.
JOURNALS: list[Entry] = [
    receipt(1, 2, 3),
    *(noted(Action.ROUTED, sequence) for sequence in (1, 2, 3, 4)),
    noted(Action.DELIVERED, 1),
    noted(Action.HANDLED, 1),
    noted(Action.DEAD_LETTERED, 3),
    noted(Action.REDRIVEN, 3),
]


def closed(
    entries: list[Entry],
    *,
    letters: tuple[DeadLetter, ...] = (dead(2),),
    pending: int = 1,
    stored: int = 4,
) -> Books:
    return close(entries, letters, {BOB: pending}, stored)


def test_a_true_book_adds_up() -> None:
    books = closed(JOURNALS)
    assert books.faults == ()
    (line,) = books.lines
    assert (line.accepted, line.handled, line.dead, line.redriven, line.pending) == (4, 1, 1, 1, 1)
    assert line.adds_up
    assert (books.accepted, books.receipts, books.stored) == (4, 3, 4)


def test_who_handles_a_message_twice_has_handled_one() -> None:
    """A crash between handling and settling makes a second line in the journal."""
    books = closed([*JOURNALS, noted(Action.DELIVERED, 1), noted(Action.HANDLED, 1)])
    assert books.faults == ()
    assert books.lines[0].handled == 1
    assert books.lines[0].seen_again == 1


def test_letters_that_never_reached_a_mailbox_are_not_in_the_books() -> None:
    assert closed(JOURNALS, letters=(dead(2), dead(9, Stage.ROUTE))).faults == ()


def test_a_lost_message_is_named() -> None:
    (fault,) = closed(JOURNALS, pending=0).faults
    assert "MAILBOX-4" in fault
    assert "ann@market" in fault


def test_a_missing_line_of_a_handler_is_noticed() -> None:
    entries = [one for one in JOURNALS if one != noted(Action.HANDLED, 1)]
    (fault,) = closed(entries).faults
    assert "MAILBOX-1" in fault


def test_a_falsified_line_of_a_handler_does_not_hide_a_lost_message() -> None:
    """The numbers agree again, but the messages do not."""
    books = closed([*JOURNALS, noted(Action.HANDLED, 9)], pending=0)
    assert books.lines[0].adds_up
    assert any("MAILBOX-9 is handled, and was never accepted" in one for one in books.faults)
    assert any("MAILBOX-4" in one for one in books.faults)


def test_a_message_has_one_end() -> None:
    faults = closed([*JOURNALS, noted(Action.HANDLED, 2)]).faults
    assert f"{BOB}: MAILBOX-2 is handled and a dead letter" in faults


def test_a_receipt_without_a_stored_message_is_noticed() -> None:
    (fault,) = closed([*JOURNALS, receipt(7)]).faults
    assert "the receipt for MAILBOX-7 has no PubAck behind it" in fault


@pytest.mark.parametrize("stored", [3, 5])
def test_the_servers_own_count_must_agree(stored: int) -> None:
    (fault,) = closed(JOURNALS, stored=stored).faults
    assert f"has stored {stored} messages, the journals know 4" in fault
