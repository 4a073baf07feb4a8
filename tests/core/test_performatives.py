"""FIPA's acts and the spellings that people use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.core.performatives import (
    FINAL_ANSWERS,
    NO_ANSWER,
    Performative,
    performative,
)
from tests.core.sample import attempt

# SC00037, in its order.
FIPA = [
    "accept-proposal",
    "agree",
    "cancel",
    "cfp",
    "confirm",
    "disconfirm",
    "failure",
    "inform",
    "inform-if",
    "inform-ref",
    "not-understood",
    "propagate",
    "propose",
    "proxy",
    "query-if",
    "query-ref",
    "refuse",
    "reject-proposal",
    "request",
    "request-when",
    "request-whenever",
    "subscribe",
]


def test_the_22_acts() -> None:
    """The acts are FIPA's 22, in FIPA's spelling."""
    assert [str(act) for act in Performative] == FIPA


@pytest.mark.parametrize("act", Performative)
def test_spellings(act: Performative) -> None:
    """FIPA's spelling, CamelCase, snake_case, upper case and spaces mean the same act."""
    words = str(act).split("-")
    for spelling in (
        str(act),
        "".join(word.capitalize() for word in words),
        "_".join(words),
        "_".join(words).upper(),
        " ".join(words),
    ):
        assert performative(spelling) is act


@pytest.mark.parametrize(
    ("text", "act"),
    [
        ("CallForProposals", Performative.CFP),
        ("call-for-proposals", Performative.CFP),
        ("accept", Performative.ACCEPT_PROPOSAL),
        ("reject", Performative.REJECT_PROPOSAL),
    ],
)
def test_other_names(text: str, act: Performative) -> None:
    """The seed's own names of acts are understood."""
    assert performative(text) is act


@pytest.mark.parametrize(
    "text",
    ["", " ", "informs", "inform!", "tell", "INFORM\n", "\u0131nform", "\ud800", "inform.ref"],
)
def test_no_such_act(text: str) -> None:
    """Anything else is refused; the error names the field, the text and the 22 acts."""
    with pytest.raises(InvalidEnvelope) as caught:
        performative(text)
    assert caught.value.field == "performative"
    assert caught.value.value == ascii(text)
    assert "accept-proposal" in caught.value.hint
    assert "subscribe" in caught.value.hint


def test_long_text_is_cut() -> None:
    """The error quotes the first 60 characters only."""
    with pytest.raises(InvalidEnvelope) as caught:
        performative("x" * 1_000_000)
    assert caught.value.value == repr("x" * 60)


@given(st.text())
def test_any_text(text: str) -> None:
    """A text is an act or is refused; nothing else happens."""
    act = attempt(lambda: performative(text))
    assert act in Performative if isinstance(act, str) else act.field == "performative"


def test_no_notice_about_notices() -> None:
    """Failure and not-understood are not answered by a notice, and everything else may be."""
    assert {"failure", "not-understood"} == NO_ANSWER


def test_agree_does_not_end_a_request() -> None:
    """Acts that only continue an exchange do not end the wait for an answer."""
    assert not FINAL_ANSWERS & {
        Performative.AGREE,
        Performative.REQUEST,
        Performative.CFP,
        Performative.QUERY_REF,
        Performative.SUBSCRIBE,
    }
    assert {"inform", "failure", "refuse", "not-understood", "propose"} <= FINAL_ANSWERS
