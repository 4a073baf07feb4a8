"""Messages in FIPA's own encodings at the doors: what is stored is the same message in JSON."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from caxton_nats.core import codec
from caxton_nats.core.codec import REPRESENTATION
from caxton_nats.core.envelope import Envelope, Priority, content_value
from caxton_nats.core.errors import CaxtonError
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.representation import Representation, encode
from caxton_nats.ports import Receipt, Submission
from tests.core.sample import ALICE, BOB, NOON, sample
from tests.engine.bench import Bench

ENCODINGS = pytest.mark.parametrize("to", Representation)


async def mail(bench: Bench, agent: AgentId) -> list[Envelope]:
    found = await bench.broker.mailboxes.list(agent, limit=10)
    return [codec.read(one.body) for one in found]


@ENCODINGS
@pytest.mark.parametrize("name", [str, lambda to: to.short.upper()], ids=["full", "short"])
async def test_request_door(bench: Bench, to: Representation, name: object) -> None:
    """What the mailbox holds is the message in JSON, as if it had come in JSON."""
    platform = await bench.known(bench.platform())
    sent = sample(
        priority=Priority.HIGH, user_defined={"X-Note": "ü"}, reply_by=NOON + timedelta(1)
    )
    assert callable(name)
    submission = Submission(sender=ALICE, body=encode(sent, to), headers={REPRESENTATION: name(to)})
    (receipt,) = await platform.router.send([submission])
    assert isinstance(receipt, Receipt)
    (stored,) = await bench.broker.mailboxes.list(BOB, limit=10)
    assert stored.body == codec.encode(sent)
    assert REPRESENTATION not in stored.headers


@ENCODINGS
async def test_submit_door(bench: Bench, to: Representation) -> None:
    """The store-and-forward door keeps the bytes as they are until they are routed."""
    platform = await bench.known(bench.platform())
    await bench.broker.submit(ALICE, encode(sample(), to), {REPRESENTATION: to})
    await bench.ingress(platform).work_once(timedelta())
    assert await mail(bench, BOB) == [sample()]
    assert await bench.dead() == []


async def test_reply_by_from_now(bench: Bench) -> None:
    """A deadline that counts from now counts from when the message came in, not from its turn."""
    platform = await bench.known(bench.platform())
    body = b"(inform :receiver bob :reply-by +00000000T000100000)"
    await bench.broker.submit(ALICE, body, {REPRESENTATION: "string"})
    await bench.clock.advance(20)
    await bench.ingress(platform).work_once(timedelta())
    (stored,) = await mail(bench, BOB)
    assert stored.reply_by == NOON + timedelta(minutes=1)


@ENCODINGS
async def test_notice_says_which_message(bench: Bench, to: Representation) -> None:
    """Whatever else is wrong in it, a requester that waits learns which request it was."""
    platform = await bench.known(bench.platform())
    wrong = Envelope(
        performative="query-if",
        receiver=(AgentId("a b"),),
        conversation_id="c-1", protocol="fipa-query", message_id="m-1", reply_with="r-1",  # type: ignore[arg-type] # ids as strings
        language="x" * 90,
    )  # fmt: skip
    await bench.broker.submit(ALICE, encode(wrong, to), {REPRESENTATION: to})
    await bench.ingress(platform).work_once(timedelta())
    (notice,) = await mail(bench, ALICE)
    assert (notice.in_reply_to, notice.conversation_id) == ("r-1", "c-1")
    assert (notice.performative, notice.protocol) == ("not-understood", "fipa-query")
    told = content_value(notice)
    assert (told["message_id"], told["error"]["field"]) == ("m-1", "receiver")
    (letter,) = await bench.dead()
    assert letter.original == encode(wrong, to)
    assert letter.headers[REPRESENTATION] == to


@ENCODINGS
async def test_redriven(bench: Bench, to: Representation) -> None:
    """A dead letter in any encoding goes through the router again as what it is."""
    platform = await bench.known(bench.platform(), ALICE)
    await bench.broker.submit(ALICE, encode(sample(), to), {REPRESENTATION: to})
    await bench.ingress(platform).work_once(timedelta())
    (letter,) = await bench.dead()
    await bench.known(platform, BOB)
    await platform.redrive.redrive(letter.id)
    assert [one.message_id for one in await mail(bench, BOB)] == ["m-1"]
    assert await bench.dead() == []


async def test_one_of_many(bench: Bench) -> None:
    """Messages of different encodings share a batch, and what is wrong with one is its own."""
    platform = await bench.known(bench.platform())
    bodies = {
        "fipa.acl.rep.string.std": b"(inform :receiver bob",
        "fipa.acl.rep.xml.std": encode(sample(), Representation.XML),
        "kif": b"",
    }
    batch = [
        Submission(sender=ALICE, body=body, headers={REPRESENTATION: name})
        for name, body in bodies.items()
    ]
    batch.append(Submission(sender=ALICE, body=codec.encode(sample(message_id="m-2"))))
    cut, taken, unknown, native = await platform.router.send(batch)
    assert isinstance(taken, Receipt)
    assert isinstance(native, Receipt)
    assert isinstance(cut, CaxtonError)
    assert isinstance(unknown, CaxtonError)
    assert (cut.code, unknown.field) == ("MalformedEnvelope", REPRESENTATION)
    assert msgspec.json.encode(unknown.to_dict())
