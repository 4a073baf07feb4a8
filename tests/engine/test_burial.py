"""Dead letters: what is kept, and who is told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from caxton_nats.core import codec
from caxton_nats.core.dead_letter import Origin, Stage
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import CaxtonError, HandlerFailed, InvalidEnvelope, NotConnected
from caxton_nats.core.identifiers import AMS, AgentId, agent_id
from caxton_nats.engine.platform import Platform
from caxton_nats.engine.router import RouterOptions
from caxton_nats.ports import Delivery
from caxton_nats.telemetry import Action
from tests.core.sample import ALICE, BOB, NOON, sample
from tests.engine.bench import Bench, Failing, Recorder

FAILED = HandlerFailed("ValueError: no")


def delivery(body: bytes = b"", sequence: int = 7, **fields: Any) -> Delivery:
    subject = "caxton.mailbox.0.bob"
    given = {"headers": {}, "attempt": 4, "stored_at": NOON, **fields}
    origin = given.pop("origin", Origin("S", sequence))
    return Delivery(origin, subject, body or codec.encode(sample()), **given)


async def bury(
    platform: Platform,
    original: Delivery | None = None,
    error: CaxtonError = FAILED,
    envelope: Envelope | None = None,
    **where: Any,
) -> None:
    chosen = {"agent": BOB, "stage": Stage.DELIVER, **where}
    await platform.burial.bury(
        original or delivery(), error, envelope=envelope or sample(), **chosen
    )


async def notices(bench: Bench, agent: AgentId = ALICE) -> list[Envelope]:
    inbox = await bench.broker.mailboxes.open(agent)
    found = await inbox.fetch(100, timedelta())
    return [codec.decode(one.body, max_bytes=100_000) for one in found]


async def test_letter(bench: Bench) -> None:
    """It has everything that an operator asks: whose, which, why, how often, and the bytes."""
    await bench.clock.advance(60)
    original = delivery(headers={"x": "1"})
    await bury(bench.platform(), original, envelope=sample(conversation_id="c"))
    (letter,) = await bench.dead()
    assert (letter.id, letter.origin, letter.subject) == ("S-7", original.origin, original.subject)
    assert (letter.agent, letter.sender, letter.message_id) == (BOB, ALICE, "m-1")
    assert (letter.performative, letter.conversation_id) == ("request", "c")
    assert (letter.reason, letter.last_error) == ("AgentNotResponding", FAILED.to_dict())
    assert (letter.attempts, letter.redrives, letter.headers) == (4, 0, {"x": "1"})
    assert (letter.first_at, letter.last_at) == (NOON, NOON + timedelta(seconds=60))
    assert letter.original == original.body


async def test_one_original_is_buried_once(bench: Bench) -> None:
    """A second burial, for whatever reason, changes and tells nothing."""
    platform = await bench.known(bench.platform())
    await bury(platform)
    await bury(platform, error=InvalidEnvelope("another"))
    assert [letter.reason for letter in await bench.dead()] == ["AgentNotResponding"]
    assert bench.told(Action.DEAD_LETTERED) == ["m-1"]
    assert len(await notices(bench)) == 1


async def test_sender_is_told(bench: Bench) -> None:
    """The notice is an answer from the AMS in the conversation, with the error as content."""
    platform = await bench.known(bench.platform())
    await bury(platform, envelope=sample(conversation_id="c", reply_with="r-1"))
    (told,) = await notices(bench)
    assert (told.performative, told.sender, told.receiver) == ("failure", "ams@here", (ALICE,))
    assert (told.in_reply_to, told.conversation_id) == ("r-1", "c")
    assert msgspec.json.decode(told.content)["error"] == FAILED.to_dict()


@pytest.mark.parametrize("act", ["failure", "not-understood"])
async def test_complaint_is_not_complained_about(bench: Bench, act: str) -> None:
    """A failure or not-understood that dies is a letter only: notices never answer each other."""
    platform = await bench.known(bench.platform())
    await bury(platform, envelope=sample(performative=act))
    assert (len(await bench.dead()), await notices(bench)) == (1, [])


async def test_notice_that_dies(bench: Bench) -> None:
    """The platform does not complain to itself, in a mailbox or at a door."""
    ams = agent_id(AMS, "here")
    platform = await bench.known(bench.platform())
    about = sample(sender=ams, performative="inform")
    await bury(platform, envelope=about)
    await bury(platform, delivery(sequence=8), envelope=about, agent=ams, stage=Stage.ROUTE)
    assert (len(await bench.dead()), await notices(bench, ams)) == (2, [])


async def test_sender_that_has_left(bench: Bench) -> None:
    """Nobody is told whom nobody knows any more; what a router refuses is told all the same."""
    platform = bench.platform()
    await bury(platform)
    assert await notices(bench) == []
    await bury(platform, delivery(sequence=8), agent=ALICE, stage=Stage.ROUTE)
    assert len(await notices(bench)) == 1


async def test_bytes_of_nobody(bench: Bench) -> None:
    """What cannot be read and reached a mailbox has no sender to tell."""
    platform = await bench.known(bench.platform())
    await platform.burial.bury(
        delivery(b"\xff\x00"), FAILED, agent=BOB, stage=Stage.DELIVER, envelope=None
    )
    (letter,) = await bench.dead()
    assert (letter.original, letter.sender) == (b"\xff\x00", "")
    assert await bench.broker.mailboxes.stored() == 0


async def test_large_original_lies_beside_its_letter(bench: Bench) -> None:
    """A letter fits into a message in any case; the bytes are kept exactly."""
    platform = bench.platform(router=RouterOptions(platform="here", max_body=1500))
    body = b"\xff" * 1200
    await bury(platform, delivery(body))
    (letter,) = await bench.dead()
    assert letter.body_claim is not None
    assert (letter.original, await platform.redrive.original(letter)) == (b"", body)


async def test_no_record_no_return(bench: Bench) -> None:
    """If the letter could not be written the caller hears of it, and does not settle."""
    away = Failing(bench.broker.dead_letters, write=[NotConnected("away")])
    platform = await bench.known(bench.platform(bench.but(dead_letters=away)))
    with pytest.raises(NotConnected):
        await bury(platform)
    assert await notices(bench) == []


async def test_notice_that_cannot_be_stored(bench: Bench) -> None:
    """A sender whose mailbox is full is not told; the letter is written all the same."""
    platform = await bench.known(bench.platform())
    address = bench.broker.mailboxes.address(ALICE)
    queue = bench.broker.publisher._streams[address.subject.rpartition(".")[0]]  # type: ignore[attr-defined]
    queue._rules = msgspec.structs.replace(queue._rules, queue_size=0)
    await bury(platform)
    assert len(await bench.dead()) == 1


@pytest.mark.parametrize(
    ("header", "redrives"), [("2", 2), ("", 0), ("-1", 0), ("two", 0), ("9" * 5000, 0), ("²", 0)]
)
async def test_count_of_redrives(bench: Bench, header: str, redrives: int) -> None:
    """It comes from a header; what any client may have written there harms nobody."""
    await bury(bench.platform(), delivery(headers={"Caxton-Redrives": header}))
    assert [letter.redrives for letter in await bench.dead()] == [redrives]


@pytest.mark.parametrize("size", [10, 2000])
async def test_stream_that_was_made_anew(bench: Bench, size: int) -> None:
    """Its messages have places that others had before, whose letters are kept: both are."""
    platform = await bench.known(
        bench.platform(router=RouterOptions(platform="here", max_body=1500))
    )
    old, new = (codec.encode(sample(user_defined={"X-a": one * size})) for one in "ab")
    await bury(platform, delivery(old))
    later = NOON + timedelta(hours=1)
    for _ in range(2):
        await bury(platform, delivery(new, stored_at=later))
    letters = await bench.dead()
    originals = [await platform.redrive.original(one) for one in letters]
    assert originals == [new, old]
    assert [one.id for one in letters] == [f"S-7-{int(later.timestamp())}", "S-7"]


class Mute(Exception):
    """Says nothing, not even what it is."""

    def __str__(self) -> str:
        raise ValueError("no")


@pytest.mark.parametrize(
    "error", [FileNotFoundError("caf\udce9"), ValueError("x" * 10_000_000), Mute()]
)
async def test_whatever_a_handler_raises(bench: Bench, error: Exception) -> None:
    """Text that no message can carry, too much of it or none: the message dies of it once."""
    platform = await bench.known(bench.platform())

    async def fail(_: Envelope, __: int) -> None:
        raise error

    await bench.post("m-1", max_retries=1)
    bench.open(Recorder(bench.clock, fail), platform=platform)
    await bench.clock.advance(5)
    (letter,) = await bench.dead()
    assert letter.attempts == 2
    assert letter.last_error["reason"].startswith(type(error).__name__)
    assert await notices(bench) != []
    assert await bench.pending() == 0
