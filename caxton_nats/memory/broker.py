"""`MemoryBroker`: one pretended JetStream, with the ports onto it as attributes.

It behaves as JetStream does where the ports can see it: sequences and duplicate suppression per
stream, an exact bound per mailbox, redelivery by ack wait, compare-and-set by revision. It knows
no time but the `Clock` it is given, and it forgets everything with the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import msgspec

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.errors import CaxtonError
from caxton_nats.core.identifiers import AgentId, agent_token
from caxton_nats.memory.breakers import MemoryBreakerStore
from caxton_nats.memory.conversations import MemoryConversationArchive, MemoryConversationStore
from caxton_nats.memory.decisions import MemoryDecisions
from caxton_nats.memory.effects import MemoryLedgers, MemoryOutboxes
from caxton_nats.memory.leases import MemoryLeases
from caxton_nats.memory.links import MemoryLinks
from caxton_nats.memory.mail import (
    STREAM,
    SUBJECT,
    URGENT,
    MemoryInbox,
    MemoryMailboxes,
    MemoryPublisher,
    turn,
)
from caxton_nats.memory.peers import MemoryPeers
from caxton_nats.memory.receipts import MemoryReceiptStore
from caxton_nats.memory.stores import (
    MemoryAttempts,
    MemoryContentStore,
    MemoryDeadLetters,
    MemoryRegistryStore,
    MemoryRouteStore,
)
from caxton_nats.memory.streams import MemoryStreams
from caxton_nats.memory.timers import MemoryTimers
from caxton_nats.memory.work_queue import Exhausted, Message, Rules, Stream
from caxton_nats.ports import (
    Answer,
    Attempts,
    BreakerStore,
    Clock,
    ContentStore,
    ConversationArchive,
    ConversationStore,
    Decisions,
    Ids,
    Inbox,
    Leases,
    Ledgers,
    Mailboxes,
    Outboxes,
    Ports,
    Publisher,
    RegistryStore,
    Stored,
    Streams,
    Timers,
)
from caxton_nats.ports.remote import RouteStore
from caxton_nats.ports.stores import ReceiptStore

INGRESS = "CAXTON_INGRESS"
DECISION_SLACK = timedelta(seconds=60)
"""For how long a decision outlives the duplicate window."""


class MemoryBroker:
    """The state that all clients of one broker share, and the ports onto it."""

    publisher: Publisher
    mailboxes: Mailboxes
    ingress: Inbox
    dead_letters: MemoryDeadLetters
    registry_store: RegistryStore
    leases: Leases
    breakers: BreakerStore
    decisions: Decisions
    conversations: ConversationStore
    archive: ConversationArchive
    contents: ContentStore
    receipts: ReceiptStore
    attempts: Attempts
    ledgers: Ledgers
    outboxes: Outboxes
    timers: Timers
    streams: Streams
    routes: RouteStore

    def __init__(  # noqa: PLR0913 - one parameter per bound of a deployment
        self,
        clock: Clock,
        *,
        platform: str = "here",
        shards: int = 16,
        queue_size: int = 1000,
        ingress_size: int = 100_000,
        dead_letter_size: int = 100_000,
        ack_wait: timedelta = timedelta(seconds=30),
        max_deliver: int = 20,
        duplicate_window: timedelta = timedelta(minutes=2),
        conversation_retention: timedelta = timedelta(days=30),
    ) -> None:
        self.exhausted: list[Exhausted] = []
        """Messages that reached ``max_deliver``, in the order in which a reader met them."""
        rules = Rules(queue_size, duplicate_window, ack_wait, max_deliver)
        streams = {
            f"{SUBJECT}.{shard}": Stream(f"{STREAM}_{shard}", rules, self.exhausted)
            for shard in range(shards)
        }
        self._clock = clock
        self._ingress = Stream(
            INGRESS, msgspec.structs.replace(rules, queue_size=ingress_size), self.exhausted
        )
        self.links = MemoryLinks(platform, rules, clock)
        """Both ends of a link must be brokers of this process: see `MemoryLinks.join`."""
        urgent = {name.replace(SUBJECT, URGENT): stream for name, stream in streams.items()}
        self.publisher = MemoryPublisher({**streams, **urgent}, clock, self.links.keep)
        self.mailboxes = MemoryMailboxes(streams, clock, self.links.outbound_stream)
        self.ingress = MemoryInbox(self._ingress.queue("router"), clock)
        self.dead_letters = MemoryDeadLetters(clock, max_letters=dead_letter_size)
        self.registry_store = MemoryRegistryStore()
        self.leases = MemoryLeases()
        self.breakers = MemoryBreakerStore()
        self.decisions = MemoryDecisions(clock, duplicate_window + DECISION_SLACK)
        self.conversations = MemoryConversationStore()
        self.archive = MemoryConversationArchive(clock, retention=conversation_retention)
        self.contents = MemoryContentStore(clock)
        self.receipts = MemoryReceiptStore()
        self.attempts = MemoryAttempts()
        self.ledgers = MemoryLedgers(clock)
        self.outboxes = MemoryOutboxes()
        self.routes = MemoryRouteStore()
        self.timers = MemoryTimers(clock, ack_wait=ack_wait)
        self.streams = MemoryStreams(
            [*streams.values()], self._ingress, self.links.outbound_stream, self.dead_letters
        )
        self._routers: dict[str, Mapping[str, Answer]] = {}
        self._processes = 0

    def ports(self, ids: Ids) -> Ports:
        """Return what the engine of one process needs, all of it here."""
        self._processes += 1
        return Ports(
            publisher=self.publisher,
            mailboxes=self.mailboxes,
            dead_letters=self.dead_letters,
            registry_store=self.registry_store,
            leases=self.leases,
            breakers=self.breakers,
            decisions=self.decisions,
            conversations=self.conversations,
            archive=self.archive,
            contents=self.contents,
            receipts=self.receipts,
            attempts=self.attempts,
            ledgers=self.ledgers,
            outboxes=self.outboxes,
            timers=self.timers,
            streams=self.streams,
            peers=MemoryPeers(self._routers, f"router-{self._processes}"),
            routes=self.routes,
            links=self.links,
            clock=self._clock,
            ids=ids,
        )

    async def submit(
        self, sender: AgentId, body: bytes, headers: Mapping[str, str] | None = None
    ) -> Stored:
        """Store bytes for the router, as ``nats pub caxton.submit.<sender>`` does.

        Raises:
            QueueFull: as many messages as may (``ingress_size``) wait already.
        """
        await turn()
        message = Message(
            origin=Origin(INGRESS, 0),
            agent=sender,
            subject=f"caxton.submit.{agent_token(sender)}",
            body=bytes(body),
            headers=dict(headers or {}),
            stored_at=self._clock.now(),
        )
        stored = self._ingress.store("router", message, "")
        if isinstance(stored, CaxtonError):
            raise stored
        return stored
