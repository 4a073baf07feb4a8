"""resolve: the states of an agent, which may follow which, and what each means for its mail.

    Unloaded <-> Loaded -> Running -> Draining -> Stopped, and Running -> Stopped at once

| state    | a message of a conversation it takes part in | any other message             |
| -------- | -------------------------------------------- | ----------------------------- |
| Unloaded | is stored and waits                          | is stored and waits           |
| Loaded   | is stored and waits                          | is stored and waits           |
| Running  | is delivered                                 | is delivered                  |
| Draining | is delivered                                 | is refused: `AgentDraining`   |
| Stopped  | dead letter, `AgentStopped`                  | dead letter, `AgentStopped`   |

Stopped is left by registering again only. Nothing here knows how a state is stored or told.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from caxton_nats.core.errors import (
    AgentDraining,
    AgentStopped,
    InvalidEnvelope,
    InvalidStateTransition,
)
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.registry import AgentState, Registration

TRANSITIONS: Mapping[AgentState, tuple[AgentState, ...]] = {
    AgentState.UNLOADED: (AgentState.LOADED,),
    AgentState.LOADED: (AgentState.RUNNING, AgentState.UNLOADED),
    AgentState.RUNNING: (AgentState.DRAINING, AgentState.STOPPED),
    AgentState.DRAINING: (AgentState.STOPPED,),
    AgentState.STOPPED: (),
}
FIRST = (AgentState.UNLOADED, AgentState.LOADED, AgentState.RUNNING)
"""The states in which an agent may be registered."""
DRAIN = timedelta(seconds=60)
"""How long an agent drains unless told otherwise, before it is Stopped."""
DRAIN_BOUNDS = (timedelta(seconds=5), timedelta(minutes=10))
"""The seed's DrainTimeout."""


def change(
    registration: Registration, wanted: AgentState, *, drain: timedelta | None, now: datetime
) -> Registration:
    """Return the registration in its new state.

    Args:
        registration: as it is.
        wanted: the new state.
        drain: until its end an agent drains, 5 s..10 min (60 s if None); for Draining only.
        now: the drain begins.

    Raises:
        InvalidStateTransition: the new state may not follow the present one.
        InvalidEnvelope: the drain is out of its bounds, or the new state is not Draining.
    """
    if wanted not in TRANSITIONS[registration.state]:
        raise invalid_transition(registration.agent, registration.state, wanted)
    if wanted is not AgentState.DRAINING:
        if drain is not None:
            raise InvalidEnvelope("is for Draining only", field="drain", value=wanted)
        return msgspec.structs.replace(registration, state=wanted, drain_until=None)
    until = now + _checked(DRAIN if drain is None else drain)
    return msgspec.structs.replace(registration, state=wanted, drain_until=until)


def first_state(state: AgentState) -> AgentState:
    """Return the state if an agent may be registered in it."""
    if state not in FIRST:
        raise InvalidEnvelope(
            "an agent cannot be registered in this state",
            field="state",
            limit=" or ".join(FIRST),
            value=state,
        )
    return state


def invalid_transition(
    agent: AgentId, current: AgentState, wanted: AgentState, why: str = ""
) -> InvalidStateTransition:
    """Return the error that names both states, and what may follow the present one."""
    legal = " or ".join(TRANSITIONS[current])
    return InvalidStateTransition(
        f"{agent} is {current}{why} and cannot become {wanted}",
        field="state",
        limit=current,
        value=wanted,
        hint=f"from {current} it may become {legal}"
        if legal
        else "it leaves this state by registering again only",
    )


def draining(registration: Registration) -> AgentDraining:
    """Return the error for a message that would be a new conversation of a draining agent."""
    until = registration.drain_until
    return AgentDraining(
        f"{registration.agent} is draining: it takes part in no new conversation",
        field="receiver",
        limit=until.isoformat() if until else None,
        value=registration.agent,
        hint="conversations that it takes part in go on; for others ask another agent",
    )


def stopped(agent: AgentId) -> AgentStopped:
    """Return the error for a message to a stopped agent."""
    return AgentStopped(
        f"{agent} is stopped: the message is kept as a dead letter",
        field="receiver",
        value=agent,
        hint="when the agent has registered again, `caxton dlq redrive` sends it on its way",
    )


def seconds(number: float) -> timedelta:
    """Return a drain of so many seconds; what no clock can count is out of any bounds."""
    try:
        return timedelta(seconds=number)
    except (OverflowError, ValueError):
        return timedelta.max


def _checked(drain: timedelta) -> timedelta:
    low, high = (int(bound.total_seconds()) for bound in DRAIN_BOUNDS)
    if not DRAIN_BOUNDS[0] <= drain <= DRAIN_BOUNDS[1]:
        raise InvalidEnvelope(
            f"must be {low} to {high} seconds",
            field="drain",
            limit=high if drain > DRAIN_BOUNDS[1] else low,
            value=f"{drain.total_seconds():g}",
        )
    return drain
