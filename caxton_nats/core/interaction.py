"""One pair of initiator and participant, one act on: the next state, or that the act is illegal.

The tables of `protocols` say what each protocol allows; here is what they all do (FIPA SC00026 to
SC00036: the cancel meta-protocol and not-understood; SC00067: failed deliveries). While the
initiator's ``cancel``, sent in a state S, is unanswered, the state is ``CANCELLING(S)``: what was
legal in S still is, for it may have crossed the cancel. Nothing here knows of messages or clocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from caxton_nats.core import protocols
from caxton_nats.core.performatives import Performative as Act
from caxton_nats.core.protocols import INIT, Protocol, Role, Row

NOT_UNDERSTOOD = "NOT_UNDERSTOOD"
CANCELLED = "CANCELLED"
CANCEL_TIMEOUT = "CANCEL_TIMEOUT"
DELIVERY_FAILED = "DELIVERY_FAILED"
TIMED_OUT = "TIMED_OUT"
ENDS = frozenset({NOT_UNDERSTOOD, CANCELLED, CANCEL_TIMEOUT, DELIVERY_FAILED, TIMED_OUT})
"""The final states that every protocol has."""
TO_CANCEL = "cancel"
"""Guard of an answer to the cancel, told from others by what it is in reply to."""

_I, _P = Role.INITIATOR, Role.PARTICIPANT
_Key = tuple[str, str, Role]


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A protocol with everything that holds in all of them; made once for each (`MACHINES`)."""

    protocol: Protocol
    rows: tuple[Row, ...]
    """All of them."""
    final: frozenset[str]
    moves: Mapping[tuple[str, str, Role, str], str]
    crossings: Mapping[_Key, str]

    @property
    def states(self) -> list[str]:
        """All states, in the order in which the tables name them."""
        named = [name for row in self.rows for name in (row.state, row.next)]
        silences = [self.silence(name) or name for name in dict.fromkeys(named)]
        return list(dict.fromkeys((*named, *silences)))

    def step(self, state: str, act: str, role: Role, guard: str = "") -> str | None:
        """Return the state after ``act`` from ``role``; None if that is illegal in ``state``.

        Args:
            state: of the pair; ``INIT`` before the first act.
            act: a performative.
            role: who sends it.
            guard: which of several messages of that act it is; "" if nobody can tell.
        """
        moves = self.moves
        return moves.get((state, act, role, guard)) or moves.get((state, act, role, ""))

    def crossing(self, state: str, act: str, role: Role) -> str | None:
        """Return the state after an act that is illegal, but was legal for all its sender knew.

        The other side's last act may still have been on its way; the result is as if the two had
        come in the other order. None if no act of the other side explains it.
        """
        return self.crossings.get((state, act, role))

    def silence(self, state: str) -> str | None:
        """Return the state when the deadline of the next act has passed; None if none can."""
        if state in self.final or state == INIT:
            return None
        if base_of(state) != state:
            return CANCEL_TIMEOUT
        return self.protocol.silence.get(state, TIMED_OUT)

    def legal(self, state: str, role: Role) -> list[str]:
        """Return the acts that ``role`` may send in ``state``, in the order of the tables."""
        acts = [row.act.value for row in self.rows if (row.state, row.role) == (state, role)]
        return list(dict.fromkeys(acts))


def cancelling(state: str) -> str:
    """Return the state of an interaction whose cancel, sent in ``state``, is unanswered."""
    return f"CANCELLING({base_of(state)})"


def base_of(state: str) -> str:
    """Return the state before the cancel; the very state if nobody is cancelling."""
    return state[len("CANCELLING(") : -1] if state.startswith("CANCELLING(") else state


def machine(protocol: Protocol) -> Machine:
    """Return the protocol's table with the rows that hold in every protocol."""
    final = protocol.final | ENDS
    named = dict.fromkeys(name for row in protocol.rows for name in (row.state, row.next))
    heard = _heard(protocol)
    rows = list(protocol.rows)
    for state in named:
        if state not in final and state != INIT:
            rows += _everywhere(state, initiator_has_heard=state in heard)
            rows += _while_cancelling(protocol, state, initiator_has_heard=state in heard)
    moves: dict[tuple[str, str, Role, str], str] = {}
    for row in rows:
        # A protocol's own rows come first, and one that crossed before an answer to the cancel.
        moves.setdefault((row.state, row.act.value, row.role, row.guard), row.next)
    kept = tuple(
        Row(state, Act(act), role, to, guard) for (state, act, role, guard), to in moves.items()
    )
    return Machine(
        protocol=protocol,
        rows=kept,
        final=final,
        moves=MappingProxyType(moves),
        crossings=MappingProxyType(
            _crossings([row for row in kept if row.next not in final], moves)
        ),
    )


def _heard(protocol: Protocol) -> set[str]:
    """Return the states in which the participant may have spoken: its acts may be misunderstood."""
    heard: set[str] = set()
    for _ in protocol.rows:
        heard |= {row.next for row in protocol.rows if row.role is _P or row.state in heard}
    return heard


def _everywhere(state: str, *, initiator_has_heard: bool) -> list[Row]:
    misunderstood = (_P, _I, Role.PLATFORM) if initiator_has_heard else (_P, Role.PLATFORM)
    return [
        *(Row(state, Act.NOT_UNDERSTOOD, role, NOT_UNDERSTOOD) for role in misunderstood),
        Row(state, Act.CANCEL, _I, cancelling(state)),
        Row(state, Act.FAILURE, Role.PLATFORM, DELIVERY_FAILED),
    ]


def _while_cancelling(protocol: Protocol, base: str, *, initiator_has_heard: bool) -> list[Row]:
    state = cancelling(base)
    crossed = [
        row._replace(
            state=state, next=row.next if row.next in protocol.final else cancelling(row.next)
        )
        for row in protocol.rows
        if row.state == base
    ]
    answers = [
        Row(state, Act.INFORM, _P, CANCELLED, TO_CANCEL),
        Row(state, Act.FAILURE, _P, base, TO_CANCEL),
        Row(state, Act.NOT_UNDERSTOOD, _P, base, TO_CANCEL),
    ]
    unmarked = [row._replace(guard="") for row in answers]
    others = [
        row
        for row in _everywhere(state, initiator_has_heard=initiator_has_heard)
        if (row.act, row.role) != (Act.NOT_UNDERSTOOD, _P)
    ]
    return [*crossed, *answers, *unmarked, *others]


def _crossings(
    lasts: Sequence[Row], moves: Mapping[tuple[str, str, Role, str], str]
) -> dict[_Key, str]:
    found: dict[_Key, str] = {}
    for last in lasts:
        for (state, act, role, guard), after in moves.items():
            # As far as its sender knew, the other side had not said its `last` act.
            unaware = state == last.state and role is not last.role and not guard
            if unaware and (last.next, act, role, "") not in moves:
                both = moves.get((after, last.act.value, last.role, ""), after)
                found.setdefault((last.next, act, role), both)
    return found


MACHINES = {
    table.name: machine(table) for table in vars(protocols).values() if isinstance(table, Protocol)
}
"""By the value of the parameter ``protocol``."""
ALIASES = MappingProxyType(
    {
        "fipa-english-auction": protocols.ENGLISH_AUCTION.name,
        "fipa-dutch-auction": protocols.DUTCH_AUCTION.name,
    }
)
"""Names that other implementations give them."""


def machine_of(name: str) -> Machine | None:
    """Return the protocol of that name, by FIPA or by others; None if it is unknown."""
    return MACHINES.get(name) or MACHINES.get(ALIASES.get(name, ""))
