"""Names: what an agent, a message and a conversation may be called, and how names become tokens.

An agent identifier is FIPA's ``local@platform`` (SC00023, AID name). Names meet NATS only as
*tokens*: one piece of a subject or of a KV key, readable where the name is safe already, escaped
otherwise, and always reversible, so that two names can never share a subject.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import NewType

from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.core.visible import first_hidden

AgentId = NewType("AgentId", str)
"""``local@platform``, checked. Two identifiers name the same agent iff they are equal."""
MessageId = NewType("MessageId", str)
"""1..128 printable ASCII characters without white space."""
ConversationId = NewType("ConversationId", str)
"""1..255 characters without control characters."""

MAX_NAME = 255
MAX_MESSAGE_ID = 128
AMS = "ams"
CAPABILITY_PREFIX = "capability:"
"""A receiver that begins so is no agent's name, but asks for whoever offers a capability."""
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
_ESCAPED = tuple(chr(byte) if chr(byte) in _SAFE else f"={byte:02X}" for byte in range(256))
_HEX = frozenset("0123456789ABCDEF")
_KNOWN = 16_384  # names that are remembered: the same agents write to each other all the time


@lru_cache(maxsize=_KNOWN)
def agent_id(name: str, platform: str, *, field: str = "agent") -> AgentId:
    """Return the checked identifier for ``local`` or ``local@platform``.

    Args:
        name: what was typed; without ``@`` it is an agent of ``platform``.
        platform: this deployment's own name.
        field: where the name came from, for the error.

    Raises:
        InvalidEnvelope: an empty or too long part, white space, invisible characters, a second
            ``@``, text not in Unicode's composed form (NFC), or a capability.
    """
    local, at, home = name.partition("@")
    home = home if at else platform
    if local.startswith(CAPABILITY_PREFIX):
        raise InvalidEnvelope("is a capability, not a name", field=field, value=ascii(name[:60]))
    _check_part(local, "local part", field)
    _check_part(home, "platform part", field)
    return AgentId(f"{local}@{home}")


def local_part(agent: AgentId) -> str:
    """Return the name before ``@``."""
    return agent.partition("@")[0]


def platform_part(agent: AgentId) -> str:
    """Return the name after ``@``."""
    return agent.partition("@")[2]


def check_free(agent: AgentId, *, field: str) -> None:
    """Refuse the name of the platform's own agent: ``ams`` (FIPA SC00023) speaks for the platform.

    Raises:
        InvalidEnvelope: the agent is the AMS.
    """
    if local_part(agent).lower() == AMS:
        raise InvalidEnvelope(
            "is the platform's own agent", field=field, value=agent, hint="choose another name"
        )


def agent_token(agent: AgentId) -> str:
    """Return the subject token of an agent of this platform (its escaped local part)."""
    return token(local_part(agent))


def agent_from_token(text: str, platform: str) -> AgentId:
    """Return the agent of this platform that a token names; the inverse of `agent_token`.

    Raises `InvalidEnvelope` if the token is not the escape of a local name.
    """
    name = untoken(text)
    if "@" in name:  # A door that vouches for this token must not vouch for other platforms.
        raise _bad_token(text)
    return agent_id(name, platform, field="subject")


def check_message_id(text: str) -> MessageId:
    """Return the id if it is 1..128 printable ASCII characters, for it travels in a NATS header."""
    _check_length(text, "message_id", MAX_MESSAGE_ID)
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise InvalidEnvelope(
            "a message id has printable ASCII characters only, and no white space",
            field="message_id",
            value=ascii(text),
        )
    return MessageId(text)


def check_conversation_id(text: str) -> ConversationId:
    """Return the id if it is 1..255 visible characters."""
    check_text(text, "conversation_id", MAX_NAME)
    return ConversationId(text)


def check_text(text: str, field: str, limit: int) -> None:
    """Refuse an empty text, one longer than ``limit`` characters, or one that hides something."""
    _check_length(text, field, limit)
    if text.isspace():
        raise InvalidEnvelope("is blank", field=field, value=ascii(text[:60]))
    if not (text.isascii() and text.isprintable()):
        _check_visible(text, field)


@lru_cache(maxsize=_KNOWN)
def token(name: str) -> str:
    """Escape a name into one subject token; ``untoken`` is its inverse.

    ``A-Z a-z 0-9 - _`` stay as they are; every other byte of the UTF-8 form becomes ``=XX``.
    """
    if _SAFE.issuperset(name):
        return name
    return "".join(map(_ESCAPED.__getitem__, name.encode("utf-8")))


def untoken(text: str) -> str:
    """Return the name that `token` escaped.

    Raises:
        InvalidEnvelope: the text is not in the canonical escaped form.
    """
    if _SAFE.issuperset(text):
        return text
    raw = bytearray()
    head, *escaped = text.split("=")
    raw += head.encode("utf-8", "surrogatepass")
    for piece in escaped:
        if len(piece) < 2 or not _HEX.issuperset(piece[:2]):
            raise _bad_token(text)
        raw.append(int(piece[:2], 16))
        raw += piece[2:].encode("utf-8", "surrogatepass")
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _bad_token(text) from None
    if token(name) != text:
        raise _bad_token(text)
    return name


def _bad_token(text: str) -> InvalidEnvelope:
    hint = "letters, digits, - and _ stand for themselves, every other byte is =XX in upper hex"
    what, value = "the subject token is not an escaped agent name", ascii(text)
    return InvalidEnvelope(what, field="subject", value=value, hint=hint)


def _check_part(part: str, what: str, field: str) -> None:
    if not 1 <= len(part) <= MAX_NAME:
        raise InvalidEnvelope(
            f"the {what} of an agent name has 1 to {MAX_NAME} characters",
            field=field,
            limit=MAX_NAME if part else 1,
            value=len(part),
        )
    if _SAFE.issuperset(part):
        return
    if "@" in part:
        raise InvalidEnvelope("an agent name has one @ only", field=field, value=ascii(part))
    if any(map(str.isspace, part)):
        raise InvalidEnvelope("an agent name has no white space", field=field, value=ascii(part))
    _check_visible(part, field)


def _check_length(text: str, field: str, limit: int) -> None:
    if not 1 <= len(text) <= limit:
        raise InvalidEnvelope(
            f"must have 1 to {limit} characters",
            field=field,
            limit=limit if text else 1,
            value=len(text),
        )


def _check_visible(text: str, field: str) -> None:
    hidden = first_hidden(text)
    if hidden is not None:
        raise InvalidEnvelope(
            "contains a control or invisible character", field=field, value=ascii(hidden)
        )
    if not unicodedata.is_normalized("NFC", text):
        raise InvalidEnvelope(
            "is not in Unicode's composed form (NFC)", field=field, value=ascii(text)
        )
