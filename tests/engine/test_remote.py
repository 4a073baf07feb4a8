"""Messages to agents of another platform, over a pretended link and with a clock of the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import msgspec
import pytest

from caxton_nats.core.codec import encode
from caxton_nats.core.envelope import content_value
from caxton_nats.core.errors import AgentNotFound, CaxtonError, InvalidEnvelope, MessageTooLarge
from caxton_nats.core.identifiers import AgentId, ConversationId
from caxton_nats.core.registry import Registration
from caxton_nats.core.remote import Local, NodeId, Remote
from caxton_nats.memory import links
from caxton_nats.ports import Outcome, Receipt, Submission
from caxton_nats.ports.remote import Parcel
from caxton_nats.tasks import end
from caxton_nats.telemetry import Action
from tests.core.sample import sample
from tests.engine.bench import ACK_WAIT
from tests.engine.border import ALICE, BOB, Border

CAROL = AgentId("carol@plant")
PLANT = NodeId("plant")


@pytest.fixture
async def border() -> AsyncIterator[Border]:
    """Give the test two platforms, joined."""
    async with AsyncExitStack() as stack:
        made = Border(stack)
        await made.open()
        yield made


def outcome(result: Receipt | CaxtonError) -> Outcome:
    assert isinstance(result, Receipt), result
    return result.outcomes[0]


async def test_a_message_crosses(border: Border) -> None:
    """The receipt names the stream where it waits; the other side has it as it was sent."""
    result = outcome(await border.office.send(ALICE, BOB, reply_to=(ALICE,), conversation_id="c"))
    assert (result.receiver, result.stream, result.error) == (BOB, "CAXTON_OUTBOUND", None)
    await border.clock.advance(1)
    (got,) = await border.plant.mail(BOB)
    assert got == sample(sender=ALICE, receiver=(BOB,), reply_to=(ALICE,), conversation_id="c")
    assert border.office.told(Action.FORWARDED) == ["m-1"]
    assert await border.office.ports.links.waiting() == {}


async def test_namesakes_are_two(border: Border) -> None:
    """Alice of the office and alice of the plant share no message id, conversation or dead letter."""
    twin = AgentId("alice@plant")
    await border.plant.platform.registrar.register(twin)
    await border.office.send(ALICE, BOB)
    await border.clock.advance(1)
    await border.plant.send(twin, BOB)
    await border.office.send(ALICE, BOB, message_id="m-2", conversation_id="c")
    await border.clock.advance(1)
    await border.plant.send(twin, BOB, message_id="m-3", conversation_id="c")
    assert [one.sender for one in await border.plant.mail(BOB)] == [ALICE, twin] * 2
    stored = await border.plant.ports.conversations.load(ConversationId("c"))
    assert stored is not None
    assert set(stored[0].participants) == {ALICE, twin, BOB}


async def test_each_receiver_gets_one_copy(border: Border) -> None:
    """Of a message to two there and one here each has one, and every copy names all three."""
    here = AgentId("dave@office")
    await border.office.platform.registrar.register(here)
    await border.plant.platform.registrar.register(CAROL)
    everybody = (BOB, here, CAROL)
    result = await border.office.send(ALICE, everybody)
    assert isinstance(result, Receipt)
    assert [one.receiver for one in result.outcomes] == list(everybody)
    await border.clock.advance(1)
    for side, agent in ((border.plant, BOB), (border.plant, CAROL), (border.office, here)):
        (got,) = await side.mail(agent)
        assert got.receiver == everybody


async def test_a_cut_link_keeps_the_mail_in_order(border: Border) -> None:
    """What is sent while the link is down arrives when it is up again, in order, each once."""
    border.cut()
    for number in range(150):
        await border.office.send(ALICE, BOB, message_id=f"m-{number}", conversation_id="c")
        await border.clock.advance(0.5)
    assert await border.plant.mail(BOB) == []
    assert await border.office.ports.links.waiting() == {"plant": 150}
    border.cut(up=True)
    await border.clock.advance(10)
    assert [one.message_id for one in await border.plant.mail(BOB)] == [
        f"m-{number}" for number in range(150)
    ]


async def test_a_conversation_waits_for_its_first_message(border: Border) -> None:
    """If the link drops one message, those behind it in its conversation wait; others go on."""
    await border.stop(border.office)
    border.office.lose_once("m-0")
    for number, conversation in enumerate(["c", "c", "d", "c"]):
        fields = {"message_id": f"m-{number}", "conversation_id": conversation}
        await border.office.send(ALICE, BOB, **fields)
    inbox = await border.office.ports.links.outbound(PLANT)
    work = asyncio.create_task(border.office.forwarder("plant").work_once(inbox, timedelta()))
    await border.clock.advance(10)
    assert await work == 4
    got = [one.message_id for one in await border.plant.mail(BOB)]
    assert got == ["m-2", "m-0", "m-1", "m-3"]


async def test_a_down_link_is_no_hot_loop(border: Border) -> None:
    """Half an hour of a link that is down costs a try every five seconds, and no delivery."""
    border.cut()
    tries = border.office.watch_forward()
    await border.office.send(ALICE, BOB)
    await border.clock.advance(1800)
    assert 300 < len(tries) < 400
    border.cut(up=True)
    await border.clock.advance(6)
    (got,) = await border.plant.mail(BOB)
    assert got.message_id == "m-1"


async def test_an_expired_route(border: Border) -> None:
    """After five minutes without a sign of the other platform senders are told so."""
    border.cut()
    await border.clock.advance(99)
    assert outcome(await border.office.send(ALICE, BOB)).error is None
    await border.clock.advance(300)
    result = await border.office.send(ALICE, BOB, message_id="m-2")
    assert isinstance(result, AgentNotFound)
    assert "platform plant over plant expired at" in result.reason
    assert await border.office.ports.links.waiting() == {"plant": 1}
    border.cut(up=True)
    await border.clock.advance(6)
    assert [one.message_id for one in await border.plant.mail(BOB)] == ["m-1"]
    assert outcome(await border.office.send(ALICE, BOB, message_id="m-3")).error is None


async def test_a_route_is_refreshed_while_the_other_side_answers(border: Border) -> None:
    """Hours later it is as fresh as ever."""
    await border.clock.advance(7200)
    assert isinstance(border.office.platform.lookup("bob@plant"), Remote)


async def test_no_route(border: Border) -> None:
    """A platform that nobody has heard of has no agents."""
    result = await border.office.send(ALICE, AgentId("bob@mine"))
    assert isinstance(result, AgentNotFound)
    assert "no route to platform mine" in result.reason


async def test_one_receiver_of_many_is_out_of_reach(border: Border) -> None:
    """The others get the message, and its outcome says why it did not."""
    nobody = AgentId("bob@mine")
    result = await border.office.send(ALICE, (nobody, BOB))
    assert isinstance(result, Receipt)
    assert [type(one.error) for one in result.outcomes] == [AgentNotFound, type(None)]


async def test_an_unknown_agent_there(border: Border) -> None:
    """The other platform keeps a dead letter, and the sender gets its failure notice."""
    await border.office.send(ALICE, AgentId("nobody@plant"), reply_with="r-1")
    await border.clock.advance(1)
    (letter,) = await border.plant.ports.dead_letters.list()
    assert (letter.agent, letter.reason, letter.message_id) == (ALICE, "AgentNotFound", "m-1")
    (told,) = await border.office.mail(ALICE)
    assert (told.sender, told.performative) == ("ams@plant", "failure")
    assert told.in_reply_to == "r-1"
    assert content_value(told)["error"]["code"] == "AgentNotFound"
    assert await border.office.ports.dead_letters.list() == []


async def test_what_is_no_message(border: Border) -> None:
    """Bytes that came over a link and are no envelope come back as not-understood."""
    await border.office.ports.links.forward(
        PLANT,
        [Parcel(ALICE, BOB, "key", b"\xff")],
    )
    await border.clock.advance(1)
    (told,) = await border.office.mail(ALICE)
    assert (told.sender, told.performative) == ("ams@plant", "not-understood")


async def test_the_link_says_who_sends(border: Border) -> None:
    """A body that names another sender, or one of the receiving platform, is refused there."""
    forged = [sample(sender=AgentId(name), receiver=(BOB,)) for name in ("zoe@office", "eve@plant")]
    await border.office.ports.links.forward(
        PLANT,
        [Parcel(ALICE, BOB, f"key-{one.sender}", encode(one)) for one in forged],
    )
    await border.clock.advance(1)
    assert await border.plant.mail(BOB) == []
    assert [one.reason for one in await border.plant.ports.dead_letters.list()] == [
        "InvalidMessage",
        "InvalidMessage",
    ]


async def test_what_came_over_a_link_does_not_leave_again(border: Border) -> None:
    """A platform passes nothing on, not even back to where it came from."""
    for receiver in (ALICE, AgentId("x@mine")):
        envelope = sample(sender=AgentId("zoe@office"), receiver=(receiver,))
        (result,) = await border.plant.platform.router.send(
            [Submission(sender=AgentId("zoe@office"), envelope=envelope)]
        )
        assert isinstance(result, AgentNotFound)
    assert await border.plant.ports.links.waiting() == {}


async def test_a_header_of_a_local_sender_restricts_nothing(border: Border) -> None:
    """Which receiver a copy is for is the link's to say, and nobody else's."""
    submission = Submission(
        sender=ALICE,
        envelope=sample(sender=ALICE, receiver=(BOB,)),
        headers={"Caxton-Receiver": ALICE},
    )
    (result,) = await border.office.platform.router.send([submission])
    assert outcome(result).receiver == BOB


async def test_an_answer_that_was_lost(border: Border) -> None:
    """A parcel whose acknowledgement was lost is sent again, and stored once."""
    tries = border.office.watch_forward(lose=1)
    await border.office.send(ALICE, BOB)
    await border.clock.advance(1)
    assert len(tries) == 2
    assert [one.message_id for one in await border.plant.mail(BOB)] == ["m-1"]
    assert border.office.told(Action.FORWARDED) == ["m-1"]


@pytest.mark.parametrize("max_body", [900_000, 1000], ids=["small", "set aside"])
async def test_a_crash_between_the_other_side_and_the_ack(border: Border, max_body: int) -> None:
    """Whoever takes over forwards it again, whole, and the other side knows it."""
    await border.stop(border.office)
    process = border.office.process(border.office.ports, max_body=max_body)
    process.remote.routes.replace(border.office.platform.remote.routes)
    content = msgspec.Raw(b'"' + b"x" * 5000 + b'"')
    envelope = sample(sender=ALICE, receiver=(BOB,), content=content)
    await process.router.send([Submission(sender=ALICE, envelope=envelope)])
    inbox = await border.office.ports.links.outbound(PLANT)

    async def never(settled: object) -> None:
        del settled
        await asyncio.Event().wait()

    inbox.settle = never  # type: ignore[method-assign]
    crashed = asyncio.create_task(border.office.forwarder("plant").work_once(inbox, timedelta()))
    await border.clock.advance(1)
    assert len(await border.plant.mail(BOB)) == 1
    await end([crashed])
    await border.clock.advance(ACK_WAIT)
    other = await border.office.ports.links.outbound(PLANT)
    assert await border.office.forwarder("plant").work_once(other, timedelta()) == 1
    assert await border.office.ports.links.waiting() == {}
    await border.clock.advance(1)
    assert (await border.plant.ports.mailboxes.status(BOB)).pending == 1
    assert await border.office.ports.dead_letters.list() == []
    assert not border.office.broker.contents._contents  # type: ignore[attr-defined]


async def test_too_large_for_a_link(border: Border) -> None:
    """A message that cannot cross is refused with limit and size, and what can is not."""
    content = msgspec.Raw(b'"' + b"x" * links.MAX_PARCEL + b'"')
    result = await border.office.send(ALICE, BOB, content=content)
    assert isinstance(result, MessageTooLarge)
    assert (result.limit, result.field) == (links.MAX_PARCEL, "content")
    assert isinstance(result.value, int)
    assert result.value > links.MAX_PARCEL


async def test_content_that_was_set_aside_crosses_whole(border: Border) -> None:
    """A claim is worth nothing on another platform: the content goes along, and is forgotten here."""
    process = border.office.process(border.office.ports, max_body=1000)
    process.remote.routes.replace(border.office.platform.remote.routes)
    content = msgspec.Raw(b'"' + b"x" * 5000 + b'"')
    envelope = sample(sender=ALICE, receiver=(BOB,), content=content)
    await process.router.send([Submission(sender=ALICE, envelope=envelope)])
    assert border.office.broker.contents._contents  # type: ignore[attr-defined]
    await border.clock.advance(1)
    (got,) = await border.plant.mail(BOB)
    assert (bytes(got.content), got.claim) == (bytes(content), None)
    assert not border.office.broker.contents._contents  # type: ignore[attr-defined]


async def test_too_late_to_cross(border: Border) -> None:
    """What could not cross before its reply_by is a dead letter here, and the sender is told."""
    border.cut()
    await border.office.send(ALICE, BOB, reply_by=border.clock.now() + timedelta(seconds=20))
    await border.clock.advance(60)
    (letter,) = await border.office.ports.dead_letters.list()
    assert (letter.agent, letter.reason) == (BOB, "Timeout")
    (told,) = await border.office.mail(ALICE)
    assert (told.sender, told.performative) == ("ams@office", "failure")


@pytest.mark.parametrize("conversation", ["", "c"])
async def test_too_late_behind_what_waits(border: Border, conversation: str) -> None:
    """Also if it came later, and behind others of its conversation: they go on waiting."""
    border.cut()
    await border.office.send(ALICE, BOB, message_id="m-1", conversation_id=conversation)
    await border.clock.advance(30)
    until = border.clock.now() + timedelta(seconds=20)
    for number in (2, 3):
        fields = {"message_id": f"m-{number}", "conversation_id": conversation}
        late = {"reply_by": until} if number == 2 else {}
        await border.office.send(ALICE, BOB, **fields, **late)
    await border.clock.advance(19)
    assert await border.office.ports.dead_letters.list() == []
    await border.clock.advance(7)
    (letter,) = await border.office.ports.dead_letters.list()
    assert (letter.message_id, letter.reason) == ("m-2", "Timeout")
    border.cut(up=True)
    await border.clock.advance(10)
    assert [one.message_id for one in await border.plant.mail(BOB)] == ["m-1", "m-3"]


async def test_redrive_of_what_could_not_cross(border: Border) -> None:
    """A dead letter of a remote receiver goes back to its link, not into a namesake's mailbox."""
    namesake = AgentId("bob@office")
    await border.office.platform.registrar.register(namesake)
    border.cut()
    await border.office.send(ALICE, BOB, reply_by=border.clock.now() + timedelta(seconds=20))
    await border.clock.advance(60)
    (letter,) = await border.office.ports.dead_letters.list()
    await border.office.platform.redrive.redrive(letter.id, force=True)
    assert await border.office.mail(namesake) == []
    assert await border.office.ports.links.waiting() == {"plant": 1}


