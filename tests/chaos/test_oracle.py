"""The oracle is fed wrong books, and sees it."""

from __future__ import annotations

import pytest

from chaos.books import Books, Dead, Done, Effect, Harm, Kind, Pending, Run, Sent, Task, Told
from chaos.oracle import Figures, Promises, examine


def task(number: int, kind: Kind = Kind.WORK, conversation: str = "talk") -> Task:
    return Task("alice", conversation, number, kind)


class Keeper:
    """Writes books as a run without any fault would leave them."""

    def __init__(self) -> None:
        self.books = Books(sent={}, load=(0.0, 100.0))

    def sent(self, one: Task) -> Sent:
        entry = Sent(task=one, receiver="bob", begun=0.0, accepted=1.0, errors=[])
        self.books.sent[one.message_id] = entry
        return entry

    def handled(self, one: Task, at: float, *, by: str = "bob.1", as_id: str = "") -> None:
        message_id = as_id or one.message_id
        self.books.effects.append(Effect(at, "bob", by, message_id, one))
        self.ran(one, at, by=by, as_id=as_id)

    def ran(self, one: Task, at: float, *, by: str = "bob.1", as_id: str = "") -> None:
        message_id = as_id or one.message_id
        self.books.runs.append(Run(at, "bob", by, message_id, 1))
        self.books.done.append(Done(at, "bob", by, message_id))

    def died(self, one: Task, *, told: bool = True) -> None:
        self.books.dead.append(Dead(f"m-{len(self.books.dead)}", one.message_id, "Timeout"))
        if told:
            self.books.told.append(Told(5.0, one.message_id, "failure", notice=True))


@pytest.fixture
def keeper() -> Keeper:
    """Return books of ten messages that were handled, one answered, one refused by its handler."""
    keeper = Keeper()
    for number in range(8):
        keeper.sent(task(number))
        keeper.handled(task(number), 10.0 + number)
    asked = task(8, Kind.ASK)
    keeper.sent(asked)
    keeper.handled(asked, 18.0)
    keeper.books.told.append(Told(19.0, asked.message_id, "inform", notice=False))
    poison = task(9, Kind.POISON)
    keeper.sent(poison)
    keeper.died(poison)
    return keeper


def complaints(keeper: Keeper, promises: Promises | None = None) -> str:
    return "\n".join(examine(keeper.books, promises).complaints)


def test_right_books_are_right(keeper: Keeper) -> None:
    """Nothing to complain of, and the figures are those of the books."""
    keeper.books.heals.append((20.0, 22.5))
    verdict = examine(keeper.books)
    assert verdict.good
    assert verdict.figures == Figures(
        accepted=10, handled=9, dead=1, longest_gap=82.0, back_after=2.5
    )


def test_a_lost_message(keeper: Keeper) -> None:
    """Accepted, and nowhere: by its name."""
    keeper.sent(task(11))
    assert "1 lost: accepted, and neither handled nor dead nor pending: talk.11" in (
        complaints(keeper)
    )
    assert examine(keeper.books).figures.lost == 1


def test_a_loss_that_one_more_makes_up_for(keeper: Keeper) -> None:
    """Sums would be right; the names are not."""
    keeper.sent(task(11))
    keeper.handled(task(12), 30.0)
    found = complaints(keeper)
    assert "lost" in found
    assert "unexpected: nobody sent it: talk.12" in found


def test_a_loss_that_is_reported_is_a_loss_where_none_is_allowed(keeper: Keeper) -> None:
    """That the system says so helps where a scenario expects it, and nowhere else."""
    keeper.sent(task(11))
    keeper.books.reported["talk.11"] = "gone"
    assert "lost, if reported: talk.11" in complaints(keeper)
    assert not complaints(keeper, Promises(max_reported=1))
    keeper.sent(task(12))
    assert "neither handled nor dead" in complaints(keeper, Promises(max_reported=5))


def test_a_report_of_what_is_not_lost(keeper: Keeper) -> None:
    """A range that is gone names what was settled in it, too; that is not counted as lost."""
    keeper.books.reported["talk.1"] = "gone"
    verdict = examine(keeper.books, Promises(max_reported=5))
    assert verdict.good
    assert (verdict.figures.lost, verdict.figures.reported) == (0, 0)


def test_what_is_pending_is_not_lost_but_did_not_resume(keeper: Keeper) -> None:
    """Unless nobody was to read it."""
    keeper.sent(task(11))
    keeper.books.pending.append(Pending("talk.11", "CAXTON_MAILBOX_1"))
    assert "still pending: the system did not resume: talk.11" in complaints(keeper)
    assert "lost" not in complaints(keeper)
    assert not complaints(keeper, Promises(drains=False))


def test_what_is_handled_and_stays_stored(keeper: Keeper) -> None:
    """Somebody has to look at it, unless the server's disk was full."""
    keeper.books.pending.append(Pending("talk.1", "CAXTON_MAILBOX_1"))
    assert "still pending: the system did not resume: talk.1 in CAXTON_MAIL" in complaints(keeper)
    assert not complaints(keeper, Promises(leaves=True))
    keeper.sent(task(11))
    keeper.books.pending.append(Pending("talk.11", "CAXTON_MAILBOX_1"))
    assert "did not resume: talk.11" in complaints(keeper, Promises(leaves=True))


def test_an_effect_under_two_ids(keeper: Keeper) -> None:
    """The platform has made two messages of one task."""
    keeper.handled(task(3), 40.0, as_id="talk.3-again")
    found = complaints(keeper)
    assert "1 effects doubled: talk.3" in found
    assert "unexpected: nobody sent it: talk.3-again" in found


