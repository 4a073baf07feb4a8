"""Why a stream does not acknowledge: a server that cannot write says nothing to who publishes.

When a write fails (the disk is full, for example) nats-server 2.15 leaves that publish, and all
that follow it in the stream, without an answer. The stream stays so until the server is started
anew, though there may be room again. It does name the error to who asks it to purge a stream; so it
is asked to purge what cannot be there. Who may not ask learns nothing, and goes by the silence.
"""

from __future__ import annotations

import asyncio

from caxton_nats.core.errors import CaxtonError
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.errors import STORE_FAILED

PATIENCE = 1.0
"""Seconds for the question: who asks has waited already."""


async def write_error(connection: Connection, subject: str) -> CaxtonError | None:
    """Return why what is published to the subject is not stored; None if nobody says so."""
    try:
        async with asyncio.timeout(PATIENCE):
            answer = await connection.api("STREAM.NAMES", {"subject": subject})
            for stream in answer["streams"] or ():
                if error := await _of(connection, stream):
                    return error
    except (TimeoutError, CaxtonError):
        # The question is as lost as the message was.
        return None
    return None


async def any_write_error(connection: Connection) -> CaxtonError | None:
    """Return the first error that keeps any stream of the server from being written."""
    answer = await connection.api("STREAM.NAMES")
    for stream in answer["streams"] or ():
        if error := await _of(connection, stream):
            return error
    return None


async def _of(connection: Connection, stream: str) -> CaxtonError | None:
    try:
        # Nobody has ever published under a name that was just made up.
        nothing = connection.client.new_inbox()
        await connection.api(f"STREAM.PURGE.{stream}", {"filter": nothing})
    except CaxtonError as error:
        return error if error.value == STORE_FAILED else None
    return None
