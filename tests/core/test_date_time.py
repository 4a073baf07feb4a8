"""FIPA's date-time token."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given

from caxton_nats.core.date_time import moment, token
from caxton_nats.core.errors import InvalidEnvelope
from tests.core.acl import NOON, moments


@given(moments)
def test_round_trip(at: datetime) -> None:
    """A moment comes back to the millisecond, and whether that is all of it is told."""
    again = moment(token(at, "reply_by"), NOON, "reply_by")
    assert timedelta(0) <= at - again < timedelta(milliseconds=1)
    assert (again == at) == (at.microsecond % 1000 == 0)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("20360501T120000000Z", NOON),
        ("20360501T120000000z", NOON),
        ("20360501T120000000", NOON.replace(tzinfo=None)),
        ("+00000001T020304005Z", NOON + timedelta(1, 3 + 3600 * 2 + 180 + 1, 5000)),
        ("-00000000T000000001", NOON - timedelta(milliseconds=1)),
    ],
)
def test_tokens(text: str, at: datetime) -> None:
    """With Z it is UTC, without it has no zone, and with a sign it counts from now."""
    assert moment(text, NOON, "reply_by") == at


def test_in_utc() -> None:
    """A moment of another zone is written in UTC; years have four digits."""
    east = timezone(timedelta(hours=5, minutes=30))
    assert token(datetime(2036, 5, 1, 17, 30, tzinfo=east), "reply_by") == "20360501T120000000Z"
    assert token(datetime(7, 1, 2, tzinfo=UTC), "reply_by") == "00070102T000000000Z"
    with pytest.raises(InvalidEnvelope, match="before year 1"):
        token(datetime(1, 1, 1, tzinfo=east), "reply_by")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not a FIPA date-time"),
        ("2036-05-01T12:00:00Z", "is not a FIPA date-time"),
        ("20360501T120000Z", "is not a FIPA date-time"),
        ("20361301T120000000Z", "is no date: month"),
        ("20360501T120060000Z", "is no date: second"),
        ("00000501T120000000Z", "is no date: year"),
        ("20360501T120000000B", "has the type designator B"),
        ("+00010000T000000000", "counts years or months"),
        ("\u0662\u0660360501T120000000Z", "is not a FIPA date-time"),
    ],
)
def test_refused(text: str, reason: str) -> None:
    """Anything else is refused by the name of its field, with the text and an example."""
    with pytest.raises(InvalidEnvelope) as caught:
        moment(text, NOON, "reply_by")
    assert (caught.value.field, caught.value.value) == ("reply_by", ascii(text))
    assert caught.value.reason.startswith(reason)
    assert "20300131T120000000Z" in caught.value.hint


@pytest.mark.parametrize("sign", "+-")
def test_out_of_the_calendar(sign: str) -> None:
    """Nothing counts out of the calendar."""
    edge = datetime(9999, 12, 31, tzinfo=UTC) if sign == "+" else datetime(1, 1, 1, tzinfo=UTC)
    with pytest.raises(InvalidEnvelope, match="before year 1 or after year 9999"):
        moment(f"{sign}00000002T000000000", edge, "reply_by")
