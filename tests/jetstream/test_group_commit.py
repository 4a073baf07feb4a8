"""Storing in groups: all at once, or each with a result of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest

from caxton_nats.core.errors import ConfigurationError, QueueFull
from caxton_nats.core.grouping import Grouping
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.registry import Address
from caxton_nats.jetstream import group_commit, wire
from caxton_nats.jetstream.connection import Connection, connect
from caxton_nats.jetstream.headers import block
from caxton_nats.jetstream.publisher import JetStreamPublisher
from caxton_nats.ports import Letter, Stored

BOUND = 100
STREAMS = ("ONE", "TWO")


class Groups(Grouping):
    """Wants groups always, and takes note of being told that there can be none."""

    refused = False
    worth = 1

    def sample(self, _: int) -> int:
        return 0

    def wanted(self, _: int) -> bool:
        return True

    def impossible(self) -> None:
        self.refused = True


@pytest.fixture
async def connection(embedded_url: str) -> AsyncIterator[Connection]:
    connection = await connect(embedded_url, name="test")
    for stream in STREAMS:
        await make(connection, stream)
    yield connection
    await connection.close()


async def make(connection: Connection, stream: str, *, atomic: bool = True) -> None:
    await connection.api(
        f"STREAM.CREATE.{stream}",
        {
            "name": stream,
            "subjects": [f"{stream}.*"],
            "max_msgs_per_subject": BOUND,
            "discard": "new",
            "discard_new_per_subject": True,
            "allow_atomic": atomic,
        },
    )


@pytest.fixture
async def publisher(connection: Connection) -> JetStreamPublisher:
    publisher = JetStreamPublisher(connection, queue_size=BOUND)
    publisher._grouping = Groups()
    await publisher.start()
    return publisher


def letters(numbers: range, agent: str = "bob", stream: str = "ONE") -> list[Letter]:
    address = Address(stream=stream, subject=f"{stream}.{agent}", consumer=agent)
    return [
        Letter(AgentId(f"{agent}@here"), address, f"{stream}-{agent}-{n}", b"%d" % n)
        for n in numbers
    ]


def sequences(results: Sequence[object]) -> list[int]:
    return [one.sequence for one in results if isinstance(one, Stored)]


async def writes(connection: Connection, stream: str = "ONE") -> list[bytes]:
    """Return what the stream holds, in its order."""
    last = (await connection.api(f"STREAM.INFO.{stream}"))["state"]["last_seq"]
    js = connection.client.jetstream()
    return [(await js.get_msg(stream, n)).data or b"" for n in range(1, last + 1)]


async def test_a_group_is_stored_in_order(
    connection: Connection, publisher: JetStreamPublisher
) -> None:
    """Each message has the place that it is stored at."""
    results = await publisher.publish(letters(range(80)))
    assert results == [Stored("ONE", n + 1, duplicate=False) for n in range(80)]
    assert await writes(connection) == [b"%d" % n for n in range(80)]


async def test_streams_are_groups_of_their_own(publisher: JetStreamPublisher) -> None:
    """Results are in the order of the letters, however they are spread."""
    mixed = [
        one
        for pair in zip(letters(range(40)), letters(range(40), stream="TWO"), strict=True)
        for one in pair
    ]
    results = await publisher.publish(mixed)
    assert results == [
        Stored(stream, n + 1, duplicate=False) for n in range(40) for stream in STREAMS
    ]


async def test_what_is_stored_already(publisher: JetStreamPublisher) -> None:
    """The server refuses the group; each message is told for itself whether it is a duplicate."""
    await publisher.publish(letters(range(10)))
    results = await publisher.publish(letters(range(20)))
    assert sequences(results) == list(range(1, 21))
    told = [one.duplicate for one in results if isinstance(one, Stored)]
    assert told == [True] * 10 + [False] * 10


async def test_the_same_twice_in_a_group(publisher: JetStreamPublisher) -> None:
    """It is stored once."""
    results = await publisher.publish(letters(range(5)) * 2)
    assert sequences(results) == [1, 2, 3, 4, 5] * 2


async def test_a_mailbox_that_is_full(publisher: JetStreamPublisher) -> None:
    """Those that fit are stored, the others refused, and other mailboxes are not concerned."""
    batch = [*letters(range(BOUND + 20)), *letters(range(30), agent="carol")]
    results = await publisher.publish(batch)
    stored = [isinstance(one, Stored) for one in results]
    assert stored == [True] * BOUND + [False] * 20 + [True] * 30
    assert all(isinstance(one, QueueFull) for one in results[BOUND : BOUND + 20])


async def test_a_stream_that_takes_no_groups(
    connection: Connection, publisher: JetStreamPublisher
) -> None:
    """Messages go one by one, and it is not tried again."""
    await make(connection, "OLD", atomic=False)
    results = await publisher.publish(letters(range(50), stream="OLD"))
    assert sequences(results) == list(range(1, 51))
    assert isinstance(publisher._grouping, Groups)
    assert publisher._grouping.refused


async def test_a_refused_group_keeps_its_place(
    connection: Connection, publisher: JetStreamPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows it in its stream is not stored before its messages are."""
    monkeypatch.setattr(group_commit, "MOST", 10)
    await publisher.publish(letters(range(1)))
    await publisher.publish(letters(range(30)))
    assert await writes(connection) == [b"%d" % n for n in range(30)]


