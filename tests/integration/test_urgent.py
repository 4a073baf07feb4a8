"""Urgent traffic past a full backlog, on a real server."""

from __future__ import annotations

import asyncio
import json

import pytest

from caxton_nats.core.envelope import Priority
from caxton_nats.core.errors import QueueFull
from caxton_nats.core.window import LEAST
from caxton_nats.sdk.agent import Agent
from caxton_nats.sdk.context import Context
from tests.integration.lab import Lab
from tests.plugins.eventually import eventually
from tests.plugins.nats_cli import NatsCli

BACKLOG = 900


class Slow(Agent):
    """An agent whose handlers wait until they are told to go on, one message at a time."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.began: list[object] = []
        self.permits = asyncio.Semaphore(0)
        self.on("*")(self._work)

    async def _work(self, context: Context) -> None:
        self.began.append(context.content)
        await self.permits.acquire()


async def test_past_a_full_backlog(lab: Lab, door: str) -> None:
    """A Critical message behind 900 Low ones is begun as soon as any handler is free."""
    platform = await lab.through(door, queue_size=BACKLOG)
    alice, bob = await lab.agent("alice", platform), Slow("bob")
    await lab.register("bob", platform)
    low = [alice.message("inform", "bob", n, priority=Priority.LOW) for n in range(BACKLOG)]
    await alice.send_many(low)
    with pytest.raises(QueueFull):
        await alice.send("inform", "bob", "no room", priority=Priority.NORMAL)
    await lab.start(bob, platform)
    concurrency = platform.mailbox_options.concurrency
    await eventually(lambda: len(bob.began) == concurrency)
    await alice.send("inform", "bob", "urgent", priority=Priority.CRITICAL)

    async def arrived() -> bool:
        status = await platform.ports.mailboxes.status(bob.id)
        return status.in_flight > LEAST

    # Beside a full window of ordinary mail.
    await eventually(arrived)
    for _ in range(concurrency + 1):
        bob.permits.release()
    await eventually(lambda: "urgent" in bob.began)
    assert bob.began.index("urgent") <= 2 * concurrency
    for _ in range(BACKLOG + 1):
        bob.permits.release()
    await eventually(lambda: len(bob.began) == BACKLOG + 1)


async def test_while_the_agent_was_down(lab: Lab) -> None:
    """What came for an agent that was down is found when it comes, without anybody telling it."""
    platform = await lab.platform()
    alice = await lab.agent("alice", platform)
    await lab.register("bob", platform)
    await alice.send("inform", "bob", "ordinary")
    await alice.send("inform", "bob", "urgent", priority=Priority.HIGH)
    bob = await lab.collector("bob")
    await eventually(lambda: sorted(bob.contents) == ["ordinary", "urgent"])


async def test_a_request_that_is_urgent(lab: Lab, door: str) -> None:
    """Question and answer both go past what waits, for they are one conversation."""
    platform = await lab.through(door)
    alice, bob = await lab.agent("alice", platform), Agent("bob")

    @bob.on("request")
    async def answer(ctx: Context) -> None:
        await ctx.inform("done")

    await lab.start(bob, platform)
    done = await alice.request("bob", 1, priority=Priority.CRITICAL, timeout=20)
    assert done.content == "done"
    stored = await platform.ports.conversations.load(done.conversation_id)
    assert stored is not None
    assert stored[0].urgent


async def test_killed_with_urgent_mail_in_hand(lab: Lab) -> None:
    """It comes again, to a successor, as any other mail does."""
    platform = await lab.platform(ack_wait=1)
    alice = await lab.agent("alice", platform)
    program = await lab.spawn("agent", "bob", "stuck", ack_wait=1)
    await alice.send("inform", "bob", "urgent", priority=Priority.HIGH)
    await eventually(lambda: program.notes == ["urgent"])
    await program.kill()
    bob = await lab.collector("bob", platform)
    await eventually(lambda: bob.contents == ["urgent"])


@pytest.mark.nats_cli
async def test_with_the_nats_tool(lab: Lab, nats_cli: NatsCli) -> None:
    """`nats consumer next STREAM bob=urgent` reads it; ordinary mail keeps its own consumer."""
    platform = await lab.router()
    await lab.register("bob", platform)
    for priority in ("low", "critical"):
        message = {"performative": "inform", "receiver": "bob", "priority": priority}
        await nats_cli(lab.url, "req", "caxton.send.alice", json.dumps(message))
    stream = platform.ports.mailboxes.address(platform.agent_id("bob")).stream
    for consumer, value in (("bob=urgent", 10), ("bob", 1)):
        options = ("--raw", "--no-ack", "--count", "1")
        got = await nats_cli(lab.url, "consumer", "next", stream, consumer, *options)
        assert got.returncode == 0, got.stderr
        assert json.loads(got.stdout)["priority"] == value
