"""Durable timers: scheduled messages of the stream CAXTON_TIMERS (JetStream ADR-51).

A timer is a message on ``caxton.timer.<kind>.<key>`` that the server turns into one on
``caxton.due.<kind>`` when its time has come; another on the same subject takes its place.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import msgspec

from caxton_nats.core.identifiers import token
from caxton_nats.jetstream import direct, subjects, topology
from caxton_nats.jetstream.acks import Post
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.headers import SCHEDULE, SCHEDULE_TARGET
from caxton_nats.jetstream.inbox import PullInbox
from caxton_nats.jetstream.mailboxes import ConsumerOptions
from caxton_nats.jetstream.publisher import JetStreamPublisher
from caxton_nats.ports import Due, Timer


class ScheduledTimers:
    """See `ports.Timers`."""

    def __init__(
        self, connection: Connection, publisher: JetStreamPublisher, options: ConsumerOptions
    ) -> None:
        self._connection = connection
        self._publisher = publisher
        self._options = options

    async def set(self, timer: Timer, at: datetime) -> None:
        """Have the timer come due; setting it again replaces it, so a lost answer is no trouble."""
        moment = at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        headers = {SCHEDULE: f"@at {moment}", SCHEDULE_TARGET: f"{subjects.DUE}.{timer.kind}"}
        subject = _subject(timer.kind, timer.key)
        await self._publisher.store_one(Post(subject, msgspec.json.encode(timer), headers))

    async def cancel(self, kind: str, key: str) -> None:
        """Forget the timer."""
        await self._connection.api(
            f"STREAM.PURGE.{subjects.TIMERS_STREAM}", {"filter": _subject(kind, key)}
        )

    async def inbox(self) -> PullInbox:
        """Return what is due."""
        config = topology.consumer("timers")
        config["ack_wait"] = int(self._options.ack_wait * 1e9)
        stream = subjects.TIMERS_STREAM
        inbox = PullInbox(
            self._connection,
            stream,
            subjects.ROUTER_CONSUMER,
            ensure=partial(topology.ensure_consumer, self._connection, stream, config),
        )
        await inbox.start()
        return inbox

    async def due(self) -> Due:
        """Return how many have come due and are not settled."""
        first = await direct.first(self._connection, subjects.TIMERS_STREAM, f"{subjects.DUE}.>")
        return Due() if first is None else Due(1 + first.behind_it, first.stored_at)


def _subject(kind: str, key: str) -> str:
    return f"{subjects.TIMER}.{kind}.{token(key)}"
