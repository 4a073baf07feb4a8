"""Links between brokers of one process, which a test can cut."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import msgspec

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.errors import CaxtonError, InvalidEnvelope, QueueFull, StreamMissing
from caxton_nats.core.identifiers import AgentId, agent_id, local_part, token, untoken
from caxton_nats.core.registry import Address
from caxton_nats.core.remote import NodeId
from caxton_nats.memory.mail import OUTBOUND, OUTBOUND_STREAM, MemoryInbox, turn
from caxton_nats.memory.work_queue import Message, Rules, Stream
from caxton_nats.ports import Clock, Letter, Stored
from caxton_nats.ports.remote import Parcel

LINK_STREAM = "CAXTON_LINK"
WINDOW = timedelta(hours=1)
MAX_PARCEL = 1_000_000
_UNBOUNDED = 1_000_000_000


class MemoryLinks:
    """See `ports.Links`; all processes of a broker share it."""

    def __init__(self, platform: str, rules: Rules, clock: Clock) -> None:
        self.platform = platform
        self._size = rules.queue_size
        self._clock = clock
        # The server's consumers of these streams have no ceiling of deliveries.
        endless = msgspec.structs.replace(rules, queue_size=_UNBOUNDED, max_deliver=_UNBOUNDED)
        self.outbound_stream = Stream(OUTBOUND_STREAM, endless, [])
        self._link = Stream(
            LINK_STREAM, msgspec.structs.replace(endless, duplicate_window=WINDOW), []
        )
        self.joined: dict[NodeId, MemoryLinks] = {}
        self.answering = 0
        self.up = True
        """Whether this end of every link is in order; cleared, nothing crosses."""

    @property
    def max_parcel(self) -> int:
        """Bytes of a parcel's body."""
        return MAX_PARCEL

    def join(self, other: MemoryLinks) -> None:
        """Lay a link, in both directions; each end is called as its platform."""
        self.joined[NodeId(other.platform)] = other
        other.joined[NodeId(self.platform)] = self

    def address(self, agent: AgentId, node: NodeId) -> Address:
        """Return where a letter waits for its link."""
        name = token(node)
        return Address(OUTBOUND_STREAM, f"{OUTBOUND}.{name}.{token(agent)}", name)

    def receiver(self, subject: str) -> AgentId:
        """Return whom it is for."""
        return agent_id(untoken(subject.rsplit(".", 1)[-1]), "", field="subject")

    def sender(self, subject: str) -> AgentId:
        """Return who sent it."""
        home, name = map(untoken, subject.split(".")[-2:])
        if home == self.platform:
            raise InvalidEnvelope("says that it is from this platform", field="subject")
        return agent_id(f"{name}@{home}", home, field="subject")

    def keep(self, letter: Letter) -> Stored | CaxtonError:
        """Store a letter until it is forwarded; as many wait for a receiver as in a mailbox."""
        node = letter.address.subject.split(".")[-2]
        queue = self.outbound_stream.queue(node)
        message = Message(
            origin=Origin(OUTBOUND_STREAM, 0),
            agent=letter.receiver,
            subject=letter.address.subject,
            body=bytes(letter.body),
            headers=dict(letter.headers),
            stored_at=self._clock.now(),
        )
        if self.outbound_stream.first_of(letter.message_key, message.stored_at) is None:
            waiting = sum(one.subject == message.subject for one in queue.messages.values())
            if waiting >= self._size:
                return QueueFull(
                    f"too much waits for {letter.receiver}",
                    field="receiver",
                    limit=self._size,
                    value=waiting,
                )
        return self.outbound_stream.store(node, message, letter.message_key)

    def holds(self, origin: Origin) -> bool:
        """Return whether it is one of the outbound stream."""
        return origin.stream == OUTBOUND_STREAM

    async def waiting(self) -> dict[NodeId, int]:
        """Return how much mail waits, by node."""
        await turn()
        return {
            NodeId(untoken(name)): len(queue.messages)
            for name, queue in self.outbound_stream.queues.items()
            if queue.messages
        }

    async def outbound(self, node: NodeId) -> MemoryInbox:
        """Return what waits for a node."""
        await turn()
        return MemoryInbox(self.outbound_stream.queue(token(node)), self._clock)

    async def inbound(self) -> MemoryInbox:
        """Return what other platforms have sent here."""
        await turn()
        return MemoryInbox(self._link.queue("router"), self._clock)

    async def forward(self, node: NodeId, parcels: Sequence[Parcel]) -> list[Stored | CaxtonError]:
        """Store the parcels at the other end."""
        await turn()
        other = self._reached(node)
        if other is None:
            return [StreamMissing(f"nobody answers for node {node}") for _ in parcels]
        return [other.take(self.platform, parcel) for parcel in parcels]

    def take(self, platform: str, parcel: Parcel) -> Stored | CaxtonError:
        """Store what comes over a link."""
        name = token(local_part(parcel.sender))
        subject = f"caxton.link.mail.{token(self.platform)}.{token(platform)}.{name}"
        message = Message(
            origin=Origin(LINK_STREAM, 0),
            agent=parcel.sender,
            subject=subject,
            body=bytes(parcel.body),
            headers=dict(parcel.headers),
            stored_at=self._clock.now(),
        )
        return self._link.store("router", message, parcel.message_key)

    async def ping(self, node: NodeId, *, wait: timedelta) -> str | None:  # noqa: ARG002 - no wait
        """Return the name of the platform at the other end; None if nobody answers."""
        await turn()
        other = self._reached(node)
        return other.platform if other is not None and other.answering else None

    async def answer_pings(self) -> Callable[[], Awaitable[None]]:
        """Tell other platforms that ask that this one is there."""
        await turn()
        self.answering += 1

        async def stop() -> None:
            self.answering -= 1

        return stop

    def _reached(self, node: NodeId) -> MemoryLinks | None:
        other = self.joined.get(node)
        return other if other is not None and self.up and other.up else None
