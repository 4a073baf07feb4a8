"""What every `Publisher` promises."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from caxton_nats.core.disposition import Ack
from caxton_nats.core.errors import QueueFull, StreamMissing
from caxton_nats.core.identifiers import AgentId
from caxton_nats.ports import Stored
from tests.conformance.adapters import A_MOMENT, LONG, Adapter, named
from tests.plugins.eventually import eventually

SERVER_LIMIT = 1_048_576
"""Largest NATS message, headers included."""


async def test_ascending_sequences(adapter: Adapter, bob: AgentId) -> None:
    """Letters to one mailbox get ascending sequences in the order of the batch."""
    stored = await adapter.send(bob, "one", "two", "three")
    sequences = [one.sequence for one in stored]
    assert sequences == sorted(set(sequences))


async def test_receipt_names_the_stream(adapter: Adapter, bob: AgentId) -> None:
    """The PubAck names the stream that the address promises."""
    (stored,) = await adapter.send(bob, "one")
    assert stored.stream == adapter.mailboxes.address(bob).stream
    assert not stored.duplicate


async def test_empty_batch(adapter: Adapter) -> None:
    """An empty batch is no error."""
    assert await adapter.publisher.publish([]) == []


async def test_mixed_batch_keeps_order(adapter: Adapter) -> None:
    """Results come in the batch's order, whichever mailboxes the letters go to."""
    agents = [named(f"agent-{number}") for number in range(12)]
    results = await adapter.publisher.publish(
        [adapter.letter(agent, f"to {agent}", agent.encode()) for agent in agents]
    )
    for agent, result in zip(agents, results, strict=True):
        assert isinstance(result, Stored)
        delivery = (await (await adapter.reader(agent)).fetch(2, LONG))[0]
        assert (delivery.origin.stream, delivery.origin.sequence) == (
            result.stream,
            result.sequence,
        )
        assert delivery.body == agent.encode()


async def test_partial_failure(adapter: Adapter, bob: AgentId) -> None:
    """An error belongs to its own letter; the letters around it are stored."""
    nowhere = msgspec.structs.replace(
        adapter.letter(named("nobody"), "lost"),
        address=msgspec.structs.replace(
            adapter.mailboxes.address(bob), stream="NO_STREAM", subject="no.stream.takes.this"
        ),
    )
    first, middle, last = await adapter.publisher.publish(
        [adapter.letter(bob, "first"), nowhere, adapter.letter(bob, "last")]
    )
    assert isinstance(first, Stored)
    assert isinstance(middle, StreamMissing)
    assert isinstance(last, Stored)
    assert (await adapter.mailboxes.status(bob)).pending == 2


async def test_duplicate_is_stored_once(adapter: Adapter, bob: AgentId) -> None:
    """The same key again is a duplicate with the first sequence, and is not delivered again."""
    first, _ = await adapter.send(bob, "same", "other")
    (again,) = await adapter.send(bob, "same")
    assert again == Stored(first.stream, first.sequence, duplicate=True)
    assert (await adapter.mailboxes.status(bob)).pending == 2


async def test_duplicate_in_one_batch(adapter: Adapter, bob: AgentId) -> None:
    """A key twice in one batch is stored once."""
    stored = await adapter.send(bob, "same", "same", "other")
    assert sorted(one.duplicate for one in stored[:2]) == [False, True]
    assert stored[0].sequence == stored[1].sequence
    assert (await adapter.mailboxes.status(bob)).pending == 2


async def test_duplicate_of_a_settled_message(adapter: Adapter, bob: AgentId) -> None:
    """A retry of a message that was handled already is suppressed within the window."""
    (first,) = await adapter.send(bob, "same")
    inbox = await adapter.reader(bob)
    (delivery,) = await inbox.fetch(1, LONG)
    await inbox.settle([(delivery, Ack())])
    (second,) = await adapter.send(bob, "same")
    assert (second.sequence, second.duplicate) == (first.sequence, True)
    assert await inbox.fetch(1, A_MOMENT) == []


async def test_concurrent_duplicates(adapter: Adapter, bob: AgentId) -> None:
    """Of many publishers of one key exactly one stores it."""
    rounds = await asyncio.gather(*(adapter.send(bob, "same") for _ in range(20)))
    stored = [one for (one,) in rounds]
    assert [one.duplicate for one in stored].count(False) == 1
    assert len({one.sequence for one in stored}) == 1


async def test_key_is_free_after_the_window(adapter: Adapter, bob: AgentId) -> None:
    """After the duplicate window the same key is a new message."""
    (first,) = await adapter.send(bob, "same")

    async def stored_anew() -> bool:
        (again,) = await adapter.send(bob, "same")
        return not again.duplicate and again.sequence > first.sequence

    await eventually(stored_anew, within=10 + adapter.limits.duplicate_window.total_seconds())


