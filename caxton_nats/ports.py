"""What the engine and the SDK need from the world; an adapter is whatever fulfils these.

Two do: ``caxton_nats.jetstream`` and ``caxton_nats.memory``, held together by tests/conformance.
Batches go in and results come out in the same order; a result that is an error belongs to that
item alone. Every method may raise `TransportError`; nothing here raises a nats-py exception.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from caxton_nats.core.conversation import Conversation
from caxton_nats.core.dead_letter import DeadLetter, Origin
from caxton_nats.core.disposition import Disposition
from caxton_nats.core.envelope import Claim, Envelope
from caxton_nats.core.errors import CaxtonError
from caxton_nats.core.identifiers import AgentId, ConversationId
from caxton_nats.core.registry import Address, Registration, Registry


class Clock(Protocol):
    """Time, chance and waiting."""

    def now(self) -> datetime:
        """Return the time in UTC."""

    def chance(self) -> float:
        """Return a random number in 0..1."""

    async def sleep(self, delay: timedelta) -> None:
        """Wait."""


class Ids(Protocol):
    """Fresh unique ids."""

    def new_id(self) -> str:
        """Return an id that nobody can guess."""


class Letter(msgspec.Struct, frozen=True):
    """One message for one mailbox."""

    receiver: AgentId
    address: Address
    message_key: str
    """Identity for duplicate suppression: sender, receiver and message id."""
    body: bytes
    headers: Mapping[str, str] = {}


class Stored(msgspec.Struct, frozen=True):
    """The PubAck of one letter."""

    stream: str
    sequence: int
    duplicate: bool = False


class Delivery(msgspec.Struct, frozen=True):
    """One message taken from a mailbox or from the ingress, not settled yet."""

    origin: Origin
    subject: str
    body: bytes
    headers: Mapping[str, str]
    attempt: int
    """1 for the first delivery of this stored message."""
    stored_at: datetime
    handle: object = None
    """The adapter's own reference for settling it."""


class MailboxStatus(msgspec.Struct, frozen=True):
    """What a mailbox holds."""

    pending: int
    """Stored and not settled, in flight ones included."""
    in_flight: int
    attended: bool
    """Somebody is waiting for messages at this moment."""


class Publisher(Protocol):
    """Puts letters into mailboxes."""

    async def publish(self, letters: Sequence[Letter]) -> list[Stored | CaxtonError]:
        """Store the letters; an entry is `QueueFull` or a `TransportError` if it was not stored."""


class Inbox(Protocol):
    """A stream of deliveries: one agent's mailbox, or the ingress of the router."""

    async def fetch(self, limit: int, wait: timedelta) -> list[Delivery]:
        """Return 1..limit deliveries as soon as there is one, or [] after ``wait``."""

    async def settle(self, settled: Sequence[tuple[Delivery, Disposition]]) -> None:
        """Ack, or give back with a delay. Returns when the server has confirmed the acks.

        The dead letter of a `Term` must have been written before; here it is an ack.
        """

    async def keep(self, deliveries: Sequence[Delivery]) -> None:
        """Tell the server that these are still being worked on."""

    async def close(self) -> list[Delivery]:
        """Take no further deliveries; return those that came and were not fetched.

        The caller gives them back, after what it fetched before, so that they stay in order.
        """


class Mailboxes(Protocol):
    """Where agents' mail lies."""

    def address(self, agent: AgentId) -> Address:
        """Return where the agent's mail lies, whether or not it is registered."""

    async def ensure(self, agent: AgentId) -> Address:
        """Make the mailbox readable (its consumer), if it is not yet."""

    async def open(self, agent: AgentId) -> Inbox:
        """Return the agent's mailbox for reading."""

    async def status(self, agent: AgentId) -> MailboxStatus:
        """Return what the mailbox holds."""

    async def pending(self) -> dict[AgentId, int]:
        """Return the number of unsettled messages per agent that has any."""

    async def remove(self, agent: AgentId) -> None:
        """Forget the consumer. Stored messages stay."""

    async def get(self, origin: Origin) -> Delivery | None:
        """Return the stored message, or None if it is settled."""

    async def discard(self, origin: Origin) -> bool:
        """Settle the stored message from outside; False if it was settled already."""

    async def stored(self) -> int:
        """Return how many messages all mailboxes ever stored, settled ones included."""


