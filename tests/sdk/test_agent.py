"""An agent's life, what it sends, and how it waits for answers."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from caxton_nats.app import started
from caxton_nats.core.envelope import Priority
from caxton_nats.core.errors import (
    AgentAlreadyRegistered,
    AgentNotFound,
    AgentNotResponding,
    InvalidEnvelope,
    NotConnected,
)
from caxton_nats.ports import Receipt
from caxton_nats.sdk.agent import Agent
from caxton_nats.sdk.context import Context
from caxton_nats.telemetry import Action
from tests.plugins.eventually import eventually
from tests.sdk.stage import Stage


def answering(name: str, *acts: str, delay: asyncio.Event | None = None) -> Agent:
    """Return an agent that answers each request with these acts."""
    agent = Agent(name)

    @agent.on("request")
    async def handle(ctx: Context) -> None:
        if delay is not None:
            await delay.wait()
        for act in acts:
            await ctx.answer(act, act)

    return agent


# Life


async def test_nothing_works_before_the_start() -> None:
    """An agent that is not started says so, and how to start it."""
    agent = Agent("alice")
    for use in (agent.send("inform", "bob"), agent.request("bob"), agent.leave()):
        with pytest.raises(NotConnected, match="not started"):
            await use
    with pytest.raises(NotConnected, match="not started"):
        agent.find("anything")


async def test_start_registers(stage: Stage) -> None:
    """A started agent has its full name, and others find it by what it can do."""
    bob = await stage.start(Agent("bob", capabilities=["shout"]))
    alice = await stage.start(Agent("alice", capabilities=["shout"]))
    assert (bob.id, alice.find("shout"), alice.find("sing")) == ("bob@here", ["bob@here"], [])


async def test_start_twice(stage: Stage) -> None:
    """An agent is started once; the second start changes nothing of the first."""
    bob = await stage.collector("bob")
    with pytest.raises(AgentAlreadyRegistered, match="started already"):
        await bob.start(stage.platform)
    await (await stage.agent()).send("inform", "bob")
    await eventually(lambda: len(bob.got) == 1)


async def test_start_that_is_given_up(stage: Stage) -> None:
    """A start that is cancelled leaves nothing that takes mail."""
    opened = asyncio.Event()

    class Never:
        def __getattr__(self, name: str) -> Any:
            return getattr(mailboxes, name)

        async def open(self, _: object, **__: bool) -> None:
            opened.set()
            await asyncio.get_running_loop().create_future()

    mailboxes = stage.platform.ports.mailboxes
    ports = msgspec.structs.replace(stage.platform.ports, mailboxes=Never())
    platform = dataclasses.replace(stage.platform, ports=ports)
    starting = asyncio.create_task(Agent("bob").start(platform))
    await opened.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not [task for task in asyncio.all_tasks() if "bob" in task.get_name()]


async def test_stopped_agent_keeps_its_name_and_mail(stage: Stage) -> None:
    """Mail that comes while it is stopped waits for its return."""
    alice = await stage.agent()
    async with started(stage.platform, Agent("bob")):
        pass
    await alice.send("inform", "bob", 1)
    bob = await stage.collector("bob")
    await eventually(lambda: [ctx.content for ctx in bob.got] == [1])


async def test_agent_that_has_left(stage: Stage) -> None:
    """Nobody can send to it any more."""
    alice, bob = await stage.agent(), Agent("bob")
    await bob.start(stage.platform)
    await bob.leave()
    with pytest.raises(AgentNotFound):
        await alice.send("inform", "bob")


async def test_handler_that_stops_its_own_agent(stage: Stage) -> None:
    """It returns, its message is done, and what came after it waits for the next start."""
    bob, stopped = Agent("bob"), asyncio.Event()

    @bob.on("request")
    async def quit_(ctx: Context) -> None:
        await bob.stop()
        stopped.set()

    await bob.start(stage.platform)
    alice = await stage.agent()
    await alice.send("request", "bob", conversation_id="c")
    await alice.send("inform", "bob", "later", conversation_id="c")
    async with asyncio.timeout(5):
        await stopped.wait()
    successor = await stage.collector("bob")
    await eventually(lambda: [ctx.content for ctx in successor.got] == ["later"])
    assert stage.count(Action.HANDLED) == 2


# Sending


async def test_send(stage: Stage) -> None:
    """A message arrives with every field that it was given, and its receipt says where it lies."""
    bob, alice = await stage.collector("bob"), await stage.agent()
    deadline = alice.deadline(60)
    receipt = await alice.send(
        "query-if", "bob", {"n": 1}, reply_by=deadline, priority=8, max_retries=2,
        user_defined={"X-a": "b"}, message_id="m-1",
    )  # fmt: skip
    await eventually(lambda: len(bob.got) == 1)
    envelope = bob.got[0].envelope
    assert (envelope.sender, envelope.message_id, receipt.message_id) == (
        "alice@here",
        "m-1",
        "m-1",
    )
    assert (envelope.reply_by, envelope.priority, envelope.max_retries) == (
        deadline,
        Priority.HIGH,
        2,
    )
    assert (envelope.user_defined, bob.got[0].content) == ({"X-a": "b"}, {"n": 1})  # fmt: skip


async def test_send_many(stage: Stage) -> None:
    """A batch has one result per message, in order, and one failure takes none along."""
    bob, alice = await stage.collector("bob"), await stage.agent()
    messages = [alice.message("inform", to, n) for n, to in enumerate(["bob", "nobody", "bob"])]
    results = await alice.send_many(messages)
    assert [type(result) for result in results] == [Receipt, AgentNotFound, Receipt]
    await eventually(lambda: [ctx.content for ctx in bob.got] == [0, 2])


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"colour": "red"}, "colour"),
        ({"conversation_id": 5}, "conversation_id"),
        ({"max_retries": "3"}, "max_retries"),
        ({"priority": 7}, "priority"),
        ({"priority": "high"}, "priority"),
        ({"reply_by": timedelta(seconds=1)}, "reply_by"),
        ({"user_defined": {"X-a": 1}}, "user_defined"),
        ({"reply_to": ["bob", 1]}, "reply_to"),
        ({"performative": "cfp"}, "performative"),
        ({"receiver": ["carol"]}, "receiver"),
    ],
)
async def test_wrong_field(stage: Stage, fields: dict[str, Any], field: str) -> None:
    """A mistake in the sender's own program is told at once, by the name of the field."""
    alice = await stage.agent()
    with pytest.raises(InvalidEnvelope, match=field):
        await alice.send("inform", "bob", **fields)


