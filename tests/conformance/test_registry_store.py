"""What every `RegistryStore` promises."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from caxton_nats.core.errors import RevisionConflict
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.registry import AgentState, Registration, Registry
from tests.conformance.adapters import Adapter, named
from tests.plugins.eventually import eventually

BOB = named("bob")


def registered(
    adapter: Adapter, agent: AgentId = BOB, *capabilities: str, node: str = "host-1"
) -> Registration:
    return Registration(
        agent=agent,
        state=AgentState.LOADED,
        capabilities=capabilities,
        address=adapter.mailboxes.address(agent),
        node=node,
        queue_size=7,
        registered_at=datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC),
    )


async def test_save_and_load(adapter: Adapter) -> None:
    """What was saved is loaded whole, under the revision that `save` returned."""
    registration = registered(adapter, BOB, "translate", "größe:2")
    revision = await adapter.registry_store.save(registration, revision=None)
    assert await adapter.registry_store.load(BOB) == (registration, revision)


async def test_load_nothing(adapter: Adapter) -> None:
    """An agent that nobody registered has no registration, and none to remove."""
    assert await adapter.registry_store.load(BOB) is None
    assert not await adapter.registry_store.remove(BOB)


@pytest.mark.parametrize("name", ["a.b", "*", ">", "$x", "ä", "Bob", "BOB", "a=b", "a/b"])
async def test_awkward_names(adapter: Adapter, name: str) -> None:
    """Each name is a key of its own, whatever it means to NATS."""
    await adapter.registry_store.save(registered(adapter), revision=None)
    registration = registered(adapter, named(name))
    await adapter.registry_store.save(registration, revision=None)
    loaded = await adapter.registry_store.load(named(name))
    assert loaded is not None
    assert loaded[0] == registration


async def test_update(adapter: Adapter) -> None:
    """A save with the loaded revision replaces the registration, under a higher revision."""
    first = await adapter.registry_store.save(registered(adapter), revision=None)
    changed = registered(adapter, node="host-2")
    second = await adapter.registry_store.save(changed, revision=first)
    assert second > first
    assert await adapter.registry_store.load(BOB) == (changed, second)


async def test_create_over_existing(adapter: Adapter) -> None:
    """Somebody who believes that there is none yet does not overwrite the one there is."""
    original = registered(adapter)
    revision = await adapter.registry_store.save(original, revision=None)
    with pytest.raises(RevisionConflict):
        await adapter.registry_store.save(registered(adapter, node="thief"), revision=None)
    assert await adapter.registry_store.load(BOB) == (original, revision)


async def test_stale_update(adapter: Adapter) -> None:
    """Somebody who read before another's write does not overwrite it."""
    first = await adapter.registry_store.save(registered(adapter), revision=None)
    changed = registered(adapter, node="host-2")
    second = await adapter.registry_store.save(changed, revision=first)
    with pytest.raises(RevisionConflict):
        await adapter.registry_store.save(registered(adapter, node="late"), revision=first)
    assert await adapter.registry_store.load(BOB) == (changed, second)


async def test_one_creator_wins(adapter: Adapter) -> None:
    """Of 20 that register one name at once exactly one succeeds, and it is what is stored."""
    results = await asyncio.gather(
        *(
            adapter.registry_store.save(registered(adapter, node=f"host-{n}"), revision=None)
            for n in range(20)
        ),
        return_exceptions=True,
    )
    (winner,) = [number for number, result in enumerate(results) if isinstance(result, int)]
    assert sum(isinstance(result, RevisionConflict) for result in results) == 19
    loaded = await adapter.registry_store.load(BOB)
    assert loaded is not None
    assert loaded[0].node == f"host-{winner}"


async def test_other_agents_do_not_conflict(adapter: Adapter) -> None:
    """A write to one agent does not make another agent's revision stale."""
    revision = await adapter.registry_store.save(registered(adapter), revision=None)
    await adapter.registry_store.save(registered(adapter, named("alice")), revision=None)
    await adapter.registry_store.save(registered(adapter, node="host-2"), revision=revision)


async def test_remove(adapter: Adapter) -> None:
    """A removed registration is gone, once."""
    await adapter.registry_store.save(registered(adapter), revision=None)
    assert await adapter.registry_store.remove(BOB)
    assert await adapter.registry_store.load(BOB) is None
    assert not await adapter.registry_store.remove(BOB)


async def test_register_again_after_removal(adapter: Adapter) -> None:
    """A removed name is free: creating works, updating what was removed does not."""
    first = await adapter.registry_store.save(registered(adapter), revision=None)
    await adapter.registry_store.remove(BOB)
    with pytest.raises(RevisionConflict):
        await adapter.registry_store.save(registered(adapter), revision=first)
    again = registered(adapter, node="host-2")
    second = await adapter.registry_store.save(again, revision=None)
    assert second > first
    assert await adapter.registry_store.load(BOB) == (again, second)


async def test_follow_has_the_past(adapter: Adapter) -> None:
    """When `follow` returns, the mirror is what is stored: no less, and nothing else."""
    await adapter.registry_store.save(registered(adapter, named("gone")), revision=None)
    first = await adapter.registry_store.save(registered(adapter), revision=None)
    updated = registered(adapter, BOB, "translate")
    await adapter.registry_store.save(updated, revision=first)
    await adapter.registry_store.remove(named("gone"))
    mirror = Registry([registered(adapter, named("left-over"))])
    await adapter.registry_store.follow(mirror)
    assert list(mirror) == [updated]
    assert mirror.find_by_capability("translate") == (updated,)


