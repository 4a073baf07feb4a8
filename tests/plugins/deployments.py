"""An empty deployment for each test, on a server that many tests share."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from caxton_nats.core.errors import PublishUnconfirmed, StreamMissing
from caxton_nats.jetstream import topology
from caxton_nats.jetstream.connection import Connection

_NAMES = ("CAXTON_", "KV_caxton-", "OBJ_caxton-")


async def wipe(connection: Connection) -> None:
    """Delete every stream of ours, whatever an earlier test left: a second or less, on any server.

    An account or a domain of its own per test would need a server configured for it, which the
    official image is not.
    """
    while ours := await _ours(connection):
        # nats-server 2.15 has been seen, about once in a thousand times under load, to bring
        # messages of a deleted stream back when one of the same name is made at once: so they go
        # first.
        for verb in ("PURGE", "DELETE"):
            await asyncio.gather(*(_do(connection, f"STREAM.{verb}.{name}") for name in ours))


async def _ours(connection: Connection) -> list[str]:
    answer = await connection.api("STREAM.NAMES")
    return [name for name in answer["streams"] or () if name.startswith(_NAMES)]


async def _do(connection: Connection, request: str) -> None:
    # Of a cluster each node learns in its own time that a stream is gone.
    with suppress(StreamMissing, PublishUnconfirmed):
        await connection.api(request)


async def deploy(connection: Connection, options: topology.Options) -> topology.Deployment:
    """Make an empty deployment whose streams count from one, and return it."""
    while True:
        await wipe(connection)
        await topology.apply(connection, options)
        infos = await asyncio.gather(
            *(
                connection.api(f"STREAM.INFO.{config['name']}")
                for config in topology.streams(options)
            )
        )
        if not any(info["state"]["last_seq"] for info in infos):
            break
    deployment = await topology.discover(connection)
    assert deployment is not None
    return deployment
