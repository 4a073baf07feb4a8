"""The oracle: what must be true after a scenario, whatever happened in it. Pure.

    accepted = handled + dead-lettered + pending      message by message
    effects doubled 0          a handler that keeps its effects by message id makes each once
    runs beyond the first      allowed only after a fault to the process that had the message
    answers, notices           at most once to whoever asked
    order                      per conversation and sender, unless the scenario breaks receivers
    nothing unexpected         nobody handles, buries or stores what nobody sent

What *doubled* means: each handler follows docs/guarantees.md and makes its effect by message id.
An effect is doubled if the same task was done under two ids, that is if the platform made two
messages of one. That a handler sees a message again is a duplicate, and counted by itself: at least
once means that it happens after a process was killed or frozen between the handler's end and the
acknowledgement, or when NATS was away while a handler's answers were to be committed. Anywhere
else it is an error.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise

import msgspec

from chaos.books import Books, Done, Kind

SHOWN = 5
LATEST_START = 1.0
"""Seconds after its deadline at which a handler may start on a machine that stands still."""
_DIE = (Kind.POISON, Kind.REJECT)


class Promises(msgspec.Struct, frozen=True, kw_only=True):
    """What a scenario takes from the usual promises, and documentation says so."""

    unordered: frozenset[str] = frozenset()
    """Senders whose order may break, by the first letters of their names."""
    drains: bool = True
    """False where it is part of the fault that somebody does not read his mail."""
    leaves: bool = False
    """True where what was handled may stay stored: the server could write that it is settled, and
    not that it is gone. Delivered again, it is a duplicate."""
    loses: bool = False
    """A control: it must lose something, or the rig does not bite."""
    max_reported: int = 0
    """Messages that may be gone, if the system says which."""


class Figures(msgspec.Struct, kw_only=True):
    """What is printed of a scenario."""

    accepted: int = 0
    handled: int = 0
    dead: int = 0
    pending: int = 0
    lost: int = 0
    reported: int = 0
    """Of the lost, those that the system itself reports."""
    doubled: int = 0
    duplicates: int = 0
    """Handlings beyond the first, of all messages."""
    disordered: int = 0
    unexpected: int = 0
    longest_gap: float = 0.0
    """Seconds without a handled message while the load was on."""
    back_after: float = 0.0
    """Seconds from the end of a fault until a message was handled, at the worst."""


class Verdict(msgspec.Struct, kw_only=True):
    """The figures, and in words whatever is wrong with them."""

    figures: Figures
    complaints: list[str] = []

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not self.complaints


def examine(books: Books, promises: Promises | None = None) -> Verdict:
    """Return what the books say."""
    promises = promises or Promises()
    examiner = _Examiner(books, promises)
    return examiner.verdict()


class _Examiner:
    def __init__(self, books: Books, promises: Promises) -> None:
        self._books = books
        self._promises = promises
        self._complaints: list[str] = []
        self._accepted = {key for key, sent in books.sent.items() if sent.accepted is not None}
        self._handled = {effect.message_id for effect in books.effects}
        self._dead = {letter.message_id for letter in books.dead}
        self._pending = {message.message_id for message in books.pending}

    def verdict(self) -> Verdict:
        figures = Figures(
            accepted=len(self._accepted),
            handled=len(self._handled & self._accepted),
            dead=len(self._dead & self._accepted),
            pending=len(self._pending & self._accepted),
            longest_gap=self._longest_gap(),
            back_after=max((after - at for at, after in self._books.heals), default=0.0),
        )
        figures.lost, figures.reported = self._lost()
        figures.doubled = self._doubled()
        figures.duplicates = self._duplicates()
        figures.disordered = self._disordered()
        figures.unexpected = self._unexpected()
        if self._promises.loses:
            # Whatever else is wrong then is no surprise.
            told = [] if figures.lost else ["nothing was lost: the rig does not bite"]
            return Verdict(figures=figures, complaints=told)
        self._check_senders()
        self._check_kinds()
        self._check_deposed()
        self._check_told()
        return Verdict(figures=figures, complaints=self._complaints)

    def _complain(self, what: str, messages: Iterable[str]) -> int:
        names = sorted(messages)
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            self._complaints.append(f"{len(names)} {what}: {', '.join(names[:SHOWN])}{more}")
        return len(names)

    def _lost(self) -> tuple[int, int]:
        gone = self._accepted - self._handled - self._dead - self._pending
        told = gone & self._books.reported.keys()
        if len(told) > self._promises.max_reported:
            self._complain("lost, if reported", told)
        self._complain("lost: accepted, and neither handled nor dead nor pending", gone - told)
        if self._promises.drains:
            self._complain(
                "still pending: the system did not resume",
                (
                    f"{one.message_id} in {one.stream}"
                    for one in self._books.pending
                    if not (self._promises.leaves and one.message_id in self._handled | self._dead)
                ),
            )
        return len(gone), len(told)

    def _doubled(self) -> int:
        ids: dict[tuple[str, str, int], list[str]] = defaultdict(list)
        for effect in self._books.effects:
            task = effect.task
            ids[task.sender, task.conversation, task.number].append(effect.message_id)
        return self._complain(
            "effects doubled", (found[0] for found in ids.values() if len(found) > 1)
        )

    def _duplicates(self) -> int:
        """Count handlings beyond the first; each needs a fault to one of the two processes."""
        by_message: dict[str, list[Done]] = defaultdict(list)
        for done in sorted(self._books.done, key=lambda one: one.at):
            by_message[done.message_id].append(done)
        harmed = {harm.instance for harm in self._books.harms}
        again = [
            (message, {earlier.instance, later.instance})
            for message, found in by_message.items()
            for earlier, later in pairwise(found)
        ]
        self._complain(
            "handled twice by processes to which nothing had happened",
            {message for message, instances in again if not instances & harmed} - self._retried(),
        )
        return len(again)

    def _retried(self) -> set[str]:
        """Return the requests whose answers could not be committed: they count as not handled."""
        sent = self._books.sent
        return {
            run.message_id
            for run in self._books.runs
            if run.attempt > 1
            and run.message_id in sent
            and sent[run.message_id].task.kind is Kind.ASK
        }

    def _disordered(self) -> int:
        wrong: dict[str, str] = {}
        newest: dict[tuple[str, str], int] = {}
        for effect in sorted(self._books.effects, key=lambda one: one.at):
            task = effect.task
            before = newest.get((task.sender, task.conversation), -1)
            if task.number < before:
                wrong[effect.message_id] = task.sender
            newest[task.sender, task.conversation] = max(before, task.number)
        may = tuple(self._promises.unordered)
        self._complain(
            "out of order in their conversation",
            (message for message, sender in wrong.items() if not sender.startswith(may)),
        )
        return len(wrong)

    def _unexpected(self) -> int:
        sent = self._books.sent
        # A refusal counts only if no earlier try can have come through.
        never = {key for key, one in sent.items() if one.refused and not one.unknown}
        seen = self._handled | self._dead | self._pending
        return self._complain("unexpected: nobody sent it", (seen - sent.keys()) | (seen & never))

    def _check_senders(self) -> None:
        sent = self._books.sent
        refused = {
            key: one
            for key, one in sent.items()
            if one.refused and one.task.kind is not Kind.DEADLINE
        }
        codes = Counter(one.refused for one in refused.values())
        told = ", ".join(f"{code} {count}" for code, count in codes.most_common())
        self._complain(f"refused for good ({told})", refused)
        self._complain(
            "neither accepted nor refused in the end",
            (key for key, one in sent.items() if one.accepted is None and not one.refused),
        )

    def _check_kinds(self) -> None:
        sent = self._books.sent
        kinds = {key: one.task.kind for key, one in sent.items()}
        self._complain(
            "handled although they must fail",
            (key for key in self._handled if kinds.get(key) in _DIE),
        )
        may_die = (*_DIE, Kind.DEADLINE)
        harmed = {harm.instance for harm in self._books.harms}
        hit = {run.message_id for run in self._books.runs if run.instance in harmed}
        self._complain(
            "dead letters of messages that can be handled",
            (
                f"{letter.message_id} ({letter.reason})"
                for letter in self._books.dead
                if kinds.get(letter.message_id, Kind.POISON) not in may_die
            ),
        )
        self._complain("handled, and a dead letter too", self._handled & self._dead - hit)
        letters = Counter(letter.message_id for letter in self._books.dead)
        self._complain(
            "more than one dead letter of a message",
            (key for key, count in letters.items() if count > 1),
        )
        self._complain(
            "handlers started after the deadline",
            {
                run.message_id
                for run in self._books.runs
                if run.late > LATEST_START and run.instance not in harmed
            },
        )

    def _check_deposed(self) -> None:
        deposed = self._books.deposed
        self._complain(
            "handlers started by who had lost his name",
            {
                f"{run.message_id} ({run.instance})"
                for run in self._books.runs
                if run.at > deposed.get(run.instance, run.at)
            },
        )

    def _check_told(self) -> None:
        answers = Counter(told.about for told in self._books.told if not told.notice)
        self._complain(
            "answered more than once", (key for key, count in answers.items() if count > 1)
        )
        notices = Counter(told.about for told in self._books.told if told.notice)
        self._complain(
            "dead letters of which the sender was told more than once",
            (key for key, count in notices.items() if count > 1),
        )
        self._complain("dead letters of which the sender was not told", self._dead - notices.keys())
        asked = {
            key
            for key, one in self._books.sent.items()
            if one.task.kind is Kind.ASK and key in self._handled
        }
        self._complain("requests that were handled and not answered", asked - answers.keys())

    def _longest_gap(self) -> float:
        begin, end = self._books.load
        moments = [one.at for one in self._books.done if begin <= one.at <= end]
        edges = [begin, *sorted(moments), end]
        return max(later - earlier for earlier, later in pairwise(edges))
