"""A work-queue stream in memory: sequence, duplicate window, bound, and redelivery per consumer.

`Stream` decides what is stored, `WorkQueue` what is delivered when. Nothing here waits for time
to pass: the time is an argument, and `WorkQueue.changed` ends with a timer that the caller owns.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from heapq import heappop, heappush

import msgspec

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.errors import QueueFull
from caxton_nats.core.identifiers import AgentId
from caxton_nats.ports import Delivery, Stored


class Exhausted(msgspec.Struct, frozen=True):
    """What JetStream's max-deliveries advisory says: the message stays stored, undelivered."""

    origin: Origin
    consumer: str
    deliveries: int


class Rules(msgspec.Struct, frozen=True):
    """What JetStream calls the configuration of a stream and of its consumers."""

    queue_size: int
    duplicate_window: timedelta
    ack_wait: timedelta
    max_deliver: int


class Message(msgspec.Struct, frozen=True):
    """One stored message."""

    origin: Origin
    agent: AgentId
    """Whose message it is: the mailbox's owner, or the sender at the ingress."""
    subject: str
    body: bytes
    headers: Mapping[str, str]
    stored_at: datetime

    def delivery(self, attempt: int) -> Delivery:
        """Return the message as its reader gets it."""
        return Delivery(
            origin=self.origin,
            subject=self.subject,
            body=self.body,
            headers=self.headers,
            attempt=attempt,
            stored_at=self.stored_at,
        )


