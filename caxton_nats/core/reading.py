"""wire: JSON that others wrote, where a parser alone is not strict or not clear enough.

msgspec takes the last of two members of one name, and so does Python; other parsers take the
first. Whoever stands in front of us could have checked the one and we act on the other, so an
object that says something twice is refused. And what a parser calls an invalid character is said
here in words that help whoever made it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping

import msgspec

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what they should be."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
# Possessive: a long run of escapes must not be remembered step by step.
_NAME = re.compile(rb'[ \t\r\n]*("[^"\\]*+(?:\\.[^"\\]*+)*+")[ \t\r\n]*:[ \t\r\n]*', re.DOTALL)
_NEXT = re.compile(rb"[ \t\r\n]*([,}])")
_HALF_PAIR = re.compile(
    rb"(?:[^\\]++|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\(?!u[dD][89a-fA-F]).)*+(\\u[dD][89a-fA-F])",
    re.DOTALL,
)
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def members(data: bytes) -> dict[str, msgspec.Raw]:
    """Return the members of a JSON object, undecoded; of two of one name, the last.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: it is none.
    """
    return _members.decode(data)


def repeated(data: bytes, found: Mapping[str, msgspec.Raw] | None = None) -> str | None:
    """Return the name of a member that a JSON object has twice, or None.

    Args:
        data: a well-formed JSON object.
        found: its `members`, if they are known.
    """
    found = members(data) if found is None else found
    # As short as these members can be written, it has no other one: true of what most clients send.
    least = 1 + 4 * len(found) + sum(map(len, found)) + sum(map(len, found.values()))
    return None if len(data) == least or not found else _walk(data, found)


def _walk(data: bytes, found: Mapping[str, msgspec.Raw]) -> str | None:
    """Go from member to member; a value that is not the last of its name shows by itself."""
    seen: set[str] = set()
    at = data.index(b"{") + 1
    while (name := _NAME.match(data, at)) is not None:
        text = msgspec.json.decode(name[1], type=str)
        value = bytes(found[text])
        behind = _NEXT.match(data, name.end() + len(value))
        if text in seen or behind is None or not data.startswith(value, name.end()):
            return text
        if behind[1] == b"}":
            return None
        seen.add(text)
        at = behind.end()
    return None


def complaint(data: bytes, error: Exception) -> str:
    """Say what is wrong with bytes that could not be read."""
    wrong = _encoding(data)
    if wrong:
        return wrong
    half = _HALF_PAIR.match(data)
    if half is not None:
        return f"half of a surrogate pair without the other half (byte {half.start(1)})"
    if isinstance(error, msgspec.ValidationError):
        return str(error)
    return f"not a JSON object: {error}"


def _encoding(data: bytes) -> str:
    if not data.strip():
        return "the message is empty"
    if data.startswith(_MARKS):
        return "the text begins with a byte order mark"
    if data[:2].count(0) == 1:
        return "the text is UTF-16, not UTF-8"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as wrong:
        # Of the whole text: msgspec counts within a string.
        return f"not UTF-8 at byte {wrong.start}"
    return ""
