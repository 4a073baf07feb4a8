"""The mirror of the registry: lookups, and what may be registered."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.registry import (
    Address,
    AgentState,
    Registration,
    Registry,
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


def test_versions() -> None:
    """An offer with a version is found with it and without, an offer without it only so."""
    registry = Registry(
        [
            registered(ALICE, "shout:v1"),
            registered(BOB, "shout:v1", "shout:v2"),
            registered(CAROL, "shout"),
        ]
    )
    assert list(registry.offering("shout")) == [ALICE, BOB, CAROL]
    assert list(registry.offering("shout:v1")) == [ALICE, BOB]
    assert [one.agent for one in registry.find_by_capability("shout:v2")] == [BOB]
    assert registry.find_by_capability("shout:v3") == ()
    assert set(registry.capabilities()) == {"shout", "shout:v1", "shout:v2"}
    registry.put(registered(BOB, "shout:v2"))
    assert list(registry.offering("shout:v1")) == [ALICE]
    for agent in (ALICE, BOB, CAROL):
        registry.remove(agent)
    assert set(registry.capabilities()) == set()


def test_an_answer_is_not_kept_beyond_a_change() -> None:
    """Who asked before a change gets the new registration afterwards."""
    registry = Registry([registered(ALICE, "shout")])
    before = registry.find_by_capability("shout")
    assert registry.find_by_capability("shout") is before
    changed = msgspec.structs.replace(registered(ALICE, "shout"), state=AgentState.DRAINING)
    registry.put(changed)
    assert registry.find_by_capability("shout") == (changed,)


def test_pages() -> None:
    """Page by page everybody is listed once, also if the last one of a page has left meanwhile."""
    names = [AgentId(f"a{number:02}@here") for number in range(7)]
    registry = Registry(registered(name, *["odd"][: int(name[1:3]) % 2]) for name in names)
    assert [one.agent for one in registry.page(3)] == names[:3]
    registry.remove(names[2])
    assert [one.agent for one in registry.page(3, after=names[2])] == names[3:6]
    assert [one.agent for one in registry.page(3, after=names[5])] == names[6:]
    assert registry.page(3, after=names[6]) == ()
    odd = registry.page(2, after=names[1], capability="odd")
    assert [one.agent for one in odd] == [names[3], names[5]]
    assert registry.page(2, capability="even") == ()


_agents = st.sampled_from([ALICE, BOB, CAROL])
_capabilities = st.lists(st.sampled_from(["a", "b:1", "b:2"]), unique=True).map(tuple)
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
    assert [one.agent for one in registry.page(9)] == sorted(expected)
    for capability in ("a", "b", "b:1", "b:2"):
        assert registry.find_by_capability(capability) == tuple(
            expected[agent]
            for agent in sorted(expected)
            if any(
                f"{offer}:".startswith(f"{capability}:") for offer in expected[agent].capabilities
            )
        )


def test_learn() -> None:
    """What was read elsewhere is put only if it is newer than all that the registry has seen."""
    registry = Registry([registered(BOB)])
    registry.revision = 5
    registry.learn(registered(BOB, "old"), 5)
    assert registry.find(BOB) == registered(BOB)
    registry.learn(registered(BOB, "new"), 6)
    assert registry.find(BOB) == registered(BOB, "new")


def test_listeners() -> None:
    """They are told of each change of their agent, its removal included, until they have enough."""
    registry = Registry()
    told: list[Registration | None] = []
    forget = registry.listeners.add(BOB, told.append)
    registry.put(registered(BOB))
    registry.put(registered(ALICE))
    registry.put(registered(BOB, "sing"))
    registry.remove(BOB)
    registry.replace([registered(BOB)])
    registry.replace([])
    assert told == [registered(BOB), registered(BOB, "sing"), None, registered(BOB), None]
    forget()
    forget()
    registry.put(registered(BOB))
    assert len(told) == 5