class WorkQueue:
    """The stored messages of one consumer, and what the consumer knows of them."""

    def __init__(self, consumer: str, rules: Rules, exhausted: list[Exhausted]) -> None:
        self.messages: dict[int, Message] = {}
        self.removals = 0
        """How often the consumer was removed; a reader of an earlier one reads no more."""
        self.readers = 0
        """How many inboxes are open."""
        self._consumer = consumer
        self._rules = rules
        self._exhausted = exhausted
        self._new: deque[int] = deque()
        self._attempts: dict[int, int] = {}
        self._due: dict[int, datetime] = {}
        # Entries are never taken out early: one that `_due` no longer confirms is void.
        self._heap: list[tuple[datetime, int]] = []
        self._held_until: datetime | None = None
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def in_flight(self) -> int:
        """How many messages are delivered (or given back with a delay) and not settled."""
        return len(self._due)

    @property
    def attended(self) -> bool:
        """Whether a reader waits at this moment."""
        return bool(self._waiting)

    def was_taken(self, sequence: int) -> bool:
        """Whether the message was ever delivered by this consumer."""
        return sequence in self._attempts

    def unsettled(self) -> list[Delivery]:
        """Return what was delivered and is not settled, oldest first."""
        return [self.messages[sequence].delivery(1) for sequence in sorted(self._attempts)]

    def put(self, message: Message) -> None:
        """Add a message behind all others."""
        self.messages[message.origin.sequence] = message
        self._new.append(message.origin.sequence)
        self.wake()

    def hold(self, until: datetime | None) -> None:
        """Deliver nothing until then; None delivers again."""
        self._held_until = until
        self.wake()

    def take(self, limit: int, now: datetime) -> list[Delivery]:
        """Deliver what is due: redeliveries before new messages, each in order."""
        taken: list[Delivery] = []
        if self._held_until is not None and now < self._held_until:
            return taken
        self._held_until = None
        while len(taken) < limit and (message := self._next(now)) is not None:
            sequence = message.origin.sequence
            attempt = self._attempts.get(sequence, 0) + 1
            self._attempts[sequence] = attempt
            self._deliver_again(sequence, now + self._rules.ack_wait)
            taken.append(message.delivery(attempt))
        return taken

    def remove(self, sequence: int) -> None:
        """Settle the message for good, in flight or not; nothing happens if it is settled."""
        self._due.pop(sequence, None)
        self._attempts.pop(sequence, None)
        self.messages.pop(sequence, None)

    def give_back(self, sequence: int, now: datetime, delay: timedelta) -> None:
        """Deliver the message again after the delay, if it is in flight."""
        if sequence in self._due:
            self._deliver_again(sequence, now + delay)
            self.wake()

    def keep(self, sequence: int, now: datetime) -> None:
        """Start the message's ack wait afresh, if it is in flight."""
        if sequence in self._due:
            self._deliver_again(sequence, now + self._rules.ack_wait)

    def remove_consumer(self) -> None:
        """Forget all deliveries: for the next consumer everything stored is new."""
        self.removals += 1
        self._attempts.clear()
        self._due.clear()
        self._heap.clear()
        self._new = deque(self.messages)
        self.wake()

    def next_due(self, no_later_than: datetime) -> datetime:
        """Return when to look again, if nothing new comes before."""
        moments = [self._heap[0][0]] if self._heap else []
        if self._held_until is not None:
            # Whatever is due before that does not come before that.
            moments = [self._held_until]
        return min([*moments, no_later_than])

    async def changed(self, timer: asyncio.Future[None]) -> None:
        """Return when something may be deliverable, at the latest when the timer ends."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(woken)
        try:
            await asyncio.wait({woken, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting.discard(woken)
        if timer.done():
            timer.result()

    def wake(self) -> None:
        """Let every waiting reader look again."""
        for woken in self._waiting:
            if not woken.done():
                woken.set_result(None)

    def _next(self, now: datetime) -> Message | None:
        while self._heap and self._heap[0][0] <= now:
            due, sequence = heappop(self._heap)
            if self._due.get(sequence) != due:
                continue
            if self._attempts[sequence] < self._rules.max_deliver:
                return self.messages[sequence]
            del self._due[sequence]
            self._exhausted.append(
                Exhausted(self.messages[sequence].origin, self._consumer, self._attempts[sequence])
            )
        while self._new:
            message = self.messages.get(self._new.popleft())
            if message is not None:
                return message
        return None

    def _deliver_again(self, sequence: int, due: datetime) -> None:
        self._due[sequence] = due
        heappush(self._heap, (due, sequence))


class Stream:
    """One stream: its sequence, its duplicate window, and a queue per consumer."""

    def __init__(self, name: str, rules: Rules, exhausted: list[Exhausted]) -> None:
        self.name = name
        self.queues: dict[str, WorkQueue] = {}
        self.last_sequence = 0
        self._rules = rules
        self._exhausted = exhausted
        self._seen: dict[str, tuple[int, datetime]] = {}

    @property
    def queue_size(self) -> int:
        """Messages that one queue holds at most."""
        return self._rules.queue_size

    def queue(self, consumer: str) -> WorkQueue:
        """Return the consumer's queue."""
        if consumer not in self.queues:
            self.queues[consumer] = WorkQueue(consumer, self._rules, self._exhausted)
        return self.queues[consumer]

    def find(self, sequence: int) -> WorkQueue | None:
        """Return the queue that holds the message, or None if it is settled."""
        return next((one for one in self.queues.values() if sequence in one.messages), None)

    def store(self, consumer: str, message: Message, key: str) -> Stored | QueueFull:
        """Store the message under the next sequence.

        The order of the checks is JetStream's: what was stored before is a duplicate, also when
        the queue is full by now, and a message that found the queue full may come again.

        Args:
            consumer: whose queue it goes to.
            message: its origin is given here and does not count.
            key: identity for duplicate suppression; empty suppresses nothing.
        """
        first = self.first_of(key, message.stored_at)
        if first is not None:
            return Stored(self.name, first, duplicate=True)
        queue = self.queue(consumer)
        if len(queue.messages) >= self._rules.queue_size:
            return QueueFull(
                f"the queue of {consumer} is full",
                field="receiver",
                limit=self._rules.queue_size,
                value=len(queue.messages),
                hint="send again later: its reader has to settle some messages first",
            )
        self.last_sequence += 1
        if key:
            self._seen[key] = (self.last_sequence, message.stored_at)
        queue.put(msgspec.structs.replace(message, origin=Origin(self.name, self.last_sequence)))
        return Stored(self.name, self.last_sequence)

    def first_of(self, key: str, now: datetime) -> int | None:
        """Return the sequence under which this key was stored, if that was within the window."""
        # Insertion order is time order, so whatever left the window lies in front.
        while self._seen:
            oldest = next(iter(self._seen))
            if now - self._seen[oldest][1] < self._rules.duplicate_window:
                break
            del self._seen[oldest]
        return self._seen[key][0] if key in self._seen else None
