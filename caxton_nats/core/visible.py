"""Which characters cannot be seen: they hide in a log, and make two names look alike."""

from __future__ import annotations

import unicodedata

INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories: control, format (zero width, right-to-left override), surrogate, private, none, and
line and paragraph separators."""
# Letters and marks that are drawn as nothing: joiners, fillers, variation selectors, blank braille.
_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)


def first_hidden(text: str) -> str | None:
    """Return the first character that cannot be seen, or None; white space is not looked for."""
    return next((c for c in text if unicodedata.category(c) in INVISIBLE or c in _BLANK), None)
