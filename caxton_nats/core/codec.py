"""wire: bytes to `Envelope` and back.

The strict form (what we write) is decoded straight into the struct. What people type is decoded
on a second, slower path: FIPA's hyphenated names, one receiver as a string, priorities by name.
Both end in the same frozen `Envelope`. Limits on bytes are checked before anything is parsed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from caxton_nats.core.envelope import NO_CONTENT, SAFE_NESTING, Envelope, Priority, check_nesting
from caxton_nats.core.errors import InvalidEnvelope, MalformedEnvelope, MessageTooLarge

ENVELOPE_OVERHEAD = 65_536
"""Bytes an envelope may have beside its content (names, X- parameters, escapes)."""

_decoder = msgspec.json.Decoder(Envelope)
_encoder = msgspec.json.Encoder()
_loose_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ALIASES = {
    "receivers": "receiver",
    "to": "receiver",
    "id": "message_id",
    "conversation": "conversation_id",
    "from": "sender",
}
_NAME_LISTS = ("receiver", "reply_to")


def encode(envelope: Envelope) -> bytes:
    """Return the envelope as JSON, fields at their default left out, content byte for byte."""
    if envelope.content is not NO_CONTENT and not memoryview(envelope.content).nbytes:
        # msgspec leaves out the default Raw itself only, and writes another empty one as nothing.
        envelope = msgspec.structs.replace(envelope, content=NO_CONTENT)
    return _encoder.encode(envelope)


def decode(data: bytes, *, max_bytes: int) -> Envelope:
    """Return the envelope that ``data`` holds.

    Args:
        data: one JSON object in UTF-8.
        max_bytes: largest accepted ``data``, in bytes.

    Raises:
        MessageTooLarge: more than ``max_bytes``.
        MalformedEnvelope: not UTF-8, not JSON, not an object, or nested too deeply.
        InvalidEnvelope: an unknown field, or a field of the wrong type.
    """
    if len(data) > max_bytes:
        raise MessageTooLarge(
            "the message is larger than this deployment accepts",
            field="content",
            limit=max_bytes,
            value=len(data),
            hint="send less, or split the content over several messages",
        )
    try:
        if not data.isascii():
            # msgspec skips over the undecoded content without looking at its encoding.
            data.decode("utf-8")
        envelope = _decode_any(data)
    except UnicodeDecodeError as error:
        raise MalformedEnvelope(
            f"not UTF-8 at byte {error.start}", hint="encode the JSON text as UTF-8"
        ) from None
    except msgspec.DecodeError as error:
        raise MalformedEnvelope(
            f"not a JSON object: {error}",
            hint='the least is {"performative": "inform", "receiver": "NAME"}',
        ) from None
    except RecursionError:
        raise MalformedEnvelope(
            "JSON nested too deeply", field="content", limit=SAFE_NESTING, hint="flatten it"
        ) from None
    check_nesting(data)
    return envelope


def _decode_any(data: bytes) -> Envelope:
    try:
        return _decoder.decode(data)
    except msgspec.ValidationError:
        return _decode_loose(data)


def _decode_loose(data: bytes) -> Envelope:
    try:
        found = _loose_decoder.decode(data)
    except msgspec.ValidationError:
        raise MalformedEnvelope(
            "the top level of a message is a JSON object", value=ascii(data[:40])
        ) from None
    fields: dict[str, Any] = {}
    user_defined: dict[str, str] = {}
    for typed, raw in found.items():
        name = _field_name(typed)
        if typed[:2] in ("X-", "x-"):
            user_defined[typed] = _text(typed, raw)
        elif name in fields:
            raise InvalidEnvelope("is given twice", field=_shown(name))
        else:
            fields[name] = raw if name == "content" else _decode_field(name, raw)
    if user_defined and fields.setdefault("user_defined", user_defined) is not user_defined:
        raise InvalidEnvelope("is given beside X- parameters: use one form", field="user_defined")
    return build(fields)


def _field_name(typed: str) -> str:
    name = typed.replace("-", "_")
    return _ALIASES.get(name, name)


def _decode_field(name: str, raw: msgspec.Raw) -> Any:
    try:
        value = msgspec.json.decode(raw)
    except msgspec.ValidationError as error:
        raise InvalidEnvelope(str(error), field=_shown(name)) from None
    if name in _NAME_LISTS:
        return _names(name, value)
    if name == "priority" and isinstance(value, str):
        return _priority(value)
    return value


def _text(name: str, raw: msgspec.Raw) -> str:
    value = _decode_field(name, raw)
    if not isinstance(value, str):
        raise InvalidEnvelope("must be a text", field=_shown(name), value=ascii(value)[:60])
    return value


def _names(field: str, value: Any) -> tuple[str, ...]:
    """Accept ``"bob"``, ``["bob"]`` and FIPA's ``{"name": "bob"}``."""
    names = value if isinstance(value, list) else [value]
    plain = [name.get("name") if isinstance(name, dict) else name for name in names]
    texts = tuple(name for name in plain if isinstance(name, str))
    if len(texts) != len(plain):
        raise InvalidEnvelope(
            "must be an agent name or a list of agent names",
            field=field,
            value=ascii(value)[:60],
        )
    return texts


def _priority(text: str) -> Priority:
    try:
        return Priority[text.upper()]
    except KeyError:
        raise InvalidEnvelope(
            "must be low, normal, high or critical", field="priority", value=ascii(text[:60])
        ) from None


def build(fields: dict[str, Any]) -> Envelope:
    """Return the envelope with these fields, by their names in Python; ``content`` is `Raw`.

    Raises:
        InvalidEnvelope: an unknown field, a missing one, or a value of the wrong type.
    """
    # convert() has no Raw: the content goes around it.
    content = fields.pop("content", None)
    try:
        envelope = msgspec.convert(fields, Envelope)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None
    if content is None:
        return envelope
    return msgspec.structs.replace(envelope, content=content)


def _invalid(error: msgspec.ValidationError) -> InvalidEnvelope:
    """Turn msgspec's ``Expected `str`, got `int` - at `$.sender` `` into field and reason."""
    reason, _, path = str(error).partition(" - at `$.")
    field = path.rstrip("`")
    if "unknown field" in reason:
        return InvalidEnvelope(
            "is not a field of an ACL message",
            field=_inner(field, reason),
            hint="own parameters start with X-",
        )
    if "missing required field" in reason:
        return InvalidEnvelope("is missing", field=_inner(field, reason))
    if "length >= 1" in reason:
        return InvalidEnvelope("must not be empty", field=field, limit=1, value=0)
    return InvalidEnvelope(reason.replace("`", ""), field=field)


def _inner(path: str, reason: str) -> str:
    name = _shown(reason.split("`")[1])
    return f"{path}.{name}" if path else name


def _shown(name: str) -> str:
    """Return a field name that a stranger chose as an error may show it on a terminal."""
    return ascii(name)[1:-1][:60]
