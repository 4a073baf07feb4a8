"""What an answer says by itself."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from caxton_nats.core.disposition import Reject, Retry
from caxton_nats.core.errors import AgentNotFound, InvalidEnvelope
from caxton_nats.core.identifiers import AgentId, ConversationId, MessageId
from caxton_nats.sdk.agent import Agent
from caxton_nats.sdk.context import Context
from caxton_nats.telemetry import Action
from tests.plugins.eventually import eventually
from tests.sdk.stage import Stage

ANSWERS = [
    "agree", "refuse", "inform", "failure", "propose", "accept_proposal", "reject_proposal",
    "not_understood",
]  # fmt: skip


@pytest.mark.parametrize("method", ANSWERS)
async def test_answer(stage: Stage, method: str) -> None:
    """Each answering method sends its act back into the conversation, addressed as FIPA wants."""
    bob = Agent("bob")

    @bob.on("request")
    async def handle(ctx: Context) -> None:
        await getattr(ctx, method)({"n": 1})

    await stage.start(bob)
    alice = await stage.collector()
    await alice.send(
        "request",
        "bob",
        conversation_id="c",
        protocol="fipa-request",
        ontology="o",
        language="l",
        reply_with="r-1",
    )
    await eventually(lambda: len(alice.got) == 1)
    envelope = alice.got[0].envelope
    assert envelope.performative == method.replace("_", "-")
    assert (envelope.sender, envelope.receiver) == ("bob@here", ("alice@here",))
    assert (envelope.in_reply_to, envelope.conversation_id) == ("r-1", "c")
    assert (envelope.protocol, envelope.ontology, envelope.language) == ("fipa-request", "o", "l")
    assert alice.got[0].content == {"n": 1}


async def test_answer_without_reply_with(stage: Stage) -> None:
    """It refers to the message by its id."""
    bob = Agent("bob")
    bob.on("request")(inform)
    await stage.start(bob)
    alice = await stage.collector()
    await alice.send("request", "bob", message_id="m-1")
    await eventually(lambda: len(alice.got) == 1)
    assert alice.got[0].envelope.in_reply_to == "m-1"


async def inform(ctx: Context) -> None:
    await ctx.inform(ctx.attempt)


async def test_answer_goes_where_it_was_asked_to(stage: Stage) -> None:
    """`reply_to` names who gets the answer instead of the sender."""
    bob = Agent("bob")
    bob.on("request")(inform)
    await stage.start(bob)
    alice, carol = await stage.collector(), await stage.collector("carol")
    await alice.send("request", "bob", reply_to=[AgentId("carol")])
    await eventually(lambda: len(carol.got) == 1)
    assert alice.got == []


async def test_field_given_by_hand_wins(stage: Stage) -> None:
    """What a handler says itself goes before what would be filled in."""
    bob = Agent("bob")

    @bob.on("request")
    async def handle(ctx: Context) -> None:
        await ctx.inform(conversation_id="other", reply_with="r-2", priority=10)

    await stage.start(bob)
    alice = await stage.collector()
    await alice.send("request", "bob", conversation_id="c")
    await eventually(lambda: len(alice.got) == 1)
    envelope = alice.got[0].envelope
    assert (envelope.conversation_id, envelope.reply_with, envelope.priority) == (
        ConversationId("other"),
        "r-2",
        10,
    )
    assert envelope.in_reply_to == ""


async def test_answers_wait_for_the_handler(stage: Stage) -> None:
    """They are sent in order when it has returned, and `agree` at once."""
    bob, agreed = Agent("bob"), asyncio.Event()

    @bob.on("request")
    async def handle(ctx: Context) -> None:
        await ctx.inform("first")
        await ctx.agree()
        await ctx.inform("second")
        await agreed.wait()

    await stage.start(bob)
    alice = await stage.collector()
    await alice.send("request", "bob")
    await eventually(lambda: alice.acts == ["agree"])
    agreed.set()
    await stage.quiet()
    assert [one.content for one in alice.got] == [None, "first", "second"]


async def test_answers_of_a_handler_that_raises(stage: Stage) -> None:
    """None of them is sent; those of the attempt that returns are, once."""
    bob = Agent("bob")

    @bob.on("request")
    async def handle(ctx: Context) -> None:
        await ctx.agree()
        await ctx.inform(ctx.attempt)
        if ctx.attempt == 1:
            raise ValueError("after the answers")

    await stage.start(bob)
    alice = await stage.collector()
    await alice.send("request", "bob")
    await eventually(lambda: stage.count(Action.RETRIED) == 1)
    await stage.quiet()
    assert [(one.performative, one.content) for one in alice.got] == [
        ("agree", None),
        ("inform", 2),
    ]
    assert stage.count(Action.DUPLICATE) == 1, "the agree of the second attempt is the first one"


@pytest.mark.parametrize("signal", [Retry(timedelta()), Reject("no")])
async def test_answers_of_a_handler_that_says_no(stage: Stage, signal: Exception) -> None:
    """Nor are they sent if the handler asks for another try, or rejects the message."""
    bob, signals = Agent("bob"), [signal]

    @bob.on("request")
    async def handle(ctx: Context) -> None:
        if signals:
            await ctx.inform("too early")
            raise signals.pop()

    await stage.start(bob)
    alice = await stage.collector()
    await alice.send("request", "bob")
    await eventually(lambda: not signals)
    await stage.quiet()
    assert "inform" not in alice.acts


async def test_answer_at_once(stage: Stage) -> None:
    """With ``now=True`` it does not wait for the handler; run after run it is the same message."""
    bob = Agent("bob")

    @bob.on("request")
    async def handle(ctx: Context) -> None:
        await ctx.inform("half", now=True)
        await eventually(lambda: alice.acts == ["inform"])
        if ctx.attempt == 1:
            raise ValueError("in the middle")

    alice = await stage.collector()
    await stage.start(bob)
    await alice.send("request", "bob")
    await eventually(lambda: stage.count(Action.RETRIED) == 1)
    await stage.quiet()
    assert [one.content for one in alice.got] == ["half"]


async def test_answer_after_the_handler(stage: Stage) -> None:
    """Who has kept the context may answer later; that is sent at once."""
    bob, kept = Agent("bob"), list[Context]()

    @bob.on("request")
    async def handle(ctx: Context) -> None:
        await ctx.inform("first")
        kept.append(ctx)

    await stage.start(bob)
    alice = await stage.collector()
    await alice.send("request", "bob")
    await stage.quiet()
    await kept[0].inform("later")
    await stage.quiet()
    assert [one.content for one in alice.got] == ["first", "later"]


async def test_answer_to_an_answer(stage: Stage) -> None:
    """Who has waited for an answer sends at once what follows from it."""
    bob = await stage.collector("bob")
    bob.on("cfp")(propose)
    alice = await stage.agent()
    offer = await alice.request("bob", act="cfp", protocol="fipa-contract-net")
    taken = await offer.accept_proposal()
    await eventually(lambda: bob.acts == ["accept-proposal"])
    assert bob.got[0].envelope.message_id == taken


async def propose(ctx: Context) -> None:
    await ctx.propose(7)


async def test_id_of_an_answer(stage: Stage) -> None:
    """An answering method returns the id under which the answer goes, sent at once or not."""
    bob, ids = Agent("bob"), list[str]()

    @bob.on("request")
    async def handle(ctx: Context) -> None:
        ids.extend([await ctx.agree(), await ctx.inform(), await ctx.inform(message_id="mine")])

    await stage.start(bob)
    alice = await stage.collector()
    await alice.send("request", "bob")
    await eventually(lambda: len(alice.got) == 3)
    assert [one.envelope.message_id for one in alice.got] == ids
    assert len(set(ids)) == 3
    assert ids[2] == "mine"


async def test_answer_with_an_error_in_it(stage: Stage) -> None:
    """A field that does not exist is the handler's error at once, not later."""
    bob, errors = Agent("bob"), list[Exception]()

    @bob.on("request")
    async def handle(ctx: Context) -> None:
        try:
            await ctx.inform(no_such_field=1)
        except InvalidEnvelope as error:
            errors.append(error)

    await stage.start(bob)
    alice = await stage.collector()
    await alice.send("request", "bob")
    await stage.quiet()
    assert len(errors) == 1
    assert alice.got == []


