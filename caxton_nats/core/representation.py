"""wire: FIPA's own encodings of a message, by the names that FIPA has for them.

JSON needs no name. A message in another encoding names it in the header ``ACL-Representation``,
which is FIPA's ``acl-representation`` (SC00067); whatever came in, what is stored is JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum

import msgspec

from caxton_nats.core import (
    bit_reader,
    bit_writer,
    codec,
    string_reader,
    string_writer,
    xml_reader,
    xml_writer,
)
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.core.parameters import Message, envelope_of


class Representation(StrEnum):
    """FIPA's three encodings of an ACL message, by FIPA's names (SC00067)."""

    STRING = "fipa.acl.rep.string.std"
    XML = "fipa.acl.rep.xml.std"
    BIT_EFFICIENT = "fipa.acl.rep.bitefficient.std"

    @property
    def short(self) -> str:
        """The word that people type for it: ``string``, ``xml``, ``bitefficient``."""
        return self.split(".")[3]


_WAYS: dict[Representation, tuple[Callable[[bytes], Message], Callable[[Envelope], bytes]]] = {
    Representation.STRING: (string_reader.read, string_writer.write),
    Representation.XML: (xml_reader.read, xml_writer.write),
    Representation.BIT_EFFICIENT: (bit_reader.read, bit_writer.write),
}
_NAMES = {name: one for one in Representation for name in (str(one), one.short)}


def representation(name: str) -> Representation:
    """Return the encoding of a name, in full or short; `InvalidEnvelope` if none is called so."""
    found = _NAMES.get(name.strip().lower())
    if found is None:
        raise InvalidEnvelope(
            "is no representation of a message",
            field=codec.REPRESENTATION,
            value=ascii(name[:60]),
            hint=f"one of {', '.join(Representation)}; JSON needs no such header",
        )
    return found


def encode(envelope: Envelope, to: Representation) -> bytes:
    """Return the message in one of FIPA's encodings; `InvalidEnvelope` names what has no form."""
    return _WAYS[to][1](envelope)


def decode(data: bytes, named: str, *, max_bytes: int, now: datetime) -> Envelope:
    """Return the envelope of `max_bytes` at most that came in `now`; or raise `MessageError`."""
    if len(data) > max_bytes:
        raise codec.too_large(len(data), max_bytes)
    return envelope_of(_WAYS[representation(named)][0](data), now)


def members(data: bytes, named: str) -> dict[str, msgspec.Raw]:
    """Return its parameters as the members of a JSON object; `MessageError` if it is none."""
    act, parameters = _WAYS[representation(named)][0](data)
    texts = {name: value for name, value in parameters.items() if isinstance(value, str)}
    return {
        name.removeprefix("X-Caxton-").lower(): msgspec.Raw(msgspec.json.encode(text))
        for name, text in {"performative": act, **texts}.items()
    }
