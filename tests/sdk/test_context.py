"""What an answer says by itself."""

from __future__ import annotations

import pytest

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


async def test_handler_that_runs_twice(stage: Stage) -> None:
    """Its answers have the same ids each time: the asker gets each of them once."""
    bob = Agent("bob")

    @bob.on("request")
    async def handle(ctx: Context) -> None:
        await ctx.agree()
        await ctx.inform("first")
        await ctx.inform("second")
        if ctx.attempt == 1:
            raise ValueError("after the answers")

    await stage.start(bob)
    alice = await stage.collector()
    await alice.send("request", "bob")
    await stage.quiet()
    await eventually(lambda: stage.count(Action.RETRIED) == 1)
    await stage.quiet()
    await eventually(lambda: stage.count(Action.DUPLICATE) == 3)
    assert [(one.performative, one.content) for one in alice.got] == [
        ("agree", None),
        ("inform", "first"),
        ("inform", "second"),
    ]
    assert len({one.envelope.message_id for one in alice.got}) == 3


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
    """The handler gets the error that a sender would get, and may go on."""
    bob, errors = Agent("bob"), list[Exception]()

    @bob.on("request")
    async def handle(ctx: Context) -> None:
        try:
            await ctx.inform()
        except AgentNotFound as error:
            errors.append(error)

    await stage.start(bob)
    alice = Agent("alice")
    await alice.start(stage.platform)
    await alice.send("request", "bob", message_id="m-1", reply_to=[AgentId("nobody")])
    await eventually(lambda: len(errors) == 1)
    await alice.stop()
    await stage.quiet()


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
