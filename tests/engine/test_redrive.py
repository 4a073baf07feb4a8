"""Dead letters go back, or away for good; in no case do they vanish on the way."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest

from caxton_nats.core.dead_letter import Origin, Stage
from caxton_nats.core.envelope import NO_CONTENT, Envelope
from caxton_nats.core.errors import (
    AgentNotFound,
    AgentStopped,
    CaxtonError,
    ConversationTimeout,
    DeadLetterNotFound,
    HandlerRejected,
    InvalidEnvelope,
    NotConnected,
    QueueFull,
    RedriveRefused,
)
from caxton_nats.core.identifiers import AgentId, ConversationId
from caxton_nats.core.registry import AgentState
from caxton_nats.core.selection import EVERY
from caxton_nats.engine.ingress import Ingress
from caxton_nats.engine.platform import Platform
from caxton_nats.engine.router import RouterOptions
from caxton_nats.ports import Receipt, Submission
from caxton_nats.tasks import Workers
from caxton_nats.telemetry import Action
from tests.core.sample import ALICE, BOB, CAROL, NOON, sample
from tests.engine.bench import POLICY, Bench, Failing, Recorder
from tests.engine.test_burial import delivery


async def die(_: Envelope, __: int) -> None:
    raise ValueError("no")


async def dead_in_mailbox(bench: Bench, platform: Platform) -> str:
    """Have m-1 die in bob's mailbox; return the letter's id."""
    await bench.post("m-1", max_retries=1)
    mailbox = bench.open(Recorder(bench.clock, die), platform=platform)
    await bench.clock.advance(1)
    await mailbox.drain()
    return (await bench.dead())[0].id


async def dead_at_the_door(
    bench: Bench, platform: Platform, body: bytes, headers: dict[str, str] | None = None
) -> str:
    """Bury a submission of alice as a router that refused it would."""
    await bench.broker.submit(ALICE, body, headers)
    (original,) = await bench.broker.ingress.fetch(1, timedelta())
    await platform.burial.bury(
        original, AgentNotFound("nobody"), agent=ALICE, stage=Stage.ROUTE, envelope=None
    )
    return original.origin.key


async def test_back_into_the_mailbox(bench: Bench) -> None:
    """A redriven message is delivered with fresh attempts and knows that it was dead."""
    platform = await bench.known(bench.platform())
    letter_id = await dead_in_mailbox(bench, platform)
    letter = await platform.redrive.redrive(letter_id)
    assert (letter.message_id, await bench.dead()) == ("m-1", [])
    bob = Recorder(bench.clock)
    bench.open(bob, platform=platform)
    await bench.clock.idle()
    assert bob.calls == [("m-1", 1, 1)]
    assert [one.origin for one in bench.events if one.action is Action.REDRIVEN] == [letter.origin]


async def test_second_death(bench: Bench) -> None:
    """A redriven message that dies again is another letter, which counts its redrives."""
    platform = await bench.known(bench.platform())
    first = await dead_in_mailbox(bench, platform)
    await platform.redrive.redrive(first)
    bench.open(Recorder(bench.clock, die), platform=platform)
    await bench.clock.advance(1)
    (letter,) = await bench.dead()
    assert (letter.id != first, letter.redrives, letter.attempts) == (True, 1, 2)
    await platform.redrive.redrive(letter.id)
    await bench.clock.advance(1)
    (last,) = await bench.dead()
    assert (last.redrives, [one.letter for one in last.history]) == (2, [first, letter.id])
    death = last.history[1]
    assert (death.at, death.reason, death.attempts) == (letter.last_at, letter.reason, 2)
    assert death.error == "HandlerFailed: ValueError: no"
    assert last.headers == letter.headers, "the sender's alone"


async def test_what_reached_no_mailbox_belongs_to_its_conversation(bench: Bench) -> None:
    """Whoever handles it after a redrive can answer it: its conversation knows it then."""
    platform = bench.platform()
    await platform.ports.registry_store.follow(platform.registry)
    await bench.known(platform)
    await platform.registrar.update_state(BOB, AgentState.STOPPED)
    message = sample(message_id="m-1", conversation_id="c")
    await platform.router.send([Submission(sender=ALICE, envelope=message)])
    assert await bench.broker.conversations.load(ConversationId("c")) is None
    await platform.registrar.register(BOB)
    await platform.redrive.redrive((await bench.dead())[0].id)
    answer = sample(
        sender=BOB, receiver=(ALICE,), message_id="m-2", conversation_id="c", in_reply_to="m-1"
    )
    (receipt,) = await platform.router.send([Submission(sender=BOB, envelope=answer)])
    assert isinstance(receipt, Receipt), receipt


async def test_a_conversation_that_has_ended(bench: Bench) -> None:
    """What reached no mailbox of it in time reaches none any more; the letter stays."""
    platform = bench.platform()
    await platform.ports.registry_store.follow(platform.registry)
    await bench.known(platform)
    await platform.registrar.update_state(BOB, AgentState.STOPPED)
    for message_id, receiver in (("m-1", BOB), ("m-2", CAROL)):
        message = sample(receiver=(receiver,), message_id=message_id, conversation_id="c")
        await platform.router.send([Submission(sender=ALICE, envelope=message)])
    await bench.clock.advance(3600)
    await platform.registrar.register(BOB)
    with pytest.raises(ConversationTimeout):
        await platform.redrive.redrive((await bench.dead())[0].id)
    assert (len(await bench.dead()), await bench.pending()) == (1, 0)


async def test_no_loop(bench: Bench) -> None:
    """Whoever redrives everything again and again does so three times; then only by force."""
    platform = await bench.known(bench.platform())
    await dead_in_mailbox(bench, platform)
    bench.open(Recorder(bench.clock, die), platform=platform)
    for _ in range(10):
        async for _ in platform.redrive.redrive_all(EVERY):
            pass
        await bench.clock.advance(1)
    (letter,) = await bench.dead()
    assert letter.redrives == 3
    with pytest.raises(RedriveRefused) as refused:
        await platform.redrive.redrive(letter.id)
    assert (refused.value.limit, refused.value.value) == (3, 3)
    await platform.redrive.redrive(letter.id, force=True)
    await bench.clock.advance(1)
    assert [one.redrives for one in await bench.dead()] == [4]


async def test_history_begins_at_the_door(bench: Bench) -> None:
    """What died at the door, and then in a mailbox, tells of the door; a client's word does not."""
    platform = await bench.known(bench.platform(), ALICE)
    await platform.ports.registry_store.follow(platform.registry)
    await platform.ports.peers.join(platform.answers)
    body = b'{"performative": "inform", "to": ["bob", "carol"]}'
    forged = {"Caxton-Redrives": "3", "Caxton-History": "[]", "x": "y"}
    letter_id = await dead_at_the_door(bench, platform, body, forged)
    (letter,) = await bench.dead()
    assert (letter.redrives, letter.history, letter.headers) == (0, (), forged)
    await bench.known(platform, BOB, CAROL)
    await platform.registrar.update_state(CAROL, AgentState.STOPPED)
    with pytest.raises(AgentStopped):
        await platform.redrive.redrive(letter_id)
    bench.open(Recorder(bench.clock, die), platform=platform, max_retries=1)
    await bench.clock.advance(100)
    found = {one.agent: one for one in await bench.dead() if one.id != letter_id}
    assert {one.redrives for one in found.values()} == {1}
    assert [[one.letter for one in found[agent].history] for agent in (BOB, CAROL)] == [
        [letter_id],
        [letter_id],
    ]