async def test_bound_is_exact_under_concurrency(adapter: Adapter, bob: AgentId) -> None:
    """30 publishers at once: exactly as many letters are stored as the mailbox may hold."""
    size = adapter.limits.queue_size
    rounds = await asyncio.gather(
        *(
            adapter.publisher.publish(
                [adapter.letter(bob, f"{publisher}-{number}") for number in range(3)]
            )
            for publisher in range(30)
        )
    )
    results = [result for one in rounds for result in one]
    assert sum(isinstance(result, Stored) for result in results) == size
    assert sum(isinstance(result, QueueFull) for result in results) == 90 - size
    assert (await adapter.mailboxes.status(bob)).pending == size


async def fill(adapter: Adapter, agent: AgentId) -> None:
    await adapter.send(agent, *(f"fill-{number}" for number in range(adapter.limits.queue_size)))


async def test_queue_full_says_how_full(adapter: Adapter, bob: AgentId) -> None:
    """`QueueFull` carries the limit, and as value what the mailbox holds."""
    await fill(adapter, bob)
    (full,) = await adapter.publisher.publish([adapter.letter(bob, "too much")])
    assert isinstance(full, QueueFull)
    assert full.limit == full.value == adapter.limits.queue_size


async def test_full_mailbox_stops_nobody_else(adapter: Adapter, bob: AgentId) -> None:
    """A full mailbox refuses its own letters only, also within one batch."""
    await fill(adapter, bob)
    # More names than shards: some of them share bob's stream.
    others = [named(f"other-{number}") for number in range(20)]
    full, *rest = await adapter.publisher.publish(
        [adapter.letter(agent, f"to {agent}") for agent in (bob, *others)]
    )
    assert isinstance(full, QueueFull)
    assert all(isinstance(result, Stored) for result in rest)
    assert adapter.mailboxes.address(bob).stream in {
        adapter.mailboxes.address(other).stream for other in others
    }


async def test_duplicate_while_full(adapter: Adapter, bob: AgentId) -> None:
    """A retry of a stored letter is a duplicate, not `QueueFull`, when the mailbox is full."""
    await fill(adapter, bob)
    (again,) = await adapter.send(bob, "fill-0")
    assert again.duplicate


async def test_refused_key_is_not_burned(adapter: Adapter, bob: AgentId) -> None:
    """A letter that found the mailbox full is stored when it comes again and there is room."""
    await fill(adapter, bob)
    letter = adapter.letter(bob, "patient")
    (refused,) = await adapter.publisher.publish([letter])
    assert isinstance(refused, QueueFull)
    inbox = await adapter.reader(bob)
    (delivery,) = await inbox.fetch(1, LONG)
    await inbox.settle([(delivery, Ack())])
    (stored,) = await adapter.publisher.publish([letter])
    assert isinstance(stored, Stored)
    assert not stored.duplicate


async def test_in_flight_counts_against_the_bound(adapter: Adapter, bob: AgentId) -> None:
    """A delivery frees no room; only its ack does."""
    await fill(adapter, bob)
    inbox = await adapter.reader(bob)
    assert await inbox.fetch(1, LONG)
    (result,) = await adapter.publisher.publish([adapter.letter(bob, "too early")])
    assert isinstance(result, QueueFull)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(bytes(range(256)), id="every-byte"),
        pytest.param("Grüße, 世界 \U0001f4ec".encode(), id="unicode"),
        pytest.param(b'{ "a" :1,\r\n"b":2 }\n', id="json-with-white-space"),
        pytest.param(b"+ACK", id="looks-like-an-ack"),
        pytest.param(bytes(SERVER_LIMIT - 4096), id="nearly-1-MiB"),
    ],
)
async def test_body_is_delivered_byte_for_byte(adapter: Adapter, bob: AgentId, body: bytes) -> None:
    """What arrives is what was published."""
    (stored,) = await adapter.publisher.publish([adapter.letter(bob, "key", body)])
    assert isinstance(stored, Stored)
    (delivery,) = await (await adapter.reader(bob)).fetch(1, LONG)
    assert delivery.body == body


async def test_headers_are_delivered(adapter: Adapter, bob: AgentId) -> None:
    """A letter's headers arrive with it."""
    headers = {"Content-Type": "application/json", "traceparent": "00-ab-cd-01"}
    await adapter.publisher.publish([adapter.letter(bob, "key", headers=headers)])
    (delivery,) = await (await adapter.reader(bob)).fetch(1, LONG)
    assert headers.items() <= delivery.headers.items()
