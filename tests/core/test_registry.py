"""The mirror of the registry: lookups, and what may be registered."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.registry import (
    Address,
    AgentState,
    Registration,
    Registry,
    check_capabilities,
    check_queue_size,
)
from tests.core.sample import ALICE, BOB, CAROL, NOON


def registered(agent: AgentId, *capabilities: str) -> Registration:
    return Registration(
        agent=agent,
        capabilities=capabilities,
        address=Address("S", f"s.{agent}", agent),
        registered_at=NOON,
    )


def test_states() -> None:
    """The states are the seed's five."""
    assert [*AgentState] == ["Unloaded", "Loaded", "Running", "Draining", "Stopped"]


def test_defaults() -> None:
    """An agent is registered as running, with a mailbox of 1000."""
    registration = registered(BOB)
    assert (registration.state, registration.queue_size) == (AgentState.RUNNING, 1000)


def test_registration_as_json() -> None:
    """A registration is plain JSON and comes back from it."""
    registration = registered(BOB, "translate")
    data = msgspec.json.encode(registration)
    assert msgspec.json.decode(data, type=Registration) == registration


def test_empty() -> None:
    """An empty registry knows nobody."""
    registry = Registry()
    assert registry.find(BOB) is None
    assert registry.find_by_capability("translate") == ()
    assert list(registry) == []
    assert len(registry) == 0


def test_find() -> None:
    """An agent is found by its full name."""
    registry = Registry([registered(ALICE), registered(BOB)])
    assert registry.find(BOB) == registered(BOB)
    assert len(registry) == 2


def test_order() -> None:
    """Registrations are iterated by agent name, and so are the offers of a capability."""
    registry = Registry([registered(one, "translate") for one in (CAROL, ALICE, BOB)])
    assert [one.agent for one in registry] == [ALICE, BOB, CAROL]
    offers = registry.find_by_capability("translate")
    assert [one.agent for one in offers] == [ALICE, BOB, CAROL]


def test_put_replaces() -> None:
    """A new registration replaces the agent's old one, capabilities included."""
    registry = Registry([registered(BOB, "translate", "summarise")])
    registry.put(registered(BOB, "summarise", "sing"))
    assert len(registry) == 1
    assert registry.find_by_capability("translate") == ()
    assert registry.find_by_capability("summarise") == (registered(BOB, "summarise", "sing"),)
    assert registry.find_by_capability("sing") == (registered(BOB, "summarise", "sing"),)


def test_remove() -> None:
    """A removed agent is gone everywhere; others of its capability stay."""
    registry = Registry([registered(ALICE, "translate"), registered(BOB, "translate", "sing")])
    registry.remove(BOB)
    assert registry.find(BOB) is None
    assert registry.find_by_capability("translate") == (registered(ALICE, "translate"),)
    assert registry.find_by_capability("sing") == ()


def test_remove_unknown() -> None:
    """Removing nobody changes nothing."""
    registry = Registry([registered(BOB)])
    registry.remove(ALICE)
    assert list(registry) == [registered(BOB)]


def test_replace() -> None:
    """A replaced registry is exactly what it was given."""
    registry = Registry([registered(ALICE, "translate"), registered(BOB)])
    registry.replace([registered(CAROL, "sing")])
    assert list(registry) == [registered(CAROL, "sing")]
    assert registry.find_by_capability("translate") == ()


_agents = st.sampled_from([ALICE, BOB, CAROL])
_capabilities = st.lists(st.sampled_from("abc"), unique=True).map(tuple)
_changes = st.lists(st.tuples(_agents, st.none() | _capabilities), max_size=30)


@given(_changes)
def test_index_agrees_with_a_dict(changes: list[tuple[AgentId, tuple[str, ...] | None]]) -> None:
    """After any changes the registry answers as a plain search of the survivors does."""
    registry = Registry()
    expected: dict[AgentId, Registration] = {}
    for agent, capabilities in changes:
        if capabilities is None:
            registry.remove(agent)
            expected.pop(agent, None)
        else:
            expected[agent] = registered(agent, *capabilities)
            registry.put(expected[agent])
    assert {one.agent: one for one in registry} == expected
    for capability in "abc":
        assert registry.find_by_capability(capability) == tuple(
            expected[agent]
            for agent in sorted(expected)
            if capability in expected[agent].capabilities
        )


def test_capabilities_once_each() -> None:
    """Capabilities keep their order; a repeated one counts once."""
    assert check_capabilities(["b", "a", "b"]) == ("b", "a")
    assert check_capabilities([]) == ()


@pytest.mark.parametrize("length", [1, 100])
def test_capability_length(length: int) -> None:
    """A capability has 1 to 100 characters."""
    assert check_capabilities(["x" * length])
    beyond = 0 if length == 1 else 101
    with pytest.raises(InvalidEnvelope) as caught:
        check_capabilities(["x" * beyond])
    assert (caught.value.field, caught.value.limit, caught.value.value) == (
        "capabilities",
        100,
        beyond,
    )


@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_queue_size(size: int) -> None:
    """The seed's bounds are allowed."""
    assert check_queue_size(size) == size


@pytest.mark.parametrize("size", [-1, 0, 100_001])
def test_queue_size_beyond(size: int) -> None:
    """One beyond is not, and the error names limit and value."""
    with pytest.raises(InvalidEnvelope) as caught:
        check_queue_size(size)
    assert (caught.value.field, caught.value.limit, caught.value.value) == (
        "queue_size",
        100_000,
        size,
    )
