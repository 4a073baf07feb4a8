"""Messages whose time passes, on a real server and through every door."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from caxton_nats.core.dead_letter import DeadLetter
from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.engine.platform import Platform
from caxton_nats.telemetry import Action
from tests.integration.lab import Collector, Lab
from tests.plugins.eventually import eventually
from tests.plugins.nats_cli import NatsCli


async def the_letter(platform: Platform) -> DeadLetter:
    """Wait for the one dead letter."""
    found: list[DeadLetter] = []

    async def died() -> bool:
        found[:] = await platform.ports.dead_letters.list()
        return bool(found)

    await eventually(died)
    (letter,) = found
    return letter


async def told(alice: Collector) -> None:
    """Wait until alice has been told of the time-out."""
    await eventually(lambda: len(alice.got) == 1)
    (context,) = alice.got
    assert (context.performative, context.content["error"]["code"]) == ("failure", "Expired")


async def test_a_receiver_that_never_comes(lab: Lab, door: str) -> None:
    """Its sender is told once; the message is a dead letter, and nothing stays in the mailbox."""
    router = await lab.router()
    platform = await lab.platform(router=door)
    alice = await lab.collector("alice", platform)
    bob = await lab.register("bob", platform)
    receipt = await alice.send("request", "bob", 1, timeout=1)
    letter = await the_letter(router)
    assert (letter.agent, letter.reason, letter.message_id) == (bob, "Timeout", receipt.message_id)
    assert (letter.attempts, letter.last_error["code"]) == (0, "Expired")
    await told(alice)

    async def is_empty() -> bool:
        return not await router.ports.mailboxes.pending()

    await eventually(is_empty)


async def test_a_receiver_that_was_killed_with_it(lab: Lab) -> None:
    """Taken by a process that is gone, it expires when that process has lost it (ack_wait)."""
    router = await lab.router(ack_wait=1)
    alice = await lab.collector("alice", router)
    program = await lab.spawn("agent", "bob", "stuck", ack_wait=1)
    await alice.send("request", "bob", 1, timeout=1.5)
    await eventually(lambda: bool(program.notes))
    assert await router.ports.mailboxes.opened(router.agent_id("bob"))
    await program.kill()
    assert (await the_letter(router)).reason == "Timeout"
    await told(alice)


async def test_a_receiver_that_works_on_it(lab: Lab) -> None:
    """What a handler has begun in time is handled, however long it takes."""
    router = await lab.router(ack_wait=1)
    alice = await lab.collector("alice", router)
    deadline = alice.deadline(1)
    bob = Collector("bob")

    @bob.on("request")
    async def slow(_: object) -> None:
        await eventually(lambda: router.ports.clock.now() > deadline + timedelta(seconds=2))

    await lab.start(bob, router)
    await alice.send("request", "bob", 1, reply_by=deadline)
    await eventually(lambda: lab.books.count(Action.HANDLED) == 1)
    assert await router.ports.dead_letters.list() == []


@pytest.mark.nats_cli
async def test_a_timeout_typed_at_the_request_door(lab: Lab, nats_cli: NatsCli) -> None:
    """`"timeout": 1` is enough; out of its bounds it is refused with the one it breaks."""
    router = await lab.router()
    alice = await lab.collector("alice", router)
    await lab.register("bob", router)
    message = {"performative": "request", "receiver": "bob"}
    for seconds, limit in ((1, ""), (0.5, "1"), (301, "300")):
        body = json.dumps({**message, "timeout": seconds})
        asked = await nats_cli(lab.url, "req", "--raw", "caxton.send.alice", body)
        error = json.loads(asked.stdout).get("error", {})
        expected = ("InvalidEnvelope", "timeout", limit) if limit else (None, None, None)
        assert tuple(map(error.get, ("code", "field", "limit"))) == expected
    assert (await the_letter(router)).reason == "Timeout"
    await told(alice)


async def test_a_timeout_counts_from_the_submission(lab: Lab) -> None:
    """What waits for a router meanwhile loses that time: it may expire before it is routed."""
    platform = await lab.platform()
    alice = await lab.collector("alice", platform)
    await lab.register("bob", platform)
    nats = await lab.nats()
    body = {"performative": "request", "receiver": "bob", "timeout": 1, "message_id": "m-1"}
    await nats.client.publish("caxton.submit.alice", json.dumps(body).encode())
    submitted = platform.ports.clock.now()
    late = submitted + timedelta(seconds=1.5)
    await eventually(lambda: platform.ports.clock.now() > late)
    await lab.router()
    letter = await the_letter(platform)
    assert (letter.stage, letter.reason, letter.message_id) == ("deliver", "Timeout", "m-1")
    await told(alice)


async def test_a_timeout_out_of_its_bounds(lab: Lab, door: str) -> None:
    """Refused at the door, by field, limit and value."""
    alice = await lab.agent("alice", await lab.through(door))
    with pytest.raises(InvalidEnvelope, match="1 to 300") as caught:
        await alice.send("request", "alice", timeout=0.9)
    assert (caught.value.field, caught.value.value) == ("timeout", "0.9")
