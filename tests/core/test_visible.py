"""What cannot be seen is found; what can be seen is left alone."""

from __future__ import annotations

import pytest

from caxton_nats.core.visible import first_hidden


@pytest.mark.parametrize(
    "character",
    [
        *("\0", "\x1b", "\x7f", "\x9b", "\u200b", "\u202e", "\u2066", "\ufeff", "\u2028"),
        *("\u2029", "\ue000", "\ud800", "\uffff", "\U000e0041", "\u034f", "\u115f", "\u3164"),
        *("\u2800", "\ufe0f", "\U000e0100", "\u180e"),
    ],
)
def test_hidden(character: str) -> None:
    """Controls, formats, halves of pairs, private and unassigned ones, and blank letters."""
    assert first_hidden(f"a{character}b") == character


@pytest.mark.parametrize("text", ["", "bob", "é世界", "😀", "a b", "\u0430gent", "क्ष", "\uff42ob"])
def test_seen(text: str) -> None:
    """Letters of any script, marks, symbols and spaces."""
    assert first_hidden(text) is None
