"""The states of an agent: which may follow which, and the end of a drain."""

from __future__ import annotations

from datetime import timedelta
from itertools import product

import msgspec
import pytest

from caxton_nats.core.errors import (
    AgentDraining,
    AgentStopped,
    CaxtonError,
    InvalidEnvelope,
    InvalidStateTransition,
)
from caxton_nats.core.failure import FailureReason
from caxton_nats.core.lifecycle import TRANSITIONS, change, draining, seconds, stopped
from caxton_nats.core.registry import Address, AgentState, Registration
from tests.core.sample import BOB, NOON, attempt

LEGAL = {
    ("Unloaded", "Loaded"),
    ("Loaded", "Unloaded"),
    ("Loaded", "Running"),
    ("Running", "Draining"),
    ("Running", "Stopped"),
    ("Draining", "Stopped"),
}


def bob(state: AgentState = AgentState.RUNNING) -> Registration:
    return Registration(
        agent=BOB, state=state, address=Address("S", "s.bob", "bob"), registered_at=NOON
    )


def changed(
    before: AgentState, after: AgentState, drain: timedelta | None = None
) -> Registration | CaxtonError:
    return attempt(lambda: change(bob(before), after, drain=drain, now=NOON))


@pytest.mark.parametrize(("before", "after"), list(product(AgentState, repeat=2)))
def test_every_pair_of_states(before: AgentState, after: AgentState) -> None:
    """The six steps of the life of an agent are legal; all others are refused, naming both."""
    result = changed(before, after)
    if (before, after) in LEGAL:
        assert isinstance(result, Registration)
        assert result.state is after
    else:
        assert isinstance(result, InvalidStateTransition)
        assert (result.field, result.limit, result.value) == ("state", before, after)
        assert f"bob@here is {before} and cannot become {after}" in str(result)
        assert all(legal in result.hint for legal in TRANSITIONS[before])


def test_stopped_is_final() -> None:
    """The error says what leaves the state: registering again."""
    assert "registering again" in str(changed(AgentState.STOPPED, AgentState.RUNNING))


def test_nothing_else_changes() -> None:
    """A change of state leaves the rest of the registration as it is."""
    before = msgspec.structs.replace(bob(), capabilities=("shout",), node="host/1")
    after = change(before, AgentState.STOPPED, drain=None, now=NOON)
    assert msgspec.structs.replace(after, state=AgentState.RUNNING) == before


@pytest.mark.parametrize(("drain", "until"), [(None, 60), (5, 5), (600, 600)])
def test_drain(drain: float | None, until: float) -> None:
    """An agent drains for 60 s unless told otherwise, 5 s to 10 min, both included."""
    wanted = None if drain is None else timedelta(seconds=drain)
    result = changed(AgentState.RUNNING, AgentState.DRAINING, wanted)
    assert isinstance(result, Registration)
    assert result.drain_until == NOON + timedelta(seconds=until)


@pytest.mark.parametrize(
    ("drain", "limit"),
    [(4.999, 5), (0, 5), (-1, 5), (600.001, 600), (1e300, 600), (float("nan"), 600)],
)
def test_drain_out_of_bounds(drain: float, limit: int) -> None:
    """It is refused, whatever number a client may send."""
    result = changed(AgentState.RUNNING, AgentState.DRAINING, seconds(drain))
    assert isinstance(result, InvalidEnvelope)
    assert (result.field, result.limit) == ("drain", limit)


def test_drain_of_another_state() -> None:
    """Only an agent that becomes Draining has a deadline."""
    result = changed(AgentState.RUNNING, AgentState.STOPPED, timedelta(seconds=60))
    assert isinstance(result, InvalidEnvelope)
    assert result.field == "drain"


def test_the_deadline_goes_with_the_drain() -> None:
    """An agent that has stopped has none any more."""
    drains = change(bob(), AgentState.DRAINING, drain=None, now=NOON)
    assert change(drains, AgentState.STOPPED, drain=None, now=NOON).drain_until is None


def test_what_senders_are_told() -> None:
    """The errors name the receiver, and what a draining one still takes."""
    drains = change(bob(), AgentState.DRAINING, drain=None, now=NOON)
    told: list[CaxtonError] = [draining(drains), stopped(BOB)]
    assert [type(one) for one in told] == [AgentDraining, AgentStopped]
    assert [(one.field, one.value) for one in told] == [("receiver", BOB)] * 2
    assert {one.failure for one in told} == {FailureReason.AGENT_NOT_RESPONDING}
    assert "2026-05-01T12:01" in str(told[0])
