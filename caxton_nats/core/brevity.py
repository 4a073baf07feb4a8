"""How much an error says: a stranger's value must not make one that fits into no message."""

from __future__ import annotations

_WORDS, _VALUE = 2_000, 600
"""Characters of an error's words, and of a value that it names: a full agent name in escapes."""


def words(text: str) -> str:
    """Return the text, cut if it is too long to be told."""
    return _short(text, _WORDS)


def plain(value: object) -> int | str | None:
    """Return the value as one that every client can read: a short text, or a number of 64 bits."""
    if isinstance(value, int):
        small = -(2**63) <= value < 2**63
        return value if small else f"a number of {value.bit_length()} bits"
    return None if value is None else _short(str(value), _VALUE)


def _short(text: str, most: int) -> str:
    # A file's name that is no UTF-8 is read with lone surrogates, which nobody could write down.
    text = text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
    tail = f"… ({len(text)} characters)"
    return text if len(text) <= most else text[: most - len(tail)] + tail
