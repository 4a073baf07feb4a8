"""The answers of a handler that has returned, on record before any of them is sent.

An outbox has slots. A slot holds the answers to one message until that is settled, and is used
again, so that an outbox is no larger than what its agent has had in hand at one time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from caxton_nats.core import codec
from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.envelope import Claim, Envelope
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.ledger import Entry


class Commit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one handler has left to be sent."""

    agent: AgentId
    slot: int
    entry: Entry
    """The message that was handled."""
    origin: Origin
    """Where it lies until it is settled."""
    at: datetime
    answers: tuple[msgspec.Raw, ...] = ()
    """Envelopes, as they are given to a door."""
    claim: Claim | None = None
    """Where they lie instead if they do not fit into a NATS message."""


_decoder = msgspec.json.Decoder(tuple[msgspec.Raw, ...])


def with_answers(commit: Commit, answers: Sequence[Envelope]) -> Commit:
    """Return the commit with these answers."""
    raw = tuple(msgspec.Raw(codec.encode(one)) for one in answers)
    return msgspec.structs.replace(commit, answers=raw)


def set_aside(commit: Commit) -> bytes:
    """Return the answers as they lie in the content store."""
    return msgspec.json.encode(commit.answers)


def answers_of(commit: Commit, aside: bytes | None = None) -> tuple[Envelope, ...]:
    """Return the answers that are in the commit, or were set aside.

    Raises:
        MessageError: somebody else has written them.
    """
    raw = commit.answers if aside is None else _decoder.decode(aside)
    return tuple(codec.decode(bytes(one), max_bytes=len(bytes(one))) for one in raw)
