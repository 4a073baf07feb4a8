"""Which handler a message goes to, and what happens if none fits."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.core.identifiers import MessageId
from caxton_nats.core.performatives import FINAL_ANSWERS, Performative
from caxton_nats.ports import Submission
from caxton_nats.sdk.agent import Agent
from caxton_nats.sdk.context import Context
from tests.core.sample import sample
from tests.sdk.stage import Stage


class Order(BaseModel):
    item: str
    count: int = 1


class Point(msgspec.Struct):
    x: int
    y: int


def noting(agent: Agent, act: str, name: str, notes: list[Any], **options: Any) -> None:
    @agent.on(act, **options)
    async def handle(ctx: Context, *content: Any) -> None:
        notes.append((name, *content) if content else name)


async def test_most_special_handler_wins(stage: Stage) -> None:
    """By performative before the rest, and for its protocol before the general one."""
    bob, notes = Agent("bob"), list[Any]()
    noting(bob, "*", "any", notes)
    noting(bob, "request", "request", notes)
    noting(bob, "Request", "request in auction", notes, protocol="auction")
    noting(bob, "*", "any in auction", notes, protocol="auction")
    await stage.start(bob)
    alice = await stage.agent()
    for act, protocol in (
        ("request", ""), ("request", "auction"), ("request", "other"),
        ("cfp", ""), ("cfp", "auction"),
    ):  # fmt: skip
        fields = {"protocol": protocol, "conversation_id": "c"} if protocol else {}
        await alice.send(act, "bob", **fields)
        await stage.quiet()
    assert notes == ["request", "request in auction", "request", "any", "any in auction"]


async def test_first_of_two_handlers(stage: Stage) -> None:
    """Of two handlers for the same thing the one that was added first is called, alone."""
    bob, notes = Agent("bob"), list[Any]()
    noting(bob, "inform", "first", notes)
    noting(bob, "inform", "second", notes)
    await stage.start(bob)
    await (await stage.agent()).send("inform", "bob")
    await stage.quiet()
    assert notes == ["first"]


@pytest.mark.parametrize(
    ("kind", "content", "read"),
    [
        (Order, {"item": "nut"}, Order(item="nut")),
        (Order, Order(item="nut", count=3), Order(item="nut", count=3)),
        (Point, {"x": 1, "y": 2}, Point(1, 2)),
        (Point, Point(1, 2), Point(1, 2)),
        (list[int], [1, 2], [1, 2]),
        (int, 7, 7),
        (bytes, b"\x00\xff", b"\x00\xff"),
        (int | None, None, None),
    ],
)
async def test_typed_content(stage: Stage, kind: Any, content: Any, read: Any) -> None:
    """The content comes as the type that the handler asked for."""
    bob, notes = Agent("bob"), list[Any]()
    noting(bob, "inform", "typed", notes, content=kind)
    await stage.start(bob)
    await (await stage.agent()).send("inform", "bob", content)
    await stage.quiet()
    assert notes == [("typed", read)]


@pytest.mark.parametrize(
    ("kind", "content", "where"),
    [
        (Order, {"item": "nut", "count": "many"}, "content.count"),
        (Order, None, "content"),
        (Point, {"x": 1}, "content"),
        (int, "seven", "content"),
    ],
)
async def test_content_that_does_not_fit(stage: Stage, kind: Any, content: Any, where: str) -> None:
    """The sender is told not-understood and where; the handler is not called, nothing is retried."""
    bob, notes = Agent("bob"), list[Any]()
    noting(bob, "request", "typed", notes, content=kind)
    await stage.start(bob)
    alice = await stage.collector()
    await alice.send("request", "bob", content, message_id="m-1")
    await stage.quiet()
    (told,) = alice.got
    assert (told.performative, told.envelope.in_reply_to) == ("not-understood", "m-1")
    assert told.content["error"]["field"].startswith(where)
    assert (notes, await stage.dead()) == ([], [])


@pytest.mark.parametrize("act", ["failure", "not-understood"])
async def test_complaint_that_does_not_fit(stage: Stage, act: str) -> None:
    """A complaint is never answered with a complaint."""
    bob, notes = Agent("bob"), list[Any]()
    noting(bob, act, "typed", notes, content=Order)
    await stage.start(bob)
    alice = await stage.collector()
    await alice.send(act, "bob", 1)
    await stage.quiet()
    assert (alice.got, notes) == ([], [])


@pytest.mark.parametrize("act", list(Performative))
async def test_act_without_a_handler(stage: Stage, act: Performative) -> None:
    """What nobody handles is answered with not-understood, unless it is an answer itself."""
    await stage.agent("bob")
    alice = await stage.collector()
    await alice.send(act, "bob", message_id="m-1")
    await stage.quiet()
    answers = FINAL_ANSWERS | {Performative.AGREE}
    assert alice.acts == ([] if act in answers else ["not-understood"])
    assert await stage.dead() == []


async def test_stranger_that_cannot_be_told(stage: Stage) -> None:
    """A message nobody understands, from a sender nobody knows, is a dead letter at once."""
    await stage.agent("bob")
    stranger = Submission(
        sender=sample().sender, envelope=sample(message_id=MessageId("m-1"), performative="cfp")
    )
    await stage.platform.router.send([stranger])
    await stage.quiet()
    (letter,) = await stage.dead()
    assert (letter.message_id, letter.attempts, letter.reason) == ("m-1", 1, "InvalidMessage")
    assert "no handler for cfp" in letter.last_error["reason"]


def test_handler_that_is_no_coroutine_function() -> None:
    """A plain function is refused when it is added, not when a message comes."""
    with pytest.raises(TypeError, match="async def"):
        Agent("bob").on("inform")(print)  # type: ignore[type-var]  # that is the point


def test_act_that_is_none() -> None:
    """A performative that FIPA does not know is refused when its handler is added."""
    with pytest.raises(InvalidEnvelope, match="22 communicative acts"):
        noting(Agent("bob"), "dance", "never", [])


async def test_two_answers_in_one_moment(stage: Stage) -> None:
    """The first is the request's; the second goes to its handler, although nobody has looked."""
    notes: list[Any] = []
    alice = Agent("alice")
    noting(alice, "inform", "handled", notes)
    await stage.start(alice)
    answer = sample(performative="inform", in_reply_to="r-1")
    with alice._dialogue.waiting_for("r-1") as waiting:
        assert alice._dialogue.expects(answer)
        await alice._dialogue.receive(answer, 1)
        assert not alice._dialogue.expects(answer)
        await alice._dialogue.receive(answer, 1)
        assert (await waiting).envelope == answer
    assert notes == ["handled"]


