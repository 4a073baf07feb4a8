"""The state of all our streams, in one request for every 256 streams of the account."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from caxton_nats.core.connection_state import ConnectionState
from caxton_nats.core.errors import CaxtonError
from caxton_nats.core.stream_state import Role, StreamState
from caxton_nats.jetstream import subjects
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.marks import Marks
from caxton_nats.jetstream.stream_files import Options, streams
from caxton_nats.jetstream.times import moment
from caxton_nats.jetstream.topology import Deployment
from caxton_nats.tasks import end

_ROLES = {
    subjects.INGRESS_STREAM: Role.INGRESS,
    subjects.DLQ_STREAM: Role.DEAD_LETTERS,
    subjects.ADVISORIES_STREAM: Role.ADVISORIES,
    subjects.TIMERS_STREAM: Role.TIMERS,
    subjects.OUTBOUND_STREAM: Role.OUTBOUND,
}
_TRIES = 20
_PAUSE = 0.2
_OURS = ("CAXTON_", "KV_caxton-", "OBJ_caxton-")


class StreamStates:
    """See `ports.Streams`."""

    def __init__(self, connection: Connection, deployment: Deployment, marks: Marks) -> None:
        self._connection = connection
        self._marks = marks
        options = Options(platform=deployment.platform, shards=deployment.shards)
        self._expected = [str(config["name"]) for config in streams(options)]
        self._forget: Callable[[], None] = lambda: None
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look after each reconnection, before new messages hide that old ones are gone."""
        self._forget = self._connection.on_reconnect(self._look_soon)

    async def stop(self) -> None:
        """Look no more."""
        self._forget()
        if self._looking is not None:
            await end([self._looking])

    async def states(self) -> list[StreamState]:
        """Return the state of each stream that there is or should be."""
        marks = self._marks.taken()
        infos, leaderless = await self._list()
        found = {info["config"]["name"]: info for info in infos}
        there = [self._state(name, found[name], marks) for name in found if name.startswith(_OURS)]
        there += [
            StreamState(name=name, role=_role(name), has_leader=False)
            for name in sorted(leaderless - found.keys())
            if name.startswith(_OURS)
        ]
        gone = [name for name in self._expected if name not in found.keys() | leaderless]
        return there + [StreamState(name=name, role=_role(name), missing=True) for name in gone]

    def connection(self) -> ConnectionState:
        """Return the state of the connection."""
        return self._connection.state()

    def _state(self, name: str, info: dict[str, Any], marks: Mapping[str, int]) -> StreamState:
        state = _state(name, info)
        gone = self._marks.compare(name, state.last_sequence, marks)
        return msgspec.structs.replace(state, gone=gone)

    def _look_soon(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        for _ in range(_TRIES):
            try:
                await self.states()
            except CaxtonError:
                # A server that has just started may not answer yet.
                await asyncio.sleep(_PAUSE)
            else:
                return

    async def _list(self) -> tuple[list[dict[str, Any]], set[str]]:
        """Return what is said of each stream, and the names of those nobody answers for."""
        found: list[dict[str, Any]] = []
        unanswered: set[str] = set()
        while True:
            offset = len(found) + len(unanswered)
            answer = await self._connection.api("STREAM.LIST", {"offset": offset})
            page = answer.get("streams") or []
            found += page
            unanswered |= set(answer.get("missing") or ())
            if not page or len(found) + len(unanswered) >= int(answer["total"]):
                return found, unanswered


def _role(name: str) -> Role:
    if name.startswith(subjects.MAILBOX_STREAM):
        return Role.MAILBOX
    return _ROLES.get(name, Role.OTHER)


def _state(name: str, info: dict[str, Any]) -> StreamState:
    state, config = info["state"], info["config"]
    messages = int(state["messages"])
    first_at: datetime | None = moment(state["first_ts"]) if messages else None
    replicas = (info.get("cluster") or {}).get("replicas") or ()
    return StreamState(
        name=name,
        role=_role(name),
        messages=messages,
        bytes=int(state["bytes"]),
        last_sequence=int(state["last_seq"]),
        behind=tuple(one["name"] for one in replicas if one.get("offline") or not one["current"]),
        first_at=first_at,
        consumers=int(state.get("consumer_count", 0)),
        max_messages=_limit(config.get("max_msgs")),
        max_bytes=_limit(config.get("max_bytes")),
        max_consumers=_limit(config.get("max_consumers")),
    )


def _limit(value: int | None) -> int | None:
    """Return the limit, or None for what JetStream writes as -1."""
    return value if value is not None and value > 0 else None
