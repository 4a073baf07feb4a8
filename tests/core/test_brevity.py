"""An error fits into a message whatever it tells of."""

from __future__ import annotations

import msgspec
import pytest

from caxton_nats.core.brevity import plain, words
from caxton_nats.core.errors import CaxtonError


@pytest.mark.parametrize("length", [0, 600, 5_000_000])
def test_error_of_any_length_fits_into_a_message(length: int) -> None:
    """Whatever a stranger or a handler says at length, what is told of it stays short."""
    long = "\x01" * length
    error = CaxtonError(long, field=long, value=long, hint=long)
    assert len(msgspec.json.encode(error.to_dict())) < 60_000
    assert len(str(error)) < 9_000
    assert (error.value == long) == (length <= 600)
    if length:
        assert CaxtonError.from_dict(error.to_dict()).to_dict() == error.to_dict()


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 2**63, 10**4000])
def test_number_that_not_everybody_can_read(value: int) -> None:
    """A number beyond 64 bits, which many JSON readers refuse, is named by its size."""
    told = CaxtonError("too much", value=value).to_dict()["value"]
    assert told == (value if abs(value) <= 2**63 and value != 2**63 else told)
    assert isinstance(told, int) == (-(2**63) <= value < 2**63)


def test_what_is_short_stays_as_it_is() -> None:
    """Words, texts and numbers; anything else becomes a text."""
    assert words("x" * 2_000) == "x" * 2_000
    assert len(words("x" * 2_001)) == 2_000
    assert [plain(one) for one in (None, 5, "five", 5.5)] == [None, 5, "five", "5.5"]


def test_what_cannot_be_written_down() -> None:
    """Lone surrogates, as in the name of a file that is no UTF-8, are told as escapes."""
    error = CaxtonError("no caf\udce9", value="\ud800")
    assert error.reason == "no caf\\udce9"
    assert b"caf" in msgspec.json.encode(error.to_dict())
