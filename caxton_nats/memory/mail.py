"""Publisher, mailboxes and inboxes over the work queues of this process."""

from __future__ import annotations

import asyncio
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import assert_never

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.disposition import Ack, Disposition, Nak, Term
from caxton_nats.core.errors import CaxtonError, StreamMissing
from caxton_nats.core.identifiers import AgentId, agent_token
from caxton_nats.core.registry import Address
from caxton_nats.memory.work_queue import Message, Stream, WorkQueue
from caxton_nats.ports import Clock, Delivery, Inbox, Letter, MailboxStatus, Stored

SUBJECT = "caxton.mailbox"
URGENT = "caxton.urgent"
STREAM = "CAXTON_MAILBOX"
OUTBOUND = "caxton.outbound"
OUTBOUND_STREAM = "CAXTON_OUTBOUND"
Keep = Callable[[Letter], Stored | CaxtonError]


def consumer_of(subject: str) -> str:
    """Return who reads a subject."""
    token = subject.rsplit(".", 1)[-1]
    return f"{token}=urgent" if subject.startswith(f"{URGENT}.") else token


async def turn() -> None:
    """Let others run first, as every round trip to a server does; else nobody would ever race."""
    await asyncio.sleep(0)


class MemoryPublisher:
    """`Publisher` onto the mailbox streams, and the one for mail to other platforms."""

    def __init__(self, streams: Mapping[str, Stream], clock: Clock, outbound: Keep) -> None:
        self._streams = streams
        self._outbound = outbound
        self._clock = clock

    async def publish(self, letters: Sequence[Letter]) -> list[Stored | CaxtonError]:
        """Store the letters."""
        await turn()
        return [self._store(letter) for letter in letters]

    def _store(self, letter: Letter) -> Stored | CaxtonError:
        # The server goes by the subject alone; the rest of the address is for readers.
        prefix, _, agent = letter.address.subject.rpartition(".")
        if prefix.startswith(f"{OUTBOUND}."):
            return self._outbound(letter)
        stream = self._streams.get(prefix)
        if stream is None or not agent:
            return StreamMissing(
                "no stream takes messages of this subject",
                field="address",
                value=letter.address.subject,
            )
        message = Message(
            origin=Origin(stream.name, 0),
            agent=letter.receiver,
            subject=letter.address.subject,
            body=bytes(letter.body),
            headers=dict(letter.headers),
            stored_at=self._clock.now(),
        )
        return stream.store(consumer_of(message.subject), message, letter.message_key)


