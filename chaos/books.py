"""What is known after a scenario: what senders were promised, what handlers did, what is left.

Each entry comes from whoever saw it with his own eyes: a sender holds a receipt, a handler has left
an effect, a stream holds a message. Nothing here does any I/O, or decides what it means: that is
chaos/oracle.py's affair.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """What a message is there for, and so what its handler does."""

    WORK = "work"
    """Handled at once."""
    SLOW = "slow"
    """Handled after a while."""
    ASK = "ask"
    """A request; it is answered."""
    FLAKY = "flaky"
    """Fails at the first attempt."""
    POISON = "poison"
    """Fails always: it must become a dead letter."""
    REJECT = "reject"
    """Refused by its handler for good: it must become a dead letter."""
    DEADLINE = "deadline"
    """In time or never: it is handled, or becomes a dead letter."""


class Task(msgspec.Struct, frozen=True):
    """The content of every message of the load."""

    sender: str
    conversation: str
    number: int
    """Counts the messages of this sender in this conversation, from 0."""
    kind: Kind

    @property
    def message_id(self) -> str:
        """Return the id under which it is sent, however often."""
        return f"{self.conversation}.{self.number}"


class Sent(msgspec.Struct, kw_only=True):
    """A message in the hands of its sender."""

    task: Task
    receiver: str
    begun: float
    accepted: float | None = None
    """When the receipt came."""
    unknown: int = 0
    """Tries whose outcome the sender was not told."""
    stored: tuple[str, int] | None = None
    """Stream and sequence, from the receipt."""
    refused: str = ""
    """The last error that no further try would have changed."""
    errors: list[str] = []
    """Codes of all errors on the way, each once."""


class Run(msgspec.Struct, frozen=True, tag="run"):
    """A handler was started."""

    at: float
    agent: str
    instance: str
    message_id: str
    attempt: int
    late: float = 0.0
    """Seconds after the message's deadline."""


class Done(msgspec.Struct, frozen=True, tag="done"):
    """A handler came to its end, with its effect made now or earlier."""

    at: float
    agent: str
    instance: str
    message_id: str


class Effect(msgspec.Struct, frozen=True, tag="effect"):
    """What a handler has done to the world outside, once per message id."""

    at: float
    agent: str
    instance: str
    message_id: str
    task: Task


class Told(msgspec.Struct, frozen=True):
    """What came back to a sender: an answer, or a notice of the platform."""

    at: float
    about: str
    """The id of the message that it is about."""
    performative: str
    notice: bool


class Dead(msgspec.Struct, frozen=True):
    """A dead letter."""

    id: str
    message_id: str
    reason: str


class Pending(msgspec.Struct, frozen=True):
    """A message that a stream still holds."""

    message_id: str
    stream: str


class Harm(msgspec.Struct, frozen=True):
    """A fault that this program did to a process that handles messages."""

    instance: str
    at: float


class Books(msgspec.Struct, kw_only=True):
    """All of it. Times are those of one monotonic clock of this machine."""

    sent: dict[str, Sent] = {}
    runs: list[Run] = []
    done: list[Done] = []
    effects: list[Effect] = []
    told: list[Told] = []
    dead: list[Dead] = []
    pending: list[Pending] = []
    harms: list[Harm] = []
    deposed: dict[str, float] = {}
    """Instances that another has followed, and when each must have noticed."""
    reported: dict[str, str] = {}
    """Messages that the system itself says it has lost, with its words."""
    load: tuple[float, float] = (0.0, 0.0)
    """When the load began and ended."""
    heals: list[tuple[float, float]] = []
    """When a fault was over, and when a handler next came to its end."""
