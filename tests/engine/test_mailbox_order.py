"""deliver: what is handed out when, what is kept, and what a window may hide."""

from __future__ import annotations

import asyncio

import msgspec

from caxton_nats.core.codec import encode
from caxton_nats.core.envelope import NO_CONTENT, Envelope, Priority
from caxton_nats.core.errors import NotConnected
from caxton_nats.core.identifiers import MessageId
from tests.core.sample import BOB, sample
from tests.engine.bench import ACK_WAIT, Bench, Failing, Recorder
from tests.plugins.eventually import eventually


class Gate:
    """A handler that waits for the test to let a message pass."""

    def __init__(self) -> None:
        self._open: dict[str, asyncio.Event] = {}

    def __getitem__(self, message_id: str) -> asyncio.Event:
        return self._open.setdefault(message_id, asyncio.Event())

    async def __call__(self, envelope: Envelope, _: int) -> None:
        await self[envelope.message_id].wait()


class FailingOnce:
    """A handler that fails the first time for some messages."""

    def __init__(self, *message_ids: str) -> None:
        self._left = list(message_ids)

    async def __call__(self, envelope: Envelope, _: int) -> None:
        if envelope.message_id in self._left:
            self._left.remove(envelope.message_id)
            raise ValueError("first try")


async def test_order_survives_a_retry(bench: Bench) -> None:
    """A conversation's later messages wait for its failed one; others do not."""
    bob = Recorder(bench.clock, FailingOnce("c1"))
    for message_id, conversation in (("c1", "c"), ("c2", "c"), ("d1", "d"), ("c3", "c"), ("x", "")):
        await bench.post(message_id, conversation_id=conversation)
    bench.open(bob)
    await bench.clock.idle()
    assert bob.done == ["d1", "x"]
    await bench.clock.advance(1)
    assert bob.done == ["d1", "x", "c1", "c2", "c3"]


async def test_concurrency(bench: Bench) -> None:
    """No more handlers than allowed are at work; when one ends, the next begins."""
    gate = Gate()
    bob = Recorder(bench.clock, gate)
    for number in range(5):
        await bench.post(f"m-{number}")
    bench.open(bob, concurrency=2)
    await bench.clock.idle()
    assert bob.ids == ["m-0", "m-1"]
    gate["m-1"].set()
    await bench.clock.idle()
    assert bob.ids == ["m-0", "m-1", "m-2"]


async def test_priority_among_what_is_in_hand(bench: Bench) -> None:
    """When a place is free, the highest priority in hand gets it."""
    gate = Gate()
    bob = Recorder(bench.clock, gate)
    await bench.post("first")
    await bench.post("low", priority=Priority.LOW)
    await bench.post("critical", priority=Priority.CRITICAL)
    await bench.post("high", priority=Priority.HIGH)
    bench.open(bob, concurrency=1)
    for message_id in ("critical", "first", "high", "low"):
        gate[message_id].set()
    await bench.clock.idle()
    assert bob.ids == ["critical", "high", "first", "low"]


async def test_messages_without_an_id(bench: Bench) -> None:
    """Two messages that were put there without an id are two messages."""
    bob = Recorder(bench.clock)
    for content in (b"1", b"2"):
        body = encode(sample(message_id=MessageId(""), content=msgspec.Raw(content)))
        await bench.put(body, f"key-{content!r}")
    bench.open(bob)
    await bench.clock.idle()
    assert (bob.contents, await bench.pending()) == ([b"1", b"2"], 0)


async def test_message_id_that_comes_again(bench: Bench) -> None:
    """A copy stored after the duplicate window is settled, and not handled a second time."""
    bob = Recorder(bench.clock)
    await bench.post("m-1")
    bench.open(bob)
    await bench.clock.advance(121)
    await bench.post("m-1")
    assert await bench.pending() == 1
    await bench.clock.idle()
    assert (bob.ids, await bench.pending()) == (["m-1"], 0)


async def test_answer_passes_a_busy_conversation(bench: Bench) -> None:
    """What a handler waits for reaches it in its own conversation, with no place free."""
    gate = Gate()
    bob = Recorder(bench.clock, gate)
    bench.open(bob, concurrency=1)
    await bench.post("asking", conversation_id="c")
    await bench.post("behind", conversation_id="c")
    await bench.clock.idle()
    bob.awaited.add("answer")
    await bench.post("answer", conversation_id="c")
    await bench.clock.idle()
    assert bob.ids == ["asking", "answer"]
    gate["answer"].set()
    await bench.clock.idle()
    assert (bob.done, await bench.pending()) == (["answer"], 2)


