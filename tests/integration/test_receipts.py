"""Staged receipts on a real server, through every door."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from caxton_nats.core.errors import AgentNotResponding, CaxtonError, InvalidEnvelope
from caxton_nats.core.staged_receipt import ReceiptStage
from caxton_nats.sdk.agent import Agent
from caxton_nats.sdk.context import Context
from tests.integration.lab import Lab
from tests.plugins.eventually import eventually
from tests.plugins.nats_cli import NatsCli


async def test_from_accepted_to_handled(lab: Lab, door: str) -> None:
    """Each stage can be seen while it lasts, with its time, per receiver, by the sender."""
    platform = await lab.through(door)
    alice, goes_on = await lab.agent("alice", platform), asyncio.Event()
    bob, carol = Agent("bob"), await lab.register("carol", platform)

    @bob.on("request")
    async def slow(_: Context) -> None:
        await goes_on.wait()

    await lab.register("bob", platform)
    receipt = await alice.send("request", ["bob", "carol"], 1, require_receipt=True)
    message_id = receipt.message_id
    found = await alice.receipts(message_id)
    assert [(one.receiver, one.stage) for one in found] == [
        ("bob@here", "accepted"),
        (carol, "accepted"),
    ]
    assert [one.origin.sequence for one in found] == [one.sequence for one in receipt.outcomes]
    await lab.start(bob, platform)

    async def is_offered() -> bool:
        return (await alice.receipts(message_id))[0].stage is ReceiptStage.OFFERED

    await eventually(is_offered)
    goes_on.set()
    collector = await lab.collector("carol", platform)
    handled = await alice.receipts_when("handled", message_id)
    assert [(one.stage, one.attempt, len(one.times)) for one in handled] == [("handled", 1, 3)] * 2
    assert len(collector.got) == 1


async def test_failed_with_its_dead_letter(lab: Lab, door: str) -> None:
    """A message that nobody could handle says why, and where it lies; redriven it begins anew."""
    platform = await lab.through(door, max_retries=1)
    alice, bob = await lab.agent("alice", platform), Agent("bob")
    bad = True

    @bob.on("request")
    async def broken(_: Context) -> None:
        if bad:
            raise ValueError("broken")

    await lab.start(bob, platform)
    message_id = (await alice.send("request", "bob", 1, require_receipt=True)).message_id
    (one,) = await alice.receipts_when(ReceiptStage.HANDLED, message_id)
    assert (one.stage, one.attempt) == ("failed", 2)
    assert one.error == {"code": "HandlerFailed", "reason": "ValueError: broken"}
    assert await platform.ports.dead_letters.get(one.dead_letter) is not None
    bad = False
    await platform.redrive.redrive(one.dead_letter)

    async def is_handled() -> bool:
        return (await alice.receipts(message_id))[0].stage is ReceiptStage.HANDLED

    await eventually(is_handled)


async def test_expired_unread(lab: Lab, door: str) -> None:
    """A message that nobody fetched in time has failed, too."""
    await lab.router()
    platform = await lab.platform(router=door)
    alice = await lab.agent("alice", platform)
    await lab.register("bob", platform)
    sent = await alice.send("request", "bob", 1, require_receipt=True, timeout=1)
    (one,) = await alice.receipts_when("handled", sent.message_id)
    assert (one.stage, one.error["code"]) == ("failed", "Expired")


async def test_a_killed_receiver(lab: Lab) -> None:
    """What it was offered stays on record, and a successor goes on from there."""
    platform = await lab.platform(ack_wait=1)
    alice = await lab.agent("alice", platform)
    program = await lab.spawn("agent", "bob", "stuck", ack_wait=1)
    message_id = (await alice.send("request", "bob", 1, require_receipt=True)).message_id
    await alice.receipts_when("offered", message_id)
    await program.kill()
    assert [one.stage for one in await alice.receipts(message_id)] == ["offered"]
    await lab.collector("bob", platform)
    (one,) = await alice.receipts_when("handled", message_id)
    assert (one.stage, one.attempt) == ("handled", 1)


async def test_a_message_that_did_not_ask(lab: Lab, door: str) -> None:
    """Has nothing on record, and waiting for it says so."""
    platform = await lab.through(door)
    alice, bob = await lab.agent("alice", platform), await lab.collector("bob", platform)
    message_id = (await alice.send("inform", "bob", 1)).message_id
    await eventually(lambda: len(bob.got) == 1)
    assert await alice.receipts(message_id) == []
    with pytest.raises(AgentNotResponding, match="require_receipt"):
        await alice.receipts_when("handled", message_id, timeout=0)
    with pytest.raises(InvalidEnvelope):
        await alice.receipts("no id")


@pytest.mark.nats_cli
async def test_with_the_nats_tool_alone(lab: Lab, nats_cli: NatsCli) -> None:
    """Ask at the door, under one's own name only, or read the bucket."""
    router = await lab.router()
    await lab.collector("bob", router)
    message = {"performative": "inform", "receiver": "bob", "message_id": "m/1"}
    body = json.dumps({**message, "require_receipt": True})
    await nats_cli(lab.url, "req", "caxton.send.alice", body)

    async def ask(whose: str, question: str) -> dict[str, Any]:
        asked = await nats_cli(lab.url, "req", "--raw", f"caxton.receipts.{whose}", question)
        answer: dict[str, Any] = json.loads(asked.stdout)
        return answer

    async def handled() -> bool:
        (one,) = (await ask("alice", '{"message_id": "m/1"}'))["receipts"]
        return bool(one["stage"] == "handled" and one["receiver"] == "bob@here")

    await eventually(handled)
    assert await ask("mallory", '{"message_id": "m/1"}') == {"receipts": []}
    for question in ("", "{}", "[]", '{"message_id": 1}', '{"message_id": "a b"}'):
        assert (await ask("alice", question))["error"]["code"] == "InvalidEnvelope"
    got = await nats_cli(lab.url, "kv", "get", "caxton-receipts", "alice.m=2F1.bob", "--raw")
    record = json.loads(got.stdout)
    assert (record["stage"], sorted(record["times"])) == (
        "handled",
        ["accepted", "handled", "offered"],
    )


async def test_through_the_submit_door(lab: Lab) -> None:
    """Store and forward: on record once a router has taken it."""
    router = await lab.router()
    alice = await lab.agent("alice", router)
    await lab.collector("bob", router)
    body = {"performative": "inform", "receiver": "bob", "message_id": "m-1"}
    nats = await lab.nats()
    data = json.dumps({**body, "require_receipt": True}).encode()
    await nats.client.publish("caxton.submit.alice", data)
    assert [one.stage for one in await alice.receipts_when("handled", "m-1")] == ["handled"]


async def test_another_platforms_sender_cannot_ask_here(lab: Lab) -> None:
    """The door's subject has no place for it, and says so instead of asking for somebody else."""
    await lab.router()
    platform = await lab.platform(router="service")
    with pytest.raises(CaxtonError, match="another platform"):
        await platform.door.receipts(platform.agent_id("alice@there"), _id("m-1"))


def _id(text: str) -> Any:
    return text
