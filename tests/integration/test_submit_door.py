"""The store-and-forward door: durable before any router runs, and no complaint is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from caxton_nats.core.dead_letter import Stage
from caxton_nats.engine.platform import Platform
from tests.integration.lab import Collector, Lab
from tests.plugins.eventually import PATIENCE, eventually

SUBJECT = "caxton.submit.alice"


async def submit(lab: Lab, body: bytes | dict[str, object]) -> None:
    """Store the body in the ingress, as any NATS client would."""
    nats = await lab.nats()
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = json.loads(await nats.request(SUBJECT, data, what="submit"))
    assert answer["stream"] == "CAXTON_INGRESS", answer


async def test_submitted_while_no_router_runs(lab: Lab) -> None:
    """What is submitted while no router runs arrives in order when one starts."""
    platform = await lab.platform()
    bob = await lab.collector("bob", platform)
    for number in range(10):
        await submit(
            lab,
            {"performative": "inform", "receiver": "bob", "content": number, "conversation": "c"},
        )
    assert bob.got == []
    await lab.router()
    await eventually(lambda: len(bob.got) == 10)
    assert bob.contents == list(range(10))


async def test_a_router_with_one_worker_serves_both_doors(lab: Lab) -> None:
    """However small its batches are and however few of them it works on: neither door starves."""
    await lab.router(workers=1, batch_size=2)
    platform = await lab.platform(router="service")
    alice, bob = await lab.agent("alice", platform), await lab.collector("bob", platform)
    fields = {"performative": "inform", "receiver": "bob"}
    await asyncio.gather(
        *(submit(lab, {**fields, "content": number}) for number in range(20)),
        *(alice.send("inform", "bob", number) for number in range(20, 40)),
    )
    await eventually(lambda: len(bob.got) == 40)
    assert sorted(bob.contents) == list(range(40))


async def test_router_killed_and_another_started(lab: Lab) -> None:
    """Submissions survive the router that took them: 200 messages, each delivered once."""
    platform = await lab.platform()
    bob = await lab.collector("bob", platform)
    for number in range(200):
        await submit(lab, {"performative": "inform", "receiver": "bob", "content": number})
    doomed = await lab.spawn("router", ack_wait=1.0)
    await doomed.kill()
    await lab.router(ack_wait=1.0)
    await eventually(lambda: len(bob.got) >= 200, within=60)
    assert sorted(bob.contents) == list(range(200))


REFUSED = [
    pytest.param(b"hello", "MalformedEnvelope", "not-understood", id="not-json"),
    pytest.param(
        {"performative": "shout", "receiver": "bob"},
        "InvalidEnvelope",
        "not-understood",
        id="unknown-performative",
    ),
    pytest.param(
        {"performative": "request", "receiver": "nobody", "message_id": "m-1"},
        "AgentNotFound",
        "failure",
        id="unknown-receiver",
    ),
    pytest.param(
        {"performative": "request", "receiver": "bob", "sender": "mallory"},
        "InvalidEnvelope",
        "not-understood",
        id="sender-mismatch",
    ),
    pytest.param(
        {"performative": "request", "receiver": ["bob", "nobody"], "message_id": "m-1"},
        "AgentNotFound",
        "failure",
        id="one-receiver-unknown",
    ),
]


@pytest.mark.parametrize(("body", "code", "act"), REFUSED)
async def test_what_is_wrong_comes_back(
    lab: Lab, body: bytes | dict[str, object], code: str, act: str
) -> None:
    """A refused submission is told to its sender and stays as a dead letter, each once."""
    platform = await lab.router()
    await lab.register("bob", platform)
    alice = await lab.collector("alice", platform)
    await submit(lab, body)
    await told_once(platform, alice, code, act)
    (letter,) = await platform.ports.dead_letters.list()
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert (letter.stage, letter.agent, letter.original) == (Stage.ROUTE, "alice@here", data)
    assert letter.last_error["code"] == code


async def test_complaint_waits_for_a_sender_that_never_registered(lab: Lab) -> None:
    """Somebody who submits before registering finds the complaint when it does register."""
    platform = await lab.router()
    await submit(lab, b"hello")
    alice_id = platform.agent_id("alice")

    async def waiting() -> bool:
        return await platform.ports.mailboxes.pending() == {alice_id: 1}

    await eventually(waiting)
    alice = await lab.collector("alice", platform)
    await told_once(platform, alice, "MalformedEnvelope", "not-understood")


@pytest.mark.parametrize("crash_after", ["nothing", "record", "notice"])
async def test_crash_while_refusing(lab: Lab, crash_after: str) -> None:
    """A router that dies in the middle of a refusal leaves one dead letter and one notice.

    The submission is redelivered to the next router, which does what is still missing.
    """
    platform = await lab.platform()
    alice = await lab.collector("alice", platform)
    await submit(lab, b"hello")
    doomed = await lab.launch("crashing-router", crash_after, ack_wait=1.0)
    assert await doomed.wait() == -9
    letters = await platform.ports.dead_letters.list()
    assert len(letters) == (0 if crash_after == "nothing" else 1)
    await lab.router(ack_wait=1.0)
    await told_once(platform, alice, "MalformedEnvelope", "not-understood", within=40)
    assert len(await platform.ports.dead_letters.list()) == 1


async def test_crash_after_routing(lab: Lab) -> None:
    """A router that dies between storing a message and acking its submission sends no second copy.

    Although the message came without an id: its submission gives it the same one each time.
    """
    platform = await lab.platform()
    bob = await lab.collector("bob", platform)
    await submit(lab, {"performative": "inform", "receiver": "bob", "content": 1})
    doomed = await lab.launch("crashing-router", "everything", ack_wait=1.0)
    assert await doomed.wait() == -9
    await eventually(lambda: bob.contents == [1])
    await lab.router(ack_wait=1.0)
    await eventually(ingress_is_empty(platform))
    assert await platform.ports.mailboxes.stored() == 1
    assert bob.contents == [1]


async def test_full_mailbox_is_tried_again(lab: Lab) -> None:
    """A submission that finds the mailbox full waits until there is room."""
    platform = await lab.router(queue_size=1, max_retries=10)
    await lab.register("bob", platform)
    for number in range(2):
        await submit(lab, {"performative": "inform", "receiver": "bob", "content": number})

    async def full() -> bool:
        return await platform.ports.mailboxes.pending() == {platform.agent_id("bob"): 1}

    await eventually(full)
    bob = await lab.collector("bob", platform)
    await eventually(lambda: sorted(bob.contents) == [0, 1])
    assert await platform.ports.dead_letters.list() == []


async def test_subject_that_names_nobody(lab: Lab) -> None:
    """What comes in on a subject that is no agent's becomes a dead letter of the platform's own."""
    platform = await lab.router()
    nats = await lab.nats()
    await nats.request("caxton.submit.a=2eb", b"{}", what="submit")

    async def dead() -> bool:
        return bool(await platform.ports.dead_letters.list())

    await eventually(dead)
    (letter,) = await platform.ports.dead_letters.list()
    assert (letter.agent, letter.last_error["field"]) == ("ams@here", "subject")


def ingress_is_empty(platform: Platform) -> Callable[[], Awaitable[bool]]:
    """Return the condition that every submission is settled."""

    async def quiet() -> bool:
        mailboxes: Any = platform.ports.mailboxes
        info = await mailboxes._connection.api("STREAM.INFO.CAXTON_INGRESS")
        return bool(info["state"]["messages"] == 0)

    return quiet


async def told_once(
    platform: Platform, alice: Collector, code: str, act: str, within: float = PATIENCE
) -> None:
    """Wait until nothing is under way any more; then alice has one notice and no second one."""
    await eventually(lambda: bool(alice.got), within=within, what="a notice")
    await eventually(ingress_is_empty(platform), within=within, what="the submission is settled")
    (notice,) = alice.got
    assert (notice.performative, notice.sender) == (act, "ams@here")
    assert notice.content["error"]["code"] == code
