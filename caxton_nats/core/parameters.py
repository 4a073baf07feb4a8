"""wire: an ACL message as FIPA's parameters, which is what its own encodings write and read.

What FIPA has no word for travels as ``X-Caxton-…``, so that the way there and back changes nothing.
Addresses and resolvers of an agent are read over: here the bus resolves names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from caxton_nats.core.content import JSON, meant, said
from caxton_nats.core.date_time import moment, token
from caxton_nats.core.envelope import Envelope, Priority
from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.core.fields import build, priority, shown

AGENTS = frozenset({"receiver", "reply-to"})  # sets of them; ``sender`` is one alone
TEXTS = (
    *("language", "encoding", "ontology", "protocol"),
    *("conversation-id", "reply-with", "in-reply-to"),
)
_NAMES = frozenset({"sender", "content", "reply-by", *AGENTS, *TEXTS})
_OWN = "X-Caxton-"
_CONTENT, _REPLY_BY = f"{_OWN}Content", f"{_OWN}Reply-By"
_FIELDS = {
    f"{_OWN}{field.title().replace('_', '-')}": field
    for field in (
        *("message_id", "created_at", "priority", "timeout", "require_receipt", "max_retries"),
        *("strategy", "traceparent", "tracestate", "claim"),
    )
}
_FOLDED = {name.lower(): name for name in (*_FIELDS, _CONTENT, _REPLY_BY)}
_AS_JSON = frozenset({"timeout", "require_receipt", "max_retries", "claim"})
_LEAST = Envelope(performative="")

Value = str | bytes | tuple[str, ...]
"""A text (``reply-by``: a date-time token), content that is bytes, or names of agents."""
MOST_PARTS = 100_000  # words, elements or values of one message: a tenth of a second or two
Where = Callable[[], str]


class Message(NamedTuple):
    """An ACL message in FIPA's words, whichever encoding writes or has read it."""

    act: str
    parameters: Mapping[str, Value]


def put(parameters: dict[str, Value], name: str, value: Value, where: Where) -> None:
    """Add a parameter; `InvalidEnvelope` if it is there already."""
    if name in parameters:
        raise InvalidEnvelope(f"is given twice, again at {where()}", field=shown(name))
    parameters[name] = value


def parameter(name: str, where: Where) -> str:
    """Return the parameter that is meant, without regard to case; `InvalidEnvelope` if none is."""
    if name[:2] in ("X-", "x-"):
        return _FOLDED.get(name.lower(), name)
    folded = name.lower()
    if folded not in _NAMES:
        raise InvalidEnvelope(
            f"is not a parameter of an ACL message, at {where()}",
            field=shown(name),
            hint="own parameters start with X-",
        )
    return folded


def parameters_of(envelope: Envelope) -> Message:
    """Return the message in FIPA's words; `InvalidEnvelope` names what they cannot say."""
    content, marked = said(envelope)
    reply_by = envelope.reply_by
    found: dict[str, Value | None] = {
        "sender": (envelope.sender,) if envelope.sender else None,
        "receiver": envelope.receiver or None,
        "content": content,
        **{name: getattr(envelope, name.replace("-", "_")) or None for name in TEXTS},
        "reply-to": envelope.reply_to or None,
        "reply-by": None if reply_by is None else token(reply_by, "reply_by"),
        _REPLY_BY: reply_by.isoformat() if reply_by and reply_by.microsecond % 1000 else None,
        _CONTENT: JSON if marked else None,
        **{name: _own_text(envelope, field) for name, field in _FIELDS.items()},
    }
    for name in envelope.user_defined:
        if name.lower() in _FOLDED:
            raise InvalidEnvelope("is a name that caxton-nats keeps for itself", field=shown(name))
    said_so = {name: value for name, value in found.items() if value is not None}
    return Message(envelope.performative, said_so | envelope.user_defined)


def envelope_of(message: Message, now: datetime) -> Envelope:
    """Return the envelope that is meant by a message that came in `now`; or `MessageError`."""
    fields: dict[str, Any] = {"performative": message.act, "user_defined": {}}
    for name, value in message.parameters.items():
        _take(fields, name, value)
    if "reply_by" in fields:
        fields["reply_by"] = moment(fields["reply_by"], now, "reply_by")
    if _REPLY_BY in message.parameters:
        fields["reply_by"] = message.parameters[_REPLY_BY]
    content = message.parameters.get("content")
    if content is not None and not isinstance(content, tuple):
        marked = is_marked(message.parameters)
        encoding, language = (str(fields.get(name, "")) for name in ("encoding", "language"))
        fields["content"], encoding = meant(content, encoding, language, marked=marked)
        if encoding:
            fields["encoding"] = encoding
    return build(fields)


def _take(fields: dict[str, Any], name: str, value: Value) -> None:
    """Add the field of a parameter; what is said of another one is left to that."""
    if name in _FIELDS:
        fields[_FIELDS[name]] = _own_value(name, str(value))
    elif name == "sender":
        fields["sender"] = value[0]
    elif name in _NAMES:
        fields[name.replace("-", "_")] = value
    elif name not in (_CONTENT, _REPLY_BY):
        fields["user_defined"][name] = value


def is_marked(parameters: Mapping[str, Value]) -> bool:
    """Return whether the content is said to be JSON text; raise `InvalidEnvelope` if otherwise."""
    marker = parameters.get(_CONTENT)
    if marker not in (None, JSON):
        raise InvalidEnvelope("must be json", field=_CONTENT, value=ascii(marker)[:60])
    return marker is not None


def _own_text(envelope: Envelope, field: str) -> str | None:
    value = getattr(envelope, field)
    if value == getattr(_LEAST, field):
        return None
    if isinstance(value, Priority):
        return value.name.lower()
    plain = msgspec.to_builtins(value)
    return plain if isinstance(plain, str) else msgspec.json.encode(plain).decode()


def _own_value(name: str, text: str) -> Any:
    field = _FIELDS[name]
    if field == "priority":
        return priority(text)
    if field not in _AS_JSON:
        return text
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        reason = f"has a wrong value: {error}"
        raise InvalidEnvelope(reason, field=name, value=ascii(text[:60])) from None