@pytest.mark.parametrize("door", ["request", "submit"])
async def test_no_client_forges_a_history(bench: Bench, door: str) -> None:
    """A header of a client reaches no mailbox by any door."""
    platform = await bench.known(bench.platform())
    forged = {"Caxton-Redrives": "3", "Caxton-History": "[]"}
    body = b'{"performative": "inform", "to": "bob", "max_retries": 1}'
    if door == "request":
        await platform.router.send([Submission(sender=ALICE, body=body, headers=forged)])
    else:
        await bench.broker.submit(ALICE, body, forged)
        ingress = Ingress(
            bench.broker.ingress,
            platform.router,
            platform.burial,
            platform.ports,
            platform="here",
            sender_of=lambda _: ALICE,
            policy=POLICY,
            workers=Workers(1, 10),
        )
        await ingress.work_once(timedelta())
    bench.open(Recorder(bench.clock, die), platform=platform)
    await bench.clock.advance(5)
    (letter,) = await bench.dead()
    assert (letter.redrives, letter.history, letter.headers) == (0, (), {})


async def test_receiver_that_has_left(bench: Bench) -> None:
    """Its message would be swept up again: that is said, and done only by force."""
    platform = await bench.known(bench.platform())
    letter_id = await dead_in_mailbox(bench, platform)
    await platform.registrar.deregister(BOB)
    with pytest.raises(RedriveRefused, match="has left"):
        await platform.redrive.redrive(letter_id)
    assert (await bench.pending(), len(await bench.dead())) == (0, 1)
    await platform.redrive.redrive(letter_id, force=True)
    assert (await bench.pending(), await bench.dead()) == (1, [])


