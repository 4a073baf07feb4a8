"""What an operator does with pending messages: look, and take out without losing anything."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton_nats.core.codec import encode
from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.envelope import Envelope, value_content
from caxton_nats.core.errors import InvalidEnvelope, MessageInHand, MessageNotFound, NotConnected
from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.engine.dispatch import message_key
from caxton_nats.engine.messages import PendingMessage
from caxton_nats.engine.platform import Platform
from caxton_nats.engine.router import RouterOptions
from caxton_nats.ports import Letter, Receipt, Submission
from caxton_nats.sdk.agent import Agent
from caxton_nats.sdk.context import Context
from caxton_nats.telemetry import Action
from tests.core.sample import ALICE, BOB, CAROL, sample
from tests.engine.bench import Bench, Failing, Recorder


async def send(platform: Platform, **fields: object) -> Origin:
    submission = Submission(sender=ALICE, envelope=sample(**fields))
    (receipt,) = await platform.router.send([submission])
    assert isinstance(receipt, Receipt), receipt
    (outcome,) = receipt.outcomes
    return Origin(outcome.stream, outcome.sequence)


async def sent(bench: Bench, *ids: str, **options: object) -> Platform:
    """Return a platform that knows everybody, with bob's messages of these ids in his mailbox."""
    platform = await bench.known(bench.platform(**options))  # type: ignore[arg-type]
    for one in ids:
        await send(platform, message_id=MessageId(one))
    return platform


def ids(found: list[PendingMessage]) -> list[str]:
    return [one.envelope.message_id for one in found if one.envelope is not None]


async def test_list(bench: Bench) -> None:
    """The newest first, one agent's only, as many as wanted."""
    platform = await sent(bench, "m-1", "m-2", "m-3")
    await send(platform, message_id=MessageId("m-4"), receiver=(CAROL,))
    assert ids(await platform.messages.list(BOB)) == ["m-3", "m-2", "m-1"]
    assert ids(await platform.messages.list(BOB, limit=2)) == ["m-3", "m-2"]
    assert await platform.messages.list(ALICE) == []


@pytest.mark.parametrize("way", ["list", "get", "remove"])
async def test_an_agent_of_another_platform(bench: Bench, way: str) -> None:
    """Its mailbox is not that of the agent of the same local name here, which is left alone."""
    platform = await sent(bench, "m-1")
    other = AgentId("bob@elsewhere")
    arguments = (other,) if way == "list" else (other, "m-1")
    with pytest.raises(InvalidEnvelope) as caught:
        await getattr(platform.messages, way)(*arguments)
    assert (caught.value.field, caught.value.value) == ("agent", other)
    assert ids(await platform.messages.list(BOB)) == ["m-1"]


async def test_get(bench: Bench) -> None:
    """One message by its id or by its place, whole: envelope, bytes, headers, when it was stored."""
    platform = await sent(bench)
    origin = await send(platform, traceparent="00-1-2-01")
    found = await platform.messages.get(BOB, "m-1")
    assert found == await platform.messages.get(BOB, origin.key)
    assert found.envelope == sample(traceparent="00-1-2-01")
    assert (found.agent, found.origin, found.stored_at) == (BOB, origin, bench.clock.now())
    assert found.headers == {"traceparent": "00-1-2-01"}
    assert found.body == encode(found.envelope)


@pytest.mark.parametrize("which", ["m-2", "", "CAXTON_MAILBOX_0-99", "CAXTON_MAILBOX_0-", "-1"])
async def test_get_nothing(bench: Bench, which: str) -> None:
    """An id that no message in this mailbox has is an error that names it."""
    platform = await sent(bench, "m-1")
    with pytest.raises(MessageNotFound) as error:
        await platform.messages.get(BOB, which)
    assert (error.value.field, error.value.value) == ("message", which)


async def test_a_place_in_somebody_elses_mailbox(bench: Bench) -> None:
    """The place of a message does not open another agent's mailbox."""
    platform = await sent(bench)
    origin = await send(platform)
    for other in (ALICE, CAROL):
        with pytest.raises(MessageNotFound):
            await platform.messages.get(other, origin.key)


