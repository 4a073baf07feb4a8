"""An agent that fails at everything and then heals, behind three routers, on a real server."""

from __future__ import annotations

import asyncio
import json

from caxton_nats.core.errors import CircuitBreakerOpen
from caxton_nats.engine.platform import Platform
from caxton_nats.ports import Receipt
from caxton_nats.sdk.agent import Agent
from caxton_nats.sdk.context import Context
from tests.integration.lab import Lab
from tests.plugins.eventually import eventually

THRESHOLD = 3
BREAKER: dict[str, object] = {"breaker_threshold": THRESHOLD, "max_retries": 1}


class Fragile(Agent):
    """An agent whose handlers fail until it is mended."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.mended = False
        self.tried: list[object] = []
        self.done: list[object] = []
        self.on("*")(self._handle)

    async def _handle(self, ctx: Context) -> None:
        self.tried.append(ctx.content)
        if not self.mended:
            raise OSError("no disk")
        self.done.append(ctx.content)


async def fragile(lab: Lab, seconds: float, **chosen: object) -> Fragile:
    """Return bob with a breaker that is open for so long, shorter than anybody may choose."""
    lab.beyond = {"breaker_timeout": seconds}
    bob = Fragile("bob")
    await lab.start(bob, await lab.platform(**BREAKER, **chosen))
    return bob


async def knows(platform: Platform) -> None:
    """Return when the platform's router goes by bob's open breaker."""
    bob = platform.agent_id("bob")
    await eventually(lambda: platform.health.breakers.find(bob) is not None)


async def closed(*platforms: Platform) -> None:
    """Return when all routers know that bob's breaker is closed."""
    for one in platforms:
        bob = one.agent_id("bob")
        await eventually(lambda one=one, bob=bob: one.health.breakers.find(bob) is None)  # type: ignore[misc]


async def test_broken_then_healed(lab: Lab) -> None:
    """Three routers refuse, one trial decides, and every message that was accepted is handled."""
    bob = await fragile(lab, 1.5, concurrency=1)
    routers = [await lab.router() for _ in range(3)]
    alice = await lab.agent("alice", await lab.platform(router="service"))
    accepted: list[object] = []
    refused = 0
    for number in range(40):
        (result,) = await alice.send_many([alice.message("inform", "bob", number)])
        if isinstance(result, Receipt):
            accepted.append(number)
        else:
            assert isinstance(result, CircuitBreakerOpen), result
            assert result.retry_after is not None
            assert 0 < result.retry_after <= 1.6
            refused += 1
        await asyncio.sleep(0.01)
    assert refused
    assert len(bob.tried) <= THRESHOLD + 1
    bob.mended = True
    # The trial is one of those that wait; all routers hear of its success.
    await closed(*routers)
    await eventually(lambda: len(bob.done) == len(accepted))
    assert sorted(map(str, bob.done)) == sorted(map(str, accepted))
    await alice.send("inform", "bob", "last")
    await eventually(lambda: "last" in bob.done)
    letters = await routers[0].ports.dead_letters.list()
    assert letters == []


async def test_one_of_many_senders_gets_the_trial(lab: Lab) -> None:
    """With nothing left that waits, of ten messages through three routers one is let in."""
    bob = await fragile(lab, 2.0)
    first = await lab.router()
    routers = [first, await lab.platform(), await lab.platform()]
    agents = [await lab.agent(f"alice-{at}", one) for at, one in enumerate(routers)]
    for number in range(THRESHOLD):
        await agents[0].send("inform", "bob", number)
    for one in routers:
        await knows(one)
    # Both attempts of each have been made when the last trial has failed.
    await eventually(lambda: _settled(first))
    record = await first.ports.breakers.load(first.agent_id("bob"))
    assert record is not None
    bob.mended = True
    clock = first.ports.clock
    while (wait := record[0].until - clock.now()).total_seconds() > 0:
        await clock.sleep(wait)
    batches = await asyncio.gather(
        *(
            one.send_many([one.message("inform", "bob", f"{at}-{turn}") for turn in range(4)])
            for at, one in enumerate(agents)
        )
    )
    results = [result for batch in batches for result in batch]
    assert sum(isinstance(one, Receipt) for one in results) >= 1
    assert {type(one) for one in results} <= {Receipt, CircuitBreakerOpen}
    await closed(*routers)
    await agents[1].send("inform", "bob", "after")
    await eventually(lambda: "after" in bob.done)


async def _settled(platform: Platform) -> bool:
    return not (await platform.ports.mailboxes.status(platform.agent_id("bob"))).pending


async def test_it_outlives_its_router(lab: Lab) -> None:
    """A router that starts while the breaker is open refuses like the one before it."""
    await fragile(lab, 300.0)
    platform = await lab.platform()
    alice = await lab.agent("alice", platform)
    for number in range(THRESHOLD):
        await alice.send("inform", "bob", number)
    await knows(platform)
    async with lab.serving() as router:
        assert router.health.breakers.find(router.agent_id("bob")) is not None
        nats = await lab.nats()
        body = b'{"performative": "inform", "receiver": "bob"}'
        answer = json.loads(await nats.request("caxton.send.carol", body, what="send"))
        assert answer["error"]["code"] == "CircuitBreakerOpen"
        assert 0 < answer["error"]["retry_after"] <= 300.01


async def test_what_is_submitted_waits_and_others_pass(lab: Lab) -> None:
    """At the third door a refused message comes again later; one behind it is not held up."""
    bob = await fragile(lab, 2.0)
    await lab.router()
    platform = await lab.platform()
    alice, carol = await lab.agent("alice", platform), await lab.collector("carol", platform)
    for number in range(THRESHOLD):
        await alice.send("inform", "bob", number)
    await knows(platform)
    bob.mended = True
    nats = await lab.nats()
    for receiver in ("bob", "carol"):
        body = json.dumps({"performative": "inform", "receiver": receiver, "content": "late"})
        await nats.request("caxton.submit.alice", body.encode(), what="submit")
    await eventually(lambda: carol.contents == ["late"])
    await eventually(lambda: "late" in bob.done)
