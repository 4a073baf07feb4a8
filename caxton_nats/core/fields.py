"""wire: the fields of a message by name, as programs give them and as people type them.

People write FIPA's hyphenated names, one receiver as a string, priorities by name. Whatever is
wrong is said of the field that it is wrong in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from caxton_nats.core.envelope import Envelope, Priority
from caxton_nats.core.errors import InvalidEnvelope

MOST_USER_DEFINED = 1_000
"""``X-`` parameters of one message that are looked at, whatever a deployment allows."""
_ALIASES = {
    "receivers": "receiver",
    "to": "receiver",
    "id": "message_id",
    "conversation": "conversation_id",
    "from": "sender",
}
_FIELDS = frozenset(Envelope.__struct_fields__)
_NAME_LISTS = ("receiver", "reply_to")
_MOMENTS = ("reply_by", "created_at")
_NEEDED = ("performative", "receiver")


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
        raise invalid(error, fields) from None
    if content is None:
        return envelope
    return msgspec.structs.replace(envelope, content=content)


def typed(found: Mapping[str, msgspec.Raw]) -> Envelope:
    """Return the envelope that somebody typed.

    Args:
        found: the members of a JSON object, undecoded.

    Raises:
        InvalidEnvelope: an unknown field, one that is given twice, or one of the wrong type.
    """
    fields: dict[str, Any] = {}
    user_defined: dict[str, str] = {}
    for name, raw in found.items():
        field = field_name(name)
        if _is_user_defined(name):
            user_defined[name] = _text(name, raw)
            _refuse_too_many(found, user_defined)
        elif field not in _FIELDS:
            raise _unknown(shown(name))
        elif field in fields:
            raise InvalidEnvelope("is given twice", field=shown(field))
        else:
            fields[field] = raw if field == "content" else _decode(field, raw)
    if user_defined and fields.setdefault("user_defined", user_defined) is not user_defined:
        raise InvalidEnvelope("is given beside X- parameters: use one form", field="user_defined")
    return build(fields)


def invalid(error: msgspec.ValidationError, fields: Mapping[str, Any]) -> InvalidEnvelope:
    """Turn msgspec's ``Expected `str`, got `int` - at `$.sender` `` into field and reason.

    Args:
        error: what msgspec says.
        fields: the values that it looked at.
    """
    reason, _, path = str(error).partition(" - at `$.")
    field = path.rstrip("`")
    if "unknown field" in reason:
        return _unknown(_inner(field, reason))
    if "missing required field" in reason:
        return InvalidEnvelope("is missing", field=_inner(field, reason))
    if "length >= 1" in reason:
        return InvalidEnvelope("must not be empty", field=field, limit=1, value=0)
    if field in _MOMENTS and isinstance(fields.get(field), str):
        return InvalidEnvelope(
            "is not a date with time and zone (RFC 3339)",
            field=field,
            value=ascii(fields[field][:60]),
            hint="as in 2030-01-31T12:00:00Z; a leap second is written as the one behind it",
        )
    optional = reason.endswith("`null`") and field not in _NEEDED
    hint = "leave the field out" if optional else ""
    return InvalidEnvelope(reason.replace("`", ""), field=field, hint=hint)


def stray(error: msgspec.ValidationError) -> InvalidEnvelope | None:
    """Return the error for a field that nobody could have meant, before anything else is read."""
    reason, at, _ = str(error).partition(" - at `$.")
    if at or "unknown field" not in reason:
        return None
    name = _quoted(reason)
    known = field_name(name) in _FIELDS or _is_user_defined(name)
    return None if known else invalid(error, {})


def field_name(typed_name: str) -> str:
    """Return the field that is meant by a name: ``reply-with``, ``to``."""
    name = typed_name.replace("-", "_")
    return _ALIASES.get(name, name)


def shown(name: str) -> str:
    """Return a field name that a stranger chose as an error may show it on a terminal."""
    return ascii(name[:60])[1:-1][:60]


def _unknown(field: str) -> InvalidEnvelope:
    return InvalidEnvelope(
        "is not a field of an ACL message", field=field, hint="own parameters start with X-"
    )


def _is_user_defined(name: str) -> bool:
    return name[:2] in ("X-", "x-")


def _refuse_too_many(found: Mapping[str, msgspec.Raw], user_defined: Mapping[str, str]) -> None:
    if len(user_defined) > MOST_USER_DEFINED:
        raise InvalidEnvelope(
            "too many X- parameters",
            field="user_defined",
            limit=MOST_USER_DEFINED,
            value=sum(map(_is_user_defined, found)),
        )


def _decode(field: str, raw: msgspec.Raw) -> Any:
    try:
        value = msgspec.json.decode(raw)
    except msgspec.ValidationError as error:
        raise InvalidEnvelope(str(error), field=shown(field)) from None
    if field in _NAME_LISTS:
        return _names(field, value)
    if field == "priority" and isinstance(value, str):
        return priority(value)
    return value


def _text(name: str, raw: msgspec.Raw) -> str:
    value = _decode(name, raw)
    if not isinstance(value, str):
        raise InvalidEnvelope("must be a text", field=shown(name), value=ascii(value)[:60])
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


def priority(text: str) -> Priority:
    """Return the priority of a name; `InvalidEnvelope` if there is none of this name."""
    try:
        return Priority[text.upper()]
    except KeyError:
        raise InvalidEnvelope(
            "must be low, normal, high or critical", field="priority", value=ascii(text[:60])
        ) from None


def _inner(path: str, reason: str) -> str:
    name = shown(_quoted(reason))
    return f"{path}.{name}" if path else name


def _quoted(reason: str) -> str:
    """Return what msgspec has put between backticks; a name may have some of its own."""
    return reason.partition("`")[2].rpartition("`")[0]
