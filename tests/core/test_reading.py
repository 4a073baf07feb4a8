"""JSON of strangers: what is said twice is found, whatever it looks like; errors have clear words."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_nats.core.reading import UNREADABLE, complaint, members, repeated

_space = st.sampled_from(["", "", " ", "\n", "\t \r"])
_value = st.sampled_from(
    [
        "1",
        "12",
        "1.5",
        '"a"',
        '"a\\"b"',
        '""',
        "[1, 2]",
        '{"a":1,"a":2}',
        "true",
        "null",
        "-0",
        "{}",
    ]
)


@st.composite
def objects(draw: st.DrawFn) -> tuple[list[str], bytes]:
    """Return names, some of them twice, and a JSON object with members of these names."""
    names = draw(st.lists(st.sampled_from(["a", "ab", "b", "q\\", 'q"', "é", "\n"]), max_size=5))
    members = []
    for name in names:
        escapes = draw(st.booleans())
        key = f'"\\u{ord(name[0]):04x}{json.dumps(name[1:])[1:]}' if escapes else json.dumps(name)
        if draw(st.booleans()):
            key = json.dumps(name, ensure_ascii=False)
        members.append(
            f"{draw(_space)}{key}{draw(_space)}:{draw(_space)}{draw(_value)}{draw(_space)}"
        )
    return names, f"{draw(_space)}{{{','.join(members)}}}{draw(_space)}".encode()


@given(objects())
def test_what_is_said_twice(made: tuple[list[str], bytes]) -> None:
    """A name that an object has twice is found, however it is spelled and spaced, and no other."""
    names, data = made
    assert set(members(data)) == set(names)
    found = repeated(data)
    assert (found is not None) == (len(set(names)) < len(names))
    assert found is None or names.count(found) > 1


def test_a_repeat_cannot_hide_behind_spaces() -> None:
    """Not even one as long as the spaces that some writers put between members."""
    for length in range(40):
        least = json.dumps({f"k{number}": number for number in range(8)}, separators=(",", ":"))
        text = least[:-1] + ',"k3":"' + "x" * length + '"}'
        assert repeated(text.encode()) == "k3"


def read(data: bytes) -> None:
    msgspec.json.decode(data.decode("utf-8"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the message is empty"),
        (b" \r\n", "the message is empty"),
        (b"\xef\xbb\xbf{}", "the text begins with a byte order mark"),
        ("{}".encode("utf-16"), "the text begins with a byte order mark"),
        ('{"a":1}'.encode("utf-16-le"), "the text is UTF-16, not UTF-8"),
        ('{"a":1}'.encode("utf-16-be"), "the text is UTF-16, not UTF-8"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
        (rb'{"a": "\ud800"}', "half of a surrogate pair without the other half (byte 7)"),
        (rb'{"a": "\\\udc00"}', "half of a surrogate pair without the other half (byte 9)"),
        (rb'{"a": "\ud83d\ude00", "b": "\ude00\ud83d"}', "half of a surrogate pair"),
        (rb'{"a": "\ud83d\ude00\\ud800", b}', "not a JSON object: JSON is malformed"),
        (b"hello", "not a JSON object: JSON is malformed: invalid character (byte 0)"),
        (b'{"a": NaN}', "not a JSON object: JSON is malformed: invalid character (byte 6)"),
    ],
)
def test_words(data: bytes, words: str) -> None:
    """What is wrong with bytes is said as whoever made them can use it, with where."""
    with pytest.raises(UNREADABLE) as caught:
        read(data)
    assert complaint(data, caught.value).startswith(words)


@pytest.mark.parametrize(
    "data", [b"\\" * 300_000, rb'{"a":"' + rb"\u0041" * 50_000, b'"' * 300_000]
)
def test_words_cost_no_more_than_the_text(data: bytes) -> None:
    """Nothing is remembered step by step: such a text would exhaust a backtracking search."""
    assert complaint(data, ValueError("x")) == "not a JSON object: x"
