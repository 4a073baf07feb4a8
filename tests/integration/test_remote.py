"""Messages to agents of another platform, over a real leaf node, books kept on both sides."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from caxton_nats import Context
from caxton_nats.core.errors import AgentNotFound
from caxton_nats.core.remote import everybody, route_info
from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream import subjects
from caxton_nats.sdk.agent import Agent
from caxton_nats.telemetry import Action
from tests.integration.linked import Linked
from tests.plugins.eventually import eventually


async def reachable(platform: Platform, name: str) -> None:
    """Wait until the platform has a route there."""

    async def routed() -> bool:
        return any(route.agent == f"*@{name}" for route in platform.remote.routes)

    await eventually(routed)


async def joined(linked: Linked) -> tuple[Platform, Platform]:
    """Run a router service on both sides, and wait until each knows the other."""
    office, plant = await linked.office.router(), await linked.plant.router()
    await reachable(office, "plant")
    await reachable(plant, "office")
    return office, plant


async def test_request_and_answer_cross_the_link(linked: Linked, door: str) -> None:
    """The sender's full name, the conversation and the answer come through as on one platform."""
    await joined(linked)
    bob = Agent("bob")
    seen: list[Any] = []

    @bob.on("request", content=str)
    async def shout(ctx: Context, text: str) -> None:
        seen.append((ctx.envelope.sender, ctx.envelope.receiver))
        await ctx.inform(text.upper())

    await linked.plant.start(bob, await linked.plant.platform(router=door))
    here = await linked.office.platform(router=door)
    alice = await linked.office.agent("alice", here)
    await reachable(here, "plant")
    answer = await alice.request("bob@plant", "hello", timeout=30)
    assert (answer.performative, answer.content, answer.sender) == ("inform", "HELLO", "bob@plant")
    assert seen == [("alice@office", ("bob@plant",))]
    await eventually(linked.drained)


async def test_stored_and_forwarded_when_the_link_comes_back(linked: Linked) -> None:
    """Fifty messages for a platform whose server is down arrive when it is back, in order, once."""
    office, _ = await joined(linked)
    await linked.plant.register("bob", await linked.plant.platform())
    alice = await linked.office.agent("alice", office)
    await linked.plant_server.kill()
    for number in range(50):
        receipt = await alice.send("inform", "bob@plant", number, conversation_id="c")
        assert receipt.outcomes[0].stream == subjects.OUTBOUND_STREAM
    assert await linked.stored(linked.office, subjects.OUTBOUND_STREAM) == 50
    await linked.plant_server.restart()
    bob = await linked.plant.collector("bob")

    async def all_there() -> bool:
        return len(bob.got) >= 50

    await eventually(all_there)
    await eventually(linked.drained)
    assert bob.contents == list(range(50))


async def test_an_unknown_agent_there_is_told_to_the_sender(linked: Linked) -> None:
    """The failure comes back over the link, from the other platform's own AMS."""
    office, _ = await joined(linked)
    alice = await linked.office.collector("alice", office)
    await alice.send("request", "nobody@plant", "hello")

    async def told() -> bool:
        return bool(alice.got)

    await eventually(told)
    (notice,) = alice.got
    assert (notice.envelope.sender, notice.envelope.performative) == ("ams@plant", "failure")
    assert notice.content["error"]["code"] == "AgentNotFound"
    await eventually(linked.drained)


async def test_nothing_else_crosses(linked: Linked) -> None:
    """Agents, mail and doors of the same names on both sides know nothing of each other."""
    office, plant = await joined(linked)
    for platform, lab in ((office, linked.office), (plant, linked.plant)):
        await lab.register("bob", platform)
        alice = await lab.agent("alice", platform)
        await alice.send("inform", "bob", platform.name)
    for platform in (office, plant):
        assert await platform.ports.mailboxes.pending() == {platform.agent_id("bob"): 1}
        assert len(platform.registry) == 2


async def test_nobody_sends_in_anothers_name(linked: Linked) -> None:
    """What the office's server lets plant publish names plant as where it comes from."""
    await joined(linked)
    await linked.office.register("bob", await linked.office.platform())
    connection = await linked.plant.nats()
    body = msgspec.json.encode({"performative": "inform", "receiver": "bob@office"})
    for home in ("mine", "office"):
        await connection.client.publish(f"caxton.link.mail.office.{home}.alice", body)
    await connection.client.publish("caxton.link.mail.office.plant.alice", body)

    async def arrived() -> bool:
        return linked.office.books.count(Action.ROUTED) == 1

    await eventually(arrived)
    observed = [one.sender for one in linked.office.books.events if one.action is Action.ROUTED]
    assert observed == ["alice@plant"]
    assert await linked.stored(linked.office, subjects.DLQ_STREAM) == 0


async def test_the_forwarder_may_be_killed(linked: Linked) -> None:
    """Killed after the other side has a message and before it is settled here: handled once."""
    plant = await linked.plant.router()
    bob = await linked.plant.collector("bob", plant)
    crashing = await linked.office.spawn("crashing-forwarder", ack_wait=1.0)
    office = await linked.office.platform()
    await reachable(office, "plant")
    alice = await linked.office.agent("alice", office)
    for number in range(20):
        await alice.send("inform", "bob@plant", number, conversation_id="c")
    await crashing.wait()
    assert await linked.stored(linked.office, subjects.OUTBOUND_STREAM) == 20
    await linked.office.router(ack_wait=1.0)
    await eventually(linked.drained)

    async def all_there() -> bool:
        return len(bob.got) >= 20

    await eventually(all_there)
    assert sorted(bob.contents) == list(range(20))
    assert linked.plant.books.count(Action.HANDLED) == 20


async def test_an_expired_route_is_told_to_the_sender(linked: Linked, door: str) -> None:
    """Through either door: the platform, the node and the moment are named, and nothing is stored."""
    office = await linked.office.through(door, links="")
    long_ago = office.ports.clock.now() - timedelta(minutes=6)
    route = route_info(everybody("plant"), "plant", 1, long_ago, platform="office")
    await office.ports.routes.save(route, revision=None)
    alice = await linked.office.agent("alice", office)
    with pytest.raises(AgentNotFound, match="route to platform plant over plant expired at"):
        await alice.send("inform", "bob@plant", "too late")
    await office.update_remote_route("*@plant", "plant")
    await alice.send("inform", "bob@plant", "in time")
    assert await linked.stored(linked.office, subjects.OUTBOUND_STREAM) == 1
