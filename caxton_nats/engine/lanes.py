"""The order in which a mailbox hands out what it has fetched. Pure bookkeeping, no I/O.

A *lane* holds the deliveries of one conversation, first in first out. Only its head is handed out.
A head that failed goes back to JetStream for its delay and leaves the lane *blocked*: the later
messages of the conversation wait until it has come again and is settled, while other lanes go on.
Among lanes that are ready, the higher priority goes first, then the older arrival.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from datetime import datetime
from itertools import count

import msgspec

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.envelope import Envelope, Priority
from caxton_nats.ports import Delivery


class Held(msgspec.Struct, frozen=True):
    """A delivery in the hands of this mailbox, decoded if it could be."""

    delivery: Delivery
    envelope: Envelope | None
    alone: bool = False
    """It has a lane of its own, whatever its conversation."""

    @property
    def key(self) -> str:
        """Return the lane's name: the conversation, or the message itself."""
        if self.alone:
            return f"\0{self.delivery.origin.key}"
        if self.envelope is None:
            return self.delivery.origin.key
        return self.envelope.conversation_id or f"\0{self.envelope.message_id}"

    @property
    def priority(self) -> Priority:
        """Return the message's priority; unreadable ones are Normal."""
        return self.envelope.priority if self.envelope else Priority.NORMAL

    def is_late(self, now: datetime) -> bool:
        """Return whether its deadline has passed."""
        until = self.envelope.reply_by if self.envelope else None
        return until is not None and until <= now


class _Lane:
    def __init__(self) -> None:
        self.waiting: deque[tuple[int, Held]] = deque()
        """Each with its number of arrival."""
        self.running: Held | None = None
        self.blocked_by: Origin | None = None
        self.due: datetime | None = None
        self.missing: dict[Origin, datetime] = {}
        """What else is in other hands, and comes before all that is newer; oldest first."""

    @property
    def is_ready(self) -> bool:
        """Whether its head may be handed out."""
        return bool(self.waiting) and self.running is None and self.blocked_by is None

    @property
    def is_idle(self) -> bool:
        """Whether it may be forgotten."""
        return (
            not self.waiting
            and not self.missing
            and self.running is None
            and self.blocked_by is None
        )

    def go_on(self) -> None:
        """Wait for what is missing, unless something older is here."""
        if not self.missing or self.blocked_by is not None or self.running is not None:
            return
        origin = next(iter(self.missing))
        if not self.waiting or self.waiting[0][1].delivery.origin.sequence > origin.sequence:
            self.blocked_by, self.due = origin, self.missing.pop(origin)


