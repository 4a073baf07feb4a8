"""The conservation law, checked: accepted = handled + dead letters + redriven + pending.

Each column comes from a source of its own, and all of them name messages by where the server has
stored them, so that the books tell *which* message is missing, and two mistakes cannot cancel out:

    accepted      the server's PubAcks, noted by whoever published into a mailbox
    handled       each agent's own journal; a message that was handled twice counts once
    dead letters  the records that lie in the stream CAXTON_DLQ
    redriven      dead letters that an operator sent back: stored, hence accepted, a second time
    pending       what the server counts in each mailbox

Nothing here does any I/O.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from caxton_nats.core.dead_letter import DeadLetter, Origin, Stage
from caxton_nats.telemetry import Action, Event
from examples.market.journal import Entry, Happened, Said


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One agent's line."""

    agent: str
    accepted: int
    handled: int
    dead: int
    redriven: int
    pending: int
    seen_again: int
    """Messages that reached a handler more than once: after a failure, or after a crash."""

    @property
    def adds_up(self) -> bool:
        """Whether nothing is missing and nothing is too many."""
        return self.accepted == self.handled + self.dead + self.redriven + self.pending


class Books(msgspec.Struct, frozen=True):
    """All lines, and in words whatever is wrong with them."""

    lines: tuple[Line, ...]
    faults: tuple[str, ...]
    receipts: int
    """Messages for which a sender holds a receipt; the others are notices and redriven ones."""
    stored: int
    """Messages that the server says it ever stored in mailboxes."""

    @property
    def accepted(self) -> int:
        """Return the sum of what all agents' mailboxes accepted."""
        return sum(line.accepted for line in self.lines)


def close(
    entries: Iterable[Entry],
    letters: Iterable[DeadLetter],
    pending: Mapping[str, int],
    stored: int,
) -> Books:
    """Return the books.

    Args:
        entries: of all journals.
        letters: what lies in CAXTON_DLQ.
        pending: messages per mailbox, by the server's count.
        stored: messages that all mailboxes ever stored, by the server's count.
    """
    entries = list(entries)
    events = [entry.event for entry in entries if isinstance(entry, Happened)]
    receipts = {
        origin: receiver
        for entry in entries
        if isinstance(entry, Said)
        for origin, receiver in zip(entry.stored, entry.receivers, strict=True)
    }
    mail = _Mail(events, letters, pending)
    lines = tuple(mail.line(agent) for agent in mail.agents())
    faults = [fault for line in lines for fault in mail.faults(line)]
    accepted = sum(line.accepted for line in lines)
    if accepted != stored:
        faults.append(f"the server has stored {stored} messages, the journals know {accepted}")
    faults += [
        f"{receiver}: the receipt for {origin.key} has no PubAck behind it"
        for origin, receiver in receipts.items()
        if origin not in mail.accepted[receiver]
    ]
    return Books(lines, tuple(faults), len(receipts), stored)


class _Mail:
    """Per agent, by the place where it was stored: what became of each message."""

    def __init__(
        self, events: Sequence[Event], letters: Iterable[DeadLetter], pending: Mapping[str, int]
    ) -> None:
        self.accepted = _origins(events, Action.ROUTED)
        self.handled = _origins(events, Action.HANDLED)
        self.redriven = _origins(events, Action.REDRIVEN)
        self.pending = pending
        self.dead: defaultdict[str, set[Origin]] = defaultdict(set)
        for letter in letters:
            if letter.stage is Stage.DELIVER:
                self.dead[letter.agent].add(letter.origin)
        self._deliveries = Counter(
            (event.agent, event.origin) for event in events if event.action is Action.DELIVERED
        )
        self._words = {
            event.origin: f"{event.performative or 'message'} from {event.sender}"
            for event in events
            if event.action is Action.ROUTED
        }

    def agents(self) -> list[str]:
        """Return everybody who is in the books at all."""
        known = (self.accepted, self.handled, self.dead, self.redriven, self.pending)
        return sorted({agent for some in known for agent in some})

    def line(self, agent: str) -> Line:
        """Return the agent's numbers."""
        again = [n for (whose, _), n in self._deliveries.items() if whose == agent and n > 1]
        return Line(
            agent=agent,
            accepted=len(self.accepted[agent]),
            handled=len(self.handled[agent]),
            dead=len(self.dead[agent]),
            redriven=len(self.redriven[agent]),
            pending=self.pending.get(agent, 0),
            seen_again=len(again),
        )

    def faults(self, line: Line) -> list[str]:
        """Return what is wrong with the agent's messages, in words."""
        agent = line.agent
        ends = [
            ("handled", self.handled[agent]),
            ("a dead letter", self.dead[agent]),
            ("redriven", self.redriven[agent]),
        ]
        ended: Counter[Origin] = Counter(origin for _, origins in ends for origin in origins)
        missing = self.accepted[agent] - ended.keys()
        faults = []
        if len(missing) != line.pending:
            names = ", ".join(
                f"{one.key} ({self._words[one]})" for one in sorted(missing, key=_key)
            )
            faults.append(
                f"{agent}: accepted without an end: {len(missing)}, pending: {line.pending}"
                f"{': ' if names else ''}{names}"
            )
        for origin in sorted(ended, key=_key):
            what = " and ".join(end for end, origins in ends if origin in origins)
            if origin not in self.accepted[agent]:
                faults.append(f"{agent}: {origin.key} is {what}, and was never accepted")
            if ended[origin] > 1:
                faults.append(f"{agent}: {origin.key} is {what}")
        return faults


def _origins(events: Sequence[Event], action: Action) -> defaultdict[str, set[Origin]]:
    found: defaultdict[str, set[Origin]] = defaultdict(set)
    for event in events:
        if event.action is action and event.origin is not None:
            found[event.agent].add(event.origin)
    return found


def _key(origin: Origin) -> tuple[str, int]:
    return origin.stream, origin.sequence