async def test_a_group_may_be_large(publisher: JetStreamPublisher) -> None:
    """What is too large for the server fails alone, and leaves the connection as it is."""
    room = publisher._connection.max_payload
    huge = msgspec.structs.replace(letters(range(9, 10))[0], body=b"x" * (room + 1))
    results = await publisher.publish([*letters(range(5)), huge, *letters(range(5, 8))])
    assert sequences(results) == list(range(1, 9))
    assert isinstance(results[5], ConfigurationError)


async def test_a_group_without_its_end_holds_nothing_back(
    connection: Connection, publisher: JetStreamPublisher
) -> None:
    """Its ids are free: what is published under them is stored, and is no duplicate."""
    posts = [
        wire.Post("ONE.bob", b"x", "", block({"Nats-Msg-Id": f"ONE-bob-{n}"})) for n in range(50)
    ]
    await connection.client.post(group_commit.batch(posts, "half")[:-1])
    publisher._grouping.worth = 10
    results = await publisher.publish(letters(range(5)))
    results += await publisher.publish(letters(range(5, 50)))
    assert results == [Stored("ONE", n + 1, duplicate=False) for n in range(50)]


async def test_a_lost_end_is_noticed_by_a_group(publisher: JetStreamPublisher) -> None:
    """Its first message has a place that was given out before, its last one has not."""
    publisher.marks.acknowledged("ONE", 30, duplicate=False)
    publisher.marks.reconnected()
    await publisher.publish(letters(range(50)))
    assert publisher.marks.compare("ONE", 50, publisher.marks.taken()) == (1, 30)


def test_a_group_is_bounded() -> None:
    """In messages and in bytes; what is larger than a group is one alone, and nothing is lost."""
    assert list(group_commit.cut([])) == []
    assert [one.stop for one in group_commit.cut([1] * 2_500)] == [1_000, 2_000, 2_500]
    half = group_commit.MOST_BYTES // 2
    found = [(one.start, one.stop) for one in group_commit.cut([half, half, 1, 3 * half, 1])]
    assert found == [(0, 2), (2, 3), (3, 4), (4, 5)]


async def test_more_than_a_group_may_have(publisher: JetStreamPublisher) -> None:
    """They are several groups, and their results one list."""
    batch = [one for n in range(13) for one in letters(range(BOUND), agent=f"agent-{n}")]
    assert sequences(await publisher.publish(batch)) == list(range(1, 13 * BOUND + 1))
