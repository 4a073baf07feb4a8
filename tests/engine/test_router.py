"""The router, stage by stage: each refusal, and what a receipt says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from caxton_nats.core import codec
from caxton_nats.core.conversation import Terms
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import (
    AgentNotFound,
    CaxtonError,
    InvalidEnvelope,
    NotConnected,
    QueueFull,
    TransportError,
)
from caxton_nats.core.identifiers import AgentId, ConversationId, MessageId
from caxton_nats.core.validation import Limits
from caxton_nats.engine.dispatch import message_key
from caxton_nats.engine.platform import Platform
from caxton_nats.engine.router import RouterOptions
from caxton_nats.ports import Receipt, Submission
from caxton_nats.telemetry import Action
from tests.core.sample import ALICE, BOB, CAROL, NOON, sample
from tests.engine.bench import Bench, Failing, Recorder

SMALL = RouterOptions(
    platform="here",
    limits=Limits(max_content=200, max_receivers=2),
    terms=Terms(max_participants=2),
    max_body=400,
    queue_size=3,
)


def typed(body: str, sender: AgentId = ALICE, **more: Any) -> Submission:
    return Submission(sender=sender, body=body.encode(), **more)


def made(**fields: Any) -> Submission:
    return Submission(sender=ALICE, envelope=sample(**fields))


async def send(platform: Platform, submission: Submission) -> Receipt | CaxtonError:
    (result,) = await platform.router.send([submission])
    return result


async def in_mailbox(bench: Bench) -> list[Envelope]:
    """Open bob's mailbox and return what is in it."""
    inbox = await bench.broker.mailboxes.open(BOB)
    found = await inbox.fetch(100, timedelta())
    return [codec.decode(one.body, max_bytes=10_000) for one in found]


async def test_receipt(bench: Bench) -> None:
    """A receipt says under which id and where each copy is stored."""
    platform = await bench.known(bench.platform())
    receipt = await send(platform, made(receiver=(BOB, CAROL)))
    assert isinstance(receipt, Receipt)
    assert (receipt.message_id, [one.receiver for one in receipt.outcomes]) == ("m-1", [BOB, CAROL])
    for outcome in receipt.outcomes:
        address = bench.broker.mailboxes.address(outcome.receiver)
        assert (outcome.stream, outcome.error, outcome.duplicate) == (address.stream, None, False)
    assert bench.told(Action.ROUTED) == ["m-1", "m-1"]


async def test_what_the_door_knows_is_filled_in(bench: Bench) -> None:
    """The least that can be typed becomes a whole message: id, sender, time, full names."""
    platform = await bench.known(bench.platform())
    receipt = await send(platform, typed('{"performative": "INFORM", "to": "bob"}'))
    assert isinstance(receipt, Receipt)
    (stored,) = await in_mailbox(bench)
    assert stored == Envelope(
        message_id=MessageId("id-1"),
        performative="inform",
        sender=ALICE,
        receiver=(BOB,),
        created_at=NOON,
    )


async def test_trace_context_of_a_header(bench: Bench) -> None:
    """A trace that comes as header goes on in the message and as header of its copy."""
    platform = await bench.known(bench.platform())
    headers = {"traceparent": "00-1-2-01", "tracestate": "a=b", "Nats-Rollup": "all"}
    await send(platform, typed('{"performative": "inform", "to": "bob"}', headers=headers))
    inbox = await bench.broker.mailboxes.open(BOB)
    (delivery,) = await inbox.fetch(1, timedelta())
    assert delivery.headers == {"traceparent": "00-1-2-01", "tracestate": "a=b"}
    assert codec.decode(delivery.body, max_bytes=10_000).traceparent == "00-1-2-01"


