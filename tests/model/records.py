"""What the reference model keeps of each message, and what it is configured with."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from caxton_nats.core.dead_letter import Origin
from tests.model.commands import Does


class Rules(msgspec.Struct, frozen=True):
    """What the deployment is configured with, in seconds and messages."""

    queue_size: int = 8
    duplicate_window: float = 60.0
    max_retries: int = 2
    patience: float = 3.0
    """Mail of an agent that has left is kept for so long."""
    conversation_timeout: float = 100.0
    conversation_lifetime: float = 300.0
    slack: float = 0.0
    """How late anybody hears of what the broker has done; 0 if everybody hears of it at once."""


class Key(NamedTuple):
    """What is one message for a receiver, in however many copies."""

    receiver: str
    sender: str
    message_id: str


class Copy(msgspec.Struct):
    """One stored message."""

    origin: Origin
    key: Key
    conversation: str
    subject: str
    at: float
    deadline: float | None
    settled: bool = False


class Run(msgspec.Struct):
    """One call of a handler."""

    key: Key
    process: str
    does: Does
    began: float
    effect: float | None = None
    ended: bool = False
    answer: str = ""
    """The message id of its answer."""
