"""The state of all our streams, in one request for every 256 streams of the account."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from caxton_nats.core.connection_state import ConnectionState
from caxton_nats.core.stream_state import Role, StreamState
from caxton_nats.jetstream import subjects
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.stream_files import Options, streams
from caxton_nats.jetstream.times import moment
from caxton_nats.jetstream.topology import Deployment

_ROLES = {
    subjects.INGRESS_STREAM: Role.INGRESS,
    subjects.DLQ_STREAM: Role.DEAD_LETTERS,
    subjects.ADVISORIES_STREAM: Role.ADVISORIES,
    subjects.TIMERS_STREAM: Role.TIMERS,
    subjects.OUTBOUND_STREAM: Role.OUTBOUND,
}
_OURS = ("CAXTON_", "KV_caxton-", "OBJ_caxton-")


class StreamStates:
    """See `ports.Streams`."""

    def __init__(self, connection: Connection, deployment: Deployment) -> None:
        self._connection = connection
        options = Options(platform=deployment.platform, shards=deployment.shards)
        self._expected = [str(config["name"]) for config in streams(options)]

    async def states(self) -> list[StreamState]:
        """Return the state of each stream that there is or should be."""
        found = {info["config"]["name"]: info for info in await self._list()}
        there = [_state(name, info) for name, info in found.items() if name.startswith(_OURS)]
        gone = [name for name in self._expected if name not in found]
        return there + [StreamState(name=name, role=_role(name), missing=True) for name in gone]

    def connection(self) -> ConnectionState:
        """Return the state of the connection."""
        return self._connection.state()

    async def _list(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            answer = await self._connection.api("STREAM.LIST", {"offset": len(found)})
            page = answer.get("streams") or []
            found += page
            if not page or len(found) >= int(answer["total"]):
                return found


def _role(name: str) -> Role:
    if name.startswith(subjects.MAILBOX_STREAM):
        return Role.MAILBOX
    return _ROLES.get(name, Role.OTHER)


def _state(name: str, info: dict[str, Any]) -> StreamState:
    state, config = info["state"], info["config"]
    messages = int(state["messages"])
    first_at: datetime | None = moment(state["first_ts"]) if messages else None
    return StreamState(
        name=name,
        role=_role(name),
        messages=messages,
        bytes=int(state["bytes"]),
        last_sequence=int(state["last_seq"]),
        first_at=first_at,
        consumers=int(state.get("consumer_count", 0)),
        max_messages=_limit(config.get("max_msgs")),
        max_bytes=_limit(config.get("max_bytes")),
        max_consumers=_limit(config.get("max_consumers")),
    )


def _limit(value: int | None) -> int | None:
    """Return the limit, or None for what JetStream writes as -1."""
    return value if value is not None and value > 0 else None
