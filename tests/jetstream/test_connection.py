"""Opening, keeping and closing a connection, also to servers that are of no use."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from caxton_nats.core.errors import (
    CaxtonError,
    ConfigurationError,
    NotConnected,
    StreamMissing,
    TransportError,
)
from caxton_nats.jetstream.addresses import without_password
from caxton_nats.jetstream.connection import connect
from caxton_nats.jetstream.embedded import EmbeddedOptions
from tests.plugins.eventually import eventually
from tests.plugins.servers import StartServer
from tests.plugins.unfit_servers import greeting, scripted_server, without_jetstream

NOBODY = "nats://127.0.0.1:1"
LONG = 60.0


async def refused(url: str, request_timeout: float = LONG) -> CaxtonError:
    """Return why there is no connection; at once, whatever a request may take."""
    async with asyncio.timeout(10):
        with pytest.raises(CaxtonError) as error:
            await connect(url, name="test", request_timeout=request_timeout)
    return error.value


@pytest.mark.parametrize("version", ["2.10.0", "2.14.2", "1.99.99"])
async def test_a_server_that_is_too_old_is_refused(version: str) -> None:
    """The error says which version it has, which is needed, and why."""
    async with scripted_server(greeting(version)) as url:
        error = await refused(url)
    assert isinstance(error, ConfigurationError)
    assert (error.field, error.value, error.limit) == ("nats_url", version, "2.14.3")
    assert "too old" in error.reason
    assert "upgrade" in error.hint


@pytest.mark.parametrize("version", ["2.14.3", "2.15.0", "3.0.0", "2.14.3-RC.1"])
async def test_a_server_that_is_new_enough_is_asked_for_jetstream(version: str) -> None:
    """Numbers are compared as numbers; this one is new enough, and does not answer."""
    async with scripted_server(greeting(version)) as url:
        error = await refused(url, request_timeout=0.2)
    assert "JetStream is off" in error.reason


async def test_a_server_without_jetstream_is_refused(tmp_path: Path) -> None:
    """The error says what to put into its configuration."""
    async with without_jetstream(tmp_path) as url:
        error = await refused(url)
    assert isinstance(error, ConfigurationError)
    assert "JetStream is off" in error.reason
    assert "-js" in error.hint


@pytest.mark.parametrize("url", [NOBODY, f"{NOBODY},nats://127.0.0.1:2", "nats://no.invalid:4222"])
async def test_nobody_there_is_said_at_once(url: str) -> None:
    """No full time-out for a refused connection, and no endless trying the first time."""
    error = await refused(url)
    assert isinstance(error, NotConnected)
    assert url in error.reason
    assert "caxton up" in error.hint


async def test_one_server_of_several_is_enough(embedded_server: StartServer) -> None:
    """Those that are away are passed over."""
    server = await embedded_server()
    connection = await connect(f"{NOBODY},{server.url}", name="test", request_timeout=LONG)
    assert connection.is_connected
    await connection.close()
    assert not connection.is_connected


async def test_a_server_that_says_nothing_is_given_up() -> None:
    """Somebody listens there who is no NATS server and waits, as we do."""
    async with scripted_server(b"") as url:
        assert isinstance(await refused(url, request_timeout=0.2), NotConnected)


async def test_a_server_of_another_protocol_is_refused() -> None:
    """A web server on that port, for example."""
    async with scripted_server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url:
        assert isinstance(await refused(url, request_timeout=0.2), NotConnected)


@pytest.mark.parametrize(
    "url",
    ["", ",", "nats://", "nats://:4222", "nats://host:port", "nats://h:99999", "nats://a,ws://b"],
)
async def test_an_address_that_is_none_is_the_operators_fault(url: str) -> None:
    """Not a server that is away: trying again cannot help."""
    error = await refused(url)
    assert isinstance(error, ConfigurationError)
    assert (error.field, error.value) == ("nats_url", url)
    assert "nats://127.0.0.1:4222" in error.hint


@pytest.mark.parametrize(
    "url",
    [
        "nats://alice:s3cret@127.0.0.1:1",
        "nats://s3cret@127.0.0.1:1",
        "alice:s3cret@127.0.0.1:1",
        "nats://alice:p@s3cret@127.0.0.1:1",
        "nats://alice:p/s3cret@127.0.0.1:1",
        "nats://alice:s3cret,s3cret@127.0.0.1:1",
        "nats://127.0.0.1:1,nats://alice:s3cret@127.0.0.1:2",
        "nats://alice:s3cret@127.0.0.1:1,nats://bob:s3cret@127.0.0.1:2",
        "nats://alice:s3cret@host:port",
    ],
)
async def test_no_password_is_in_an_error(url: str) -> None:
    """Nor a token: the address is shown without what stands before the @."""
    error = await refused(url)
    told = f"{error} {error.to_dict()} {error.__cause__!r}"
    assert "s3cret" not in told
    assert "alice" not in told
    assert f"***@{url.rpartition('@')[2]}" in told


def test_an_address_without_a_password_is_shown_as_it_is() -> None:
    """Hiding must not change what has nothing to hide."""
    url = "nats://127.0.0.1:4222,tls://b.example:4223,c.example:1,[::1]:4222"
    assert without_password(url) == url


async def test_what_a_server_offers_is_known(embedded_server: StartServer) -> None:
    """Its version, and how large a message may be."""
    server = await embedded_server(EmbeddedOptions(max_payload=65_536))
    connection = await connect(server.url, name="test")
    assert connection.max_payload == 65_536
    assert connection.server_version.startswith("2.15.")
    await connection.close()


async def test_what_the_server_refuses_is_one_of_our_errors(embedded_server: StartServer) -> None:
    """By its code; and nobody who answers is a missing stream, not a time-out."""
    server = await embedded_server()
    connection = await connect(server.url, name="test", request_timeout=LONG)
    with pytest.raises(StreamMissing, match=r"JetStream STREAM\.INFO\.NONE"):
        await connection.api("STREAM.INFO.NONE")
    with pytest.raises(TransportError, match=r"STREAM\.CREATE\.X"):
        await connection.api("STREAM.CREATE.X", {"name": "Y"})
    with pytest.raises(StreamMissing, match="asking"):
        await connection.request("nobody.listens", b"", what="asking")
    await connection.close()


async def test_a_reconnection_is_told_to_whoever_listens(
    embedded_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Once per reconnection, until the listener has enough; that the server was away is logged."""
    server = await embedded_server()
    connection = await connect(server.url, name="test")
    told: list[str] = []
    connection.on_reconnect(lambda: told.append("first"))
    forget = connection.on_reconnect(lambda: told.append("second"))
    for expected in (["first", "second"], ["first", "second", "first"]):
        await server.kill()
        await eventually(lambda: not connection.is_connected)
        await server.restart()
        await eventually(lambda expected=expected: told == expected, what=f"told is {expected}")  # type: ignore[misc]
        forget()
        forget()
    assert (await connection.api("INFO"))["streams"] == 0
    lost = [one for one in caplog.records if "connection to NATS lost" in one.message]
    assert len(lost) == 2
    await connection.close()