async def test_content_that_is_gone(bench: Bench) -> None:
    """A message whose content was lost would die of it again; if it is there again, it goes."""
    platform = await bench.known(bench.platform())
    claim = await bench.broker.contents.put("large", b"1")
    await bench.broker.contents.remove(claim)
    body = sample(content=NO_CONTENT, claim=claim)
    await bench.put(msgspec.json.encode(body), "key")
    bench.open(Recorder(bench.clock, die), platform=platform)
    await bench.clock.advance(5)
    (letter,) = await bench.dead()
    with pytest.raises(RedriveRefused, match="no content") as refused:
        await platform.redrive.redrive(letter.id)
    assert refused.value.field == "claim"
    await bench.broker.contents.put("large", b"1")
    await platform.redrive.redrive(letter.id)


async def test_discard_settles_what_was_left_behind(bench: Bench) -> None:
    """A discarded message does not come back, though a crash had left its original."""
    platform = await bench.known(bench.platform())
    mailboxes = Failing(bench.broker.mailboxes, settle=[None, NotConnected("away")])
    await bench.post("m-1", max_retries=1)
    mailbox = bench.open(Recorder(bench.clock, die), bench.but(mailboxes=mailboxes))
    await bench.clock.advance(1)
    await mailbox.drain()
    (letter,) = await bench.dead()
    assert await bench.pending() == 1
    await platform.redrive.discard(letter.id)
    assert (await bench.pending(), await bench.dead()) == (0, [])


async def test_twice_at_once(bench: Bench) -> None:
    """Two operators who redrive one letter send one message."""
    platform = await bench.known(bench.platform())
    letter_id = await dead_in_mailbox(bench, platform)
    await asyncio.gather(
        *(platform.redrive.redrive(letter_id) for _ in range(2)), return_exceptions=True
    )
    assert (await bench.pending(), await bench.dead()) == (1, [])


async def test_crash_before_the_letter_was_removed(bench: Bench) -> None:
    """Redriven again after a crash in between, the message is there once."""
    remove = Failing(bench.broker.dead_letters, remove=[NotConnected("away")])
    platform = await bench.known(bench.platform(bench.but(dead_letters=remove)))
    letter_id = await dead_in_mailbox(bench, platform)
    with pytest.raises(NotConnected):
        await platform.redrive.redrive(letter_id)
    assert (await bench.pending(), len(await bench.dead())) == (1, 1)
    await platform.redrive.redrive(letter_id)
    assert (await bench.pending(), await bench.dead()) == (1, [])


async def test_original_left_behind(bench: Bench) -> None:
    """If the dead original still lies in the mailbox, redriving does not make two of it."""
    platform = await bench.known(bench.platform())
    settle: list[Exception | None] = [None, NotConnected("away")]
    mailboxes = Failing(bench.broker.mailboxes, settle=settle)
    await bench.post("m-1", max_retries=1)
    mailbox = bench.open(Recorder(bench.clock, die), bench.but(mailboxes=mailboxes))
    await bench.clock.advance(1)
    await mailbox.drain()
    (letter,) = await bench.dead()
    assert await bench.pending() == 1
    await platform.redrive.redrive(letter.id)
    assert await bench.pending() == 1


async def test_no_room(bench: Bench) -> None:
    """A letter that cannot go back stays."""
    platform = await bench.known(bench.platform())
    letter_id = await dead_in_mailbox(bench, platform)
    for number in range(1000):
        await bench.post(f"new-{number}")
    with pytest.raises(QueueFull):
        await platform.redrive.redrive(letter_id)
    assert [letter.id for letter in await bench.dead()] == [letter_id]


async def test_through_the_router_again(bench: Bench) -> None:
    """What a door refused goes through it again, from its sender, with an id that repeats."""
    platform = await bench.known(bench.platform(), ALICE)
    body = b'{"performative": "inform", "to": "bob"}'
    letter_id = await dead_at_the_door(bench, platform, body)
    with pytest.raises(AgentNotFound):
        await platform.redrive.redrive(letter_id)
    assert len(await bench.dead()) == 1
    await bench.known(platform, BOB)
    await platform.redrive.redrive(letter_id)
    bob = Recorder(bench.clock)
    bench.open(bob, platform=platform)
    await bench.clock.idle()
    assert (bob.ids, await bench.dead()) == ([letter_id], [])


