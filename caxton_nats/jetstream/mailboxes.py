"""Mailboxes: one subject per agent in one of the mailbox streams, read through one consumer."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import msgspec
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.errors import InvalidEnvelope, StreamMissing, TransportError
from caxton_nats.core.identifiers import AgentId, agent_token
from caxton_nats.core.registry import Address
from caxton_nats.jetstream import direct, subjects, topology
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.errors import translate
from caxton_nats.jetstream.headers import kept_headers, stored_headers
from caxton_nats.jetstream.inbox import PullInbox
from caxton_nats.jetstream.times import moment
from caxton_nats.ports import Delivery, MailboxStatus
from caxton_nats.tasks import heeding_cancellation

_A_MOMENT = timedelta(milliseconds=50)


class ConsumerOptions(msgspec.Struct, frozen=True):
    """What a mailbox consumer of this process asks for."""

    ack_wait: float = 30.0
    """Seconds after which a delivery that nobody keeps or settles comes again."""
    max_deliver: int = 100
    """Hard ceiling of deliveries; beyond the most retries a message may have (10)."""


class JetStreamMailboxes:
    """All mailboxes of one deployment (see `ports.Mailboxes`)."""

    def __init__(
        self, connection: Connection, deployment: topology.Deployment, options: ConsumerOptions
    ) -> None:
        self._connection = connection
        self._shards = deployment.shards
        self._platform = deployment.platform
        self._options = options
        self._began: dict[AgentId, tuple[datetime, float]] = {}
        """Since when a mailbox is held by us: the time of the server, and our own."""

    def address(self, agent: AgentId) -> Address:
        """Return where the agent's mail lies, whether or not it is registered."""
        return subjects.address(agent, self._shards)

    async def ensure(self, agent: AgentId) -> Address:
        """Make the mailbox readable: its durable consumer."""
        address = self.address(agent)
        config = topology.consumer("mailbox")
        config.update(
            durable_name=address.consumer,
            description=f"Mail of {agent}",
            filter_subject=address.subject,
            ack_wait=int(self._options.ack_wait * 1e9),
            max_deliver=self._options.max_deliver,
        )
        await topology.ensure_consumer(self._connection, address.stream, config)
        return address

    async def open(self, agent: AgentId) -> PullInbox:
        """Return the agent's mailbox for reading."""
        address = await self.ensure(agent)
        inbox = PullInbox(
            self._connection, address.stream, address.consumer, presence=_presence(agent)
        )
        await inbox.start()
        return inbox

    async def status(self, agent: AgentId) -> MailboxStatus:
        """Return what the mailbox holds; an agent without a consumer is not attended."""
        address = self.address(agent)
        pending = (await self._subject_counts(address.stream, address.subject)).get(
            address.subject, 0
        )
        try:
            info = await self._connection.api(f"CONSUMER.INFO.{address.stream}.{address.consumer}")
        except StreamMissing:
            return MailboxStatus(pending, 0, attended=False)
        return _status(pending, info)

    async def statuses(self) -> dict[AgentId, MailboxStatus]:
        """Return what each mailbox holds: one request for every 256 consumers of a stream."""
        pending, *read = await asyncio.gather(
            self.pending(),
            *(self._consumers(f"{subjects.MAILBOX_STREAM}{n}") for n in range(self._shards)),
        )
        found = {agent: MailboxStatus(held, 0, attended=False) for agent, held in pending.items()}
        for info in [info for shard in read for info in shard]:
            agent = self._owner(info["config"].get("filter_subject", ""))
            if agent is not None:
                found[agent] = _status(pending.get(agent, 0), info)
        return found

    async def opened(self, agent: AgentId) -> bool:
        """Return whether a process has the mailbox open.

        The server answers at once when nobody listens. Somebody who listens and does not answer
        (stopped, or cut off for the moment) has it open still.
        """
        try:
            with heeding_cancellation():
                await self._connection.client.request(
                    _presence(agent), b"", timeout=self._connection.timeout
                )
        except NoRespondersError:
            return False
        except TimeoutError:
            return True
        except NatsError as error:
            raise translate(error, f"asking who reads the mail of {agent}") from None
        return True

    async def taken(self, stored: Delivery) -> bool:
        """Return whether the message was ever handed out by the consumer that is there now."""
        consumer = subjects.consumer_of(stored.subject)
        try:
            info = await self._connection.api(f"CONSUMER.INFO.{stored.origin.stream}.{consumer}")
        except StreamMissing:
            return False
        delivered: int = info["delivered"]["stream_seq"]
        return delivered >= stored.origin.sequence

    async def pending(self) -> dict[AgentId, int]:
        """Return the number of unsettled messages per agent that has any."""
        counts = await asyncio.gather(
            *(
                self._subject_counts(
                    f"{subjects.MAILBOX_STREAM}{shard}", f"{subjects.MAILBOX}.{shard}.*"
                )
                for shard in range(self._shards)
            )
        )
        return {
            subjects.agent_of(subject, self._platform): number
            for shard in counts
            for subject, number in shard.items()
        }

    async def remove(self, agent: AgentId) -> None:
        """Forget the consumer. Stored messages stay."""
        address = self.address(agent)
        try:
            await self._connection.api(f"CONSUMER.DELETE.{address.stream}.{address.consumer}")
        except StreamMissing:
            return

    async def get(self, origin: Origin) -> Delivery | None:
        """Return the stored message, or None if it is settled."""
        try:
            answer = await self._connection.api(
                f"STREAM.MSG.GET.{origin.stream}", {"seq": origin.sequence}
            )
        except StreamMissing:
            return None
        return _stored(origin, answer["message"])

    async def list(self, agent: AgentId, *, limit: int) -> list[Delivery]:
        """Return what is stored for the agent, the newest first."""
        address = self.address(agent)
        found = await direct.newest(self._connection, address.stream, address.subject, limit)
        return [
            Delivery(
                origin=Origin(address.stream, one.sequence),
                subject=one.subject,
                body=one.body,
                headers=one.headers,
                attempt=1,
                stored_at=one.stored_at,
            )
            for one in found
        ]

    async def hold(self, agent: AgentId, until: datetime) -> None:
        """Pause the consumer; without one nothing is handed out anyway."""
        answer = await self._pause(agent, until)
        if answer is None:
            return
        if not answer.get("paused"):
            raise TransportError(
                f"the mailbox of {agent} cannot be held: for the server {until} has passed",
                hint="the clocks of this machine and of the server differ too much",
            )
        left = timedelta(microseconds=int(answer["pause_remaining"]) // 1000)
        self._began[agent] = until - left, monotonic()

    async def release(self, agent: AgentId) -> None:
        """Let the consumer go on in a moment.

        When nats-server 2.15 is told to go on at once, it leaves those unserved who have been
        waiting; a pause that has passed by itself wakes them.
        """
        if agent in self._began:
            began, then = self._began.pop(agent)
            await self._pause(agent, began + timedelta(seconds=monotonic() - then) + _A_MOMENT)

    async def discard(self, origin: Origin) -> bool:
        """Settle the stored message from outside; False if it was settled already."""
        try:
            await self._connection.api(
                f"STREAM.MSG.DELETE.{origin.stream}", {"seq": origin.sequence, "no_erase": True}
            )
        except StreamMissing:
            return False
        return True

    async def stored(self) -> int:
        """Return how many messages all mailboxes ever stored, settled ones included."""
        infos = await asyncio.gather(
            *(
                self._connection.api(f"STREAM.INFO.{subjects.MAILBOX_STREAM}{shard}")
                for shard in range(self._shards)
            )
        )
        return sum(int(info["state"]["last_seq"]) for info in infos)

    async def _pause(self, agent: AgentId, until: datetime) -> dict[str, Any] | None:
        """Return the server's answer; None if there is no consumer."""
        address = self.address(agent)
        body = {"pause_until": until.astimezone(UTC).isoformat().replace("+00:00", "Z")}
        try:
            return await self._connection.api(
                f"CONSUMER.PAUSE.{address.stream}.{address.consumer}", body
            )
        except StreamMissing:
            return None

    async def _consumers(self, stream: str) -> Sequence[dict[str, Any]]:
        found: deque[dict[str, Any]] = deque()
        while True:
            answer = await self._connection.api(f"CONSUMER.LIST.{stream}", {"offset": len(found)})
            page = answer.get("consumers") or []
            found += page
            if not page or len(found) >= int(answer["total"]):
                return found

    def _owner(self, subject: str) -> AgentId | None:
        """Return whose mailbox a consumer reads; None if it is not one of ours."""
        try:
            return subjects.agent_of(subject, self._platform)
        except InvalidEnvelope:
            return None

    async def _subject_counts(self, stream: str, subject: str) -> dict[str, int]:
        answer = await self._connection.api(f"STREAM.INFO.{stream}", {"subjects_filter": subject})
        counts: dict[str, int] | None = answer["state"].get("subjects")
        return counts or {}


def _presence(agent: AgentId) -> str:
    return f"{subjects.READER}.{agent_token(agent)}"


def _status(pending: int, info: dict[str, Any]) -> MailboxStatus:
    return MailboxStatus(
        pending, info.get("num_ack_pending", 0), attended=info.get("num_waiting", 0) > 0
    )


def _stored(origin: Origin, message: dict[str, Any]) -> Delivery:
    return Delivery(
        origin=origin,
        subject=message["subject"],
        body=b64decode(message.get("data") or ""),
        headers=kept_headers(stored_headers(message.get("hdrs"))),
        attempt=1,
        stored_at=moment(message["time"]),
    )