class Lanes:
    """All deliveries in hand, by lane."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        self._ready: list[tuple[int, int, str]] = []
        self._arrival = count()
        self._in_hand: dict[Origin, Held] = {}
        self._by_subject: Counter[str] = Counter()
        self.bytes = 0
        """Of all that is in hand."""

    def number(self, subject: str) -> int:
        """Return how many deliveries in hand came by this subject."""
        return self._by_subject[subject]

    def __len__(self) -> int:
        """Return how many deliveries are running or waiting."""
        return len(self._in_hand)

    def put(self, held: Held) -> None:
        """Take a delivery; one that its lane was blocked by goes to the front.

        One that is in hand already (delivered again because nobody kept it in time) is dropped:
        settling the first settles the stored message.
        """
        origin = held.delivery.origin
        if origin in self._in_hand:
            return
        self._hold(held)
        lane = self._lanes.setdefault(held.key, _Lane())
        if lane.blocked_by == origin:
            lane.waiting.appendleft((next(self._arrival), held))
            lane.blocked_by = lane.due = None
            self._offer(held.key, lane)
            return
        if lane.missing.pop(origin, None) is not None:
            newer = sum(one.delivery.origin.sequence > origin.sequence for _, one in lane.waiting)
            at = len(lane.waiting) - newer
            lane.waiting.insert(at, (next(self._arrival), held))
            if at == 0:
                self._offer(held.key, lane)
            return
        lane.waiting.append((next(self._arrival), held))
        if len(lane.waiting) == 1:
            self._offer(held.key, lane)

    def take(self) -> Held | None:
        """Hand out the next delivery, or None if nothing is ready."""
        while self._ready:
            _, _, key = heapq.heappop(self._ready)
            lane = self._lanes.get(key)
            # What lined the lane up may have been handed out as expired since.
            if lane is not None and lane.is_ready:
                _, lane.running = lane.waiting.popleft()
                return lane.running
        return None

    def take_expired(self, now: datetime) -> list[Held]:
        """Hand out what has waited past its deadline, past all others: no handler will see it."""
        found: list[Held] = []
        for key, lane in list(self._lanes.items()):
            late = [held for _, held in lane.waiting if held.is_late(now)]
            if not late:
                continue
            lane.waiting = deque(one for one in lane.waiting if not one[1].is_late(now))
            found += [self._set_apart(held) for held in late]
            lane.go_on()
            if lane.is_idle:
                del self._lanes[key]
        return found

    def take_at_once(self, held: Held) -> Held | None:
        """Hand the delivery out past all others, its own conversation included.

        None if it is in hand already.
        """
        if held.delivery.origin in self._in_hand:
            return None
        self.unblock(held.delivery.origin)
        return self._set_apart(held)

    def done(self, held: Held) -> None:
        """The delivery is settled; the lane goes on."""
        self._go_on(held.key, self._let_go(held))

    def block(self, held: Held, due: datetime) -> None:
        """The delivery went back and comes again at about ``due``; its lane waits for it.

        What was handed out past all others has no lane to hold up.
        """
        if held.alone:
            self.done(held)
            return
        lane = self._let_go(held)
        lane.blocked_by = held.delivery.origin
        lane.due = due

    def expect(self, held: Held, due: datetime) -> None:
        """Something of this lane is in other hands, and comes at about ``due``: wait for it.

        What is expected first comes first. No order, no lane: a message without a conversation
        holds up nobody.
        """
        if held.envelope is None or not held.envelope.conversation_id:
            return
        lane = self._lanes.setdefault(held.key, _Lane())
        if lane.is_idle:
            lane.blocked_by, lane.due = held.delivery.origin, due
        elif lane.blocked_by is not None:
            lane.missing[held.delivery.origin] = due

    def knows(self, origin: Origin) -> bool:
        """Return whether it is in hand, or a lane waits for it."""
        return origin in self._in_hand or any(
            lane.blocked_by == origin or origin in lane.missing for lane in self._lanes.values()
        )

    def unblock(self, origin: Origin) -> None:
        """What the lane waited for is settled elsewhere; the lane goes on."""
        for key, lane in list(self._lanes.items()):
            lane.missing.pop(origin, None)
            if lane.blocked_by == origin:
                lane.blocked_by = lane.due = None
                self._go_on(key, lane)

    def in_hand(self) -> list[Held]:
        """Return every delivery that is running or waiting."""
        return list(self._in_hand.values())

    def held_up(self) -> list[Held]:
        """Return what cannot be handed out, because an earlier one of its lane is not settled."""
        return [
            held
            for lane in self._lanes.values()
            if lane.running is not None or lane.blocked_by is not None
            for _, held in lane.waiting
        ]

    def has_ready(self) -> bool:
        """Return whether anything could be handed out."""
        return any(lane.is_ready for lane in self._lanes.values())

    def overdue(self, now: datetime) -> list[Origin]:
        """Return what lanes wait for although its time has passed."""
        return [
            lane.blocked_by
            for lane in self._lanes.values()
            if lane.blocked_by is not None and lane.due is not None and lane.due < now
        ]

    def next_due(self) -> datetime | None:
        """Return when the first blocked lane's head comes again; None if no lane is blocked."""
        return min((lane.due for lane in self._lanes.values() if lane.due), default=None)

    def _set_apart(self, held: Held) -> Held:
        alone = msgspec.structs.replace(held, alone=True)
        if held.delivery.origin not in self._in_hand:
            self._hold(alone)
        self._in_hand[held.delivery.origin] = alone
        self._lanes.setdefault(alone.key, _Lane()).running = alone
        return alone

    def _hold(self, held: Held) -> None:
        self._in_hand[held.delivery.origin] = held
        self._by_subject[held.delivery.subject] += 1
        self.bytes += len(held.delivery.body)

    def _let_go(self, held: Held) -> _Lane:
        del self._in_hand[held.delivery.origin]
        self._by_subject[held.delivery.subject] -= 1
        self.bytes -= len(held.delivery.body)
        lane = self._lanes[held.key]
        lane.running = None
        return lane

    def _go_on(self, key: str, lane: _Lane) -> None:
        lane.go_on()
        if lane.is_idle:
            del self._lanes[key]
        elif lane.waiting:
            self._offer(key, lane)

    def _offer(self, key: str, lane: _Lane) -> None:
        """Line the lane up, if it is ready; called once for each head that a lane has."""
        if lane.is_ready:
            arrival, head = lane.waiting[0]
            heapq.heappush(self._ready, (-head.priority, arrival, key))