async def test_one_id_of_two_senders(bench: Bench) -> None:
    """Ids are unique for each sender only: who means one of several has to say which."""
    platform = await sent(bench, "m-1")
    envelope = sample(sender=CAROL)
    await bench.put(encode(envelope), message_key(envelope, BOB))
    with pytest.raises(MessageNotFound) as error:
        await platform.messages.get(BOB, "m-1")
    places = [one.origin.key for one in await platform.messages.list(BOB)]
    assert all(place in error.value.hint for place in places)
    assert (await platform.messages.get(BOB, places[0])).envelope == envelope


async def test_what_is_no_message(bench: Bench) -> None:
    """Bytes that are no message are listed as they are, and can be removed."""
    platform = await sent(bench)
    stored = await bench.put(b"\xff\x00", "key")
    (found,) = await platform.messages.list(BOB)
    assert (found.envelope, found.body) == (None, b"\xff\x00")
    assert await platform.messages.content(found) == b"\xff\x00"
    await platform.messages.remove(BOB, f"{stored.stream}-{stored.sequence}")
    (letter,) = await bench.dead()
    assert letter.original == b"\xff\x00"


async def test_large_content(bench: Bench) -> None:
    """Content that was set aside is read from where it lies."""
    platform = await sent(bench, router=RouterOptions(platform="here", max_body=400))
    content, encoding = value_content("ü" * 1000)
    await send(platform, content=content, encoding=encoding)
    (found,) = await platform.messages.list(BOB)
    assert found.envelope is not None
    assert found.envelope.claim is not None
    assert msgspec.json.decode(await platform.messages.content(found)) == "ü" * 1000


async def test_removed_is_a_dead_letter(bench: Bench) -> None:
    """What is taken out of a mailbox stays accounted for, and its sender is told."""
    platform = await sent(bench, "m-1", "m-2")
    letter = await platform.messages.remove(BOB, "m-1")
    assert await bench.dead() == [letter]
    assert (letter.message_id, letter.agent, letter.attempts) == ("m-1", BOB, 0)
    assert letter.last_error["code"] == "MessageRemoved"
    assert ids(await platform.messages.list(BOB)) == ["m-2"]
    assert bench.told(Action.DEAD_LETTERED) == ["m-1"]
    (notice,) = await platform.messages.list(ALICE)
    assert notice.envelope is not None
    assert notice.envelope.performative == "failure"
    with pytest.raises(MessageNotFound):
        await platform.messages.remove(BOB, "m-1")


async def test_removed_can_come_back(bench: Bench) -> None:
    """A removed message can be redriven like any dead letter."""
    platform = await sent(bench, "m-1")
    letter = await platform.messages.remove(BOB, "m-1")
    await platform.redrive.redrive(letter.id)
    recorder = Recorder(bench.clock)
    bench.open(recorder, platform=platform)
    await bench.clock.advance(1)
    assert recorder.done == ["m-1"]


async def test_what_an_agent_has_in_hand_stays(bench: Bench) -> None:
    """A message that a running agent was given is not taken from under its hands."""
    gate = asyncio.Event()

    async def work(envelope: Envelope, attempt: int) -> None:
        await gate.wait()

    platform = await sent(bench, "m-1")
    recorder = Recorder(bench.clock, work)
    bench.open(recorder, platform=platform)
    await bench.clock.idle()
    with pytest.raises(MessageInHand):
        await platform.messages.remove(BOB, "m-1")
    gate.set()
    await bench.clock.advance(1)
    assert (recorder.done, await bench.dead(), await bench.pending()) == (["m-1"], [], 0)


async def test_what_a_stopping_agent_has_in_hand_stays(bench: Bench) -> None:
    """It has closed its mailbox, and its handlers may finish nevertheless."""
    gate = asyncio.Event()

    bob = Agent("bob")

    @bob.on("*")
    async def work(_: Context) -> None:
        await gate.wait()

    platform = await bench.known(bench.platform(drain=timedelta(hours=1)), ALICE)
    await bob.start(platform)
    await send(platform, message_id=MessageId("m-1"))
    await bench.clock.idle()
    stopping = asyncio.create_task(bob.stop())
    await bench.clock.idle()
    with pytest.raises(MessageInHand):
        await platform.messages.remove(BOB, "m-1")
    gate.set()
    await stopping
    assert (await bench.dead(), await bench.pending()) == ([], 0)


