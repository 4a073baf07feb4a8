"""What the engine and the SDK need from the world; an adapter is whatever fulfils these.

Two do: ``caxton_nats.jetstream`` and ``caxton_nats.memory``, held together by tests/conformance.
Batches go in and results come out in the same order; a result that is an error belongs to that
item alone. Every method may raise `TransportError`; nothing here raises a nats-py exception.
"""

from __future__ import annotations

from caxton_nats.ports.adapter import Ports
from caxton_nats.ports.conversations import ConversationArchive, ConversationStore
from caxton_nats.ports.doors import Door, Outcome, Receipt, Registrar, Submission
from caxton_nats.ports.leases import Leases, Pulse
from caxton_nats.ports.mail import (
    Attempts,
    Delivery,
    Inbox,
    Letter,
    Mailboxes,
    MailboxStatus,
    Publisher,
    Stored,
)
from caxton_nats.ports.peers import Answer, Peers
from caxton_nats.ports.stores import ContentStore, DeadLetters, RegistryStore
from caxton_nats.ports.streams import Role, Streams, StreamState
from caxton_nats.ports.time import Clock, Ids, Timer, Timers

__all__ = [
    "Answer",
    "Attempts",
    "Clock",
    "ContentStore",
    "ConversationArchive",
    "ConversationStore",
    "DeadLetters",
    "Delivery",
    "Door",
    "Ids",
    "Inbox",
    "Leases",
    "Letter",
    "MailboxStatus",
    "Mailboxes",
    "Outcome",
    "Peers",
    "Ports",
    "Publisher",
    "Pulse",
    "Receipt",
    "Registrar",
    "RegistryStore",
    "Role",
    "Stored",
    "StreamState",
    "Streams",
    "Submission",
    "Timer",
    "Timers",
]