@pytest.mark.parametrize("content", [object(), {1, object()}, float.__add__])
async def test_content_without_a_json_form(stage: Stage, content: Any) -> None:
    """It is refused before anything is sent."""
    alice = await stage.agent()
    with pytest.raises(InvalidEnvelope, match="JSON"):
        await alice.send("inform", "bob", content)


async def test_sending_again_what_may_be_there(stage: Stage) -> None:
    """The same message id is stored once; the receipt says that it was known."""
    bob, alice = await stage.collector("bob"), await stage.agent()
    first = await alice.send("inform", "bob", message_id="m-1")
    again = await alice.send("inform", "bob", message_id="m-1")
    assert [one.outcomes[0].duplicate for one in (first, again)] == [False, True]
    await stage.quiet()
    assert len(bob.got) == 1


# Requests


@pytest.mark.parametrize("answer", ["inform", "failure", "refuse", "not-understood", "propose"])
async def test_request(stage: Stage, answer: str) -> None:
    """The answer that ends it is returned, whatever it says; `agree` before it is not the end."""
    await stage.start(answering("bob", "agree", answer))
    alice = await stage.collector()
    context = await alice.request("bob", "?", timeout=30)
    assert (context.performative, context.content) == (answer, answer)
    assert context.envelope.protocol == "fipa-request"
    await stage.quiet()
    assert alice.acts == ["agree"]


async def test_requests_do_not_mix(stage: Stage) -> None:
    """Many at once each get the answer to their own."""
    bob = Agent("bob")

    @bob.on("request")
    async def echo(ctx: Context) -> None:
        await ctx.inform(ctx.content)

    await stage.start(bob)
    alice = await stage.agent()
    answers = await asyncio.gather(*(alice.request("bob", n, timeout=30) for n in range(50)))
    assert [context.content for context in answers] == list(range(50))


