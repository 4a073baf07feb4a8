"""The 22 communicative acts of FIPA (SC00037), and the spellings that people type for them."""

from __future__ import annotations

from enum import StrEnum

from caxton_nats.core.errors import InvalidEnvelope


class Performative(StrEnum):
    """What a message does. The value is FIPA's own spelling."""

    ACCEPT_PROPOSAL = "accept-proposal"
    AGREE = "agree"
    CANCEL = "cancel"
    CFP = "cfp"
    CONFIRM = "confirm"
    DISCONFIRM = "disconfirm"
    FAILURE = "failure"
    INFORM = "inform"
    INFORM_IF = "inform-if"
    INFORM_REF = "inform-ref"
    NOT_UNDERSTOOD = "not-understood"
    PROPAGATE = "propagate"
    PROPOSE = "propose"
    PROXY = "proxy"
    QUERY_IF = "query-if"
    QUERY_REF = "query-ref"
    REFUSE = "refuse"
    REJECT_PROPOSAL = "reject-proposal"
    REQUEST = "request"
    REQUEST_WHEN = "request-when"
    REQUEST_WHENEVER = "request-whenever"
    SUBSCRIBE = "subscribe"


_ACTS = {str(act): act for act in Performative}
_WORDS = _ACTS | {
    "call-for-proposals": Performative.CFP,
    "accept": Performative.ACCEPT_PROPOSAL,
    "reject": Performative.REJECT_PROPOSAL,
}
# QueryIf, QUERY_IF, query if: the same words in the same order. The seed writes CamelCase.
_FOLDED = {
    words.replace("-", between): act
    for words, act in _WORDS.items()
    for between in ("-", "_", " ", "")
}
_LONGEST = max(map(len, _FOLDED))

NO_ANSWER = frozenset({Performative.NOT_UNDERSTOOD, Performative.FAILURE})
"""Acts that are never answered with an error notice: two agents would complain for ever."""

FINAL_ANSWERS = frozenset(
    {
        Performative.INFORM,
        Performative.FAILURE,
        Performative.REFUSE,
        Performative.NOT_UNDERSTOOD,
        Performative.CONFIRM,
        Performative.DISCONFIRM,
        Performative.PROPOSE,
        Performative.ACCEPT_PROPOSAL,
        Performative.REJECT_PROPOSAL,
    }
)
"""Acts that end the wait of `request`; ``agree`` only promises that one of them will come."""


def performative(text: str) -> Performative:
    """Return the act for any of its usual spellings (``query-if``, ``QueryIf``, ``QUERY_IF``).

    Raises:
        InvalidEnvelope: FIPA has no such act.
    """
    act = _ACTS.get(text)
    if act is not None:
        return act
    act = _FOLDED.get(text.lower()) if len(text) <= _LONGEST else None
    if act is None:
        raise InvalidEnvelope(
            "is none of FIPA's 22 communicative acts",
            field="performative",
            value=ascii(text[:60]),
            hint="one of: " + ", ".join(Performative),
        )
    return act
