"""Header names, and which headers of a client we look at. Pure.

No ``Nats-*`` header of a client is ever copied: they are orders to the server (roll-up, schedule,
time to live), and a client may not give orders about another agent's mailbox.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping

MSG_ID = "Nats-Msg-Id"
EXPECTED_LAST_SUBJECT_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"
EXPECTED_LAST_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"
ROLLUP = "Nats-Rollup"
KV_OPERATION = "KV-Operation"
STATUS = "Status"
DESCRIPTION = "Description"
SEQUENCE = "Nats-Sequence"
SUBJECT = "Nats-Subject"
NUM_PENDING = "Nats-Num-Pending"
TIME_STAMP = "Nats-Time-Stamp"
SCHEDULE = "Nats-Schedule"
SCHEDULE_TARGET = "Nats-Schedule-Target"


def stored_headers(encoded: str | None) -> dict[str, str]:
    """Return the headers of a stored message as the JetStream API gives them (base64)."""
    if not encoded:
        return {}
    lines = b64decode(encoded).decode("utf-8", "replace").split("\r\n")[1:]
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    return {name: value.strip() for name, value in found.items()}


def kept_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return the headers worth keeping of a stored message: all that are not NATS's own."""
    if not headers:
        return {}
    return {
        str(name): str(value)
        for name, value in headers.items()
        if not name.lower().startswith("nats-") and name not in (STATUS, DESCRIPTION)
    }
