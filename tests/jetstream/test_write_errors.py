"""A server whose disk is full: who sends is told why, and the server works again when there is room."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from caxton_nats.core.errors import ServerExhausted
from caxton_nats.jetstream.acks import Post
from caxton_nats.jetstream.connection import Connection, connect
from caxton_nats.jetstream.embedded import EmbeddedOptions, EmbeddedServer
from caxton_nats.jetstream.headers import MSG_ID
from caxton_nats.jetstream.publisher import JetStreamPublisher
from caxton_nats.jetstream.upkeep import kept_up
from caxton_nats.jetstream.write_errors import any_write_error, write_error
from caxton_nats.ports import Stored
from chaos.disk import Disk, disk
from tests.plugins.eventually import eventually
from tests.plugins.requirements import require


@pytest.fixture
async def small_disk(tmp_path: Path) -> AsyncIterator[Disk]:
    require("chaos")
    async with disk(tmp_path, 64) as made:
        yield made


@pytest.fixture
async def server(small_disk: Disk) -> AsyncIterator[EmbeddedServer]:
    options = EmbeddedOptions(store=small_disk.path / "store", durability="power")
    async with EmbeddedServer(options) as embedded:
        yield embedded


@pytest.fixture
async def connection(server: EmbeddedServer) -> AsyncIterator[Connection]:
    made = await connect(server.url, name="test", request_timeout=4.0)
    await made.api(
        "STREAM.CREATE.NOTES", {"name": "NOTES", "subjects": ["notes.>"], "storage": "file"}
    )
    yield made
    await made.close()


def note(name: str) -> Post:
    return Post("notes.one", b"x" * 5000, {MSG_ID: name})


async def test_a_full_disk(
    small_disk: Disk, server: EmbeddedServer, connection: Connection
) -> None:
    """The publisher has the system's words and what to do; after it, what was safe still is."""
    publisher = JetStreamPublisher(connection, queue_size=10)
    await publisher.start()
    assert await publisher.store_one(note("before")) == Stored("NOTES", 1)
    assert await any_write_error(connection) is None
    assert await write_error(connection, "notes.one") is None
    async with kept_up(server):
        small_disk.fill()
        with pytest.raises(ServerExhausted, match="no space left on device") as told:
            await publisher.store_one(note("meanwhile"))
        assert "make room on the disk" in told.value.hint
        small_disk.free()

        async def stored() -> bool:
            (result,) = await publisher.store([note("meanwhile")])
            return isinstance(result, Stored)

        await eventually(stored, what="the server is started anew and writes again")
    assert await publisher.store_one(note("meanwhile")) == Stored("NOTES", 2, duplicate=True)


async def test_a_server_that_has_room_is_left_alone(
    server: EmbeddedServer, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is asked, nothing is purged and nothing restarted."""
    monkeypatch.setattr("caxton_nats.jetstream.upkeep.LOOK", 0.01)
    monkeypatch.setattr("caxton_nats.jetstream.upkeep.ASK", 1)
    await connection.client.request("notes.one", b"kept", timeout=5)
    pid = server.pid
    asked = connection.client.stats["out_msgs"]
    async with kept_up(server):
        for _ in range(20):
            assert await any_write_error(connection) is None
    assert connection.client.stats["out_msgs"] > asked
    assert server.pid == pid
    os.kill(pid, 0)
    info = await connection.api("STREAM.INFO.NOTES")
    assert info["state"]["messages"] == 1
