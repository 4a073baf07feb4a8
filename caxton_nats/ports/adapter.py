"""Everything an adapter provides, in one value."""

from __future__ import annotations

import msgspec

from caxton_nats.ports.breakers import BreakerStore
from caxton_nats.ports.conversations import ConversationArchive, ConversationStore
from caxton_nats.ports.decisions import Decisions
from caxton_nats.ports.effects import Ledgers, Outboxes
from caxton_nats.ports.leases import Leases
from caxton_nats.ports.mail import Attempts, Mailboxes, Publisher
from caxton_nats.ports.peers import Peers
from caxton_nats.ports.remote import Links, RouteStore
from caxton_nats.ports.stores import ContentStore, DeadLetters, ReceiptStore, RegistryStore
from caxton_nats.ports.streams import Streams
from caxton_nats.ports.time import Clock, Ids, Timers


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an adapter provides."""

    publisher: Publisher
    mailboxes: Mailboxes
    dead_letters: DeadLetters
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
    peers: Peers
    routes: RouteStore
    links: Links
    clock: Clock
    ids: Ids
