"""The second net: what the server has stopped delivering."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.disposition import Ack, Disposition, Nak
from caxton_nats.core.errors import NotConnected
from caxton_nats.core.identifiers import agent_from_token
from caxton_nats.engine.exhaustion import Exhaustion
from caxton_nats.engine.platform import Platform
from caxton_nats.ports import Delivery, Stored
from caxton_nats.tasks import end
from tests.core.sample import BOB, NOON
from tests.engine.bench import Bench, Failing


class Advisories:
    """An inbox of advisories: what is naked comes again at the next fetch."""

    def __init__(self, *bodies: bytes) -> None:
        self.waiting = deque(
            Delivery(Origin("ADVISORIES", at), "$JS.EVENT", body, {}, 1, NOON)
            for at, body in enumerate(bodies, 1)
        )
        self.settled: list[tuple[int, Disposition]] = []

    async def fetch(self, limit: int, _: timedelta) -> list[Delivery]:
        if not self.waiting:
            await asyncio.get_running_loop().create_future()
        return [self.waiting.popleft() for _ in range(min(limit, len(self.waiting)))]

    async def settle(self, settled: Sequence[tuple[Delivery, Disposition]]) -> None:
        for delivery, disposition in settled:
            self.settled.append((delivery.origin.sequence, disposition))
            if isinstance(disposition, Nak):
                self.waiting.append(delivery)

    async def keep(self, deliveries: Sequence[Delivery]) -> None:
        pass

    async def close(self) -> list[Delivery]:
        return []


def advisory(stored: Stored, deliveries: int = 3) -> bytes:
    return msgspec.json.encode(
        {
            "type": "io.nats.jetstream.advisory.v1.max_deliver",
            "stream": stored.stream,
            "consumer": "bob",
            "stream_seq": stored.sequence,
            "deliveries": deliveries,
        }
    )


def exhaustion(platform: Platform, advisories: Advisories) -> Exhaustion:
    return Exhaustion(
        advisories,
        platform.burial,
        platform.ports,
        receiver_of=lambda subject: agent_from_token(subject.rsplit(".", 1)[-1], "here"),
    )


async def test_exhausted_message_is_buried(bench: Bench) -> None:
    """It becomes a dead letter of its receiver, leaves the mailbox, and then the advisory goes."""
    platform = await bench.known(bench.platform())
    stored = await bench.post("m-1")
    advisories = Advisories(advisory(stored))
    assert await exhaustion(platform, advisories).work_once(timedelta()) == 1
    (letter,) = await bench.dead()
    assert (letter.agent, letter.message_id, letter.attempts) == (BOB, "m-1", 3)
    assert (letter.reason, letter.last_error["code"]) == (
        "AgentNotResponding",
        "AgentNotResponding",
    )
    assert (await bench.pending(), advisories.settled) == (0, [(1, Ack())])


async def test_message_that_was_settled_after_all(bench: Bench) -> None:
    """An advisory is a hint only: what is no longer stored is not buried."""
    platform = bench.platform()
    stored = await bench.post("m-1")
    await bench.broker.mailboxes.discard(Origin(stored.stream, stored.sequence))
    advisories = Advisories(advisory(stored), b"not json", b'{"stream": 1}')
    await exhaustion(platform, advisories).work_once(timedelta())
    assert (await bench.dead(), [ended for _, ended in advisories.settled]) == ([], [Ack()] * 3)


async def test_advisory_twice(bench: Bench) -> None:
    """Two advisories of one message, and a mailbox that buried it too, make one letter."""
    platform = await bench.known(bench.platform())
    stored = await bench.post("m-1")
    discard = Failing(bench.broker.mailboxes, discard=[NotConnected("away")])
    failing = await bench.known(bench.platform(bench.but(mailboxes=discard)))
    await exhaustion(failing, Advisories(advisory(stored))).work_once(timedelta())
    assert (len(await bench.dead()), await bench.pending()) == (1, 1)
    await exhaustion(platform, Advisories(advisory(stored, 4))).work_once(timedelta())
    assert ([one.attempts for one in await bench.dead()], await bench.pending()) == ([3], 0)


async def test_message_that_is_not_one(bench: Bench) -> None:
    """Bytes that cannot be read are buried with the very bytes."""
    platform = bench.platform()
    stored = await bench.put(b"\xff", "odd")
    await exhaustion(platform, Advisories(advisory(stored))).work_once(timedelta())
    assert [one.original for one in await bench.dead()] == [b"\xff"]


async def test_one_that_cannot_be_buried(bench: Bench) -> None:
    """It alone comes again; those after it are buried, and it is in the end."""
    write: list[Exception | None] = [NotConnected("away"), None, RuntimeError("a bug")]
    letters = Failing(bench.broker.dead_letters, write=write)
    platform = bench.platform(bench.but(dead_letters=letters))
    stored = [await bench.post("m-1"), await bench.post("m-2")]
    advisories = Advisories(*map(advisory, stored))
    work = exhaustion(platform, advisories)
    await work.work_once(timedelta())
    assert [one.message_id for one in await bench.dead()] == ["m-2"]
    running = asyncio.create_task(work.run())
    await bench.clock.idle()
    assert [one.message_id for one in await bench.dead()] == ["m-1", "m-2"]
    assert not advisories.waiting
    await end([running])


async def test_advisory_about_what_is_no_mail(bench: Bench) -> None:
    """Anybody may send what looks like an advisory: what is not in a mailbox stays where it is."""
    platform = await bench.known(bench.platform())
    stored = await bench.post("m-1")
    record = Delivery(
        Origin(stored.stream, stored.sequence), "$KV.caxton-agents.bob", b"{}", {}, 1, NOON
    )

    class Others(Failing):
        async def get(self, _: Origin) -> Delivery:
            return record

    ports = bench.but(mailboxes=Others(bench.broker.mailboxes))
    forged = exhaustion(bench.platform(ports), Advisories(advisory(stored)))
    await forged.work_once(timedelta())
    assert await bench.dead() == []
    assert await bench.pending() == 1
    assert platform.registry.find(BOB) is not None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b'{"stream":"\xff","stream_seq":1,"deliveries":1}',
        b'{"stream":"S.>","stream_seq":1,"deliveries":1}',
        b'{"stream":"S","stream_seq":-1,"deliveries":1}',
        b'{"stream":"S","stream_seq":1,"deliveries":' + b"9" * 4_000 + b"}",
        b"[" * 9_000,
    ],
)
async def test_advisory_of_nothing(bench: Bench, body: bytes) -> None:
    """It is settled at once, and not asked of the server."""
    advisories = Advisories(body)
    await exhaustion(bench.platform(), advisories).work_once(timedelta())
    assert advisories.settled == [(1, Ack())]
