"""Registration: one name, one mailbox, one reader."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from caxton_nats.core.errors import (
    AgentAlreadyRegistered,
    AgentNotFound,
    InvalidEnvelope,
    RevisionConflict,
)
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.lease import Heartbeat, Lease
from caxton_nats.core.registry import Registration
from caxton_nats.ports import Leases, Pulse
from tests.core.sample import BOB, CAROL
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


def beat(instance: str, **more: Any) -> Heartbeat:
    return Heartbeat(instance=instance, lease=10, **more)


class Silent:
    """Leases whose holders are connected, and answer nobody."""

    def __init__(self, real: Leases) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def pulse(self, _instance: str) -> Pulse:
        return Pulse.SILENT


async def test_a_lease_is_taken_with_the_name(bench: Bench) -> None:
    """It says since when and until when; this process knows it at once, and others by and by."""
    platform, other = bench.platform(), bench.platform()
    await bench.broker.leases.follow(other.health)
    await platform.registrar.register(BOB, node="host/1", beat=beat("one"))
    now = bench.clock.now()
    lease = Lease(
        agent=BOB,
        instance="one",
        node="host/1",
        last_heartbeat=now,
        expires_at=now + timedelta(seconds=10),
    )
    assert platform.health.find(BOB) == other.health.find(BOB) == lease
    await bench.clock.advance(9)
    renewed = await platform.registrar.heartbeat(BOB, beat("one"))
    assert (renewed.last_heartbeat, renewed.node) == (bench.clock.now(), "host/1")
    await bench.clock.advance(9)
    assert other.health.is_available(BOB, bench.clock.now())
    await bench.clock.advance(1)
    assert not other.health.is_available(BOB, bench.clock.now())


async def test_a_name_whose_holder_lives_is_refused(bench: Bench) -> None:
    """Whether or not its mailbox is being read, and even if its lease has just run out."""
    platform = bench.platform()
    await bench.broker.leases.answer_for("one")
    await platform.registrar.register(BOB, node="host/1", beat=beat("one"))
    for _ in range(2):
        for second in (beat("two"), None):
            with pytest.raises(AgentAlreadyRegistered, match="host/1"):
                await bench.platform().registrar.register(BOB, beat=second)
        await bench.clock.advance(11)


async def test_a_name_whose_holder_has_crashed_is_free(bench: Bench) -> None:
    """At once, without waiting for the lease; the old instance's heartbeat is refused."""
    platform = bench.platform()
    await platform.registrar.register(BOB, capabilities=["shout"], beat=beat("one"))
    await bench.platform().registrar.register(BOB, node="host/2", beat=beat("two"))
    with pytest.raises(AgentAlreadyRegistered, match="another instance") as caught:
        await platform.registrar.heartbeat(BOB, beat("one"))
    assert (caught.value.limit, caught.value.value) == ("two", "one")
    assert not await platform.registrar.release(BOB, "one")


async def test_a_name_whose_holder_is_silent_is_taken_as_long_as_its_lease(bench: Bench) -> None:
    """A process that was stopped may come back until then."""
    platform = bench.platform(bench.but(leases=Silent(bench.broker.leases)))
    await platform.registrar.register(BOB, beat=beat("one"))
    await bench.clock.advance(9.9)
    with pytest.raises(AgentAlreadyRegistered):
        await platform.registrar.register(BOB, beat=beat("two"))
    await bench.clock.advance(0.1)
    await platform.registrar.register(BOB, beat=beat("two"))


async def test_the_same_instance_may_ask_again(bench: Bench) -> None:
    """A registration whose answer was lost is asked for again, and is no duplicate."""
    await bench.broker.leases.answer_for("one")
    for _ in range(2):
        await bench.platform().registrar.register(BOB, beat=beat("one"))


