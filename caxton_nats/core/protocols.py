"""The eleven interaction protocols of FIPA as tables: which act leads from which state to which.

Only what is a protocol's own is in its table; what holds in all of them is in `interaction`. A
state is that of one pair of initiator and participant: the initiator has one for each participant.
Rounds are not counted: a call for the next round leads back into the same state.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from caxton_nats.core.performatives import Performative as Act

INIT = "INIT"  # before the first act


class Role(StrEnum):
    """Who sends an act. A broker, a recruiter and a bidder are participants."""

    INITIATOR = "initiator"
    PARTICIPANT = "participant"
    PLATFORM = "platform"
    """The AMS, which tells of failed deliveries."""


class Row(NamedTuple):
    """In ``state``, ``act`` from ``role`` leads to ``next``."""

    state: str
    act: Act
    role: Role
    next: str
    guard: str = ""
    """Which message of this act, if the act alone does not tell; only its content shows it."""


class Protocol(msgspec.Struct, frozen=True, kw_only=True):
    """One interaction protocol."""

    name: str
    """The value of the parameter ``protocol``."""
    specification: str
    rows: tuple[Row, ...]
    final: frozenset[str]
    """States that end it. A row that leaves one is for a message that still has its place."""
    silence: Mapping[str, str] = MappingProxyType({})
    """Where a missed deadline leads, if not to TIMED_OUT."""


_I, _P = Role.INITIATOR, Role.PARTICIPANT


def _rows(states: str, role: Role, guard: str = "", /, **acts: str) -> tuple[Row, ...]:
    """Return the rows of what ``role`` may send in each of the states: the act, where it leads."""
    return tuple(
        Row(state, Act(act.replace("_", "-")), role, to, guard)
        for state in states.split()
        for act, to in acts.items()
    )


_RESULT = {"failure": "FAILED", "inform": "DONE"}
_BIDDING = (
    *_rows("CFP_SENT", _P, refuse="REFUSED", propose="PROPOSED"),
    *_rows("PROPOSED", _I, accept_proposal="ACCEPTED", reject_proposal="REJECTED"),
    *_rows("ACCEPTED", _P, **_RESULT),
    # A bid after the deadline is answered with reject-proposal; a late refusal is left alone.
    *_rows("NO_BID", _P, propose="REJECTED_LATE", refuse="NO_BID"),
    *_rows("REJECTED_LATE", _I, reject_proposal="REJECTED_LATE"),
)
_BIDDING_ENDS = frozenset(
    {"REFUSED", "REJECTED", "FAILED", "DONE", "NO_BID", "REJECTED_LATE", "EXPIRED"}
)
_BIDDING_SILENCE = MappingProxyType({"CFP_SENT": "NO_BID", "PROPOSED": "EXPIRED"})
_PROXY = (
    *_rows(INIT, _I, proxy="PROXY_SENT"),
    *_rows("PROXY_SENT", _P, refuse="REFUSED", agree="AGREED"),
    *_rows("AGREED", _P, failure="FAILED"),
    *_rows("AGREED", _P, "no match", failure="NO_MATCH"),
    *_rows("AGREED", _P, "proxy", failure="PROXY_FAILED"),
)
_PROXY_ENDS = frozenset({"REFUSED", "FAILED", "NO_MATCH", "PROXY_FAILED"})
_RELAYED = ("agree", "refuse", "inform", "failure", "propose", "confirm", "disconfirm")

REQUEST = Protocol(
    name="fipa-request",
    specification="SC00026H",
    rows=(
        *_rows(INIT, _I, request="REQUESTED"),
        *_rows("REQUESTED", _P, refuse="REFUSED", agree="AGREED", **_RESULT),
        *_rows("AGREED", _P, **_RESULT),
    ),
    final=frozenset({"REFUSED", "FAILED", "DONE"}),
)
QUERY = Protocol(
    name="fipa-query",
    specification="SC00027H",
    rows=(
        *_rows(INIT, _I, query_if="QUERIED_IF", query_ref="QUERIED_REF"),
        *_rows("QUERIED_IF", _P, refuse="REFUSED", agree="AGREED_IF"),
        *_rows("QUERIED_REF", _P, refuse="REFUSED", agree="AGREED_REF"),
        *_rows("QUERIED_IF AGREED_IF", _P, failure="FAILED", inform="ANSWERED"),
        *_rows("QUERIED_REF AGREED_REF", _P, failure="FAILED", inform="ANSWERED"),
    ),
    final=frozenset({"REFUSED", "FAILED", "ANSWERED"}),
)
REQUEST_WHEN = Protocol(
    name="fipa-request-when",
    specification="SC00028H",
    rows=(
        *_rows(INIT, _I, request_when="REQUESTED"),
        *_rows("REQUESTED", _P, refuse="REFUSED", agree="WAITING_CONDITION", **_RESULT),
        *_rows("WAITING_CONDITION", _P, **_RESULT),
    ),
    final=frozenset({"REFUSED", "FAILED", "DONE"}),
)
CONTRACT_NET = Protocol(
    name="fipa-contract-net",
    specification="SC00029H",
    rows=(*_rows(INIT, _I, cfp="CFP_SENT"), *_BIDDING),
    final=_BIDDING_ENDS,
    silence=_BIDDING_SILENCE,
)
ITERATED_CONTRACT_NET = Protocol(
    name="fipa-iterated-contract-net",
    specification="SC00030H",
    rows=(*CONTRACT_NET.rows, *_rows("PROPOSED", _I, cfp="CFP_SENT")),
    final=_BIDDING_ENDS,
    silence=_BIDDING_SILENCE,
)
BROKERING = Protocol(
    name="fipa-brokering",
    specification="SC00033H",
    rows=(
        *_PROXY,
        *_rows("AGREED", _P, inform="BROKERING"),
        *_rows("BROKERING", _P, **dict.fromkeys(_RELAYED, "BROKERING")),
        *_rows("BROKERING", _P, "last", **dict.fromkeys(_RELAYED, "DONE")),
        *_rows("BROKERING", _P, "brokering", failure="BROKERING_FAILED"),
    ),
    final=_PROXY_ENDS | {"DONE", "BROKERING_FAILED"},
)
RECRUITING = Protocol(
    name="fipa-recruiting",
    specification="SC00034H",
    rows=(*_PROXY, *_rows("AGREED", _P, inform="RECRUITED")),
    final=_PROXY_ENDS | {"RECRUITED"},
)
SUBSCRIBE = Protocol(
    name="fipa-subscribe",
    specification="SC00035H",
    rows=(
        *_rows(INIT, _I, subscribe="SUBSCRIBING"),
        *_rows("SUBSCRIBING", _P, refuse="REFUSED", agree="ACTIVE", inform="ACTIVE"),
        *_rows("ACTIVE", _P, inform="ACTIVE", failure="FAILED"),
    ),
    final=frozenset({"REFUSED", "FAILED"}),
)
PROPOSE = Protocol(
    name="fipa-propose",
    specification="SC00036H",
    rows=(
        *_rows(INIT, _I, propose="PROPOSED"),
        *_rows("PROPOSED", _P, accept_proposal="ACCEPTED", reject_proposal="REJECTED"),
    ),
    final=frozenset({"ACCEPTED", "REJECTED"}),
)
ENGLISH_AUCTION = Protocol(
    name="fipa-auction-english",
    specification="XC00031F",
    rows=(
        *_rows(INIT, _I, inform="OPEN"),
        *_rows("OPEN", _I, cfp="CALLED"),
        *_rows("CALLED", _P, propose="BID"),
        *_rows("BID", _I, accept_proposal="LEADING", reject_proposal="OUTBID"),
        *_rows("CALLED LEADING OUTBID", _I, cfp="CALLED", inform="CLOSED"),
        # To the last leader, if its price is good enough.
        *_rows("CLOSED", _I, request="AWARDED"),
    ),
    final=frozenset({"CLOSED", "AWARDED"}),
    silence=MappingProxyType({"CALLED": "CALLED"}),
)
DUTCH_AUCTION = Protocol(
    name="fipa-auction-dutch",
    specification="XC00032F",
    rows=(
        *_rows(INIT, _I, inform="OPEN"),
        *_rows("OPEN", _I, cfp="OFFERED"),
        *_rows("OFFERED", _P, propose="CLAIMED"),
        *_rows("CLAIMED", _I, accept_proposal="WON", reject_proposal="LOST"),
        *_rows("OFFERED WON LOST", _I, cfp="OFFERED", inform="CLOSED"),
    ),
    final=frozenset({"CLOSED"}),
    silence=MappingProxyType({"OFFERED": "OFFERED"}),
)