async def test_no_answer_in_time(stage: Stage) -> None:
    """The error says who, how long, and what becomes of a late answer: a handler gets it."""
    late = asyncio.Event()
    await stage.start(answering("bob", "inform", delay=late))
    alice = await stage.collector()
    with pytest.raises(AgentNotResponding, match=r"bob did not answer .* within 0.05 s"):
        await alice.request("bob", timeout=0.05)
    late.set()
    await eventually(lambda: alice.acts == ["inform"])


async def test_no_time_given() -> None:
    """A request that does not say how long it waits does so as long as the settings say."""
    async with AsyncExitStack() as stack:
        hasty = await Stage.open(stack, reply_timeout=1)
        await hasty.collector("bob")
        with pytest.raises(AgentNotResponding, match=r"within 1.0 s"):
            await (await hasty.agent()).request("bob")


async def test_second_answer(stage: Stage) -> None:
    """What comes after the answer goes to a handler and is not lost."""
    await stage.start(answering("bob", "inform", "failure"))
    alice = await stage.collector()
    assert (await alice.request("bob", timeout=30)).performative == "inform"
    await eventually(lambda: alice.acts == ["failure"])


async def test_request_that_cannot_be_sent(stage: Stage) -> None:
    """The sender's error comes at once, and nothing is left waiting."""
    alice = await stage.agent()
    with pytest.raises(AgentNotFound):
        await alice.request("nobody", timeout=30)
    assert not alice._dialogue.waits()


async def test_one_token_for_two_requests(stage: Stage) -> None:
    """A token that is waited for already is refused; the first request still gets its answer."""
    late = asyncio.Event()
    await stage.start(answering("bob", "inform", delay=late))
    alice = await stage.agent()
    first = asyncio.create_task(alice.request("bob", timeout=30, reply_with="r-1"))
    await eventually(alice._dialogue.waits)
    with pytest.raises(InvalidEnvelope, match="reply_with"):
        await alice.request("bob", timeout=30, reply_with="r-1")
    late.set()
    assert (await first).performative == "inform"


async def test_stop_while_a_request_is_open(stage: Stage) -> None:
    """Who waits outside of a handler hears that no answer can come any more."""
    await stage.start(answering("bob", "inform", delay=asyncio.Event()))
    async with AsyncExitStack() as stack:
        alice = Agent("alice")
        await stack.enter_async_context(started(stage.platform, alice))
        open_request = asyncio.create_task(alice.request("bob", timeout=60))
        await eventually(alice._dialogue.waits)
        await eventually(lambda: stage.count(Action.DELIVERED) == 1)
    with pytest.raises(NotConnected, match="stopped"):
        await open_request
    with pytest.raises(NotConnected, match="stopped"):
        await alice.request("bob", timeout=60)


async def test_request_that_is_cancelled(stage: Stage) -> None:
    """Giving up a request leaves nothing waiting; its answer goes to a handler."""
    late = asyncio.Event()
    await stage.start(answering("bob", "inform", delay=late))
    alice = await stage.collector()
    asking = asyncio.create_task(alice.request("bob", timeout=60))
    await eventually(lambda: stage.count(Action.DELIVERED) == 1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    late.set()
    await eventually(lambda: alice.acts == ["inform"])


async def test_request_in_a_handler_with_one_place(stage: Stage) -> None:
    """A handler that asks gets its answer although it takes the only place there is."""
    async with AsyncExitStack() as stack:
        narrow = await Stage.open(stack, concurrency=1)
        alice, answers = Agent("alice"), list[Any]()

        @alice.on("inform")
        async def ask(ctx: Context) -> None:
            answer = await alice.request("bob", timeout=30, conversation_id=ctx.conversation_id)
            answers.append(answer.content)

        await narrow.start(alice)
        await narrow.start(answering("bob", "inform"))
        carol = await narrow.agent("carol")
        for _ in range(3):
            await carol.send("inform", "alice", conversation_id="c")
        await eventually(lambda: answers == ["inform"] * 3)
