"""Which agents run: leases, heartbeats, and what everybody sees of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from caxton_nats.core.errors import AgentAlreadyRegistered
from caxton_nats.jetstream.embedded import EmbeddedServer
from caxton_nats.sdk.agent import Agent
from tests.integration.lab import Lab
from tests.plugins.eventually import eventually


def finds(agent: Agent, *names: str) -> Callable[[], bool]:
    return lambda: agent.find("shout") == list(names)


async def test_a_silent_agent_is_seen_by_every_process(lab: Lab, door: str) -> None:
    """A process that is stopped is silent everywhere once its lease ends, and comes back alive."""
    here, there = await lab.through(door), await lab.platform()
    bob = await lab.spawn("agent", "bob", "record", "shout", router=door, lease=1)
    alice, carol = await lab.agent("alice", here), await lab.agent("carol", there)
    for asks in (alice, carol):
        await eventually(finds(asks, "bob@here"))
    bob.freeze()
    for asks in (alice, carol):
        await eventually(finds(asks))
    assert here.health.trouble(here.agent_id("bob"), here.ports.clock.now()).startswith("silent")
    await alice.send("inform", "bob", "meanwhile")
    bob.thaw()
    for asks in (alice, carol):
        await eventually(finds(asks, "bob@here"))
    await eventually(lambda: bob.notes == ["meanwhile"])


async def test_a_frozen_process_keeps_its_name_for_its_lease(lab: Lab) -> None:
    """It may come back; when the lease is over, somebody else may have the name."""
    frozen = await lab.spawn("agent", "bob", "record", lease=3600)
    frozen.freeze()
    platform = await lab.platform()
    with pytest.raises(AgentAlreadyRegistered, match="it runs on"):
        await Agent("bob").start(platform)
    frozen.thaw()
    await frozen.stop()
    doomed = await lab.spawn("agent", "bob", "record", lease=1)
    doomed.freeze()
    bob = platform.agent_id("bob")
    await eventually(
        lambda: platform.health.trouble(bob, platform.ports.clock.now()).startswith("silent")
    )
    await lab.collector("bob", platform)


async def test_who_was_away_too_long_does_not_share_the_mail(lab: Lab) -> None:
    """A process that wakes up and finds its name taken stops reading."""
    first = await lab.spawn("agent", "bob", "record", lease=1)
    first.freeze()
    platform = await lab.platform()
    agent = platform.agent_id("bob")
    await eventually(lambda: not platform.health.is_available(agent, platform.ports.clock.now()))
    bob = await lab.collector("bob", platform)
    alice = await lab.agent("alice", platform)
    first.thaw()

    async def only_one_waits() -> bool:
        address = platform.ports.mailboxes.address(agent)
        nats = await lab.nats()
        info = await nats.api(f"CONSUMER.INFO.{address.stream}.{address.consumer}")
        return bool(info["num_waiting"] == 1)

    await eventually(only_one_waits)
    for number in range(20):
        await alice.send("inform", "bob", number)
    await eventually(lambda: len(bob.contents) + len(first.notes) == 20)


async def test_a_name_is_free_at_once_after_a_kill_whatever_the_lease(lab: Lab, door: str) -> None:
    """Coming back after a crash is no duplicate, though the lease would last an hour."""
    platform = await lab.through(door)
    doomed = await lab.spawn("agent", "bob", "record", router=door, lease=3600)
    await doomed.kill()
    bob = await lab.collector("bob", platform)
    await (await lab.agent("alice", platform)).send("inform", "bob", 1)
    await eventually(lambda: bob.contents == [1])


async def test_health_is_right_again_after_a_restart_of_the_server(
    own_lab: Lab, own_server: EmbeddedServer
) -> None:
    """An outage longer than the lease makes nobody ill for longer than a heartbeat takes."""
    here, there = await own_lab.platform(), await own_lab.platform(lease=1)
    bob = Agent("bob", capabilities=["shout"])
    await own_lab.start(bob, there)
    alice = await own_lab.agent("alice", here)
    await own_server.kill()
    await eventually(lambda: alice.find("shout") == [])
    await own_server.restart()
    await eventually(lambda: alice.find("shout") == ["bob@here"])
