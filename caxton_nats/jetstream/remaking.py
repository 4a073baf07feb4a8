"""Streams that somebody has deleted, and that are made again beside those that are left.

What a stream numbers is written down elsewhere: attempts, dead letters and the ledgers of agents
name messages by stream and sequence, and a mirror knows how far it has come. A stream that began
again at 1 would have new messages taken for old ones that were handled long ago, so it begins where
no stream can have been: at the time of its making, in milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from caxton_nats.core.errors import ConfigurationError, StreamMissing
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.stream_files import SHARDS
from caxton_nats.jetstream.subjects import INGRESS_STREAM, MAILBOX, MAILBOX_STREAM
from caxton_nats.jetstream.times import moment

Json = dict[str, Any]
NEW = 10.0
"""Seconds for which the streams of a deployment may still be being made for the first time."""
_MAILBOX = re.compile(rf"{MAILBOX_STREAM}(\d+)")


async def config_of(connection: Connection, name: str) -> Json | None:
    """Return the configuration of a stream; None if there is none of this name."""
    info = await _info(connection, name)
    return None if info is None else info["config"]


async def first_sequence(connection: Connection, left: Iterable[str]) -> int:
    """Return at which sequence a stream begins that is made beside these; 1 if all are new."""
    for name in left:
        info = await _info(connection, name)
        if info is not None:
            now, made = moment(info["ts"]).timestamp(), moment(info["created"]).timestamp()
            return int(now * 1000) if now - made > NEW else 1
    return 1


async def any_mailbox(connection: Connection, shards: int) -> Json | None:
    """Return the configuration of one of the mailbox streams that are left."""
    for shard in range(shards):
        config = await config_of(connection, f"{MAILBOX_STREAM}{shard}")
        if config is not None:
            return config
    return None


async def check_shards(connection: Connection, shards: int) -> None:
    """Refuse another number of shards than there was, also when not all are left to say so.

    Raises:
        ConfigurationError: mail would be looked for elsewhere.
    """
    had = _shards_of(await config_of(connection, INGRESS_STREAM))
    if not had:
        answer = await connection.api("STREAM.NAMES", {"subject": f"{MAILBOX}.>"})
        names = [name for name in answer.get("streams") or [] if _MAILBOX.fullmatch(name)]
        # Their number says nothing: another process may be making the rest at this moment.
        had = max([_shards_of(await config_of(connection, name)) for name in names[:1]], default=0)
    if had not in (0, shards):
        raise ConfigurationError(
            "this deployment has another number of shards; mail would be looked for elsewhere",
            field="shards",
            limit=had,
            value=shards,
            hint="keep the number, or start on an empty server",
        )


async def _info(connection: Connection, name: str) -> Json | None:
    try:
        return await connection.api(f"STREAM.INFO.{name}")
    except StreamMissing:
        return None


def _shards_of(config: Json | None) -> int:
    return int(((config or {}).get("metadata") or {}).get(SHARDS, 0))
