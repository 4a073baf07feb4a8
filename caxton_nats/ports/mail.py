"""Mail: letters going in, deliveries coming out, and where they lie meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.disposition import Disposition
from caxton_nats.core.errors import CaxtonError
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.registry import Address


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


class Publisher(Protocol):
    """Puts letters into mailboxes."""

    async def publish(self, letters: Sequence[Letter]) -> list[Stored | CaxtonError]:
        """Store the letters; an entry is `QueueFull` or a `TransportError` if it was not stored."""


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


class MailboxStatus(msgspec.Struct, frozen=True):
    """What a mailbox holds."""

    pending: int
    """Stored and not settled, in flight ones included."""
    in_flight: int
    attended: bool
    """Somebody is waiting for messages at this moment."""


class Mailboxes(Protocol):
    """Where agents' mail lies: the ordinary, and beside it the urgent, with room of its own."""

    def address(self, agent: AgentId, *, urgent: bool = False) -> Address:
        """Return where the agent's mail lies, whether or not it is registered."""

    async def ensure(self, agent: AgentId) -> Address:
        """Make the mailbox readable (its consumer), if it is not yet."""

    async def announce(self, agent: AgentId) -> None:
        """Make the agent's urgent mail readable, and have whoever has it open look at once."""

    async def open(self, agent: AgentId, *, urgent: bool = False) -> Inbox:
        """Return the agent's mailbox for reading: the ordinary mail, or the urgent."""

    async def unsettled(self, agent: AgentId, *, urgent: bool = False) -> list[Delivery]:
        """Return what was handed out by this way and nobody has settled, oldest first.

        Whoever has the mailbox open may settle it like what it fetched. Their attempt says nothing.
        """

    async def status(self, agent: AgentId) -> MailboxStatus:
        """Return what the mailbox holds."""

    async def opened(self, agent: AgentId) -> bool:
        """Return whether a process has the mailbox open, even if it takes nothing at this moment.

        One whose connection is gone has it no longer; other readers (``nats consumer next``) are
        not seen.
        """

    async def taken(self, stored: Delivery) -> bool:
        """Return whether a stored message, as `get` returns it, was ever handed to a reader."""

    async def statuses(self) -> dict[AgentId, MailboxStatus]:
        """Return what each mailbox holds that has mail or can be read.

        What it costs grows with the number of agents, if slowly; `pending` costs the same always.
        """

    async def pending(self) -> dict[AgentId, int]:
        """Return the number of unsettled messages per agent that has any."""

    async def remove(self, agent: AgentId) -> None:
        """Forget the consumers. Stored messages stay."""

    async def get(self, origin: Origin) -> Delivery | None:
        """Return the stored message, or None if it is settled."""

    async def list(self, agent: AgentId, *, limit: int, latest: bool = False) -> list[Delivery]:
        """Return what is stored for the agent, in flight or not, the newest first.

        These are no deliveries: their attempt says nothing. With ``latest``, which takes longer,
        every write that was confirmed is in it.
        """

    async def hold(self, agent: AgentId, until: datetime) -> None:
        """Hand out nothing more of this mailbox until it is released, at the latest then."""

    async def release(self, agent: AgentId) -> None:
        """Hand out messages again; nothing happens if the mailbox is not held."""

    async def discard(self, origin: Origin) -> bool:
        """Settle the stored message from outside; False if it was settled already."""

    async def stored(self) -> int:
        """Return how many messages all mailboxes ever stored, settled ones included."""


class Attempts(Protocol):
    """How often handlers were started for messages that came more than once.

    The server counts deliveries; a delivery that was handed back unstarted is no attempt.
    """

    async def recorded(self, origin: Origin) -> int:
        """Return the attempts on record; 0 if there is no record."""

    async def record(self, origin: Origin, attempts: int) -> None:
        """Put this number on record; it is kept for days, not for ever."""