async def test_one_receiver_is_still_missing(bench: Bench) -> None:
    """As long as one receiver cannot be reached the letter stays; the others get one copy."""
    platform = await bench.known(bench.platform(), ALICE, BOB)
    body = b'{"performative": "inform", "to": ["bob", "carol"]}'
    letter_id = await dead_at_the_door(bench, platform, body)
    for _ in range(2):
        with pytest.raises(AgentNotFound):
            await platform.redrive.redrive(letter_id)
    assert len(await bench.dead()) == 1
    await bench.known(platform, CAROL)
    await platform.redrive.redrive(letter_id)
    assert await bench.dead() == []
    assert await bench.broker.mailboxes.pending() == {ALICE: 1, BOB: 1, CAROL: 1}


@pytest.mark.parametrize("way", ["redrive", "discard"])
async def test_unknown_letter(bench: Bench, way: str) -> None:
    """An id of no letter is the operator's mistake, and says where to look."""
    with pytest.raises(DeadLetterNotFound, match="caxton dlq list"):
        await getattr(bench.platform().redrive, way)("S-1")


async def test_discard(bench: Bench) -> None:
    """A discarded letter is gone, with whatever it kept outside of itself."""
    platform = await bench.known(
        bench.platform(router=RouterOptions(platform="here", max_body=600))
    )
    claim = await bench.broker.contents.put("large", b"1")
    body = sample(content=NO_CONTENT, claim=claim, user_defined={"X-a": "a" * 500})
    stored = await bench.put(msgspec.json.encode(body), "key")
    bench.open(Recorder(bench.clock, die), platform=platform)
    await bench.clock.advance(100)
    (letter,) = await bench.dead()
    assert (letter.origin.sequence, letter.body_claim is not None) == (stored.sequence, True)
    assert (await platform.redrive.discard(letter.id)).id == letter.id
    assert await bench.dead() == []
    assert not bench.broker.contents._contents  # type: ignore[attr-defined]  # the memory's own


async def test_nobody_speaks_for_the_platform(bench: Bench) -> None:
    """A submission whose subject named no agent does not go out as the platform's own word."""
    platform = await bench.known(bench.platform())
    await bench.broker.submit(ALICE, b'{"performative": "inform", "to": "bob"}')
    (original,) = await bench.broker.ingress.fetch(1, timedelta())
    error = InvalidEnvelope("names nobody")
    await platform.burial.bury(
        original, error, agent=AgentId("ams@here"), stage=Stage.ROUTE, envelope=None
    )
    with pytest.raises(CaxtonError):
        await platform.redrive.redrive(original.origin.key)
    assert (await bench.pending(), len(await bench.dead())) == (0, 1)


@pytest.mark.parametrize("way", ["redrive", "discard"])
async def test_place_that_another_message_has_now(bench: Bench, way: str) -> None:
    """In a stream that was made anew the original's place is another's: that one is left alone."""
    platform = await bench.known(bench.platform())
    other = await bench.post("m-2")
    origin = Origin(other.stream, other.sequence)
    await platform.burial.bury(
        delivery(origin=origin, stored_at=NOON - timedelta(hours=1)),
        HandlerRejected("no"),
        agent=BOB,
        stage=Stage.DELIVER,
        envelope=sample(),
    )
    await getattr(platform.redrive, way)(origin.key)
    assert await bench.broker.mailboxes.get(origin) is not None


async def test_discard_of_what_lost_its_original(bench: Bench) -> None:
    """A letter whose original is gone from beside it can be discarded all the same."""
    platform = await bench.known(
        bench.platform(router=RouterOptions(platform="here", max_body=600))
    )
    await bench.post("m-1", user_defined={"X-a": "a" * 2000})
    bench.open(Recorder(bench.clock, die), platform=platform)
    await bench.clock.advance(100)
    (letter,) = await bench.dead()
    assert letter.body_claim is not None
    await bench.broker.contents.remove(letter.body_claim)
    with pytest.raises(InvalidEnvelope, match="no content"):
        await platform.redrive.redrive(letter.id, force=True)
    await platform.redrive.discard(letter.id)
    assert await bench.dead() == []
