"""An agent is killed between any two steps of its answer: whoever asked hears it once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream.embedded import EmbeddedServer
from tests.integration.lab import EMBEDDED_ONLY, Collector, Lab
from tests.plugins.eventually import eventually

POINTS = {"returned": 2, "committed": 1, "first": 1, "sent": 1, "entered": 1, "acked": 1}
"""Where the agent dies, and how often its handler runs altogether."""


def settled(platform: Platform) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        return not await platform.ports.mailboxes.pending()

    return condition


async def killed(lab: Lab, alice: Collector, point: str) -> None:
    """Have bob answer alice, and die of it."""
    doomed = await lab.spawn("answering-agent", "bob", point, ack_wait=1.0)
    await alice.send("request", "bob", "ask", message_id="m-1", conversation_id="c")
    assert await doomed.wait() == -9


@EMBEDDED_ONLY
@pytest.mark.parametrize("point", POINTS)
async def test_agent_killed_while_it_answers(lab: Lab, point: str) -> None:
    """SIGKILL at each step: each answer is stored once and heard once, in order.

    The handler does not run after its commit.
    """
    platform = await lab.platform(ack_wait=1.0)
    alice = await lab.collector("alice", platform)
    await lab.register("bob", platform)
    await killed(lab, alice, point)
    successor = await lab.spawn("answering-agent", "bob", "never", ack_wait=1.0)
    await eventually(lambda: len(alice.got) >= 2)
    await eventually(settled(platform))
    assert alice.contents == ["one", "two"]
    # Both processes write to one file.
    assert successor.notes == ["ask"] * POINTS[point]
    assert await platform.ports.mailboxes.stored() == 3
    await successor.stop()


@pytest.mark.parametrize("point", ["first", "sent"])
async def test_server_restarts_meanwhile(
    own_server: EmbeddedServer, own_lab: Lab, point: str
) -> None:
    """A server that has forgotten the answers' ids stores them again: they are not heard again.

    Nor by a new start of the agent that asked, whose ledger says that it has heard them.
    """
    platform = await own_lab.platform(ack_wait=1.0)
    alice = await own_lab.collector("alice", platform)
    await own_lab.register("bob", platform)
    await killed(own_lab, alice, point)
    heard = {"first": ["one"], "sent": ["one", "two"]}[point]
    await eventually(lambda: alice.contents == heard)
    await alice.stop()
    before = await platform.ports.mailboxes.stored()
    await own_server.kill()
    await own_server.restart()
    platform = await own_lab.platform(ack_wait=1.0)
    await alice.start(platform)
    successor = await own_lab.spawn("answering-agent", "bob", "never", ack_wait=1.0)
    await eventually(settled(platform))
    assert alice.contents == ["one", "two"]
    assert successor.notes == ["ask"]
    assert await platform.ports.mailboxes.stored() == before + 2, "both were stored anew"
    await successor.stop()
