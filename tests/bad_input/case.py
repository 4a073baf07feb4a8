"""What a case of the catalogue is: bytes that somebody brings to a door, and what becomes of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from caxton_nats.core.errors import CaxtonError, InvalidEnvelope, MalformedEnvelope
from caxton_nats.core.identifiers import AgentId

SENDER = AgentId("mallory@here")
RECEIVER = AgentId("bob@here")
GOOD = b'{"performative":"inform","receiver":["bob"],"content":"good"}'
NOON = datetime(2036, 5, 1, 12, tzinfo=UTC)
"""For deadlines that have not passed."""


class Refused(NamedTuple):
    """The error that whoever sent it gets, as precise as it must be."""

    kind: type[CaxtonError]
    field: str = ""
    reason: str = ""
    """What the reason begins with."""
    limit: int | str | None = None
    value: int | str | None = None
    hint: str = ""
    """What the hint has in it."""

    def differs(self, told: dict[str, Any]) -> str:
        """Return what of an error, as a client of any language reads it, is not as it should be."""
        wrong = []
        if told.get("code") != self.kind.__name__:
            wrong.append(f"code is not {self.kind.__name__}")
        if told.get("field", "") != self.field:
            wrong.append(f"field is not {self.field!r}")
        if not str(told.get("reason", "")).startswith(self.reason):
            wrong.append(f"reason does not begin with {self.reason!r}")
        if self.limit is not None and told.get("limit") != self.limit:
            wrong.append(f"limit is not {self.limit!r}")
        if self.value is not None and told.get("value") != self.value:
            wrong.append(f"value is not {self.value!r}")
        if self.hint not in str(told.get("hint", "")):
            wrong.append(f"hint has no {self.hint!r}")
        return f"{told}: {', '.join(wrong)}" if wrong else ""


class Case(NamedTuple):
    """Something that is brought to a door."""

    name: str
    body: bytes
    refused: Refused | None
    """None: it is odd, and right."""
    answered: bool = True
    """Whether the sender is told by a notice what became of it; an error is never answered."""
    headers: Mapping[str, str] = MappingProxyType({})
    """What is said of the bytes: the encoding that they are in, if that is not JSON."""


def message(**fields: Any) -> bytes:
    """Return the least message with these fields, ASCII only."""
    return json.dumps({"performative": "inform", "receiver": ["bob"], **fields}).encode()


def with_member(member: bytes) -> bytes:
    """Return the least message with one more member, as it is written."""
    return b'{"performative":"inform","receiver":["bob"],' + member + b"}"


def invalid(field: str, reason: str, **more: Any) -> Refused:
    return Refused(InvalidEnvelope, field, reason, **more)


def malformed(reason: str, **more: Any) -> Refused:
    return Refused(MalformedEnvelope, reason=reason, **more)
