"""Whom a message is for, and who gets the answers: not too many, and nobody twice."""

from __future__ import annotations

from typing import Any

import pytest

from caxton_nats.core.addressing import check_lengths, check_names, identifiers, receiver
from caxton_nats.core.errors import InvalidEnvelope
from tests.core.sample import ALICE, BOB, CAROL, attempt, sample


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"receiver": ()}, ("receiver", 1, 0)),
        ({"receiver": (BOB, CAROL, ALICE)}, ("receiver", 2, 3)),
        ({"reply_to": (BOB, CAROL, ALICE)}, ("reply_to", 2, 3)),
    ],
)
def test_too_few_and_too_many(fields: dict[str, Any], expected: tuple[str, int, int]) -> None:
    """Counted before a name is looked at, so that a long list costs nothing."""
    check_lengths(sample(receiver=(BOB, CAROL), reply_to=(BOB, CAROL)), 2)
    error = attempt(lambda: check_lengths(sample(**fields), 2))
    assert isinstance(error, InvalidEnvelope)
    assert (error.field, error.limit, error.value) == expected


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"receiver": (BOB, BOB)}, "receiver"),
        ({"reply_to": (CAROL, CAROL)}, "reply_to"),
        ({"receiver": (ALICE,)}, "receiver"),
        ({"receiver": (BOB, ALICE)}, "receiver"),
    ],
)
def test_names_that_contradict(fields: dict[str, Any], field: str) -> None:
    """Nobody gets a copy or an answer twice, or writes to himself."""
    check_names(sample(reply_to=(ALICE, CAROL)))
    check_names(sample(receiver=(BOB, CAROL), reply_to=(BOB,)))
    error = attempt(lambda: check_names(sample(**fields)))
    assert isinstance(error, InvalidEnvelope)
    assert error.field == field


def test_names_become_identifiers() -> None:
    """A bare name is of this platform, and a capability has one spelling."""
    assert identifiers(("bob", "bob@plant"), "here", "reply_to") == (BOB, "bob@plant")
    assert receiver("bob", "here") == BOB
    assert receiver("capability:count:v1,v1", "here") == "capability:count:v1"
    error = attempt(lambda: identifiers(("capability:x",), "here", "reply_to"))
    assert isinstance(error, InvalidEnvelope)
    assert error.field == "reply_to"
