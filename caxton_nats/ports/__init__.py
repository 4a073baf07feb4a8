"""What the engine and the SDK need from the world; an adapter is whatever fulfils these.

Two do: ``caxton_nats.jetstream`` and ``caxton_nats.memory``, held together by tests/conformance.
Results come in the order of their batch. Any method may raise `TransportError`, none of nats-py's.
"""

from __future__ import annotations

from caxton_nats.ports.adapter import Ports
from caxton_nats.ports.breakers import BreakerStore
from caxton_nats.ports.conversations import ConversationArchive, ConversationStore
from caxton_nats.ports.decisions import Decisions
from caxton_nats.ports.doors import Door, Outcome, Receipt, Registrar, StateChange, Submission
from caxton_nats.ports.effects import Ledgers, Outboxes
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
from caxton_nats.ports.streams import Streams
from caxton_nats.ports.time import Clock, Due, Ids, Timer, Timers

__all__ = ["Ports"]
__all__ += ["BreakerStore"]
__all__ += ["ConversationArchive", "ConversationStore"]
__all__ += ["Decisions"]
__all__ += ["Door", "Outcome", "Receipt", "Registrar", "StateChange", "Submission"]
__all__ += ["Ledgers", "Outboxes"]
__all__ += ["Leases", "Pulse"]
__all__ += ["Attempts", "Delivery", "Inbox", "Letter", "MailboxStatus", "Mailboxes"]
__all__ += ["Publisher", "Stored"]
__all__ += ["Answer", "Peers"]
__all__ += ["ContentStore", "DeadLetters", "RegistryStore"]
__all__ += ["Streams"]
__all__ += ["Clock", "Due", "Ids", "Timer", "Timers"]
