"""Who is registered, and who knows of it."""

from __future__ import annotations

import asyncio

import pytest

from caxton_nats.core.errors import (
    AgentAlreadyRegistered,
    AgentNotFound,
    InvalidEnvelope,
    TransportError,
)
from caxton_nats.jetstream.embedded import EmbeddedServer
from caxton_nats.sdk.agent import Agent
from tests.integration.lab import Lab
from tests.plugins.eventually import eventually


async def test_unknown_receiver(lab: Lab, door: str) -> None:
    """A message to an agent that nobody registered is refused, and nothing is stored."""
    platform = await lab.through(door)
    alice = await lab.agent("alice", platform)
    with pytest.raises(AgentNotFound) as caught:
        await alice.send("inform", "nobody", 1)
    assert (caught.value.field, caught.value.value) == ("receiver", "nobody@here")
    assert await platform.ports.mailboxes.stored() == 0


async def test_second_agent_of_a_name_is_refused(lab: Lab, door: str) -> None:
    """While somebody reads the mailbox, nobody else may be that agent; it keeps its mail."""
    platform = await lab.through(door)
    bob = await lab.collector("bob", platform)
    with pytest.raises(AgentAlreadyRegistered) as caught:
        await Agent("bob").start(await lab.platform(router=door))
    assert caught.value.value == "bob@here"
    await (await lab.agent("alice", platform)).send("inform", "bob", 1)
    await eventually(lambda: bob.contents == [1])


async def test_name_is_free_after_a_stop(lab: Lab, door: str) -> None:
    """An agent that stopped may come back at once, in another process; its mail waited."""
    platform = await lab.through(door)
    alice = await lab.agent("alice", platform)
    first = Agent("bob")
    await first.start(platform)
    await first.stop()
    await alice.send("inform", "bob", "meanwhile")
    second = await lab.collector("bob", await lab.platform(router=door))
    await eventually(lambda: second.contents == ["meanwhile"])


async def test_name_is_free_after_a_kill(lab: Lab) -> None:
    """An agent whose process was SIGKILLed may come back at once."""
    platform = await lab.platform()
    alice = await lab.agent("alice", platform)
    doomed = await lab.spawn("agent", "bob", "record")
    await doomed.kill()
    bob = await lab.collector("bob", platform)
    await alice.send("inform", "bob", 1)
    await eventually(lambda: bob.contents == [1])


async def test_who_has_left_gets_no_mail(lab: Lab, door: str) -> None:
    """When `leave` has returned the name is unknown, to every router."""
    platform = await lab.through(door)
    alice = await lab.agent("alice", await lab.platform(router=door))
    bob = Agent("bob")
    await bob.start(platform)
    await alice.send("inform", "bob", 1)

    async def settled() -> bool:
        return not await platform.ports.mailboxes.pending()

    await eventually(settled)
    await bob.leave()
    with pytest.raises(AgentNotFound):
        await alice.send("inform", "bob", 2)


async def test_mirror_follows_another_process(lab: Lab) -> None:
    """What another process registers or removes comes into the mirror."""
    platform = await lab.platform()
    bob = platform.agent_id("bob")
    other = await lab.spawn("agent", "bob", "record")
    await eventually(lambda: platform.registry.find(bob) is not None)
    found = platform.registry.find(bob)
    assert found is not None
    assert found.address == platform.ports.mailboxes.address(bob)
    await other.stop()
    third = await lab.platform()
    await third.registrar.register(bob, capabilities=["shout"])
    await eventually(
        lambda: [one.agent for one in platform.registry.find_by_capability("shout")] == [bob],
    )
    await third.registrar.deregister(bob)
    await eventually(lambda: platform.registry.find(bob) is None)
    assert platform.registry.find_by_capability("shout") == ()


async def test_fresh_registration_is_found_before_the_mirror_has_it(lab: Lab, door: str) -> None:
    """Who registers somewhere can be sent to from anywhere in the same moment."""
    here, there = await lab.through(door), await lab.platform()
    alice = await lab.agent("alice", here)
    for number in range(20):
        await lab.register(f"new-{number}", there)
        await alice.send("inform", f"new-{number}", 1)


async def test_find_by_capability(lab: Lab, door: str) -> None:
    """Agents are found by what they offer, by the name of their capability."""
    platform = await lab.through(door)
    for name in ("zoe", "bob"):
        await lab.start(Agent(name, capabilities=["translate", f"only-{name}"]), platform)
    alice = await lab.agent("alice", platform)
    await eventually(lambda: len(alice.find("translate")) == 2)
    assert alice.find("translate") == ["bob@here", "zoe@here"]
    assert alice.find("only-zoe") == ["zoe@here"]
    assert alice.find("fly") == []


async def test_a_hundred_at_once(lab: Lab, door: str) -> None:
    """Of a hundred registrations at the same moment, none is lost, in any process."""
    platform, other = await lab.through(door), await lab.platform()
    names = [f"agent-{number:03}" for number in range(100)]
    await asyncio.gather(
        *(
            platform.registrar.register(platform.agent_id(name), capabilities=["shout"])
            for name in names
        )
    )
    everybody = [platform.agent_id(name) for name in names]
    mirrors = (platform.registry, other.registry)
    await eventually(lambda: all([*one.offering("shout")] == everybody for one in mirrors))
    assert [one.agent for one in other.registry] == everybody


async def test_nothing_stale_is_left_after_a_reconnect(
    own_lab: Lab, own_server: EmbeddedServer
) -> None:
    """Who was deregistered while a process had no connection is gone from its index, too."""
    here, there = await own_lab.platform(), await own_lab.platform()
    bob = here.agent_id("bob")
    await there.registrar.register(bob, capabilities=["shout:v1"])
    await eventually(lambda: [*here.registry.offering("shout")] == [bob])
    await own_server.kill()
    await own_server.restart()

    async def deregistered() -> bool:
        try:
            return await there.registrar.deregister(bob)
        except TransportError:
            return False

    await eventually(deregistered)
    await eventually(lambda: here.registry.find(bob) is there.registry.find(bob) is None)
    for platform in (here, there):
        assert list(platform.registry.capabilities()) == []
    assert not await here.registrar.deregister(bob)


@pytest.mark.parametrize("name", ["a.b", "*", ">", "世界", "$JS", "a=2Eb", "x" * 255])
async def test_awkward_names(lab: Lab, door: str, name: str) -> None:
    """An agent may have any visible name; it gets its mail and answers it."""
    platform = await lab.through(door)
    odd = await lab.collector(name, platform)
    alice = await lab.collector("alice", platform)
    await alice.send("inform", name, 1)
    await eventually(lambda: odd.contents == [1])
    await odd.got[0].inform(2)
    await eventually(lambda: alice.contents == [2])
    assert alice.got[0].sender == f"{name}@here"


async def test_agent_of_another_platform_cannot_register(lab: Lab, door: str) -> None:
    """A name of another platform is refused."""
    with pytest.raises(InvalidEnvelope):
        await Agent("bob@elsewhere").start(await lab.through(door))