class MemoryInbox:
    """`Inbox` of one reader; the readers of one queue share its deliveries."""

    def __init__(self, queue: WorkQueue, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock
        self._closed = False
        self._removals = queue.removals
        queue.readers += 1

    async def fetch(self, limit: int, wait: timedelta) -> list[Delivery]:
        """Return what is due as soon as something is, or [] after ``wait`` or ``close``.

        Raises:
            StreamMissing: the mailbox was removed after this inbox was opened.
        """
        await turn()
        end = self._clock.now() + wait
        while not self._closed:
            if self._removals != self._queue.removals:
                raise StreamMissing("the consumer of this inbox is gone", hint="open it again")
            now = self._clock.now()
            taken = self._queue.take(limit, now)
            if taken or now >= end:
                return taken
            timer = asyncio.ensure_future(self._clock.sleep(self._queue.next_due(end) - now))
            try:
                await self._queue.changed(timer)
            finally:
                timer.cancel()
        return []

    async def settle(self, settled: Sequence[tuple[Delivery, Disposition]]) -> None:
        """Ack, or give back with a delay."""
        await turn()
        for delivery, disposition in settled:
            sequence = delivery.origin.sequence
            match disposition:
                case Ack() | Term():
                    self._queue.remove(sequence)
                case Nak(delay):
                    self._queue.give_back(sequence, self._clock.now(), delay)
                case _:
                    assert_never(disposition)

    async def keep(self, deliveries: Sequence[Delivery]) -> None:
        """Start the ack wait of these afresh."""
        await turn()
        for delivery in deliveries:
            self._queue.keep(delivery.origin.sequence, self._clock.now())

    async def close(self) -> list[Delivery]:
        """Take no further deliveries; a waiting `fetch` returns []. Nothing came unfetched."""
        if not self._closed:
            self._closed = True
            self._queue.readers -= 1
        self._queue.wake()
        await turn()
        return []


class MemoryMailboxes:
    """`Mailboxes` over the mailbox streams."""

    def __init__(self, streams: Mapping[str, Stream], clock: Clock, outbound: Stream) -> None:
        self._streams = streams
        self._by_name = {stream.name: stream for stream in (*streams.values(), outbound)}
        self._clock = clock
        self._made: set[AgentId] = set()

    def address(self, agent: AgentId, *, urgent: bool = False) -> Address:
        """Return where the agent's mail lies."""
        token = agent_token(agent)
        shard = zlib.crc32(token.encode()) % len(self._streams)
        subject = f"{URGENT if urgent else SUBJECT}.{shard}.{token}"
        return Address(f"{STREAM}_{shard}", subject, consumer_of(subject))

    async def ensure(self, agent: AgentId) -> Address:
        """Return the address; a queue of this process needs no making."""
        await turn()
        self._made.add(agent)
        return self.address(agent)

    async def announce(self, agent: AgentId) -> None:
        """Who has the mailbox open sees what comes."""
        await turn()
        self._made.add(agent)

    async def open(self, agent: AgentId, *, urgent: bool = False) -> Inbox:
        """Return a reader of the agent's mailbox."""
        await self.ensure(agent)
        return MemoryInbox(self._queue(agent, urgent=urgent), self._clock)

    async def unsettled(self, agent: AgentId, *, urgent: bool = False) -> list[Delivery]:
        """Return what was handed out and is not settled, oldest first."""
        await turn()
        return self._queue(agent, urgent=urgent).unsettled()

    async def status(self, agent: AgentId) -> MailboxStatus:
        """Return what the mailbox holds."""
        await turn()
        queues = [self._queue(agent, urgent=urgent) for urgent in (False, True)]
        return MailboxStatus(
            pending=sum(len(queue.messages) for queue in queues),
            in_flight=sum(queue.in_flight for queue in queues),
            attended=queues[0].attended,
        )

    async def opened(self, agent: AgentId) -> bool:
        """Return whether an inbox of the mailbox is open."""
        await turn()
        return self._queue(agent).readers > 0

    async def taken(self, stored: Delivery) -> bool:
        """Return whether the message was ever handed out."""
        await turn()
        queue = self._find(stored.origin)
        # What is settled by now was taken before, as the server's consumer says of it, too.
        return queue is None or queue.was_taken(stored.origin.sequence)

    async def statuses(self) -> dict[AgentId, MailboxStatus]:
        """Return what each mailbox holds."""
        known = self._made | (await self.pending()).keys()
        return {agent: await self.status(agent) for agent in known}

    async def pending(self) -> dict[AgentId, int]:
        """Return the number of stored messages per agent that has any."""
        await turn()
        queues = (queue for stream in self._streams.values() for queue in stream.queues.values())
        found: Counter[AgentId] = Counter()
        for queue in queues:
            found.update(message.agent for message in queue.messages.values())
        return dict(found)

    async def remove(self, agent: AgentId) -> None:
        """Forget which messages were delivered, and how often. They stay."""
        await turn()
        self._made.discard(agent)
        for urgent in (False, True):
            self._queue(agent, urgent=urgent).remove_consumer()

    async def get(self, origin: Origin) -> Delivery | None:
        """Return the stored message (its attempt is 0: this is no delivery)."""
        await turn()
        queue = self._find(origin)
        return queue.messages[origin.sequence].delivery(0) if queue else None

    async def list(self, agent: AgentId, *, limit: int, latest: bool = False) -> list[Delivery]:
        """Return what is stored for the agent, the newest first; here it is always the latest."""
        del latest
        await turn()
        queues = [self._queue(agent, urgent=urgent) for urgent in (False, True)]
        messages = [message for queue in queues for message in queue.messages.values()]
        messages.sort(key=lambda message: message.origin.sequence, reverse=True)
        return [message.delivery(0) for message in messages[:limit]]

    async def hold(self, agent: AgentId, until: datetime) -> None:
        """Hand out nothing of this mailbox for a while."""
        await turn()
        for urgent in (False, True):
            self._queue(agent, urgent=urgent).hold(until)

    async def release(self, agent: AgentId) -> None:
        """Hand out messages again."""
        await turn()
        for urgent in (False, True):
            self._queue(agent, urgent=urgent).hold(None)

    async def discard(self, origin: Origin) -> bool:
        """Settle the stored message from outside."""
        await turn()
        queue = self._find(origin)
        if queue is None:
            return False
        queue.remove(origin.sequence)
        return True

    async def stored(self) -> int:
        """Return how many messages all mailboxes ever stored."""
        await turn()
        return sum(stream.last_sequence for stream in self._streams.values())

    def _queue(self, agent: AgentId, *, urgent: bool = False) -> WorkQueue:
        address = self.address(agent, urgent=urgent)
        return self._by_name[address.stream].queue(address.consumer)

    def _find(self, origin: Origin) -> WorkQueue | None:
        stream = self._by_name.get(origin.stream)
        return stream.find(origin.sequence) if stream else None
