"""Reading that ends all the same begins again, and a connection that is dead is given up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from caxton_nats.core.errors import PublishUnconfirmed
from caxton_nats.jetstream import connection as module
from caxton_nats.jetstream.connection import Connection, connect
from tests.integration.proxy import Proxy, wire
from tests.plugins.eventually import eventually
from tests.plugins.unfit_servers import talking_nonsense

QUICK = 0.2
"""Seconds between pings; enough of them for a test."""


@pytest.fixture
async def proxy(embedded_url: str) -> AsyncIterator[Proxy]:
    async with wire(embedded_url) as proxy:
        yield proxy


@pytest.fixture
async def connection(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connection]:
    monkeypatch.setattr(module, "PING", QUICK)
    connection = await connect(proxy.url, name="test", request_timeout=10)
    yield connection
    proxy.flow()
    await connection.close()


async def works(connection: Connection) -> bool:
    """Whether a question is answered."""
    async with asyncio.timeout(10):
        await connection.api("INFO")
    return True


async def test_who_gives_up_waiting_for_a_pong(embedded_url: str) -> None:
    """The PONG that comes later finds nobody, and on the same connection reading goes on."""
    async with wire(embedded_url) as proxy:
        connection = await connect(proxy.url, name="test", request_timeout=10)
        proxy.stall()
        with pytest.raises(NatsError):
            await connection.client.flush(timeout=QUICK)  # type: ignore[arg-type]
        proxy.flow()
        assert await works(connection)
        assert connection.losses == 0
        await connection.close()


async def test_reading_that_ends_is_noticed_at_once(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever ends it: the connection is opened again, and the log says why."""
    parser = connection.client._ps
    parse = parser.parse

    async def stumble(data: bytes = b"") -> None:
        monkeypatch.setattr(parser, "parse", parse)
        raise ZeroDivisionError(data)

    monkeypatch.setattr(parser, "parse", stumble)
    again = asyncio.Event()
    connection.on_reconnect(again.set)
    await connection.client.publish("x", b"")
    async with asyncio.timeout(10):
        await again.wait()
    assert await works(connection)
    assert connection.losses == 1
    assert "reading from the connection has ended" in caplog.text


async def test_a_server_that_falls_silent_is_given_up(connection: Connection, proxy: Proxy) -> None:
    """After two pings without an answer; with more written to it than it will ever take."""
    again = asyncio.Event()
    connection.on_reconnect(again.set)
    proxy.freeze()
    for _ in range(64):
        # Not waited for: nobody takes it.
        connection.client._transport.write(b"PUB x 500000\r\n" + b"x" * 500_000 + b"\r\n")  # type: ignore[union-attr]
    async with asyncio.timeout(10):
        await again.wait()
    assert await works(connection)


async def test_answers_that_were_on_their_way(connection: Connection, proxy: Proxy) -> None:
    """Lost with the connection, they are waited for no longer; what comes later is kept and sent."""
    asked = asyncio.Event()

    async def hear(_: Msg) -> None:
        asked.set()

    await connection.client.subscribe("silent", cb=hear)
    connection.timeout = 600
    silent = asyncio.create_task(connection.request("silent", b"", what="x"))
    async with asyncio.timeout(30):
        await asked.wait()
        await proxy.cut()
        with pytest.raises(PublishUnconfirmed):
            await silent
        await eventually(lambda: not connection.is_connected)
        later = asyncio.create_task(connection.request("$JS.API.INFO", b"", what="x"))
        await asyncio.sleep(0)
        # As when the connection is lost again before anything could be written.
        connection.client._questions.give_up(b"".join(connection.client._pending))
        await proxy.mend()
        assert b"streams" in await later


async def test_closing_while_the_server_is_silent(embedded_url: str) -> None:
    """It is waited for a moment, and not for ever, however much there is to be written."""
    async with wire(embedded_url) as proxy:
        connection = await connect(proxy.url, name="test")
        proxy.freeze()
        for _ in range(64):
            connection.client._transport.write(b"PUB x 500000\r\n" + b"x" * 500_000 + b"\r\n")  # type: ignore[union-attr]
        await connection.client.publish("x", b"x" * 500_000)
        async with asyncio.timeout(10):
            await connection.close()


async def test_nonsense_from_whoever_listens_there_now(
    connection: Connection, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """Trying goes on until there is a NATS server again, whatever the others say."""
    caplog.set_level(logging.DEBUG)
    await proxy.cut()
    for words in (b"x" * 200_000 + b"\r\n", b"INFO\r\n", b"INFO []\r\n", b"INFO {}\r\n-ERR\r\n"):
        async with talking_nonsense(words, proxy.port) as asked:
            await eventually(lambda asked=asked: asked() > 1)  # type: ignore[misc]
    again = asyncio.Event()
    connection.on_reconnect(again.set)
    await proxy.mend()
    async with asyncio.timeout(20):
        await again.wait()
    assert await works(connection)


async def test_complaint_while_it_is_opened_again(connection: Connection, proxy: Proxy) -> None:
    """A server that lets nobody in for a while (full, or its users being changed) is tried again."""
    await proxy.cut()
    full = b"INFO {}\r\n-ERR 'maximum connections exceeded'\r\n"
    async with talking_nonsense(full, proxy.port) as asked:
        await eventually(lambda: asked() > 2)
    again = asyncio.Event()
    connection.on_reconnect(again.set)
    await proxy.mend()
    async with asyncio.timeout(20):
        await again.wait()
    assert await works(connection)


async def test_a_flush_is_behind_what_was_written(
    embedded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer means that the server has all of it: a PING in front of that would mean nothing."""
    connection = await connect(embedded_url, name="test")
    written: list[bytes] = []
    transport = connection.client._transport
    assert transport is not None
    write, writelines = transport.write, transport.writelines

    def watch_write(data: bytes) -> None:
        written.append(data)
        write(data)

    def watch_writelines(data: list[bytes]) -> None:
        written.extend(data)
        writelines(data)

    monkeypatch.setattr(transport, "write", watch_write)
    monkeypatch.setattr(transport, "writelines", watch_writelines)
    await connection.client.publish("first", b"")
    await connection.client.flush()
    assert [line.split()[0] for line in written] == [b"PUB", b"PING"]
    await connection.close()
