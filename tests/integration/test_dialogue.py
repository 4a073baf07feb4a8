"""Agents in conversation: requests and answers, typed content, and what nobody understands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pydantic
import pytest

from caxton_nats.core.errors import AgentNotFound, AgentNotResponding
from caxton_nats.sdk.agent import Agent
from caxton_nats.sdk.context import Context
from caxton_nats.telemetry import Action
from tests.integration.lab import Lab
from tests.plugins.eventually import eventually


class Order(pydantic.BaseModel):
    item: str
    number: int = pydantic.Field(gt=0)


class StructOrder(msgspec.Struct):
    item: str
    number: int


def shouting(name: str = "bob") -> Agent:
    """Return an agent that agrees to a request and informs of its result."""
    bob = Agent(name)

    @bob.on("request")
    async def shout(ctx: Context) -> None:
        await ctx.agree()
        await ctx.inform(ctx.content.upper())

    return bob


async def test_request_agree_inform(lab: Lab, door: str) -> None:
    """`request` returns the inform that ends it; agree on the way goes to its handler."""
    platform = await lab.through(door)
    await lab.start(shouting(), platform)
    alice = Agent("alice")
    agreed: list[Context] = []

    @alice.on("agree")
    async def promised(ctx: Context) -> None:
        agreed.append(ctx)

    await lab.start(alice, platform)
    answer = await alice.request("bob", "hello", timeout=30)
    assert (answer.performative, answer.content, answer.sender) == ("inform", "HELLO", "bob@here")
    await eventually(lambda: len(agreed) == 1)
    assert agreed[0].conversation_id == answer.conversation_id != ""
    assert answer.envelope.protocol == "fipa-request"


async def test_answer_fills_in_the_fields(lab: Lab, door: str) -> None:
    """An answer goes to reply_to and carries conversation, protocol, trace and in-reply-to."""
    platform = await lab.through(door)
    await lab.start(shouting(), platform)
    carol = await lab.collector("carol", platform)
    alice = await lab.collector("alice", platform)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    await alice.send(
        "request",
        "bob",
        "x",
        conversation_id="c",
        protocol="fipa-request",
        reply_with="token",
        reply_to=("carol",),
        ontology="shouting",
        traceparent=trace,
    )
    await eventually(lambda: len(carol.got) == 2)
    agree, inform = (one.envelope for one in carol.got)
    assert (agree.performative, inform.performative) == ("agree", "inform")
    for answer in (agree, inform):
        assert (answer.in_reply_to, answer.conversation_id) == ("token", "c")
        assert (answer.protocol, answer.ontology) == ("fipa-request", "shouting")
        assert answer.traceparent == trace
    assert alice.got == []


async def test_no_answer_in_time(lab: Lab) -> None:
    """A request that nobody answers in time says so, and the request stays in the mailbox."""
    platform = await lab.platform()
    bob = await lab.register("bob", platform)
    alice = await lab.agent("alice", platform)
    with pytest.raises(AgentNotResponding):
        await alice.request("bob", "hello", timeout=0.2)
    assert await platform.ports.mailboxes.pending() == {bob: 1}


async def test_late_answer_goes_to_a_handler(lab: Lab) -> None:
    """An answer that comes after the time-out is an ordinary message."""
    platform = await lab.platform()
    await lab.register("bob", platform)
    alice = await lab.collector("alice", platform)
    with pytest.raises(AgentNotResponding):
        await alice.request("bob", "hello", timeout=0.2)
    await lab.start(shouting(), platform)
    await eventually(lambda: [one.content for one in alice.got] == [None, "HELLO"])


async def test_request_to_nobody(lab: Lab, door: str) -> None:
    """A request to an unknown agent fails at once."""
    alice = await lab.agent("alice", await lab.through(door))
    with pytest.raises(AgentNotFound) as caught:
        await alice.request("nobody", "hello", timeout=30)
    assert (caught.value.field, caught.value.value) == ("receiver", "nobody@here")


async def test_request_from_inside_a_handler(lab: Lab, door: str) -> None:
    """A handler may ask somebody in its own conversation: the answer does not wait behind it."""
    platform = await lab.through(door)
    await lab.start(shouting("carol"), platform)
    bob = Agent("bob")

    @bob.on("request")
    async def ask_carol(ctx: Context) -> None:
        answer = await bob.request(
            "carol", ctx.content, conversation_id=ctx.conversation_id, timeout=10
        )
        await ctx.inform(f"carol says {answer.content}")

    await lab.start(bob, platform)
    alice = await lab.agent("alice", platform)
    answer = await alice.request("bob", "hello", timeout=30)
    assert answer.content == "carol says HELLO"


async def test_more_requests_than_concurrency(lab: Lab) -> None:
    """Handlers that all wait for answers do not keep the answers out, however many they are."""
    platform = await lab.platform(concurrency=2)
    await lab.start(shouting("carol"), await lab.platform())
    bob = Agent("bob")

    @bob.on("request")
    async def ask_carol(ctx: Context) -> None:
        answer = await bob.request("carol", ctx.content, timeout=30)
        await ctx.inform(answer.content)

    await lab.start(bob, platform)
    alice = await lab.agent("alice", await lab.platform())
    answers = await asyncio.gather(
        *(alice.request("bob", f"n{number}", timeout=30) for number in range(30))
    )
    assert [answer.content for answer in answers] == [f"N{number}" for number in range(30)]


async def test_answer_behind_a_full_window(lab: Lab) -> None:
    """An answer is found behind more messages than a mailbox takes in hand at once."""
    platform = await lab.platform(concurrency=1)
    await lab.register("carol", platform)
    bob = Agent("bob")
    seen: list[object] = []

    @bob.on("request")
    async def ask_carol(ctx: Context) -> None:
        answer = await bob.request("carol", ctx.content, timeout=30)
        seen.append(answer.content)

    @bob.on("inform")
    async def note(ctx: Context) -> None:
        seen.append(ctx.content)

    await lab.start(bob, platform)
    alice = await lab.agent("alice", platform)
    await alice.send("request", "bob", "hello", conversation_id="c")
    await alice.send_many(
        [alice.message("inform", "bob", n, conversation_id="c") for n in range(300)]
    )
    await lab.start(shouting("carol"), await lab.platform())
    await eventually(lambda: len(seen) == 301, within=30)
    assert seen == ["HELLO", *range(300)]


@pytest.mark.parametrize("model", [Order, StructOrder])
async def test_typed_content(lab: Lab, door: str, model: type[Order | StructOrder]) -> None:
    """Content comes as the handler's model; what does not fit is answered not-understood."""
    platform = await lab.through(door)
    bob = Agent("bob")
    orders: list[object] = []

    @bob.on("request", content=model)
    async def take(ctx: Context, order: Order | StructOrder) -> None:
        orders.append(order)
        await ctx.inform(order.number)

    await lab.start(bob, platform)
    alice = await lab.agent("alice", platform)
    answer = await alice.request("bob", model(item="tea", number=3), timeout=30)
    assert answer.content == 3
    assert orders == [model(item="tea", number=3)]
    answer = await alice.request("bob", {"item": "tea", "number": "many"}, timeout=30)
    assert answer.performative == "not-understood"
    assert answer.content["error"]["code"] == "InvalidEnvelope"
    assert "number" in str(answer.content["error"])
    assert len(orders) == 1
    assert await platform.ports.dead_letters.list() == []


