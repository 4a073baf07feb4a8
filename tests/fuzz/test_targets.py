"""The fuzz targets over what is kept of earlier runs, and over what hypothesis thinks up."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.targets import TARGETS

FOLDER = Path(__file__).resolve().parents[2] / "fuzz"
EXAMPLES = 150
"""For each target, on each run of the suite: a second or so."""


def kept(name: str) -> list[bytes]:
    """Return the corpus of a target, and what once broke it."""
    places = [FOLDER / "corpus" / name, FOLDER / "crashes" / name]
    return [
        file.read_bytes() for place in places if place.is_dir() for file in sorted(place.iterdir())
    ]


ALL_KEPT = [(name, data) for name in TARGETS for data in kept(name)]


@st.composite
def near(draw: st.DrawFn, name: str) -> bytes:
    """Return bytes of a target's corpus with pieces cut out, put in, repeated or exchanged."""
    data = bytearray(draw(st.sampled_from(kept(name))))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 12)))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=8))
        data[at:end] = bytes(data[at:end]) * 3 if piece == b"*" else piece
    return bytes(data)


PIECES = [
    *(
        b"*",
        b"",
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"null",
        b"true",
        b"-1",
        b"1e999",
    ),
    *(
        b"9" * 30,
        b"NaN",
        b"\\ud800",
        b"\\u0000",
        b"\0",
        b"\xff",
        b"\xe2\x80\xae",
        b"\r\n",
        b"\x1b[2J",
    ),
    *(b"9999-12-31T23:59:59-23:59", b"=ZZ", b"=2E", b".", b"*", b">", b"@", b" ", b"\xef\xbb\xbf"),
    *(b'"receiver":', b'"to":', b'"X-a":', b'"sender":', b'"claim":', b"[" * 600, b"x" * 300),
]


@pytest.mark.parametrize(("name", "data"), ALL_KEPT)
def test_what_is_kept(name: str, data: bytes) -> None:
    """The corpus is no trouble, and what was once is none any more."""
    TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_what_is_like_it(name: str, data: st.DataObject) -> None:
    """Nothing near a right input breaks a target."""
    TARGETS[name](data.draw(near(name)))


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=EXAMPLES)
@given(
    data=st.binary(max_size=300)
    | st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace"))
)
def test_anything(name: str, data: bytes) -> None:
    """Nothing at all breaks a target."""
    TARGETS[name](data)
