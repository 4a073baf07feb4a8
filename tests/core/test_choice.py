"""Who gets a message for a capability, and why."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_nats.core.capability import Strategy
from caxton_nats.core.choice import Choice, Scene, choose
from caxton_nats.core.errors import NoCapableAgent
from caxton_nats.core.failure import FailureReason
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.lease import Health, Heartbeat, leased
from caxton_nats.core.registry import Address, AgentState, Registration, Registry
from tests.core.sample import ALICE, BOB, CAROL, NOON, sample

DAVE = AgentId("dave@here")
SHOUT = AgentId("capability:shout")


def registered(
    agent: AgentId, *capabilities: str, state: AgentState = AgentState.RUNNING
) -> Registration:
    return Registration(
        agent=agent,
        state=state,
        capabilities=capabilities,
        address=Address("S", "s", "c"),
        registered_at=NOON,
    )


THREE = (
    registered(BOB, "shout"),
    registered(CAROL, "shout:v1"),
    registered(DAVE, "shout:v1", "shout:v2"),
)


def scene(*registrations: Registration, ill: tuple[AgentId, ...] = (), **more: Any) -> Scene:
    beat = Heartbeat(instance="i", healthy=False, reason="no disk")
    health = Health(leased(agent, beat, now=NOON) for agent in ill)
    return Scene(registry=Registry(registrations or THREE), health=health, now=NOON, **more)


def chosen(strategy: str, view: Scene, target: AgentId = SHOUT, **fields: Any) -> Choice:
    return choose(target, sample(strategy=strategy, receiver=(target,), **fields), view)


def refused(target: str, view: Scene, **fields: Any) -> NoCapableAgent:
    with pytest.raises(NoCapableAgent) as caught:
        chosen("", view, AgentId(target), **fields)
    return caught.value


def test_one_is_decided_by_the_id() -> None:
    """The same message goes to the same agent, different ones to all of them."""
    counts: Counter[AgentId] = Counter()
    for number in range(300):
        first = chosen("", scene(), message_id=f"m-{number}")
        assert chosen("one", scene(), message_id=f"m-{number}") == first
        counts.update(first.agents)
    assert first.reason == "one of 3 that offer shout, by the message's id"
    assert (first.target, first.offer) == (SHOUT, "shout")
    assert set(counts) == {BOB, CAROL, DAVE}
    assert min(counts.values()) > 60


def test_all() -> None:
    """Everybody who is available gets it, once each."""
    everybody = chosen("all", scene(ill=(CAROL,)))
    assert everybody.agents == (BOB, DAVE)
    assert everybody.reason == "every available one of 3 that offer shout"


def test_round_robin() -> None:
    """One after the other in the order of their names, whoever comes and goes meanwhile."""
    view, turns = scene(), list[AgentId]()
    for _ in range(7):
        choice = chosen("round-robin", view)
        turns += choice.agents
        view = msgspec.structs.replace(view, served={choice.offer: choice.agents[-1]})
    assert turns == [BOB, CAROL, DAVE, BOB, CAROL, DAVE, BOB]
    assert choice.reason == "its turn after dave@here, of 3 that offer shout"
    gone = scene(THREE[0], THREE[2], served={"shout": CAROL})
    assert chosen("round-robin", gone).agents == (DAVE,)
    assert chosen("round-robin", scene(ill=(DAVE,), served={"shout": CAROL})).agents == (BOB,)


def test_least_loaded() -> None:
    """The one at whom the fewest messages wait; who is ill does not count, however idle."""
    loads = {BOB: 5, CAROL: 2, DAVE: 3}
    choice = chosen("least-loaded", scene(loads=loads))
    assert choice.agents == (CAROL,)
    assert choice.reason == "2 messages wait there, the fewest of 3 that offer shout"
    assert chosen("least-loaded", scene(loads=loads, ill=(CAROL,))).agents == (DAVE,)
    assert chosen("least-loaded", scene(loads={BOB: 1, DAVE: 1})).agents == (CAROL,)


def test_least_loaded_of_equals() -> None:
    """Where nobody waits for anybody, the message's id decides."""
    agents = {chosen("least-loaded", scene(), message_id=f"m-{n}").agents for n in range(50)}
    assert agents == {(BOB,), (CAROL,), (DAVE,)}


def test_affinity() -> None:
    """Who takes part in the conversation and offers it goes before everybody else."""
    fields: dict[str, Any] = {"conversation_id": "c-1"}
    choice = chosen("affinity", scene(participants=(DAVE, CAROL, ALICE)), **fields)
    assert choice.agents == (CAROL,)
    assert choice.reason == "takes part in conversation c-1"
    ill = scene(participants=(DAVE, CAROL), ill=(CAROL,))
    assert chosen("affinity", ill, **fields).agents == (DAVE,)
    alone = chosen("affinity", scene(), message_id="m-9")
    assert alone == chosen("one", scene(), message_id="m-9")
    with pytest.raises(NoCapableAgent):
        chosen("affinity", scene(ill=(BOB, CAROL, DAVE)), **fields)