class DeadLetters(Protocol):
    """The dead letters, bounded by the stream's own limits."""

    async def write(self, letter: DeadLetter) -> bool:
        """Store the letter; False if a letter of this id exists already."""

    async def list(self, *, limit: int = 100, agent: AgentId | None = None) -> list[DeadLetter]:
        """Return the newest letters first."""

    async def get(self, letter_id: str) -> DeadLetter | None:
        """Return the letter, or None."""

    async def remove(self, letter_id: str) -> bool:
        """Remove the letter; False if there was none."""

    async def count(self) -> dict[tuple[AgentId, str], int]:
        """Return how many letters there are per (agent, reason)."""


class Attempts(Protocol):
    """How often handlers were started for messages that came more than once.

    The server counts deliveries; a delivery that was handed back unstarted is no attempt.
    """

    async def recorded(self, origin: Origin) -> int:
        """Return the attempts on record; 0 if there is no record."""

    async def record(self, origin: Origin, attempts: int) -> None:
        """Put this number on record; it is kept for days, not for ever."""


class RegistryStore(Protocol):
    """The durable registry."""

    async def save(self, registration: Registration, *, revision: int | None) -> int:
        """Write it if the stored revision is still this (None: there is none yet).

        Raises:
            RevisionConflict: somebody else wrote first.
        """

    async def load(self, agent: AgentId) -> tuple[Registration, int] | None:
        """Return the registration and its revision."""

    async def remove(self, agent: AgentId) -> bool:
        """Remove the registration; False if there was none."""

    async def follow(self, registry: Registry) -> None:
        """Keep ``registry`` equal to the store, for as long as the adapter is connected.

        Returns when the first complete state is in.
        """


class ConversationStore(Protocol):
    """Conversation records, changed by compare-and-set."""

    async def load(self, conversation_id: ConversationId) -> tuple[Conversation, int] | None:
        """Return the record and its revision."""

    async def save(self, record: Conversation, *, revision: int | None) -> int:
        """Write the record if the stored revision is still this (None: there is none yet).

        Raises:
            RevisionConflict: somebody else wrote first.
        """

    async def count(self) -> int:
        """Return how many records there are."""

    async def list(self, *, limit: int = 100) -> list[Conversation]:
        """Return the records with the latest activity first."""


class ContentStore(Protocol):
    """Content that does not fit into a message."""

    async def put(self, name: str, content: bytes) -> Claim:
        """Store the content under the name (the same name twice is the same content)."""

    async def get(self, claim: Claim) -> bytes:
        """Return the content.

        Raises:
            InvalidEnvelope: it is not there, or its size or digest is not the claim's. Trying
                again cannot help: content is stored before its claim is handed out.
        """

    async def remove(self, claim: Claim) -> None:
        """Forget the content; nothing happens if it is gone."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one receiver's copy of a message."""

    receiver: AgentId
    stream: str = ""
    sequence: int = 0
    duplicate: bool = False
    error: CaxtonError | None = None


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """Given after every PubAck: the message is durable in each mailbox without an error."""

    message_id: str
    outcomes: tuple[Outcome, ...]


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """One message at a door: bytes as they came in, or an envelope from inside this process."""

    sender: AgentId
    body: bytes = b""
    envelope: Envelope | None = None
    headers: Mapping[str, str] = {}
    fallback_id: str = ""
    """The message id if the message has none and the door needs a repeatable one."""


class Door(Protocol):
    """A way to a router: in this process, or the router service over NATS."""

    async def send(self, batch: Sequence[Submission]) -> list[Receipt | CaxtonError]:
        """Route the batch; one receipt or error each, in order."""


class Registrar(Protocol):
    """Where agents come to be known: in this process, or the router service over NATS."""

    async def register(
        self, agent: AgentId, *, capabilities: Sequence[str] = (), node: str = ""
    ) -> Registration:
        """Register the agent and make its mailbox readable.

        Raises:
            AgentAlreadyRegistered: somebody reads the mailbox of an agent of that name now.
        """

    async def deregister(self, agent: AgentId) -> bool:
        """Remove the registration; False if there was none. Stored mail stays."""


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an adapter provides."""

    publisher: Publisher
    mailboxes: Mailboxes
    dead_letters: DeadLetters
    registry_store: RegistryStore
    conversations: ConversationStore
    contents: ContentStore
    attempts: Attempts
    clock: Clock
    ids: Ids
