"""A process that is told to end finishes what it has in hand, and takes nothing more."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest

from caxton_nats import app
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import NotConnected
from caxton_nats.ports import Submission
from caxton_nats.sdk.agent import Agent
from tests.integration.lab import EMBEDDED_ONLY, Lab
from tests.plugins.eventually import eventually


async def test_running_handlers_finish(lab: Lab, tmp_path: Path) -> None:
    """After SIGTERM: the handler is done, what was not begun is given back in order, and it ends with 0."""
    platform = await lab.platform()
    alice = await lab.agent("alice", platform)
    go = tmp_path / "go"
    bob = await lab.spawn("agent", "bob", "waits", test={"CAXTON_TEST_GO": str(go)}, concurrency=1)
    for number in range(5):
        await alice.send("inform", "bob", number, conversation_id="c")
    await eventually(lambda: bob.notes == [0])
    ending = asyncio.create_task(bob.stop(signal.SIGTERM))

    async def takes_no_mail() -> bool:
        return not await platform.ports.mailboxes.opened(platform.agent_id("bob"))

    await eventually(takes_no_mail)
    go.touch()
    await ending
    assert await bob.wait() == 0
    assert bob.notes == [0]
    back = await lab.collector("bob", platform)
    await eventually(lambda: back.contents == [1, 2, 3, 4])
    assert {one.attempt for one in back.got} == {1}


async def test_handler_that_is_not_done_in_time(lab: Lab) -> None:
    """It is cancelled after the drain limit; the message comes again, and that was no attempt."""
    platform = await lab.platform()
    alice = await lab.agent("alice", platform)
    bob = await lab.spawn("agent", "bob", "stuck", drain=0.1)
    await alice.send("inform", "bob", 1)
    await eventually(lambda: bob.notes == [1])
    await bob.stop(signal.SIGTERM)
    assert await bob.wait() == 0
    back = await lab.collector("bob", platform)
    await eventually(lambda: back.contents == [1])
    assert back.got[0].attempt == 1


@EMBEDDED_ONLY
async def test_router_service_finishes_what_it_has_taken(lab: Lab) -> None:
    """Submissions that it had in hand need not wait until the server gives them to another."""
    platform = await lab.platform(queue_size=100_000)
    bob = await lab.register("bob", platform)
    nats = await lab.nats()

    async def submit_all() -> None:
        for number in range(500):
            body = {"performative": "inform", "receiver": "bob", "content": number}
            await nats.request("caxton.submit.alice", json.dumps(body).encode(), what="submit")

    async def arrived() -> int:
        return (await platform.ports.mailboxes.status(bob)).pending

    async def some_arrived() -> bool:
        return await arrived() > 20

    async def all_arrived() -> bool:
        return await arrived() == 500

    async with lab.serving(ack_wait=3600, batch_size=50):
        submitting = asyncio.create_task(submit_all())
        await eventually(some_arrived)
    await submitting
    await lab.router(ack_wait=3600)
    await eventually(all_arrived)


async def test_nothing_is_routed_after_the_end(lab: Lab, door: str) -> None:
    """A platform that was closed refuses, whatever it knew; a stopped agent does not send."""
    if door == "service":
        await lab.router()
    async with app.connect(lab.settings(router=door), observer=lab.books.observe) as platform:
        bob = await lab.register("bob", platform)
        alice = Agent("alice")
        await alice.start(platform)
        await alice.stop()
        with pytest.raises(NotConnected, match="stopped"):
            await alice.send("inform", "bob", 1)
    envelope = Envelope(performative="inform", receiver=(bob,))
    (refused,) = await platform.door.send([Submission(sender=alice.id, envelope=envelope)])
    assert isinstance(refused, NotConnected)


class Together(Agent):
    """Its stop returns when the other's has begun, too."""

    def __init__(self, name: str, barrier: asyncio.Barrier) -> None:
        super().__init__(name)
        self._barrier = barrier

    async def stop(self) -> None:
        await self._barrier.wait()
        await super().stop()


async def test_agents_of_one_process_stop_together(lab: Lab) -> None:
    """None waits for the handlers of another: the process ends within one drain limit."""
    barrier = asyncio.Barrier(2)
    platform = await lab.platform()
    async with asyncio.timeout(20):
        async with app.started(platform, Together("bob", barrier), Together("carol", barrier)):
            pass