@pytest.mark.parametrize(
    ("submission", "code", "field"),
    [
        (typed("no json"), "MalformedEnvelope", ""),
        (typed('{"performative": "dance", "to": "bob"}'), "InvalidEnvelope", "performative"),
        (typed('{"performative": "inform"}'), "InvalidEnvelope", "receiver"),
        (made(sender=CAROL), "InvalidEnvelope", "sender"),
        (made(receiver=(AgentId("bob@here"), AgentId("carol@here"), ALICE)), "InvalidEnvelope", "receiver"),
        (made(content=msgspec.Raw(b'"' + b"x" * 300 + b'"')), "MessageTooLarge", "content"),
        (made(reply_by=NOON), "Expired", "reply_by"),
        (made(receiver=(AgentId("dave@here"),)), "AgentNotFound", "receiver"),
        (made(receiver=(AgentId("bob@elsewhere"),)), "AgentNotFound", "receiver"),
        (
            made(receiver=(BOB, CAROL), conversation_id=ConversationId("c")),
            "TooManyParticipants",
            "conversation_id",
        ),
    ],
)  # fmt: skip
async def test_refusal(bench: Bench, submission: Submission, code: str, field: str) -> None:
    """Each stage's refusal names the field, is told to the observer, and stores nothing."""
    platform = await bench.known(bench.platform(router=SMALL))
    result = await send(platform, submission)
    assert isinstance(result, CaxtonError)
    assert (result.code, result.field) == (code, field)
    assert await bench.broker.mailboxes.stored() == 0
    (told,) = [one for one in bench.events if one.action is Action.REFUSED]
    assert (told.agent, told.detail) == (ALICE, str(result))


async def test_results_are_in_order(bench: Bench) -> None:
    """In a batch each message succeeds or fails for itself, and the results keep their places."""
    platform = await bench.known(bench.platform(router=SMALL))
    batch = [
        made(message_id=MessageId("m-0")),
        typed("no json"),
        made(message_id=MessageId("m-2"), conversation_id=ConversationId("c")),
        made(message_id=MessageId("m-3"), receiver=(AgentId("dave@here"),)),
        made(
            message_id=MessageId("m-4"),
            conversation_id=ConversationId("c"),
            receiver=(CAROL,),
        ),
        made(message_id=MessageId("m-5"), receiver=(CAROL,)),
    ]
    results = await platform.router.send(batch)
    told = [one.message_id if isinstance(one, Receipt) else one.code for one in results]
    assert told == [
        "m-0",
        "MalformedEnvelope",
        "m-2",
        "AgentNotFound",
        "TooManyParticipants",
        "m-5",
    ]
    assert [one.message_id for one in await in_mailbox(bench)] == ["m-0", "m-2"]


async def test_empty_batch(bench: Bench) -> None:
    """Nothing in, nothing out."""
    assert await bench.platform().router.send([]) == []


async def test_partial_failure(bench: Bench) -> None:
    """An unknown receiver has its error in the receipt, in its place; the others get their copy."""
    platform = await bench.known(bench.platform())
    dave = AgentId("dave@here")
    receipt = await send(platform, made(receiver=(dave, BOB)))
    assert isinstance(receipt, Receipt)
    assert [type(one.error) for one in receipt.outcomes] == [AgentNotFound, type(None)]
    assert [one.message_id for one in await in_mailbox(bench)] == ["m-1"]


async def test_full_mailbox(bench: Bench) -> None:
    """A full mailbox refuses with its bound, who it is, and what to do; room makes it good."""
    platform = await bench.known(bench.platform(router=SMALL))
    for number in range(1000):
        await bench.post(f"old-{number}")
    full = await send(platform, made())
    assert isinstance(full, QueueFull)
    assert (full.limit, full.value, full.field) == (3, 3, "receiver")
    assert str(full).startswith("receiver: the mailbox of bob@here is full")
    assert "send again" in full.hint
    partial = await send(platform, made(receiver=(CAROL, BOB)))
    assert isinstance(partial, Receipt)
    assert [type(one.error) for one in partial.outcomes] == [type(None), QueueFull]
    bench.open(Recorder(bench.clock))
    await bench.clock.idle()
    assert isinstance(await send(platform, made()), Receipt)


async def test_repeated_message_id(bench: Bench) -> None:
    """Sent again, a message is stored once, and its receipt says so; another sender's is his."""
    platform = await bench.known(bench.platform())
    first = await send(platform, made())
    again = await send(platform, made())
    assert isinstance(first, Receipt)
    assert isinstance(again, Receipt)
    assert again.outcomes[0] == msgspec.structs.replace(first.outcomes[0], duplicate=True)
    other = Submission(sender=CAROL, envelope=sample(sender=CAROL))
    assert isinstance(await send(platform, other), Receipt)
    assert [one.sender for one in await in_mailbox(bench)] == [ALICE, CAROL]


def test_message_key_is_unambiguous() -> None:
    """No two of sender, receiver and id make the same key, whatever the names contain."""
    keys = {
        message_key(sample(sender=AgentId(sender), message_id=MessageId(name)), AgentId(receiver))
        for sender, receiver, name in (
            ("a@here", "b.c@here", "d"),
            ("a.b@here", "c@here", "d"),
            ("a@here", "b@here", "c.d"),
            ("a@here", "b@here", "c@here.d"),
        )
    }
    assert len(keys) == 4