async def test_more_than_fits_waits_for_nobody(border: Border) -> None:
    """As many messages wait for a remote receiver as a mailbox holds; other receivers have theirs."""
    border.cut()
    for number in range(200):
        outcome(await border.office.send(ALICE, BOB, message_id=f"m-{number}"))
    full = await border.office.send(ALICE, BOB, message_id="one-more")
    assert isinstance(full, CaxtonError)
    assert (full.code, full.limit) == ("QueueFull", 200)
    assert outcome(await border.office.send(ALICE, CAROL)).error is None


async def test_lookup(border: Border) -> None:
    """An agent is here, with its registration, or behind a route, or nowhere."""
    office = border.office.platform
    here = office.lookup("alice")
    assert isinstance(here, Local)
    assert isinstance(here.registration, Registration)
    there = office.lookup("bob@plant")
    assert isinstance(there, Remote)
    assert (there.route.node, there.route.hops) == ("plant", 1)
    for name in ("nobody", "bob@mine"):
        with pytest.raises(AgentNotFound):
            office.lookup(name)


async def test_update_remote_route(border: Border) -> None:
    """The nearer route is in force, one as near refreshes it, an expired one gives way."""
    update = border.office.platform.update_remote_route
    assert (await update("x@mine", "a", 3)).node == "a"
    assert (await update("x@mine", "b", 4)).node == "a"
    first = await update("x@mine", "b", 3)
    assert first.node == "b"
    await border.clock.advance(100)
    again = await update("x@mine", "b", 3)
    assert again.expires_at - first.expires_at == timedelta(seconds=100)
    assert (await update("x@mine", "c", 2)).node == "c"
    await border.clock.advance(300)
    assert (await update("x@mine", "far", 255)).node == "far"


async def test_a_local_agent_is_never_remote(border: Border) -> None:
    """No route can take an agent of this platform away."""
    with pytest.raises(InvalidEnvelope, match="never remote"):
        await border.office.platform.update_remote_route("alice@office", "plant", 0)
    assert isinstance(border.office.platform.lookup("alice@office"), Local)


async def test_a_route_of_another_process_is_used_at_once(border: Border) -> None:
    """A router whose mirror lags asks the store before it calls a platform unreachable."""
    other = border.office.process(border.office.ports)
    await border.office.platform.update_remote_route("x@mine", "mine", 1)
    envelope = sample(sender=ALICE, receiver=(AgentId("x@mine"),))
    (result,) = await other.router.send([Submission(sender=ALICE, envelope=envelope)])
    assert outcome(result).stream == "CAXTON_OUTBOUND"
