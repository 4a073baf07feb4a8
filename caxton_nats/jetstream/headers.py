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
MOST_KEPT = 8_192
"""Characters of a client's headers, names and values together."""
_OURS = "Caxton-"
_SEPARATORS = frozenset(" :")


_FIRST_LINE = b"NATS/1.0"
_NO_BREAKS = str.maketrans("\r\n", "  ")


def block(headers: Mapping[str, str]) -> bytes:
    """Return the headers as they go over the wire; b"" for none.

    Raises:
        ValueError: a name is none. A line break in a value becomes a space.
    """
    if not headers:
        return b""
    lines = ["NATS/1.0"]
    for key, value in headers.items():
        # nats-py's are members of an enumeration, which are written by another name.
        name = str.__str__(key)
        plain = name.isascii() and name.isprintable()
        if not plain or not name or _SEPARATORS.intersection(name):
            raise ValueError(f"{name!a} is no name for a header")
        lines.append(f"{name}: {value.translate(_NO_BREAKS)}")
    return "\r\n".join((*lines, "\r\n")).encode()


def parse_block(raw: bytes) -> dict[str, str]:
    """Return the headers of a block as it came, whatever it is; a status line is two of them."""
    if not raw.startswith(_FIRST_LINE):
        return {}
    first, *lines = raw.decode("utf-8", "replace").split("\r\n")
    found: dict[str, str] = {}
    status = first[len(_FIRST_LINE) :].strip()
    if status[:3].isdigit():
        found[STATUS] = status[:3]
        if len(status) > 4:
            found[DESCRIPTION] = status[4:]
    for line in lines:
        name, separator, value = line.partition(":")
        name = name.strip()
        if separator and name.isascii() and not any(map(str.isspace, name)):
            found[name] = value.strip()
    return found


def status_of(raw: bytes) -> str:
    """Return the status that a block begins with, "503" or "409 consumer deleted"; else ""."""
    if not raw.startswith(_FIRST_LINE + b" "):
        return ""
    return raw[len(_FIRST_LINE) + 1 : raw.find(b"\r")].decode("utf-8", "replace").strip()


def stored_headers(encoded: str | None) -> dict[str, str]:
    """Return the headers of a stored message as the JetStream API gives them (base64)."""
    if not encoded:
        return {}
    lines = b64decode(encoded).decode("utf-8", "replace").split("\r\n")[1:]
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    return {name: value.strip() for name, value in found.items()}


def kept_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return the headers worth keeping of a message: a client's, if they could be sent again.

    NATS's own are left out, and so are names that no header may have, and of more than
    `MOST_KEPT` characters those that come last: a megabyte of headers would leave a dead letter no
    room.
    """
    if not headers:
        return {}
    kept: dict[str, str] = {}
    room = MOST_KEPT
    # Ours before those of strangers.
    for name, value in sorted(headers.items(), key=lambda one: not one[0].startswith(_OURS)):
        text = str(value)
        room -= len(name) + len(text)
        if _is_a_clients(name) and room >= 0:
            kept[str(name)] = text
    return kept


def _is_a_clients(name: str) -> bool:
    """Return whether it is a header's name, and not one that NATS gives a meaning to."""
    if name in (STATUS, DESCRIPTION) or name[:5].lower() == "nats-":
        return False
    return name.isascii() and name.isprintable() and not _SEPARATORS.intersection(name or ":")