async def test_follow_of_nothing(adapter: Adapter) -> None:
    """`follow` of an empty store returns too, with an empty mirror."""
    mirror = Registry()
    await adapter.registry_store.follow(mirror)
    assert len(mirror) == 0


async def test_follow_sees_changes(adapter: Adapter) -> None:
    """A mirror follows every put, update and removal made after `follow`."""
    mirror = Registry()
    await adapter.registry_store.follow(mirror)
    one = registered(adapter, BOB, "translate")
    revision = await adapter.registry_store.save(one, revision=None)
    await eventually(lambda: mirror.find(BOB) == one, what="the registration is mirrored")

    two = msgspec.structs.replace(one, capabilities=("summarise",), state=AgentState.DRAINING)
    await adapter.registry_store.save(two, revision=revision)
    await eventually(lambda: mirror.find(BOB) == two, what="the update is mirrored")
    assert mirror.find_by_capability("translate") == ()

    await adapter.registry_store.remove(BOB)
    await eventually(lambda: mirror.find(BOB) is None, what="the removal is mirrored")


async def test_every_follower_sees_changes(adapter: Adapter) -> None:
    """Several mirrors follow one store."""
    mirrors = [Registry(), Registry()]
    for mirror in mirrors:
        await adapter.registry_store.follow(mirror)
    await adapter.registry_store.save(registered(adapter), revision=None)
    await eventually(lambda: all(mirror.find(BOB) for mirror in mirrors), what="both mirror it")


async def test_refused_save_is_not_mirrored(adapter: Adapter) -> None:
    """A mirror never shows a registration that lost the race."""
    original = registered(adapter)
    await adapter.registry_store.save(original, revision=None)
    mirror = Registry()
    await adapter.registry_store.follow(mirror)
    with pytest.raises(RevisionConflict):
        await adapter.registry_store.save(registered(adapter, node="thief"), revision=None)
    # A later change that is mirrored proves that the refused one would have been by now.
    alice = registered(adapter, named("alice"))
    await adapter.registry_store.save(alice, revision=None)
    await eventually(lambda: mirror.find(alice.agent) == alice)
    assert mirror.find(BOB) == original


async def test_caught_up(adapter: Adapter) -> None:
    """Who has waited for a write finds it in every registry that follows, and so a removal."""
    mirrors = [Registry(), Registry()]
    for mirror in mirrors:
        await adapter.registry_store.follow(mirror)
    async with adapter.another() as other:
        for number in range(20):
            agent = named(f"agent-{number}")
            revision = await other.registry_store.save(registered(adapter, agent), revision=None)
            await adapter.registry_store.caught_up(revision)
            assert all(mirror.find(agent) for mirror in mirrors)
            assert all(mirror.revision >= revision for mirror in mirrors)
            removed = await other.registry_store.remove(agent)
            assert removed > revision
            await adapter.registry_store.caught_up(removed)
            assert not any(mirror.find(agent) for mirror in mirrors)


async def test_caught_up_with_what_was_there_before(adapter: Adapter) -> None:
    """A registry that has just begun to follow has everything already, markers included."""
    await adapter.registry_store.save(registered(adapter), revision=None)
    revision = await adapter.registry_store.remove(BOB)
    mirror = Registry()
    await adapter.registry_store.follow(mirror)
    await adapter.registry_store.caught_up(revision)
    assert (mirror.find(BOB), mirror.revision) == (None, revision)


async def test_caught_up_without_a_gap(adapter: Adapter) -> None:
    """As long as no connection is lost, the number stays."""
    await adapter.registry_store.follow(Registry())
    first = await adapter.registry_store.caught_up()
    revision = await adapter.registry_store.save(registered(adapter), revision=None)
    assert await adapter.registry_store.caught_up(revision) == first


async def test_a_mirror_that_follows_is_not_behind(adapter: Adapter) -> None:
    """Changes of all kinds are seen, after a moment; an empty store has nothing to be behind of."""
    registry = Registry()
    await adapter.registry_store.follow(registry)
    assert await adapter.registry_store.behind() == 0
    await adapter.registry_store.save(registered(adapter), revision=None)
    await adapter.registry_store.save(registered(adapter, named("alice")), revision=None)
    await adapter.registry_store.remove(named("bob"))

    async def caught_up() -> bool:
        return await adapter.registry_store.behind() == 0

    await eventually(caught_up)
    assert registry.find(named("bob")) is None


async def test_has_left(adapter: Adapter) -> None:
    """Who was registered once and is not any more has left; who never was has not."""
    assert not await adapter.registry_store.has_left(BOB)
    await adapter.registry_store.save(registered(adapter), revision=None)
    assert not await adapter.registry_store.has_left(BOB)
    await adapter.registry_store.remove(BOB)
    assert await adapter.registry_store.has_left(BOB)
    await adapter.registry_store.save(registered(adapter), revision=None)
    assert not await adapter.registry_store.has_left(BOB)