async def test_answer_behind_a_full_window(bench: Bench) -> None:
    """A handler that waits gets its answer although a full window lies before it."""
    bob = Recorder(bench.clock, Gate())
    for number in range(6):
        await bench.post(f"m-{number}")
    await bench.post("answer")
    bench.open(bob, concurrency=1, window=2, wide_window=20)
    await bench.clock.idle()
    assert bob.ids == ["m-0"]
    bob.awaited.add("answer")
    await eventually(lambda: bob.ids == ["m-0", "answer"])


async def test_window(bench: Bench) -> None:
    """No more is taken than fits into the window: the rest is for whoever has time."""
    gate = Gate()
    bob = Recorder(bench.clock, gate)
    for number in range(10):
        await bench.post(f"m-{number}")
    bench.open(bob, concurrency=1, window=3)
    await bench.clock.idle()
    assert (await bench.broker.mailboxes.status(BOB)).in_flight == 3
    for number in range(10):
        gate[f"m-{number}"].set()
    await eventually(lambda: len(bob.done) == 10)


async def test_retry_into_a_full_window(bench: Bench) -> None:
    """A conversation that fills the window with waiting messages gets its head back."""
    bob = Recorder(bench.clock, FailingOnce("c0"))
    for number in range(6):
        await bench.post(f"c{number}", conversation_id="c")
    bench.open(bob, window=3)
    await bench.clock.advance(1)
    assert bob.done == [f"c{number}" for number in range(6)]


async def test_other_conversations_go_on(bench: Bench) -> None:
    """What waits behind a failed message does not fill the window for the others."""
    bob = Recorder(bench.clock, FailingOnce("c0"))
    for number in range(10):
        await bench.post(f"c{number}", conversation_id="c")
    for number in range(10):
        await bench.post(f"d{number}", conversation_id=f"d{number}")
    bench.open(bob, window=3)
    await bench.clock.idle()
    assert bob.done == [f"d{number}" for number in range(10)]
    await bench.clock.advance(1)
    assert bob.done[10:] == [f"c{number}" for number in range(10)]


async def test_others_go_on_beside_a_long_handler(bench: Bench) -> None:
    """A handler at work for long holds up its own conversation, and no other."""
    gate = Gate()

    async def handle(envelope: Envelope, attempt: int) -> None:
        if envelope.message_id == "c0":
            await gate(envelope, attempt)

    bob = Recorder(bench.clock, handle)
    for number in range(10):
        await bench.post(f"c{number}", conversation_id="c")
    await bench.post("d", conversation_id="d")
    bench.open(bob, window=3, concurrency=2)
    await bench.clock.idle()
    assert bob.done == ["d"]
    gate["c0"].set()
    await bench.clock.idle()
    assert bob.done == ["d", *(f"c{number}" for number in range(10))]


async def test_how_far_it_looks_ahead(bench: Bench) -> None:
    """Behind one conversation no more is taken than the wide window holds."""
    bob = Recorder(bench.clock, Gate())
    for number in range(20):
        await bench.post(f"c{number}", conversation_id="c")
    bench.open(bob, window=3, wide_window=12)
    await bench.clock.idle()
    assert (await bench.broker.mailboxes.status(BOB)).in_flight == 12


async def test_retry_beside_a_long_handler(bench: Bench) -> None:
    """A head that is due does not wait for an unrelated handler that takes for ever."""
    gate = Gate()

    async def handle(envelope: Envelope, attempt: int) -> None:
        if envelope.message_id == "long":
            await gate(envelope, attempt)
        elif attempt == 1 and envelope.message_id == "c0":
            raise ValueError("first try")

    bob = Recorder(bench.clock, handle)
    for message_id in ("c0", "c1", "c2"):
        await bench.post(message_id, conversation_id="c")
    await bench.post("long")
    bench.open(bob, window=3)
    await bench.clock.advance(1)
    await eventually(lambda: bob.done == ["c0", "c1", "c2"])