async def test_two_receivers_answer_under_different_ids(stage: Stage) -> None:
    """Answers of several agents to one message do not swallow each other."""
    for name in ("bob", "carol"):
        agent = Agent(name)
        agent.on("cfp")(inform)
        await stage.start(agent)
    alice = await stage.collector()
    await alice.send("cfp", ["bob", "carol"], message_id="m-1")
    await eventually(lambda: len(alice.got) == 2)


async def test_answer_that_cannot_be_stored(stage: Stage) -> None:
    """Sent at once, the handler gets the error that a sender would get, and may go on."""
    bob, errors = Agent("bob"), list[Exception]()

    @bob.on("request")
    async def handle(ctx: Context) -> None:
        try:
            await ctx.inform(now=True)
        except AgentNotFound as error:
            errors.append(error)

    await stage.start(bob)
    alice = await stage.agent()
    await alice.send("request", "bob", message_id="m-1", reply_to=[AgentId("nobody")])
    await eventually(lambda: len(errors) == 1)
    await stage.quiet()
    assert await stage.dead() == []


async def test_answer_to_nobody(stage: Stage) -> None:
    """Sent after the handler, what was answered becomes a dead letter, and is not tried again."""
    bob = Agent("bob")
    bob.on("request")(inform)
    await stage.start(bob)
    alice = await stage.collector()
    await alice.send("request", "bob", message_id="m-1", reply_to=[AgentId("nobody")])
    await stage.quiet()
    (letter,) = await stage.dead()
    assert (letter.message_id, letter.reason, letter.attempts) == ("m-1", "AgentNotFound", 1)
    await eventually(lambda: alice.acts == ["failure"])


async def test_content_in_a_shape(stage: Stage) -> None:
    """`content_as` reads the content as a type, or says where it does not fit."""
    alice, bob = await stage.agent(), await stage.collector("bob")
    await alice.send("inform", "bob", [1, 2], message_id=MessageId("m-1"))
    await eventually(lambda: len(bob.got) == 1)
    context = bob.got[0]
    assert (context.content, context.content_as(list[int])) == ([1, 2], [1, 2])
    with pytest.raises(InvalidEnvelope, match="content"):
        context.content_as(dict[str, int])
    assert (context.sender, context.performative) == ("alice@here", "inform")
    assert (context.conversation_id, context.attempt) == ("", 1)
