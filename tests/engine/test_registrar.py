"""Registration: one name, one mailbox, one reader."""

from __future__ import annotations

import asyncio

import pytest

from caxton_nats.core.errors import AgentAlreadyRegistered, InvalidEnvelope, RevisionConflict
from caxton_nats.core.identifiers import AgentId
from tests.core.sample import BOB
from tests.engine.bench import Bench, Failing, Recorder


async def test_registration_is_stored_and_known_at_once(bench: Bench) -> None:
    """It says where the mail lies, and the router of this process knows it without waiting."""
    platform = bench.platform()
    registration = await platform.registrar.register(
        BOB, capabilities=["shout", "shout", "sing"], node="host/1"
    )
    assert registration.capabilities == ("shout", "sing")
    assert registration.address == bench.broker.mailboxes.address(BOB)
    assert (registration.registered_at, registration.node) == (bench.clock.now(), "host/1")
    assert platform.registry.find(BOB) == registration
    stored = await bench.broker.registry_store.load(BOB)
    assert stored is not None
    assert stored[0] == registration


async def test_agent_that_is_being_read_is_refused(bench: Bench) -> None:
    """As long as somebody reads the mailbox, nobody else is that agent; the refusal says who."""
    platform = bench.platform()
    await platform.registrar.register(BOB, node="host/1")
    bench.open(Recorder(bench.clock))
    await bench.clock.idle()
    second = asyncio.create_task(bench.platform().registrar.register(BOB, node="host/2"))
    await bench.clock.advance(10)
    with pytest.raises(AgentAlreadyRegistered, match="host/1"):
        await second


async def test_agent_that_has_just_ended(bench: Bench) -> None:
    """A reader that ends while it is looked at gives the name free."""
    platform = bench.platform()
    await platform.registrar.register(BOB, node="host/1")
    mailbox = bench.open(Recorder(bench.clock))
    await bench.clock.idle()
    second = asyncio.create_task(bench.platform().registrar.register(BOB, node="host/2"))
    await bench.clock.idle()
    assert not second.done()
    await mailbox.drain()
    await bench.clock.advance(1)
    assert second.result().node == "host/2"


async def test_two_at_the_same_moment(bench: Bench) -> None:
    """Of two processes that register one name at once, exactly one succeeds."""
    results = await asyncio.gather(
        *(bench.platform().registrar.register(BOB, node=f"host/{n}") for n in range(2)),
        return_exceptions=True,
    )
    kinds = sorted(type(result).__name__ for result in results)
    assert kinds == ["AgentAlreadyRegistered", "Registration"]


async def test_conflict_is_told_as_what_it_is(bench: Bench) -> None:
    """A write that somebody else was faster with is an agent that exists, not a revision."""
    store = Failing(bench.broker.registry_store, save=[RevisionConflict("somebody")])
    platform = bench.platform(bench.but(registry_store=store))
    with pytest.raises(AgentAlreadyRegistered, match="at this moment"):
        await platform.registrar.register(BOB)
    assert platform.registry.find(BOB) is None


@pytest.mark.parametrize("capability", ["", "x" * 101, "tab\there"])
async def test_capability_that_is_none(bench: Bench, capability: str) -> None:
    """A wrong capability is refused before anything is stored."""
    platform = bench.platform()
    with pytest.raises(InvalidEnvelope, match="capabilities"):
        await platform.registrar.register(BOB, capabilities=["shout", capability])
    assert await bench.broker.registry_store.load(BOB) is None


async def test_agent_of_another_platform(bench: Bench) -> None:
    """It is refused: its mailbox would be that of our agent of the same local name."""
    with pytest.raises(InvalidEnvelope, match="another platform"):
        await bench.platform().registrar.register(AgentId("bob@elsewhere"))


async def test_leaving(bench: Bench) -> None:
    """Who has left is unknown; the mail stays, and is there when the agent comes back."""
    platform = await bench.known(bench.platform())
    await bench.post("m-1")
    assert await platform.registrar.deregister(BOB)
    assert not await platform.registrar.deregister(BOB)
    assert (platform.registry.find(BOB), await bench.pending()) == (None, 1)
    await platform.registrar.register(BOB)
    bob = Recorder(bench.clock)
    bench.open(bob)
    await bench.clock.idle()
    assert bob.done == ["m-1"]