async def test_what_is_in_hand_is_kept(bench: Bench) -> None:
    """Neither what is handled for long nor what waits for it is delivered a second time."""
    gate = Gate()
    bob = Recorder(bench.clock, gate)
    await bench.post("c1", conversation_id="c")
    await bench.post("c2", conversation_id="c")
    bench.open(bob)
    await bench.clock.advance(20 * ACK_WAIT)
    gate["c1"].set()
    gate["c2"].set()
    await bench.clock.idle()
    assert bob.calls == [("c1", 1, 0), ("c2", 1, 20 * ACK_WAIT)]
    assert await bench.pending() == 0


async def test_delivery_that_could_not_be_kept(bench: Bench) -> None:
    """What is delivered again while it is in hand is not handled beside itself."""
    gate = Gate()
    bob = Recorder(bench.clock, gate)
    mailboxes = Failing(bench.broker.mailboxes, keep=[NotConnected("away")] * 20)
    await bench.post("m-1")
    bench.open(bob, bench.but(mailboxes=mailboxes))
    await bench.clock.advance(ACK_WAIT + 1)
    gate["m-1"].set()
    await bench.clock.idle()
    assert (bob.ids, await bench.pending()) == (["m-1"], 0)


async def test_head_settled_elsewhere(bench: Bench) -> None:
    """If somebody else settles what a conversation waits for, it goes on after a while."""
    bob = Recorder(bench.clock, FailingOnce("c1"))
    stored = await bench.post("c1", conversation_id="c")
    await bench.post("c2", conversation_id="c")
    bench.open(bob)
    await bench.clock.idle()
    (delivery,) = [one for one in bench.events if one.message_id == "c1"][:1]
    assert delivery.origin is not None
    assert delivery.origin.sequence == stored.sequence
    assert await bench.broker.mailboxes.discard(delivery.origin)
    await bench.clock.advance(2 * ACK_WAIT)
    assert (bob.done, await bench.pending()) == (["c2"], 0)


async def test_content_set_aside(bench: Bench) -> None:
    """The handler gets large content as if it had come along; settled, it is removed."""
    bob = Recorder(bench.clock)
    claim = await bench.broker.contents.put("large", b'{"large":1}')
    await bench.post("m-1", content=NO_CONTENT, claim=claim)
    bench.open(bob)
    await bench.clock.idle()
    assert bob.contents == [b'{"large":1}']
    assert not bench.broker.contents._contents  # type: ignore[attr-defined]  # the memory's own


async def test_content_that_cannot_be_removed(bench: Bench) -> None:
    """What stays behind in the store holds up nobody."""
    bob = Recorder(bench.clock)
    contents = Failing(bench.broker.contents, remove=[NotConnected("away")] * 3)
    claim = await bench.broker.contents.put("large", b"1")
    await bench.post("c1", conversation_id="c", content=NO_CONTENT, claim=claim)
    await bench.post("c2", conversation_id="c")
    bench.open(bob, bench.but(contents=contents))
    await bench.clock.idle()
    assert (bob.done, await bench.pending()) == (["c1", "c2"], 0)
    assert contents.calls.count("remove") == 1


async def test_content_that_is_out_of_reach(bench: Bench) -> None:
    """Content that cannot be fetched is fetched at the next attempt; no handler runs without."""
    bob = Recorder(bench.clock)
    contents = Failing(bench.broker.contents, get=[NotConnected("away")] * 2)
    claim = await bench.broker.contents.put("large", b"1")
    await bench.post("m-1", content=NO_CONTENT, claim=claim)
    bench.open(bob, bench.but(contents=contents))
    await bench.clock.advance(3)
    assert bob.calls == [("m-1", 3, 3)]


async def test_unreadable_ones_are_in_nobodys_way(bench: Bench) -> None:
    """What cannot be read has a lane of its own, whatever conversation it claims."""
    gate = Gate()
    bob = Recorder(bench.clock, gate)
    await bench.post("c1", conversation_id="c")
    body = encode(sample(message_id=MessageId("c2"), conversation_id="c"))
    await bench.put(body.replace(b'"c2"', b"2"), "odd")
    bench.open(bob)
    await bench.clock.idle()
    assert ([one.message_id for one in await bench.dead()], bob.ids) == ([""], ["c1"])
