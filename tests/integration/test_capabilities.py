"""Messages for whoever offers a capability, through every door."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from caxton_nats.core.errors import NoCapableAgent
from caxton_nats.engine.platform import Platform
from caxton_nats.ports import Receipt, Submission
from caxton_nats.sdk.agent import Agent
from caxton_nats.sdk.context import Context
from tests.integration.lab import Collector, Lab
from tests.plugins.eventually import eventually
from tests.plugins.nats_cli import NatsCli

SHOUT = "capability:shout"


async def shouters(lab: Lab, platform: Platform, *names: str) -> list[Collector]:
    """Return agents that offer to shout, and keep what they get; the platform knows them."""
    made = []
    for name in names:
        agent = Collector(name)
        agent.capabilities = ("shout:v1",)
        await lab.start(agent, await lab.platform())
        made.append(agent)
    await eventually(lambda: len(platform.registry.offering("shout")) == len(names))
    return made


async def test_one_of_them_handles_it_as_its_own(lab: Lab, door: str) -> None:
    """The agent that was chosen is the receiver, and answers like any other."""
    platform = await lab.through(door)
    bob = Agent("bob", capabilities=["shout:v2.0"])

    @bob.on("request", content=str)
    async def shout(ctx: Context, text: str) -> None:
        assert ctx.envelope.receiver == ("bob@here",)
        await ctx.inform(text.upper())

    await lab.start(bob, platform)
    alice = await lab.agent("alice", await lab.platform(router=door))
    answer = await alice.request("capability:shout:v3,v2.0", "hello")
    assert (answer.sender, answer.content) == ("bob@here", "HELLO")


async def test_strategies(lab: Lab, door: str) -> None:
    """Each turn is somebody else's; all means all; who has the least waiting gets the next."""
    platform = await lab.through(door)
    agents = await shouters(lab, platform, "bob", "carol", "dave")
    alice = await lab.agent("alice", await lab.platform(router=door))
    await eventually(lambda: len(alice.find("shout:v1")) == 3)
    for _ in range(6):
        receipt = await alice.send("inform", SHOUT, strategy="round-robin")
        assert receipt.outcomes[0].target == SHOUT
        assert receipt.outcomes[0].reason.startswith("its turn")
    await eventually(lambda: [len(agent.got) for agent in agents] == [2, 2, 2])
    everybody = await alice.send("inform", SHOUT, strategy="all")
    assert [one.receiver for one in everybody.outcomes] == ["bob@here", "carol@here", "dave@here"]
    await eventually(lambda: [len(agent.got) for agent in agents] == [3, 3, 3])
    for number in range(6):
        await alice.send("inform", SHOUT, number, strategy="affinity", conversation_id="c-1")
    await eventually(lambda: sum(len(agent.got) for agent in agents) == 15)
    assert sorted(len(agent.got) for agent in agents) == [3, 3, 9]


async def test_least_loaded(lab: Lab, door: str) -> None:
    """What lies in the mailboxes counts, whoever sent it."""
    platform = await lab.through(door)
    for name in ("bob", "carol"):
        await platform.registrar.register(platform.agent_id(name), capabilities=["shout"])
    other, alice = await lab.agent("other"), await lab.agent("alice", platform)
    for _ in range(4):
        await other.send("inform", "bob")
    receipts = [await alice.send("inform", SHOUT, strategy="least-loaded") for _ in range(4)]
    assert {one.outcomes[0].receiver for one in receipts} == {"carol@here"}
    assert "the fewest of 2 that offer shout" in receipts[0].outcomes[0].reason


async def test_a_repeat_through_another_router_is_a_duplicate(lab: Lab) -> None:
    """Whatever the other router would have decided by itself."""
    here = await lab.platform()
    agents = await shouters(lab, here, "bob", "carol", "dave")
    routers = [here, *[await lab.platform() for _ in range(2)]]
    alice = await lab.agent("alice", here)
    await eventually(lambda: all(len(one.registry.offering("shout")) == 3 for one in routers))
    messages = [alice.message("inform", SHOUT, n, strategy="round-robin") for n in range(9)]
    results = await asyncio.gather(
        *(
            platform.router.send([Submission(sender=alice.id, envelope=one)])
            for one in messages
            for platform in routers
        )
    )
    receipts = [one for (one,) in results if isinstance(one, Receipt)]
    assert len(receipts) == 27
    assert sum(not one.outcomes[0].duplicate for one in receipts) == 9
    await eventually(lambda: sum(len(agent.got) for agent in agents) == 9)
    counts = Counter(content for agent in agents for content in agent.contents)
    assert counts == Counter(range(9))


