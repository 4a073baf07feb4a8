"""Values as JSON: what a receiver gets is what was sent, or nothing is sent."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.core.writing import encoded

NAN, INFINITY = float("nan"), float("inf")


class Reading(msgspec.Struct):
    degrees: float
    note: str | None = None


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        *(
            NAN,
            INFINITY,
            -INFINITY,
            [1, NAN],
            {"a": {"b": INFINITY}},
            (NAN,),
            {"a": None, "b": NAN},
        ),
        *(Reading(NAN), "\ud800", {"\ud800": 1}, 10**5_000, object(), {(1, 2): 3}, deep()),
    ],
    ids=lambda one: type(one).__name__,
)
def test_value_without_a_json_form(value: Any) -> None:
    """It is refused by the one error, and never becomes null on the way."""
    with pytest.raises(InvalidEnvelope) as caught:
        encoded(value)
    assert caught.value.field == "content"
    assert caught.value.reason.startswith("the content has no JSON form: ")


@pytest.mark.parametrize(
    "value",
    [None, [None, 1.5], {"a": None}, "null", Reading(1.5), 10**30, -0.0, 1.7976931348623157e308],
)
def test_value_with_one(value: Any) -> None:
    """A null that was meant is one."""
    assert json.loads(encoded(value)) == msgspec.to_builtins(value)


@given(st.recursive(st.floats() | st.none() | st.text(max_size=3), lambda one: st.lists(one) | st.dictionaries(st.text(max_size=2), one), max_leaves=5))  # fmt: skip
def test_what_is_sent_is_what_is_got(value: Any) -> None:
    """Any value comes back the same, or is refused."""
    try:
        data = encoded(value)
    except InvalidEnvelope:
        return
    assert json.loads(data) == value
