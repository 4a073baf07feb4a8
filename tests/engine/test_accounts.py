"""What a process measures of itself, and the account of all of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from caxton_nats.core.errors import HandlerFailed
from caxton_nats.core.identifiers import AgentId, ConversationId, MessageId
from caxton_nats.engine import usage
from caxton_nats.engine.accounts import STATS
from caxton_nats.engine.platform import Platform
from caxton_nats.ports import Ports, Submission
from tests.core.sample import ALICE, BOB, CAROL, sample
from tests.engine.bench import Bench, Recorder

NOBODY = AgentId("nobody@here")


def made(number: int, **fields: object) -> Submission:
    message_id = MessageId(f"m-{number}")
    return Submission(sender=ALICE, envelope=sample(message_id=message_id, **fields))


async def joined(bench: Bench, ports: Ports | None = None) -> Platform:
    """Return a platform that is one of the routers."""
    platform = await bench.known(bench.platform(ports))
    await platform.ports.peers.join(platform.answers)
    return platform


async def test_a_fresh_router_has_done_nothing(bench: Bench) -> None:
    """No messages, no errors, no rate; it is there, and it needs memory."""
    platform = await joined(bench)
    total = (await platform.statistics()).total
    assert (total.routers, total.total_processed, total.total_errors) == (1, 0, 0)
    assert (total.messages_per_second, total.error_rate) == (0.0, 0.0)
    assert total.memory_bytes > 1_000_000


async def test_ten_messages_are_measured(bench: Bench) -> None:
    """Count and latency are those of the messages, whether alone or in a batch."""
    platform = await joined(bench)
    await platform.router.send([made(number) for number in range(8)])
    for number in (8, 9):
        await platform.router.send([made(number)])
    total = (await platform.statistics()).total
    assert (total.total_processed, total.routing_latency_us.count) == (10, 10)
    assert 0 < total.routing_latency_us.p50 <= total.routing_latency_us.p999
    assert (total.messages_per_second, total.peak_messages_per_second) == (10.0, 10)
    assert (total.accepted, total.pending, total.actions["routed"]) == (10, 10, 10)
    assert total.agent_queue_depths == {BOB: 10}


async def test_errors_are_counted_by_type(bench: Bench) -> None:
    """A refused message is one error; so is one of which a single copy was not stored."""
    platform = await joined(bench)
    await platform.router.send(
        [
            made(1, receiver=(NOBODY,)),
            made(2, receiver=(BOB, NOBODY)),
            made(3, receiver=(BOB,)),
            Submission(sender=ALICE, body=b"no json"),
        ]
    )
    total = (await platform.statistics()).total
    assert total.errors_by_type == {"AgentNotFound": 2, "MalformedEnvelope": 1}
    assert (total.total_processed, total.total_errors, total.error_rate) == (4, 3, 0.75)


async def test_routers_add_up(bench: Bench) -> None:
    """The account of a platform is the sum of what its routers measured, each told apart, too."""
    one = await joined(bench)
    other = await joined(bench, bench.broker.ports(bench.ports.ids))
    await one.router.send([made(1), made(2)])
    await other.router.send([made(3)])
    overview = await other.statistics()
    assert (overview.total.routers, overview.total.total_processed) == (2, 3)
    assert {router: own.processed for router, own in overview.routers.items()} == {
        one.ports.peers.own_id: 2,
        other.ports.peers.own_id: 1,
    }
    assert overview.total.accepted == 3, "read once, not once for each router"


async def test_who_does_not_answer_is_named(bench: Bench) -> None:
    """A router that is there and silent, or answers nonsense, is missing by name."""
    platform = await joined(bench)

    async def nonsense(_: bytes) -> bytes:
        return b"{}"

    strange = bench.broker.ports(bench.ports.ids).peers
    await strange.join({STATS: nonsense})
    older = bench.broker.ports(bench.ports.ids).peers
    await older.join({})
    overview = await platform.statistics()
    assert set(overview.silent) == {strange.own_id, older.own_id}
    assert (list(overview.routers), overview.total.routers) == ([platform.ports.peers.own_id], 1)


async def test_handlers_are_measured(bench: Bench) -> None:
    """What handlers made of messages is counted, and how long each of them took."""

    async def does(envelope: object, attempt: int) -> None:
        if attempt == 1:
            raise HandlerFailed("not yet")

    platform = await joined(bench)
    bench.open(Recorder(bench.clock, does), platform=platform)
    await platform.router.send([made(1)])
    await bench.clock.advance(10)
    total = (await platform.statistics()).total
    wanted = Counter(routed=1, delivered=2, retried=1, handled=1, registered=3)
    assert Counter(total.actions) == wanted
    assert total.handling_latency_us.count == 2


async def test_registrations_are_counted(bench: Bench) -> None:
    """Agents that this process registered and deregistered; a refused one counts as nothing."""
    platform = await joined(bench)
    assert await platform.registrar.deregister(BOB)
    assert not await platform.registrar.deregister(BOB)
    actions = (await platform.statistics()).total.actions
    assert (actions["registered"], actions["deregistered"]) == (3, 1)


async def test_letters_without_pub_ack_are_outbound(bench: Bench) -> None:
    """What was published and is not acknowledged yet is the outbound queue."""
    gate = asyncio.Event()
    real = bench.ports.publisher

    class Slow:
        async def publish(self, letters: object) -> object:
            await gate.wait()
            return await real.publish(letters)  # type: ignore[arg-type]

    platform = await joined(bench, bench.but(publisher=Slow()))
    sending = asyncio.create_task(platform.router.send([made(1, receiver=(BOB, CAROL))]))
    await bench.clock.idle()
    assert (await platform.statistics()).total.outbound_queue_depth == 2
    gate.set()
    await sending
    assert (await platform.statistics()).total.outbound_queue_depth == 0


async def test_what_the_streams_hold_is_told(bench: Bench) -> None:
    """Inbound, conversations, dead letters and bytes are read, not remembered."""
    platform = await joined(bench)
    await bench.broker.submit(ALICE, b"{}")
    for number, conversation in enumerate(["c-1", "c-1", "c-2"]):
        await platform.router.send([made(number, conversation_id=ConversationId(conversation))])
    total = (await platform.statistics()).total
    assert (total.inbound_queue_depth, total.registered_agents) == (1, 3)
    assert (total.active_conversations, total.average_conversation_length) == (2, 1.5)
    assert total.database_bytes > 0


async def test_dead_letter_statistics(bench: Bench) -> None:
    """Total, reasons, the age of the oldest, bytes and the bound, all as they are."""
    platform = await joined(bench)
    empty = await platform.dead_letter_statistics()
    assert (empty.total_messages, empty.oldest_message_age_ms, empty.queue_size_bytes) == (
        0,
        None,
        0,
    )
    for body in (b"no json", b"nor this"):
        await bench.put(body, body.decode())
        bench.open(Recorder(bench.clock), platform=platform)
        await bench.clock.advance(5)
    found = await platform.dead_letter_statistics()
    assert (found.total_messages, found.messages_by_reason) == (2, {"InvalidMessage": 2})
    assert found.oldest_message_age_ms == 10_000
    assert found.queue_size_bytes > 0
    assert found.max_messages is not None
    overview = await platform.statistics()
    assert overview.dead_letters == {BOB: {"InvalidMessage": 2}}


def test_the_process_knows_what_it_uses() -> None:
    """Memory and processor time are those of this process; asking twice gives no nonsense."""
    processor = usage.Processor()
    before = time.process_time()
    # Systems count in steps of 10 ms.
    while time.process_time() < before + 0.05:
        sum(number * number for number in range(30_000))
    assert 0 < processor.percent() <= 100 * 64
    assert processor.percent() > 0
    held = b"x" * 30_000_000
    with_it = usage.memory_bytes()
    assert with_it > len(held)


def test_memory_without_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where there is no /proc, the most that the process ever used is told."""
    exact = usage.memory_bytes()
    monkeypatch.setattr(usage, "_STATM", tmp_path / "none")
    assert usage.memory_bytes() >= exact // 2


async def test_figures_are_a_copy(bench: Bench) -> None:
    """An answer does not change afterwards."""
    platform = await joined(bench)
    before = await platform.statistics()
    await platform.router.send([made(1)])
    (figures,) = before.routers.values()
    assert figures.processed == 0
    answer = await platform.answers[STATS](b"")
    assert msgspec.json.decode(answer)["processed"] == 1
    assert figures.started_at <= bench.clock.now() + timedelta()
