"""What a server remembers of message ids, as docs/effects.md says it: the ledger covers the rest."""

from __future__ import annotations

import os
import signal

import pytest

from caxton_nats.jetstream.acks import Post
from caxton_nats.jetstream.connection import Connection, connect
from caxton_nats.jetstream.embedded import EmbeddedServer
from caxton_nats.jetstream.headers import MSG_ID
from caxton_nats.jetstream.publisher import JetStreamPublisher
from caxton_nats.ports import Stored
from tests.plugins.eventually import eventually
from tests.plugins.servers import StartServer

STREAM = {"name": "MAIL", "subjects": ["mail.*"], "retention": "workqueue", "storage": "file"}


async def again(connection: Connection, *ids: str) -> list[bool]:
    """Publish under these ids; return which of them the server takes for duplicates."""
    publisher = JetStreamPublisher(connection, queue_size=10)
    await publisher.start()
    found = await publisher.store([Post(f"mail.{one}", b"", {MSG_ID: one}) for one in ids])
    assert all(isinstance(one, Stored) for one in found)
    return [isinstance(one, Stored) and one.duplicate for one in found]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_restart_of_the_server(embedded_server: StartServer, number: int) -> None:
    """Settled messages are forgotten, those that wait in the stream are not, however it ended."""
    server: EmbeddedServer = await embedded_server()
    connection = await connect(server.url, name="test")
    await connection.api("STREAM.CREATE.MAIL", STREAM)
    assert await again(connection, "settled", "waiting") == [False, False]
    await connection.api("STREAM.MSG.DELETE.MAIL", {"seq": 1, "no_erase": True})
    assert await again(connection, "settled", "waiting") == [True, True]
    os.kill(server.pid, number)
    await server.wait()
    await server.restart()
    await eventually(lambda: connection.is_connected)
    assert await again(connection, "settled", "waiting") == [False, True]
    await connection.close()