async def test_closing_is_no_lost_connection(
    embedded_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What was meant is not logged, and nobody is told of anything any more."""
    server = await embedded_server()
    connection = await connect(server.url, name="test")
    forget = connection.on_reconnect(lambda: None)
    with caplog.at_level(logging.DEBUG, "caxton_nats"):
        await connection.close()
        await connection.close()
    forget()
    assert caplog.messages == []


@pytest.mark.parametrize("noticed", [True, False])
async def test_closing_after_the_server_has_died_is_quiet(
    embedded_server: StartServer, caplog: pytest.LogCaptureFixture, *, noticed: bool
) -> None:
    """Whether or not it has been noticed: no exception, no traceback, no waiting."""
    server = await embedded_server()
    connection = await connect(server.url, name="test", request_timeout=LONG)
    await connection.client.publish("unsent", b"x" * 1000)
    await server.kill()
    if noticed:
        await eventually(lambda: not connection.is_connected)
    async with asyncio.timeout(5):
        await connection.close()
    assert not any(one.exc_info or one.levelno > logging.WARNING for one in caplog.records)


async def test_closing_while_nats_py_connects_again(embedded_url: str) -> None:
    """It cancels its own waiting for the old transport; nobody has cancelled who closes."""
    connection = await connect(embedded_url, name="test")
    transport = connection.client._transport
    assert transport is not None
    reconnecting = asyncio.create_task(transport.wait_closed())  # type: ignore[no-untyped-call]
    await asyncio.sleep(0)
    reconnecting.cancel()
    await asyncio.wait([reconnecting])
    await connection.close()