def test_affinity_at_the_beginning_of_a_conversation() -> None:
    """While nobody of it offers it, all its messages go to the same agent, by its own id."""
    by_conversation = set()
    for number in range(50):
        view = scene(participants=(ALICE,))
        choices = {
            chosen("affinity", view, conversation_id=f"c-{number}", message_id=f"m-{n}").agents
            for n in range(3)
        }
        assert len(choices) == 1
        by_conversation |= choices
    assert by_conversation == {(BOB,), (CAROL,), (DAVE,)}
    choice = chosen("affinity", scene(), conversation_id="c-1")
    assert choice.reason == "one of 3 that offer shout, by the conversation's id"


def test_affinity_with_somebody_who_is_draining() -> None:
    """He takes what belongs to his conversations, and nothing else."""
    drains = registered(BOB, "shout", state=AgentState.DRAINING)
    view = scene(drains, participants=(BOB,))
    assert chosen("affinity", view, conversation_id="c-1").agents == (BOB,)
    error = refused("capability:shout", view)
    assert error.reason == "nobody who offers shout is available: bob@here (draining)"


def test_versions_in_order_of_preference() -> None:
    """The first one that somebody available offers; the reason says what had to be left."""
    view = scene()
    assert chosen("", view, AgentId("capability:shout:v2,v1")).agents == (DAVE,)
    choice = chosen("all", scene(ill=(DAVE,)), AgentId("capability:shout:v3,v2,v1"))
    assert (choice.agents, choice.offer) == ((CAROL,), "shout:v1")
    assert choice.reason.endswith("; nobody available offers shout:v3, shout:v2")
    assert chosen("all", view, AgentId("capability:shout:v1")).agents == (CAROL, DAVE)


@pytest.mark.parametrize("state", [one for one in AgentState if one is not AgentState.RUNNING])
@pytest.mark.parametrize("strategy", Strategy)
def test_only_who_runs(state: AgentState, strategy: str) -> None:
    """An agent in another state, one that is ill, and the sender himself get nothing."""
    agents = (
        registered(ALICE, "shout"),
        registered(BOB, "shout", state=state),
        registered(CAROL, "shout"),
    )
    with pytest.raises(NoCapableAgent):
        chosen(strategy, scene(*agents, ill=(CAROL,)))
    assert chosen(strategy, scene(*agents)).agents == (CAROL,)


def test_nobody_offers_it() -> None:
    """The error says so, and names what is near with the number of those who could take it."""
    view = scene(
        *THREE,
        registered(ALICE, "shoot"),
        registered(AgentId("x@here"), "sing", "shouts"),
        ill=(DAVE,),
    )
    error = refused("capability:shout:v9", view)
    assert (error.code, error.field, error.value) == (
        "NoCapableAgent",
        "receiver",
        "capability:shout:v9",
    )
    assert error.failure is FailureReason.AGENT_NOT_FOUND
    assert error.reason == "nobody offers shout:v9"
    assert (
        error.hint == "near it: shout (2 available), shout:v1 (1 available), shouts (1 available)"
    )
    assert refused("capability:shoud", view).hint.startswith("near it: shout (2 available)")
    assert refused("capability:fly", view).hint == "nothing near it is offered either"


def test_nobody_is_available() -> None:
    """The error says what keeps those who offer it."""
    silent = leased(CAROL, Heartbeat(instance="i", lease=1), now=NOON - timedelta(seconds=1))
    view = scene(
        registered(ALICE, "shout"), *THREE, registered(AgentId("z@here"), "shout"), ill=(BOB,)
    )
    view.health.put(silent)
    view.health.put(msgspec.structs.replace(silent, agent=DAVE))
    view.health.put(msgspec.structs.replace(silent, agent=AgentId("z@here")))
    assert refused("capability:shout", view).reason == (
        "nobody who offers shout is available: alice@here (the sender), bob@here (no disk),"
        " carol@here (silent since 2026-05-01T11:59:59+00:00), 2 more"
    )


_names = st.sampled_from([BOB, CAROL, DAVE])


@given(
    st.sampled_from(Strategy),
    st.sets(_names),
    st.sets(_names),
    st.dictionaries(_names, st.integers(0, 3)),
    _names,
)
def test_only_the_able_are_chosen(
    strategy: Strategy,
    offering: set[AgentId],
    ill: set[AgentId],
    loads: dict[AgentId, int],
    last: AgentId,
) -> None:
    """Whatever the strategy: whoever is chosen offers it and is well, and somebody is if he is."""
    registrations = [
        registered(one, "shout" if one in offering else "sing") for one in (BOB, CAROL, DAVE)
    ]
    view = scene(
        *registrations, ill=tuple(ill), loads=loads, served={"shout": last}, participants=(last,)
    )
    able = offering - ill
    if not able:
        refused("capability:shout", view)
        return
    agents = set(chosen(strategy, view).agents)
    assert agents <= able
    assert agents == able if strategy is Strategy.ALL else len(agents) == 1
