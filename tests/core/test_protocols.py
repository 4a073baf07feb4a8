"""The protocols of FIPA: every test here is made from the tables, so that a new row is tested."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from caxton_nats.core.interaction import (
    ENDS,
    MACHINES,
    TO_CANCEL,
    Machine,
    base_of,
    cancelling,
    machine_of,
)
from caxton_nats.core.performatives import Performative as Act
from caxton_nats.core.protocols import INIT, Role, Row

ALL = pytest.mark.parametrize("machine", MACHINES.values(), ids=list(MACHINES))
LONGEST = 7
"""Acts in the longest path that is walked: a contract net of two rounds, a bid of an auction."""
OPENING = {
    "fipa-request": {"request"},
    "fipa-query": {"query-if", "query-ref"},
    "fipa-request-when": {"request-when"},
    "fipa-contract-net": {"cfp"},
    "fipa-iterated-contract-net": {"cfp"},
    "fipa-brokering": {"proxy"},
    "fipa-recruiting": {"proxy"},
    "fipa-subscribe": {"subscribe"},
    "fipa-propose": {"propose"},
    "fipa-auction-english": {"inform"},
    "fipa-auction-dutch": {"inform"},
}
MAY_SEND = {
    "fipa-request": "refuse agree failure inform",
    "fipa-query": "refuse agree failure inform",
    "fipa-request-when": "refuse agree failure inform",
    "fipa-contract-net": "refuse propose failure inform",
    "fipa-iterated-contract-net": "refuse propose failure inform",
    "fipa-brokering": "refuse agree failure inform propose confirm disconfirm",
    "fipa-recruiting": "refuse agree failure inform",
    "fipa-subscribe": "refuse agree failure inform",
    "fipa-propose": "accept-proposal reject-proposal",
    "fipa-auction-english": "propose",
    "fipa-auction-dutch": "propose",
}
"""What a participant says of its own accord (FIPA's documents, in one line each)."""


def going_on(machine: Machine) -> list[str]:
    return [state for state in machine.states if state not in machine.final and state != INIT]


def paths(machine: Machine) -> Iterator[list[Row]]:
    """Give every path of the protocol's own acts from INIT to a state that ends it."""
    waiting: list[list[Row]] = [[row] for row in machine.protocol.rows if row.state == INIT]
    while waiting:
        path = waiting.pop()
        if path[-1].next in machine.final:
            yield path
        elif len(path) < LONGEST:
            waiting += [[*path, row] for row in machine.protocol.rows if row.state == path[-1].next]


@ALL
def test_every_row_is_a_step(machine: Machine) -> None:
    """Every legal act in every state leads where the table says."""
    for row in machine.rows:
        assert machine.step(row.state, row.act, row.role, row.guard) == row.next


@ALL
def test_every_other_act_is_illegal(machine: Machine) -> None:
    """In every state, from every role, any of the 22 acts that is in no row is illegal."""
    rows = {(row.state, row.act.value, row.role) for row in machine.rows if not row.guard}
    for state in machine.states:
        for role in Role:
            for act in Act:
                legal = machine.step(state, act, role) is not None
                assert legal == ((state, act.value, role) in rows), (state, act, role)
                assert legal <= (act.value in machine.legal(state, role))


@ALL
def test_a_row_is_there_once(machine: Machine) -> None:
    """No act leads to two states, so that everybody who watches comes to the same one."""
    keys = [(row.state, row.act, row.role, row.guard) for row in machine.protocol.rows]
    assert len(keys) == len(set(keys))


@ALL
def test_every_path_is_legal_to_its_end(machine: Machine) -> None:
    """Act by act; with a cancel before any of them, it comes to the same end."""
    ends = set()
    for path in paths(machine):
        state, cancelled = INIT, INIT
        for row in path:
            state = machine.step(state, row.act, row.role, row.guard) or ""
            assert state == row.next
            cancelled = machine.step(cancelled, "cancel", Role.INITIATOR) or cancelled
            cancelled = machine.step(cancelled, row.act, row.role, row.guard) or ""
        assert state == cancelled
        ends.add(state)
    silent = {to for state in machine.states if (to := machine.silence(state))}
    late = {row.next for row in machine.protocol.rows if row.state in ends | silent}
    assert machine.protocol.final <= ends | silent | late


@ALL
def test_no_state_is_dead(machine: Machine) -> None:
    """Every state can be reached, and from every one that does not end it an end can be reached."""
    edges = {(row.state, row.next) for row in machine.rows}
    edges |= {(state, to) for state in machine.states if (to := machine.silence(state))}

    def reached(start: set[str], along: set[tuple[str, str]]) -> set[str]:
        seen = set(start)
        for _ in machine.states:
            seen |= {to for state, to in along if state in seen}
        return seen

    states = set(machine.states)
    assert reached({INIT}, edges) == states
    assert reached(set(machine.final), {(to, state) for state, to in edges}) == states


@ALL
def test_every_state_can_be_cancelled_fail_and_time_out(machine: Machine) -> None:
    """The rules that FIPA gives to all protocols hold in every state that does not end one."""
    for state in going_on(machine):
        cancelled = cancelling(state)
        assert machine.step(state, "cancel", Role.INITIATOR) == cancelled
        assert machine.step(state, "cancel", Role.PARTICIPANT) is None
        assert machine.step(state, "failure", Role.PLATFORM) == "DELIVERY_FAILED"
        assert machine.silence(state) is not None
        assert machine.step(cancelled, "inform", Role.PARTICIPANT, TO_CANCEL) == "CANCELLED"
        assert machine.step(cancelled, "failure", Role.PARTICIPANT, TO_CANCEL) == base_of(state)
        assert machine.silence(cancelled) == "CANCEL_TIMEOUT"


@ALL
def test_what_crosses_a_cancel_is_legal(machine: Machine) -> None:
    """An act that was legal before the cancel leads on, and the cancel stays unanswered."""
    for row in machine.protocol.rows:
        if row.state in machine.final or row.state == INIT:
            continue
        to = row.next if row.next in machine.final else cancelling(row.next)
        assert machine.step(cancelling(row.state), row.act, row.role, row.guard) == to


@ALL
def test_misunderstood(machine: Machine) -> None:
    """Whoever has received an act may say that it was not understood; nobody else."""
    first = {row.next for row in machine.protocol.rows if row.state == INIT}
    for state in going_on(machine):
        if base_of(state) == state:
            assert machine.step(state, "not-understood", Role.PARTICIPANT) == "NOT_UNDERSTOOD"
    for state in first - {"CALLED", "CFP_SENT"}:
        assert machine.step(state, "not-understood", Role.INITIATOR) is None
    contract_net = MACHINES["fipa-contract-net"]
    assert contract_net.step("ACCEPTED", "not-understood", Role.INITIATOR) == "NOT_UNDERSTOOD"
    # What is not understood is never answered with not-understood.
    assert all(machine.step("NOT_UNDERSTOOD", act, role) is None for act in Act for role in Role)


@ALL
def test_the_end_is_the_end(machine: Machine) -> None:
    """After an end only those late acts have a place that the table names; nothing times out."""
    for state in machine.final:
        assert machine.silence(state) is None
        named = {row.act.value for row in machine.protocol.rows if row.state == state}
        assert {act for role in Role for act in machine.legal(state, role)} == named
    assert machine.final >= ENDS


@ALL
def test_only_acts_that_were_under_way_cross(machine: Machine) -> None:
    """An illegal act is excused only if it was legal before the other side's last act."""
    for (state, act, role), to in machine.crossings.items():
        assert machine.step(state, act, role) is None
        assert to in machine.states
        assert any(
            last.next == state
            and last.role is not role
            and machine.step(last.state, act, role) is not None
            for last in machine.rows
        )


@pytest.mark.parametrize("name", MACHINES)
def test_the_documents_in_short(name: str) -> None:
    """Each protocol opens with FIPA's act, and a participant says what FIPA lets it say."""
    machine = MACHINES[name]
    assert set(machine.legal(INIT, Role.INITIATOR)) == OPENING[name]
    assert machine.legal(INIT, Role.PARTICIPANT) == []
    said = {row.act.value for row in machine.protocol.rows if row.role is Role.PARTICIPANT}
    assert said == set(MAY_SEND[name].split())


def test_there_are_eleven() -> None:
    """They go by FIPA's names, and the auctions by another that is in use."""
    assert set(MACHINES) == set(OPENING)
    assert machine_of("fipa-english-auction") is MACHINES["fipa-auction-english"]
    assert machine_of("fipa-dutch-auction") is MACHINES["fipa-auction-dutch"]
    assert machine_of("our-own") is None


def test_a_bid_after_the_deadline() -> None:
    """It has its place, the answer is reject-proposal, and a late refusal changes nothing."""
    machine = MACHINES["fipa-contract-net"]
    silent = machine.silence("CFP_SENT")
    assert silent == "NO_BID"
    assert machine.step(silent, "propose", Role.PARTICIPANT) == "REJECTED_LATE"
    assert machine.legal("REJECTED_LATE", Role.INITIATOR) == ["reject-proposal"]
    assert machine.step(silent, "refuse", Role.PARTICIPANT) == "NO_BID"


def test_an_update_that_crosses_the_end_of_a_subscription() -> None:
    """What is not marked as the answer to the cancel is one more update."""
    machine = MACHINES["fipa-subscribe"]
    state = cancelling("ACTIVE")
    assert machine.step(state, "inform", Role.PARTICIPANT) == state
    assert machine.step(state, "inform", Role.PARTICIPANT, TO_CANCEL) == "CANCELLED"


def test_a_bid_that_crosses_the_next_call() -> None:
    """The auctioneer had not seen it: it is a bid in the new round."""
    english, dutch = MACHINES["fipa-auction-english"], MACHINES["fipa-auction-dutch"]
    assert english.crossing("BID", "cfp", Role.INITIATOR) == "BID"
    assert dutch.crossing("CLAIMED", "inform", Role.INITIATOR) == "CLOSED"
    assert (
        MACHINES["fipa-contract-net"].crossing("CFP_SENT", "accept-proposal", Role.INITIATOR)
        is None
    )
