"""A message that is right in every way, to be made wrong in one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import CaxtonError
from caxton_nats.core.identifiers import AgentId, MessageId

_T = TypeVar("_T")

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
ALICE = AgentId("alice@here")
BOB = AgentId("bob@here")
CAROL = AgentId("carol@here")


def sample(**changes: Any) -> Envelope:
    """Return a completed envelope from alice to bob, with these fields changed."""
    return msgspec.structs.replace(
        Envelope(
            message_id=MessageId("m-1"),
            performative="request",
            sender=ALICE,
            receiver=(BOB,),
            content=msgspec.Raw(b'{"n":1}'),
            created_at=NOON,
        ),
        **changes,
    )


def attempt(decide: Callable[[], _T]) -> _T | CaxtonError:
    """Return what was decided, or the error; anything but a `CaxtonError` fails the test."""
    try:
        return decide()
    except CaxtonError as error:
        return error
