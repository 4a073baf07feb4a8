"""wire: an ACL message in FIPA's bit-efficient encoding (SC00069), without a code table.

A code table grows with the messages of one sender to one receiver, and here any router may read
the next one, so each message stands alone.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode

from caxton_nats.core import bit_codes as code
from caxton_nats.core.envelope import BASE64, Envelope
from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.core.fields import shown
from caxton_nats.core.parameters import AGENTS, Value, is_marked, parameters_of

_WORD = re.compile(r"[^\x00-\x20()#0-9@:\"\\-][^\x00-\x20()\"\\]*")
_NIBBLE_OF = {character: nibble for nibble, character in code.NIBBLES.items()}


def write(envelope: Envelope) -> bytes:
    """Return the message as FIPA's bytes; `InvalidEnvelope` names what has no form there."""
    act, parameters = parameters_of(envelope)
    found = dict(parameters)
    _write_out_bytes(found)
    known = code.ACTS.get(act)
    out = bytearray((code.NO_TABLE, code.VERSION))
    out += (
        bytes((code.OWN,)) + _ended("performative", code.WORD, act)
        if known is None
        else bytes((known,))
    )
    for name, value in found.items():
        out += _parameter(name, value)
    out.append(code.END)
    return bytes(out)


def _write_out_bytes(found: dict[str, Value]) -> None:
    """Make bytes of base64; bytes need no ``encoding`` that says what they are."""
    content = found.get("content")
    if found.get("encoding") != BASE64 or not isinstance(content, str) or is_marked(found):
        return
    try:
        data = b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        return
    if b64encode(data).decode("ascii") == content:
        found["content"] = data
        del found["encoding"]


def _parameter(name: str, value: Value) -> bytes:
    known = code.PARAMETERS.get(name)
    if known is None:
        return bytes((code.OWN,)) + _ended(name, code.WORD, name) + _text(name, str(value))
    return bytes((known,)) + _value(name, value)


def _value(name: str, value: Value) -> bytes:
    if isinstance(value, tuple):
        agents = b"".join(
            bytes((code.AGENT,)) + _ended(name, code.WORD, one) + bytes((code.END,))
            for one in value
        )
        return agents + bytes((code.END,)) if name in AGENTS else agents
    if isinstance(value, bytes):
        return _bytes(value)
    if name == "reply-by":
        return _time(value)
    if name == "content":
        return _ended(name, code.STRING, value)
    return _ended(name, code.WORD, value) if name == "protocol" else _text(name, value)


def _text(name: str, text: str) -> bytes:
    return _ended(name, code.WORD if _WORD.fullmatch(text) else code.STRING, text)


def _ended(name: str, kind: int, text: str) -> bytes:
    if "\0" in text:
        raise InvalidEnvelope(
            "has a NUL, which FIPA's bit-efficient encoding has no form for", field=shown(name)
        )
    return bytes((kind,)) + text.encode() + b"\0"


def _bytes(value: bytes) -> bytes:
    for kind, size in ((code.LENGTH_1, 1), (code.LENGTH_2, 2)):
        if len(value) < 256**size:
            return bytes((kind,)) + len(value).to_bytes(size) + value
    return bytes((code.LENGTH_4,)) + len(value).to_bytes(4) + value


def _time(token: str) -> bytes:
    digits = token.removesuffix("Z").replace("T", "")
    nibbles = [_NIBBLE_OF[digit] for digit in digits] + [0]
    pairs = zip(nibbles[::2], nibbles[1::2], strict=True)
    date = bytes(high << 4 | low for high, low in pairs)
    if token.endswith("Z"):
        return bytes((code.TIME | code.DESIGNATED,)) + date + b"Z"
    return bytes((code.TIME,)) + date