async def test_receiver_that_the_mirror_does_not_know_yet(bench: Bench) -> None:
    """An agent that registered a moment ago, elsewhere, is looked up in the store."""
    platform = bench.platform()
    await bench.platform().registrar.register(BOB)
    assert platform.registry.find(BOB) is None
    assert isinstance(await send(platform, made()), Receipt)
    assert platform.registry.find(BOB) is not None


async def test_content_too_large_for_a_message(bench: Bench) -> None:
    """It goes to the content store, once per receiver; the receivers get it as if it had not."""
    router = RouterOptions(platform="here", max_body=400)
    platform = await bench.known(bench.platform(router=router))
    content = b'"' + b"x" * 1000 + b'"'
    receipt = await send(platform, made(content=msgspec.Raw(content), receiver=(BOB, CAROL)))
    assert isinstance(receipt, Receipt)
    bob = Recorder(bench.clock)
    bench.open(bob, platform=platform)
    await bench.clock.idle()
    assert bob.contents == [content]
    (left,) = bench.broker.contents._contents  # type: ignore[attr-defined]  # the memory's own
    assert "carol" in left


async def test_uploaded_content(bench: Bench) -> None:
    """What a sender uploaded under its own name arrives; of another's name it is refused."""
    platform = await bench.known(bench.platform())
    mine = await bench.broker.contents.put("alice.upload.1", b'{"n":1}')
    theirs = await bench.broker.contents.put("carol.upload.1", b'{"n":1}')
    assert isinstance(await send(platform, made(content=msgspec.Raw(), claim=mine)), Receipt)
    assert [bytes(one.content) for one in await in_mailbox(bench)] == [b'{"n":1}']
    stolen = await send(platform, made(content=msgspec.Raw(), claim=theirs))
    assert isinstance(stolen, InvalidEnvelope)


@pytest.mark.parametrize(
    ("port", "call"),
    [("registry_store", "load"), ("conversations", "load"), ("contents", "put")],
)
async def test_store_that_is_away(bench: Bench, port: str, call: str) -> None:
    """A store that one message needs fails that message; the rest of the batch goes through."""
    plans: dict[str, list[Exception | None]] = {call: [NotConnected("away")]}
    ports = bench.but(**{port: Failing(getattr(bench.ports, port), **plans)})
    router = RouterOptions(platform="here", max_body=400)
    platform = await bench.known(bench.platform(router=router), ALICE, BOB)
    ported = bench.platform(ports, router=router)
    ported.registry.replace(platform.registry)
    needs = {
        "registry_store": made(receiver=(AgentId("dave@here"),)),
        "conversations": made(conversation_id=ConversationId("c")),
        "contents": made(content=msgspec.Raw(b'"' + b"x" * 1000 + b'"')),
    }
    failed, stored = await ported.router.send([needs[port], made(message_id=MessageId("m-2"))])
    assert isinstance(failed, TransportError)
    assert isinstance(stored, Receipt)


async def test_observer_that_raises(bench: Bench) -> None:
    """An observer's exception neither fails the message nor reaches the sender."""

    def observe(_: object) -> None:
        raise RuntimeError("a bug of the observer")

    platform = await bench.known(bench.platform(observer=observe))
    assert isinstance(await send(platform, made()), Receipt)


async def test_bug_in_one_message_of_a_batch(bench: Bench) -> None:
    """An exception that is not ours is that message's result; the others are stored, once."""
    plans: dict[str, list[Exception | None]] = {"load": [ZeroDivisionError("a bug")] * 2}
    store = Failing(bench.broker.registry_store, **plans)
    platform = await bench.known(bench.platform(), ALICE, BOB)
    ported = bench.platform(bench.but(registry_store=store))
    ported.registry.replace(platform.registry)
    results = await ported.router.send(
        [
            made(),
            made(message_id=MessageId("m-2"), receiver=(AgentId("dave@here"),)),
            made(message_id=MessageId("m-3")),
        ]
    )
    assert [type(one) for one in results] == [Receipt, TransportError, Receipt]
    assert "ZeroDivisionError" in str(results[1])
    assert [one.message_id for one in await in_mailbox(bench)] == ["m-1", "m-3"]