async def test_two_instances_at_the_same_moment(bench: Bench) -> None:
    """One of them gets the lease, and the registration is its own."""
    for number in range(3):
        await bench.broker.leases.answer_for(f"i-{number}")
    results = await asyncio.gather(
        *(
            bench.platform().registrar.register(BOB, node=f"host/{n}", beat=beat(f"i-{n}"))
            for n in range(3)
        ),
        return_exceptions=True,
    )
    (winner,) = [one for one in results if isinstance(one, Registration)]
    lease, registration = (
        await bench.broker.leases.load(BOB),
        await bench.broker.registry_store.load(BOB),
    )
    assert lease is not None
    assert registration is not None
    assert lease[0].node == registration[0].node == winner.node
    assert sum(isinstance(one, AgentAlreadyRegistered) for one in results) == 2


async def test_a_lease_that_was_given_back(bench: Bench) -> None:
    """The agent is away, and its name is free, also to one that takes no lease."""
    platform = bench.platform()
    await platform.registrar.register(BOB, beat=beat("one"))
    assert await platform.registrar.release(BOB, "one")
    assert not await platform.registrar.release(BOB, "one")
    assert platform.health.trouble(BOB, bench.clock.now()) == "stopped"
    await platform.registrar.register(BOB)
    assert platform.health.find(BOB) is None
    assert await bench.broker.leases.load(BOB) is None


async def test_heartbeat_of_nobody(bench: Bench) -> None:
    """An agent that is not registered, or not any more, has no lease to renew."""
    registrar = bench.platform().registrar
    with pytest.raises(AgentNotFound):
        await registrar.heartbeat(BOB, beat("one"))
    await registrar.register(BOB, beat=beat("one"))
    await registrar.deregister(BOB)
    with pytest.raises(AgentNotFound):
        await registrar.heartbeat(BOB, beat("one"))
    assert await bench.broker.leases.load(BOB) is None


async def test_a_heartbeat_may_take_the_lease_of_a_registered_agent(bench: Bench) -> None:
    """Who registered without one begins to be judged with its first heartbeat."""
    platform = bench.platform()
    await platform.registrar.register(BOB)
    await platform.registrar.heartbeat(BOB, beat("one", healthy=False, reason="no disk"))
    assert platform.health.trouble(BOB, bench.clock.now()) == "no disk"


async def test_a_heartbeat_that_meets_another_write(bench: Bench) -> None:
    """It is decided again on what is stored then; who never gets through is told."""
    conflict = RevisionConflict("somebody")
    store = Failing(bench.broker.leases, save=[None, conflict, None])
    registrar = bench.platform(bench.but(leases=store)).registrar
    await registrar.register(BOB, beat=beat("one"))
    assert (await registrar.heartbeat(BOB, beat("one"))).instance == "one"
    store = Failing(bench.broker.leases, save=[conflict] * 20)
    registrar = bench.platform(bench.but(leases=store)).registrar
    for call in (registrar.heartbeat(BOB, beat("one")), registrar.release(BOB, "one")):
        with pytest.raises(RevisionConflict, match="all the time"):
            await call


async def test_a_lease_without_its_registration_is_given_back(bench: Bench) -> None:
    """Whoever loses the race for the registration does not keep the name from the winner."""
    store = Failing(bench.broker.registry_store, save=[RevisionConflict("somebody")])
    platform = bench.platform(bench.but(registry_store=store))
    await bench.broker.leases.answer_for("one")
    with pytest.raises(AgentAlreadyRegistered):
        await platform.registrar.register(BOB, beat=beat("one"))
    await bench.platform().registrar.register(BOB, beat=beat("two"))


async def test_a_registration_is_bounded(bench: Bench) -> None:
    """Every router holds it in memory: what one agent may put there has an end."""
    register = bench.platform().registrar.register
    await register(BOB, capabilities=[f"c{number}" for number in range(256)], node="n" * 255)
    for wrong in ({"capabilities": [f"c{number}" for number in range(257)]}, {"node": "n" * 256}):
        with pytest.raises(InvalidEnvelope) as error:
            await register(CAROL, **wrong)
        assert [error.value.field] == list(wrong)
        assert error.value.value == len(next(iter(wrong.values())))