async def test_poison_can_be_removed_when_its_agent_is_down(bench: Bench) -> None:
    """What an agent was given before it ended is in nobody's hands, and counts its attempts."""

    async def fail(envelope: Envelope, attempt: int) -> None:
        raise ValueError

    platform = await sent(bench, "m-1")
    mailbox = bench.open(Recorder(bench.clock, fail), platform=platform)
    await bench.clock.advance(0.5)
    await mailbox.drain()
    letter = await platform.messages.remove(BOB, "m-1")
    assert (letter.attempts, await bench.pending()) == (1, 0)


async def test_nothing_is_handed_out_meanwhile(bench: Bench) -> None:
    """An agent that starts at this very moment begins with the next message."""
    platform = await sent(bench, "m-1", "m-2")
    recorder = Recorder(bench.clock)
    real = bench.ports.dead_letters

    class Slow:
        async def write(self, letter: object) -> object:
            bench.open(recorder, platform=platform)
            await bench.clock.idle()
            return await real.write(letter)  # type: ignore[arg-type]

    removing = await bench.known(bench.platform(bench.but(dead_letters=Slow())))
    await removing.messages.remove(BOB, "m-1")
    await bench.clock.advance(1)
    assert (recorder.done, await bench.pending()) == (["m-2"], 0)
    assert [letter.message_id for letter in await bench.dead()] == ["m-1"]


async def test_a_failure_leaves_it_where_it_is(bench: Bench) -> None:
    """If the dead letter cannot be written the message stays, and the mailbox goes on."""
    await sent(bench, "m-1")
    failing = Failing(bench.ports.dead_letters, write=[NotConnected("gone")])
    platform = bench.platform(bench.but(dead_letters=failing))
    with pytest.raises(NotConnected):
        await platform.messages.remove(BOB, "m-1")
    recorder = Recorder(bench.clock)
    bench.open(recorder)
    await bench.clock.advance(0.1)
    assert recorder.done == ["m-1"]


async def test_who_cannot_release_has_removed_nevertheless(bench: Bench) -> None:
    """The mailbox goes on by itself after a while."""
    platform = await sent(bench, "m-1", "m-2")
    failing = Failing(bench.ports.mailboxes, release=[NotConnected("gone")])
    removing = bench.platform(bench.but(mailboxes=failing))
    await removing.messages.remove(BOB, "m-1")
    recorder = Recorder(bench.clock)
    bench.open(recorder, platform=platform)
    await bench.clock.advance(9)
    assert recorder.done == []
    await bench.clock.advance(2)
    assert recorder.done == ["m-2"]


_text = st.text(st.characters(codec="utf-8"), max_size=30)


@settings(max_examples=50, deadline=None)
@given(body=st.binary(max_size=200), value=_text | st.binary(max_size=300), text=_text)
def test_what_was_stored_is_what_is_read(body: bytes, value: str | bytes, text: str) -> None:
    """Every byte of a body, every field of a message, and content wherever it lies."""

    async def check() -> None:
        async with asyncio.timeout(10):
            await faithful(body, value, text)

    asyncio.run(check())


async def faithful(body: bytes, value: str | bytes, text: str) -> None:
    from contextlib import AsyncExitStack  # noqa: PLC0415 - a bench outside of a fixture

    async with AsyncExitStack() as stack:
        bench = Bench(stack)
        platform = await bench.known(
            bench.platform(router=RouterOptions(platform="here", max_body=400))
        )
        await bench.put(body, "raw")
        content, encoding = value_content(value)
        sent = sample(content=content, encoding=encoding, language="", reply_with=text or "x")
        letter = Letter(
            CAROL, bench.broker.mailboxes.address(CAROL), "key", encode(sent), {"x": "ü"}
        )
        await bench.broker.publisher.publish([letter])
        (raw,) = await platform.messages.list(BOB)
        assert raw.body == body
        (read,) = await platform.messages.list(CAROL)
        assert (read.envelope, read.body, dict(read.headers)) == (sent, encode(sent), {"x": "ü"})
        wanted = value if isinstance(value, bytes) else msgspec.json.encode(value)
        assert await platform.messages.content(read) == wanted
