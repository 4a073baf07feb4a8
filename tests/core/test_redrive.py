"""The history that a redriven message carries, and what may not be redriven."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_nats.core.dead_letter import DeadLetter, Stage
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import RedriveRefused
from caxton_nats.core.redrive import (
    HISTORY_HEADER,
    LARGEST_HEADER,
    MAX_REDRIVES,
    REDRIVES_HEADER,
    REMEMBERED,
    check_redrive,
    headers,
    history,
    without,
)
from tests.core.sample import NOON, sample
from tests.core.test_dead_letter import dead


def again(letter: DeadLetter, **fields: Any) -> DeadLetter:
    """Return the letter of a message that died again after it was redriven."""
    redrives, deaths = history(headers(letter))
    return msgspec.structs.replace(letter, redrives=redrives, history=deaths, **fields)


def test_names_of_the_headers() -> None:
    """They are what redriven messages in streams carry already."""
    assert (REDRIVES_HEADER, HISTORY_HEADER) == ("Caxton-Redrives", "Caxton-History")


def test_each_death_is_told_of() -> None:
    """Of a message that died three times the third letter tells of two deaths, the oldest first."""
    first = dead(last_error={"code": "HandlerFailed", "reason": "ü"}, attempts=4)
    second = again(first, id="CAXTON_MAILBOX_3-18", last_at=NOON + timedelta(hours=1))
    third = again(second)
    assert third.redrives == 2
    assert [(one.letter, one.at, one.error, one.attempts) for one in third.history] == [
        (first.id, NOON, "HandlerFailed: ü", 4),
        (second.id, NOON + timedelta(hours=1), "HandlerFailed: ü", 4),
    ]
    assert third.history[0].reason == first.reason
    assert third.history[0].stage == first.stage


@given(st.text(max_size=5000), st.integers(0, 10**9))
def test_headers_are_short_and_plain(reason: str, attempts: int) -> None:
    """Whatever a message died of, and however often: ASCII of a bounded length, and readable."""
    letter = dead(last_error={"code": "HandlerFailed", "reason": reason}, attempts=attempts)
    for _ in range(2 * REMEMBERED):
        letter = again(letter)
        assert letter.history
    text = headers(letter)[HISTORY_HEADER]
    assert text.isascii()
    assert text.isprintable() or "\x7f" in text
    assert len(text) <= LARGEST_HEADER
    assert (len(letter.history), letter.redrives) == (REMEMBERED, 2 * REMEMBERED)


FORGED = [
    "",
    "no JSON",
    "{}",
    "[1]",
    "[{}]",
    "[" * 100_000,
    "[]" + " " * LARGEST_HEADER,
    json.dumps([{"letter": "x", "at": "2026-01-01T00:00:00", "reason": "Timeout"}]),
    "\ud800",
]


@pytest.mark.parametrize("forged", FORGED)
def test_forged_history(forged: str) -> None:
    """What is not as we write it is no history; the message is none the worse for it."""
    assert history({HISTORY_HEADER: forged}) == (0, ())


@given(st.text())
def test_any_history(forged: str) -> None:
    """No text in the headers raises."""
    history({HISTORY_HEADER: forged, REDRIVES_HEADER: forged})


@pytest.mark.parametrize(
    ("value", "redrives"), [("2", 2), ("", 0), ("-1", 0), ("two", 0), ("9" * 5000, 0), ("²", 0)]
)
def test_count(value: str, redrives: int) -> None:
    """The number of redrives is a number; whatever else a client writes there is 0."""
    assert history({REDRIVES_HEADER: value}) == (redrives, ())


def test_more_than_we_write() -> None:
    """A history longer than ours counts by its latest deaths."""
    letter = dead()
    for _ in range(REMEMBERED):
        letter = again(letter)
    deaths = json.loads(headers(letter)[HISTORY_HEADER])
    long = json.dumps([*deaths, *deaths], separators=(",", ":"))
    assert len(history({HISTORY_HEADER: long})[1]) == REMEMBERED


def test_without() -> None:
    """The other headers are the sender's, and stay."""
    assert without({"a": "b", **headers(dead())}) == {"a": "b"}


@pytest.mark.parametrize(
    ("letter", "envelope", "field"),
    [
        (dead(), sample(), ""),
        (dead(redrives=MAX_REDRIVES - 1), sample(), ""),
        (dead(redrives=MAX_REDRIVES), sample(), "redrives"),
        (dead(), None, "body"),
        (dead(), sample(reply_by=NOON), "reply_by"),
        (dead(), sample(reply_by=NOON + timedelta(seconds=1)), ""),
        (dead(stage=Stage.RESOLVE), sample(reply_by=NOON), "reply_by"),
        (dead(stage=Stage.ROUTE), None, ""),
        (dead(stage=Stage.ROUTE, redrives=MAX_REDRIVES), None, "redrives"),
    ],
)
def test_what_is_refused(letter: DeadLetter, envelope: Envelope | None, field: str) -> None:
    """What was redriven three times; what is past its deadline; bytes that are no message."""
    if not field:
        check_redrive(letter, envelope, NOON)
        return
    with pytest.raises(RedriveRefused) as refused:
        check_redrive(letter, envelope, NOON)
    assert refused.value.field == field
    assert refused.value.hint
