"""wire: bytes to `Envelope` and back.

The strict form (what we write) is decoded straight into the struct, what people type field by
field; both end in the same frozen `Envelope`. Limits on bytes are checked before anything is
parsed, and what a door takes says nothing twice.
"""

from __future__ import annotations

import msgspec

from caxton_nats.core.envelope import NO_CONTENT, SAFE_NESTING, Envelope, check_nesting
from caxton_nats.core.errors import InvalidEnvelope, MalformedEnvelope, MessageTooLarge
from caxton_nats.core.fields import shown, stray, typed
from caxton_nats.core.reading import complaint, members, repeated

REPRESENTATION = "ACL-Representation"
"""The header that says that a message is not JSON; see `representation`."""
ENVELOPE_OVERHEAD = 65_536
"""Bytes an envelope may have beside its content (names, X- parameters, escapes)."""
_LEAST = 'a JSON object in UTF-8, at least {"performative": "inform", "receiver": "NAME"}'
_NAME_IT = f"what is not JSON names its encoding in the header {REPRESENTATION}"
_FIPAS = frozenset({b"(", b"<", b"\xfa", b"\xfb", b"\xfc"})

_decoder = msgspec.json.Decoder(Envelope)
_encoder = msgspec.json.Encoder()


def encode(envelope: Envelope) -> bytes:
    """Return the envelope as JSON, fields at their default left out, content byte for byte."""
    if envelope.content is not NO_CONTENT and not memoryview(envelope.content).nbytes:
        # msgspec leaves out the default Raw itself only, and writes another empty one as nothing.
        envelope = msgspec.structs.replace(envelope, content=NO_CONTENT)
    return _encoder.encode(envelope)


def decode(data: bytes, *, max_bytes: int) -> Envelope:
    """Return the envelope that somebody brought to a door.

    Args:
        data: one JSON object in UTF-8.
        max_bytes: largest accepted ``data``, in bytes.

    Raises:
        MessageTooLarge: more than ``max_bytes``.
        MalformedEnvelope: not UTF-8, not JSON, not an object, or nested too deeply.
        InvalidEnvelope: an unknown field, one that is given twice, or one of the wrong type.
    """
    if len(data) > max_bytes:
        raise too_large(len(data), max_bytes)
    envelope = read(data)
    twice = repeated(data)
    if twice is not None:
        raise InvalidEnvelope("is given twice", field=shown(twice))
    return envelope


def too_large(size: int, most: int) -> MessageTooLarge:
    """Return the error for a message of more bytes than are accepted."""
    return MessageTooLarge(
        "the message is larger than this deployment accepts",
        field="content",
        limit=most,
        value=size,
        hint="send less, or split the content over several messages",
    )


def read(data: bytes) -> Envelope:
    """Return the envelope that stored or encoded bytes hold; of what is said twice, the last.

    Raises:
        MessageError: see `decode`; not for their size.
    """
    try:
        if not data.isascii():
            # msgspec skips over the undecoded content without looking at its encoding.
            data.decode("utf-8")
        envelope = _read_any(data)
    except (UnicodeDecodeError, msgspec.DecodeError) as error:
        is_fipas = data.lstrip()[:1] in _FIPAS
        raise MalformedEnvelope(
            complaint(data, error), hint=_NAME_IT if is_fipas else _LEAST
        ) from None
    except RecursionError:
        raise MalformedEnvelope(
            "JSON nested too deeply", field="content", limit=SAFE_NESTING, hint="flatten it"
        ) from None
    check_nesting(data)
    return envelope


def checked(envelope: Envelope) -> Envelope:
    """Return an envelope that a program of this process made, as strict as one made of bytes.

    Raises:
        MessageError: see `decode`: a field has another type than it should, or content is no JSON.
    """
    try:
        data = encode(envelope)
    except (TypeError, ValueError, AttributeError) as error:
        # Names of attributes and types, no values.
        raise InvalidEnvelope(f"has no JSON form: {error}", field=_unwritable(envelope)) from None
    return read(data)


def _unwritable(envelope: Envelope) -> str:
    for name in envelope.__struct_fields__:
        try:
            _encoder.encode(getattr(envelope, name))
        except (TypeError, ValueError):
            return name
    return "content"


def _read_any(data: bytes) -> Envelope:
    try:
        return _decoder.decode(data)
    except msgspec.ValidationError as error:
        unknown = stray(error)
    if unknown is not None:
        raise unknown
    try:
        found = members(data)
    except msgspec.ValidationError:
        raise MalformedEnvelope(
            "the top level of a message is a JSON object", value=ascii(data[:40])
        ) from None
    return typed(found)
