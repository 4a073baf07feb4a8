"""Connecting again: to whom, how often, what is told of it, and leaving who is cut off."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import pytest
from nats.aio.client import Server

from caxton_nats import connect as to_platform
from caxton_nats import settings
from caxton_nats.core.health import Healthy, Unhealthy
from caxton_nats.jetstream import connection as connecting
from caxton_nats.jetstream import inbox as inboxes
from caxton_nats.jetstream import reach, reconnection
from caxton_nats.jetstream.acks import Post
from caxton_nats.jetstream.connection import Connection, connect
from caxton_nats.jetstream.headers import MSG_ID
from caxton_nats.jetstream.inbox import PullInbox
from caxton_nats.jetstream.publisher import JetStreamPublisher
from caxton_nats.jetstream.reconnection import WAIT, Reconnection
from caxton_nats.ports import Stored
from tests.integration.proxy import Proxy, wire
from tests.jetstream.test_inbox import A_MOMENT
from tests.plugins.eventually import eventually

MANY = 70
"""More attempts than the 60 after which nats-py gives up by itself."""
POST = Post("mail.bob", b"x", {MSG_ID: "one"})


def servers(*places: str) -> list[Server]:
    return [Server(uri=urlsplit(f"nats://{place}")) for place in places]  # type: ignore[arg-type]


def test_the_others_first() -> None:
    """The server that was lost is tried last, and only a whole round is followed by a pause."""
    books = Reconnection()
    books.lost("a:1")
    known = servers("a:1", "b:2", "c:3")
    for _ in range(3):
        round_ = [books.choose(known, {}) for _ in known]
        assert {one.uri.netloc for one, _ in round_} == {"a:1", "b:2", "c:3"}
    books.lost("b:2")
    first, second, third = (books.choose(known, {}) for _ in range(3))
    assert {first[0].uri.netloc, second[0].uri.netloc} == {"a:1", "c:3"}
    assert (first[1], second[1]) == (0, 0)
    assert WAIT / 2 <= third[1] <= WAIT * 3 / 2


def test_pauses_are_spread() -> None:
    """Many clients of one server do not all come back at the same moment, again and again."""
    books = Reconnection()
    books.lost("a:1")
    pauses = [books.choose(servers("a:1"), {})[1] for _ in range(100)]
    assert len(Counter(pauses)) > 90
    assert min(pauses) >= WAIT / 2


def test_state_of_an_outage() -> None:
    """Attempts count from the loss on, and a second loss on the way is the same outage."""
    books = Reconnection()
    assert books.state("a:1").connected
    books.lost("a:1")
    books.choose(servers("a:1"), {})
    books.lost("a:1")
    books.choose(servers("a:1"), {})
    books.reason = "refused"
    state = books.state("a:1")
    assert (state.connected, state.attempts, state.reason) == (False, 2, "refused")
    books.found()
    assert (books.state("a:1").connected, books.state("a:1").losses) == (True, 2)


@pytest.fixture
async def proxy(embedded_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proxy]:
    monkeypatch.setattr(reconnection, "WAIT", 0.01)
    async with wire(embedded_url) as proxy:
        yield proxy


async def test_more_attempts_than_nats_py_would_make(proxy: Proxy) -> None:
    """It says all the time since when and how often, in health too, and then goes on working."""
    chosen = settings(nats_url=proxy.url, shards=1, request_timeout=60)
    async with to_platform(chosen, observer=lambda _: None) as platform:
        state = platform.ports.streams.connection
        await proxy.cut()
        await eventually(lambda: state().attempts > MANY)
        async with asyncio.timeout(10):
            found = await platform.health_check()
        assert isinstance(found.overall, Unhealthy)
        told = re.fullmatch(
            r"connection: not connected since (20\S+Z), attempt (\d+): .*", found.overall.reason
        )
        assert told is not None, found.overall
        assert int(told[2]) > MANY
        await proxy.mend()
        await eventually(lambda: state().connected)
        found = await platform.health_check()
        assert found.overall == Healthy()
        assert found.components["connection"].metrics["losses"] == 1
        assert (found.last_error or "").startswith("connection: not connected since")


class Two:
    """One server behind two wires, as if it were two servers."""

    def __init__(self, connection: Connection, wires: list[Proxy]) -> None:
        self.connection = connection
        self._wires = wires

    @property
    def used(self) -> Proxy:
        """The wire of the connection, or of the last one."""
        url = self.connection.client.last_url
        return next(one for one in self._wires if url is not None and url.port == one.port)


@pytest.fixture
async def two(embedded_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Two]:
    # Only what is looked at here may notice it.
    monkeypatch.setattr(connecting, "PING", 600.0)
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(wire(embedded_url)) for _ in range(2)]
        urls = ",".join(one.url for one in wires)
        connection = await connect(urls, name="test", request_timeout=1)
        config = {"name": "MAIL", "subjects": ["mail.*"], "retention": "workqueue"}
        await connection.api("STREAM.CREATE.MAIL", config)
        yield Two(connection, wires)
        await connection.close()


@pytest.fixture
async def publisher(two: Two) -> JetStreamPublisher:
    publisher = JetStreamPublisher(two.connection, queue_size=10)
    await publisher.start()
    return publisher


async def test_a_server_whose_acks_do_not_come_is_left(
    two: Two, publisher: JetStreamPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was stored without our hearing of it is found by its id at the other server."""
    monkeypatch.setattr(reach, "PATIENCE", 0.5)
    left = two.used
    left.swallow(answers=True)
    (result,) = await publisher.store([POST])
    assert result == Stored("MAIL", 1, duplicate=True)
    assert two.used is not left
    assert (await two.connection.api("STREAM.INFO.MAIL"))["state"]["messages"] == 1


async def test_a_server_that_answers_no_pulls_is_left(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that has nothing to send would wait for mail where none can come."""
    monkeypatch.setattr(inboxes, "_GRACE", 0.05)
    monkeypatch.setattr(reach, "PATIENCE", 0.5)
    config = {"durable_name": "bob", "ack_policy": "explicit"}
    await two.connection.api("CONSUMER.CREATE.MAIL.bob", {"stream_name": "MAIL", "config": config})
    inbox = PullInbox(two.connection, "MAIL", "bob")
    await inbox.start()
    left = two.used
    left.swallow(answers=True)

    async def fetched_in_vain() -> bool:
        await inbox.fetch(1, A_MOMENT)
        return two.used is not left

    await eventually(fetched_in_vain)
    await inbox.close()
