"""wire: FIPA's date-time token, ``[+|-]yyyymmddThhmmssmmm[letter]`` (SC00070), and back.

A token without ``Z`` has no time zone, and stays a moment without one: a door refuses it. One that
begins with a sign counts from the moment at which the message came in.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from caxton_nats.core.errors import InvalidEnvelope

_TOKEN = re.compile(
    r"([+-]?)([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{3})([A-Za-z]?)"
)
_HINT = "as in 20300131T120000000Z; +00000000T001500000 is a quarter of an hour from now"


def token(moment: datetime, field: str) -> str:
    """Return the token in UTC, to the millisecond; `InvalidEnvelope` out of the calendar."""
    try:
        utc = moment if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise InvalidEnvelope(
            "is before year 1 or after year 9999 in UTC", field=field, value=moment.isoformat()
        ) from None
    # strftime does not pad a year below 1000.
    digits = f"{utc.year:04}{utc:%m%dT%H%M%S}{utc.microsecond // 1000:03}"
    return digits if moment.tzinfo is None else f"{digits}Z"


def moment(text: str, now: datetime, field: str) -> datetime:
    """Return the moment of a token; one with a sign counts from `now`; or `InvalidEnvelope`."""
    found = _TOKEN.fullmatch(text)
    if found is None:
        raise _wrong("is not a FIPA date-time", field, text)
    sign, zone = found[1], found[9].upper()
    year, month, day, hour, minute, second, milli = map(int, found.groups()[1:8])
    if zone not in ("", "Z"):
        raise _wrong(f"has the type designator {zone}; Z alone (UTC) is known", field, text)
    if sign:
        if year or month:
            raise _wrong("counts years or months, which vary: count days", field, text)
        span = timedelta(days=day, hours=hour, minutes=minute, seconds=second, milliseconds=milli)
        try:
            return now + span if sign == "+" else now - span
        except OverflowError:
            raise _wrong("is before year 1 or after year 9999", field, text) from None
    try:
        at = datetime(year, month, day, hour, minute, second, milli * 1000, UTC)
    except ValueError as error:
        raise _wrong(f"is no date: {error}", field, text) from None
    return at if zone else at.replace(tzinfo=None)


def _wrong(reason: str, field: str, text: str) -> InvalidEnvelope:
    return InvalidEnvelope(reason, field=field, value=ascii(text[:60]), hint=_HINT)