@pytest.mark.parametrize("content", [b"1e999", b"9" * 5_000])
async def test_content_that_python_has_no_value_for(stage: Stage, content: bytes) -> None:
    """Its sender is told, once; the handler is not tried again, and no dead letter is left."""
    bob, tried = Agent("bob"), list[int]()

    @bob.on("request")
    async def handle(ctx: Context) -> None:
        tried.append(ctx.attempt)
        assert ctx.content

    await stage.start(bob)
    alice = await stage.collector()
    message = alice.message("request", "bob", reply_with="r-1", conversation_id="c-1")
    raw = msgspec.structs.replace(message, content=msgspec.Raw(content))
    await alice.send_many([raw])
    await stage.quiet()
    (answer,) = alice.got
    assert (answer.performative, answer.envelope.in_reply_to) == ("not-understood", "r-1")
    assert tried == [1]
    assert await stage.dead() == []


async def test_error_of_the_handler_itself(stage: Stage) -> None:
    """One that is like it, and comes from what the handler does, is the handler's."""
    bob = Agent("bob")

    @bob.on("request")
    async def handle(ctx: Context) -> None:
        await ctx.agent.send("inform", "a b")

    await stage.start(bob)
    alice = await stage.agent()
    await alice.send("request", "bob", max_retries=1)
    await stage.quiet()
    (letter,) = await stage.dead()
    assert letter.last_error["code"] == "HandlerFailed"


async def test_answers_before_unreadable_content(stage: Stage) -> None:
    """A handler that cannot read the content has answered nothing but not-understood."""
    bob = Agent("bob")

    @bob.on("request")
    async def handle(ctx: Context) -> None:
        await ctx.inform("I begin")
        ctx.content_as(Order)

    await stage.start(bob)
    alice = await stage.collector()
    await alice.send("request", "bob", 1)
    await stage.quiet()
    assert alice.acts == ["not-understood"]