async def test_nobody_for_a_performative(lab: Lab, door: str) -> None:
    """Without a handler the answer is not-understood, as FIPA wants it."""
    platform = await lab.through(door)
    await lab.agent("bob", platform)
    alice = await lab.agent("alice", platform)
    answer = await alice.request("bob", "hello", timeout=30)
    assert answer.performative == "not-understood"
    assert answer.content["error"]["field"] == "performative"


async def test_not_understood_is_never_answered(lab: Lab) -> None:
    """Two agents without handlers do not complain to each other for ever."""
    platform = await lab.platform()
    alice = await lab.agent("alice", platform)
    await lab.agent("bob", platform)
    await alice.send("not-understood", "bob", "what?")
    await alice.send("propose", "bob", "nobody handles this answer either")
    await alice.send("query-if", "bob", "hm?")
    # The last one is answered, and by then the others would have been.
    await eventually(lambda: lab.books.count(Action.HANDLED) == 4)
    assert await platform.ports.mailboxes.stored() == 4
    routed = [one.performative for one in lab.books.events if one.action is Action.ROUTED]
    assert routed == ["not-understood", "propose", "query-if", "not-understood"]


async def test_handler_that_runs_twice_answers_once(lab: Lab, door: str) -> None:
    """A handler that answers and then fails sends the same answer at its retry: one copy."""
    platform = await lab.through(door)
    bob = Agent("bob")
    attempts: list[int] = []

    @bob.on("request")
    async def fickle(ctx: Context) -> None:
        attempts.append(ctx.attempt)
        await ctx.inform("done")
        if ctx.attempt == 1:
            raise ValueError("after the answer")

    await lab.start(bob, platform)
    alice = await lab.collector("alice", platform)
    await alice.send("request", "bob", 1)
    await eventually(lambda: attempts == [1, 2])

    async def settled() -> bool:
        return not await platform.ports.mailboxes.pending()

    await eventually(settled)
    assert alice.contents == ["done"]


@pytest.mark.parametrize(
    ("protocol", "expected"), [("fipa-contract-net", "market"), ("fipa-request", "any")]
)
async def test_handler_for_a_protocol(lab: Lab, protocol: str, expected: str) -> None:
    """A handler for one protocol goes before the general one of the same performative."""
    bob = Agent("bob")
    heard: list[str] = []

    def hears(word: str) -> Callable[[Context], object]:
        async def handle(_: Context) -> None:
            heard.append(word)

        return handle

    bob.on("cfp")(hears("any"))  # type: ignore[type-var]
    bob.on("cfp", protocol="fipa-contract-net")(hears("market"))  # type: ignore[type-var]
    platform = await lab.platform()
    await lab.start(bob, platform)
    alice = await lab.agent("alice", platform)
    await alice.send("cfp", "bob", 1, protocol=protocol, conversation_id="c")
    await eventually(lambda: heard == [expected])
