"""The rate limit of a deployment, through all doors and several routers, on a real server."""

from __future__ import annotations

import asyncio
import json

from caxton_nats.core.errors import ResourceExhausted
from caxton_nats.ports import Receipt
from tests.integration.lab import EMBEDDED_ONLY, Lab
from tests.plugins.eventually import eventually

LIMIT = 20


async def test_the_deployment_agrees_on_it(lab: Lab, door: str) -> None:
    """Whatever a process that comes later has chosen: the limit is the one on record."""
    await lab.through(door, rate_limit=LIMIT)
    platform = await lab.platform(router=door, rate_limit=7)
    alice, bob = await lab.agent("alice", platform), await lab.collector("bob", platform)
    results = await alice.send_many([alice.message("inform", "bob", at) for at in range(100)])
    passed = sum(isinstance(one, Receipt) for one in results)
    assert LIMIT <= passed < 100
    refused = [one for one in results if not isinstance(one, Receipt)]
    assert {(type(one), one.code, one.field, one.limit) for one in refused} == {
        (ResourceExhausted, "ResourceExhausted", "sender", LIMIT)
    }
    wait = max(one.retry_after or 0 for one in refused)
    assert 0 < wait <= 1
    await asyncio.sleep(wait)
    await alice.send("inform", "bob", "later")
    await eventually(lambda: len(bob.got) == passed + 1)


@EMBEDDED_ONLY
async def test_routers_share_it(lab: Lab) -> None:
    """Three router services take no more of one sender at once than one of them alone would."""
    routers = [await lab.router(rate_limit=300) for _ in range(3)]
    await eventually(lambda: [one.router.rate_limit.burst for one in routers] == [100] * 3)
    platform = await lab.platform(router="service")
    alice, carol = await lab.agent("alice", platform), await lab.agent("carol", platform)
    await lab.register("bob", platform)
    began = asyncio.get_running_loop().time()
    results = await alice.send_many([alice.message("inform", "bob", at) for at in range(1_800)])
    took = asyncio.get_running_loop().time() - began
    passed = sum(isinstance(one, Receipt) for one in results)
    # What comes back while they are being sent is taken, too.
    assert 300 <= passed <= 300 * (1 + took) + 3
    assert isinstance(await carol.send("inform", "bob"), Receipt)


@EMBEDDED_ONLY
async def test_what_is_submitted_waits_and_others_pass(lab: Lab) -> None:
    """A flood of one sender comes at its rate, whole and in order; another sender's is not behind."""
    await lab.router(rate_limit=LIMIT)
    platform = await lab.platform()
    bob = await lab.collector("bob", platform)
    nats = await lab.nats()

    async def submit(sender: str, number: object) -> None:
        body = {"performative": "inform", "receiver": "bob", "content": number}
        await nats.request(f"caxton.submit.{sender}", json.dumps(body).encode(), what="submit")

    for number in range(LIMIT * 4):
        await submit("alice", number)
    await submit("carol", "carol")
    await eventually(lambda: "carol" in bob.contents)
    behind = bob.contents.index("carol")
    assert behind < LIMIT * 4
    await eventually(lambda: len(bob.got) == LIMIT * 4 + 1)
    alices = [one for one in bob.contents if one != "carol"]
    assert alices == [*range(LIMIT * 4)]