async def test_silent_agents_get_nothing(lab: Lab, door: str) -> None:
    """A provider that hangs is left out once its lease ends; alone, there is nobody."""
    platform = await lab.through(door)
    silent = await lab.spawn("agent", "bob", "record", "shout", lease=1)
    alice = await lab.agent("alice", platform)
    await eventually(lambda: alice.find("shout") == ["bob@here"])
    silent.freeze()
    await eventually(lambda: alice.find("shout") == [])

    async def refused() -> bool:
        try:
            await alice.send("inform", SHOUT)
        except NoCapableAgent as error:
            return "bob@here (silent since" in error.reason
        return False

    await eventually(refused)
    carol = await lab.platform()
    await carol.registrar.register(carol.agent_id("carol"), capabilities=["shout"])

    async def reaches_carol() -> bool:
        try:
            receipt = await alice.send("inform", SHOUT)
        except NoCapableAgent:
            return False
        return receipt.outcomes[0].receiver == "carol@here"

    await eventually(reaches_carol)
    silent.thaw()


@pytest.mark.nats_cli
async def test_request_door(lab: Lab, nats_cli: NatsCli) -> None:
    """The receipt says who was chosen, for what, and why; a refusal names what is near."""
    platform = await lab.router()
    await platform.registrar.register(platform.agent_id("bob"), capabilities=["shout:v2.0"])

    async def ask(**fields: Any) -> dict[str, Any]:
        body = json.dumps({"performative": "request", **fields})
        done = await nats_cli(lab.url, "req", "--raw", "caxton.send.alice", body)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    (receiver,) = (await ask(receiver=f"{SHOUT}:v2.0", strategy="round-robin"))["receivers"]
    assert (receiver["receiver"], receiver["target"]) == ("bob@here", "capability:shout:v2.0")
    assert receiver["reason"] == "its turn, of 1 that offer shout:v2.0"
    error = (await ask(receiver=f"{SHOUT}:v3"))["error"]
    assert (error["code"], error["value"]) == ("NoCapableAgent", "capability:shout:v3")
    assert error["hint"] == "near it: shout (1 available), shout:v2.0 (1 available)"
    error = (await ask(receiver=SHOUT, strategy="best"))["error"]
    assert (error["code"], error["field"]) == ("InvalidEnvelope", "strategy")


@pytest.mark.nats_cli
async def test_submit_door(lab: Lab, nats_cli: NatsCli) -> None:
    """It goes to one of them; if there is nobody, the sender gets a failure that names what is near."""
    platform = await lab.router()
    (bob,) = await shouters(lab, platform, "bob")
    alice = await lab.collector("alice")

    async def submit(**fields: Any) -> None:
        body = json.dumps({"performative": "request", "conversation_id": "c-1", **fields})
        await nats_cli(lab.url, "pub", "caxton.submit.alice", body)

    await submit(receiver=SHOUT, content="hello")
    await eventually(lambda: bob.contents == ["hello"])
    assert bob.got[0].envelope.receiver == ("bob@here",)
    await submit(receiver="capability:shoot", reply_with="q-1")
    await eventually(lambda: any(one.performative == "failure" for one in alice.got))
    (told,) = [one for one in alice.got if one.performative == "failure"]
    assert (told.conversation_id, told.envelope.in_reply_to) == ("c-1", "q-1")
    error = told.content["error"]
    assert (error["code"], error["hint"]) == ("NoCapableAgent", "near it: shout (1 available)")
    (letter,) = await platform.ports.dead_letters.list()
    assert (letter.reason, letter.agent) == ("AgentNotFound", "alice@here")