def test_a_message_handled_again_for_no_reason(keeper: Keeper) -> None:
    """The process that handled it was never touched, so it had to remember."""
    keeper.ran(task(3), 40.0)
    assert "handled twice by processes to which nothing" in complaints(keeper)
    assert examine(keeper.books).figures.duplicates == 1


def test_a_request_whose_answer_could_not_be_committed(keeper: Keeper) -> None:
    """NATS was away when its handler had ended: it is tried again, and says so."""
    keeper.ran(task(8, Kind.ASK), 40.0)
    assert "handled twice by processes to which nothing" in complaints(keeper)
    keeper.books.runs.append(Run(40.0, "bob", "bob.1", "talk.8", 2))
    assert not complaints(keeper)
    keeper.ran(task(3), 40.0)
    keeper.books.runs.append(Run(40.0, "bob", "bob.1", "talk.3", 2))
    assert "nothing had happened: talk.3" in complaints(keeper)


def test_a_message_handled_again_after_a_crash(keeper: Keeper) -> None:
    """At least once: it is counted, and is no error."""
    keeper.ran(task(3), 40.0, by="bob.2")
    keeper.books.harms.append(Harm("bob.1", 35.0))
    assert not complaints(keeper)
    assert examine(keeper.books).figures.duplicates == 1


def test_an_order_that_is_broken(keeper: Keeper) -> None:
    """A conversation goes on with 11, and then comes 10."""
    for number, at in ((11, 50.0), (10, 51.0)):
        keeper.sent(task(number))
        keeper.handled(task(number), at)
    assert "out of order in their conversation: talk.10" in complaints(keeper)
    assert not complaints(keeper, Promises(unordered=frozenset({"ali"})))
    assert examine(keeper.books, Promises(unordered=frozenset({"ali"}))).figures.disordered == 1


def test_what_was_refused_and_happened_all_the_same(keeper: Keeper) -> None:
    """A sender that was told no, clearly, must not find it done."""
    refused = keeper.sent(task(11))
    refused.accepted, refused.refused = None, "InvalidEnvelope"
    keeper.handled(task(11), 30.0)
    assert "unexpected: nobody sent it: talk.11" in complaints(keeper)
    refused.unknown = 1
    assert "unexpected" not in complaints(keeper), "an earlier try may have come through"


def test_what_was_refused_for_no_reason(keeper: Keeper) -> None:
    """All messages of the load are good ones."""
    refused = keeper.sent(task(11))
    refused.accepted, refused.refused = None, "InvalidEnvelope"
    assert "refused for good (InvalidEnvelope 1): talk.11" in complaints(keeper)


def test_what_stays_unknown(keeper: Keeper) -> None:
    """Who tries long enough must be told."""
    keeper.sent(task(11)).accepted = None
    assert "neither accepted nor refused in the end: talk.11" in complaints(keeper)


def test_dead_letters(keeper: Keeper) -> None:
    """Of what could be handled, of what was handled, and twice of the same."""
    keeper.sent(task(11))
    keeper.died(task(11))
    keeper.died(task(9, Kind.POISON), told=False)
    keeper.died(task(1))
    found = complaints(keeper)
    assert "dead letters of messages that can be handled: talk.1 (Timeout), talk.11" in found
    assert "more than one dead letter of a message: talk.9" in found
    assert "handled, and a dead letter too: talk.1" in found


def test_senders_who_are_told_too_little_or_too_much(keeper: Keeper) -> None:
    """One answer to a request, one notice of a dead letter."""
    keeper.books.told.append(Told(20.0, "talk.8", "inform", notice=False))
    keeper.books.told.append(Told(20.0, "talk.9", "failure", notice=True))
    found = complaints(keeper)
    assert "answered more than once: talk.8" in found
    assert "told more than once: talk.9" in found
    keeper.books.told.clear()
    found = complaints(keeper)
    assert "requests that were handled and not answered: talk.8" in found
    assert "the sender was not told: talk.9" in found


def test_a_handler_that_starts_after_the_deadline(keeper: Keeper) -> None:
    """Late by more than a machine may stand still."""
    late = task(11, Kind.DEADLINE)
    keeper.sent(late)
    keeper.handled(late, 30.0)
    keeper.books.runs.append(Run(30.0, "bob", "bob.1", late.message_id, 1, late=3.0))
    assert "handlers started after the deadline: talk.11" in complaints(keeper)


def test_who_has_lost_his_name_and_goes_on(keeper: Keeper) -> None:
    """A process that was away for too long has a successor, and must leave the mail to him."""
    keeper.books.deposed["bob.1"] = 17.5
    assert "started by who had lost his name: talk.8 (bob.1)" in complaints(keeper)
    keeper.books.deposed["bob.1"] = 20.0
    assert not complaints(keeper)


def test_what_must_fail_and_does_not(keeper: Keeper) -> None:
    """The load's own poison is handled: then the load is not what it says."""
    poison = task(11, Kind.POISON)
    keeper.sent(poison)
    keeper.handled(poison, 30.0)
    assert "handled although they must fail: talk.11" in complaints(keeper)


def test_a_control_that_loses_nothing(keeper: Keeper) -> None:
    """Then the rig would not notice a loss either."""
    assert "does not bite" in complaints(keeper, Promises(loses=True))
    keeper.sent(task(11))
    assert not complaints(keeper, Promises(loses=True))
