"""Mailboxes: one subject per agent in one of the mailbox streams, read through one consumer."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
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
from caxton_nats.jetstream.unsettled import delivery, unsettled
from caxton_nats.jetstream.urgent import UrgentInbox
from caxton_nats.ports import Delivery, Inbox, MailboxStatus
from caxton_nats.tasks import heeding_cancellation

_A_MOMENT = timedelta(milliseconds=50)
_SURE = 30.0
"""Seconds for which a consumer that was made is taken to be there."""


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
        self._platform, self._queue_size = deployment.platform, deployment.queue_size
        self._options = options
        self._began: dict[str, tuple[datetime, float]] = {}
        """Since when a consumer is held by us: the time of the server, and our own."""
        self._announced: dict[AgentId, float] = {}

    def address(self, agent: AgentId, *, urgent: bool = False) -> Address:
        """Return where the agent's mail lies, whether or not it is registered."""
        return subjects.address(agent, self._shards, urgent=urgent)

    async def ensure(self, agent: AgentId) -> Address:
        """Make the mailbox readable: its durable consumer."""
        return await self._ensure(agent, urgent=False)

    async def announce(self, agent: AgentId) -> None:
        """Make the urgent mail readable, and tell who has the mailbox open."""
        now = monotonic()
        if now - self._announced.get(agent, -_SURE) > _SURE:
            await self._ensure(agent, urgent=True)
            self._announced[agent] = now
        try:
            await self._connection.client.publish(_news(agent))
        except NatsError as error:
            raise translate(error, f"telling {agent} of urgent mail") from None

    async def _ensure(self, agent: AgentId, *, urgent: bool) -> Address:
        address = self.address(agent, urgent=urgent)
        config = topology.consumer("mailbox")
        config.update(
            durable_name=address.consumer,
            description=f"{'Urgent mail' if urgent else 'Mail'} of {agent}",
            filter_subject=address.subject,
            ack_wait=int(self._options.ack_wait * 1e9),
            max_deliver=self._options.max_deliver,
            # Fresh mail must not wait for a mailbox full of what went back for a while.
            max_ack_pending=max(config["max_ack_pending"], self._queue_size),
        )
        await topology.ensure_consumer(self._connection, address.stream, config)
        return address

    async def open(self, agent: AgentId, *, urgent: bool = False) -> Inbox:
        """Return the agent's mailbox for reading."""
        if urgent:
            return await self._open_urgent(agent)
        address = await self.ensure(agent)
        inbox = PullInbox(
            self._connection, address.stream, address.consumer, presence=_presence(agent)
        )
        await inbox.start()
        return inbox

    async def _open_urgent(self, agent: AgentId) -> UrgentInbox:
        address = self.address(agent, urgent=True)

        async def exists() -> bool:
            waits = await self._subject_counts(address.stream, address.subject)
            if waits:
                await self._ensure(agent, urgent=True)
            return bool(waits) or await self._consumer(address) is not None

        pulls = PullInbox(self._connection, address.stream, address.consumer)
        inbox = UrgentInbox(self._connection, pulls, exists)
        await inbox.start(_news(agent))
        return inbox

    async def unsettled(self, agent: AgentId, *, urgent: bool = False) -> list[Delivery]:
        """Return what was handed out by this way and nobody has settled, oldest first."""
        address = self.address(agent, urgent=urgent)
        found = await self._consumer(address)
        return [] if found is None else await unsettled(self._connection, address, found)

    async def status(self, agent: AgentId) -> MailboxStatus:
        """Return what the mailbox holds; an agent without a consumer is not attended."""
        address = self.address(agent)
        counts = await self._subject_counts(address.stream, _both(address))
        pending = sum(counts.values())
        found = await self._consumer(address)
        status = MailboxStatus(pending, 0, attended=False)
        if found is not None:
            status = _status(pending, found)
        urgent = self.address(agent, urgent=True)
        if urgent.subject in counts and (found := await self._consumer(urgent)) is not None:
            status = _together(status, _status(pending, found))
        return status

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
                held = pending.get(agent, 0)
                before = found.get(agent, MailboxStatus(held, 0, attended=False))
                now = _status(held, info)
                urgent = info["config"]["filter_subject"].startswith(f"{subjects.URGENT}.")
                found[agent] = _together(before, now) if urgent else _together(now, before)
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
        info = await self._consumer(Address(stored.origin.stream, stored.subject, consumer))
        if info is None:
            return False
        delivered: int = info["delivered"]["stream_seq"]
        return delivered >= stored.origin.sequence

    async def pending(self) -> dict[AgentId, int]:
        """Return the number of unsettled messages per agent that has any."""
        counts = await asyncio.gather(
            *(
                self._subject_counts(
                    f"{subjects.MAILBOX_STREAM}{shard}", f"{subjects.ANY_MAIL}.{shard}.*"
                )
                for shard in range(self._shards)
            )
        )
        found: Counter[AgentId] = Counter()
        for shard in counts:
            for subject, number in shard.items():
                agent = self._owner(subject)
                if agent is not None:
                    found[agent] += number
        return dict(found)

    async def remove(self, agent: AgentId) -> None:
        """Forget the consumers. Stored messages stay."""
        self._announced.pop(agent, None)
        for urgent in (True, False):
            address = self.address(agent, urgent=urgent)
            with suppress(StreamMissing):
                await self._connection.api(f"CONSUMER.DELETE.{address.stream}.{address.consumer}")

    async def get(self, origin: Origin) -> Delivery | None:
        """Return the stored message, or None if it is settled."""
        try:
            answer = await self._connection.api(
                f"STREAM.MSG.GET.{origin.stream}", {"seq": origin.sequence}
            )
        except StreamMissing:
            return None
        return _stored(origin, answer["message"])

    async def list(self, agent: AgentId, *, limit: int, latest: bool = False) -> list[Delivery]:
        """Return what is stored for the agent, the newest first."""
        address = self.address(agent)
        read = direct.newest_of_leader if latest else direct.newest
        found = await read(self._connection, address.stream, _both(address), limit)
        return [delivery(one, address.stream) for one in found]

    async def hold(self, agent: AgentId, until: datetime) -> None:
        """Pause the consumers; without one nothing is handed out anyway."""
        for urgent in (False, True):
            address = self.address(agent, urgent=urgent)
            answer = await self._pause(address, until)
            if answer is None:
                continue
            if not answer.get("paused"):
                raise TransportError(
                    f"the mailbox of {agent} cannot be held: for the server {until} has passed",
                    hint="the clocks of this machine and of the server differ too much",
                )
            left = timedelta(microseconds=int(answer["pause_remaining"]) // 1000)
            self._began[address.subject] = until - left, monotonic()

    async def release(self, agent: AgentId) -> None:
        """Let the consumers go on in a moment.

        When nats-server 2.15 is told to go on at once, it leaves those unserved who have been
        waiting; a pause that has passed by itself wakes them.
        """
        for urgent in (False, True):
            address = self.address(agent, urgent=urgent)
            if address.subject in self._began:
                began, then = self._began.pop(address.subject)
                until = began + timedelta(seconds=monotonic() - then) + _A_MOMENT
                await self._pause(address, until)

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

    async def _pause(self, address: Address, until: datetime) -> dict[str, Any] | None:
        """Return the server's answer; None if there is no consumer."""
        body = {"pause_until": until.astimezone(UTC).isoformat().replace("+00:00", "Z")}
        try:
            return await self._connection.api(
                f"CONSUMER.PAUSE.{address.stream}.{address.consumer}", body
            )
        except StreamMissing:
            return None

    async def _consumer(self, address: Address) -> dict[str, Any] | None:
        try:
            return await self._connection.api(f"CONSUMER.INFO.{address.stream}.{address.consumer}")
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
        """Return whose mailbox the subject is; None if it is not one of ours."""
        try:
            return subjects.agent_of(subject, self._platform)
        except InvalidEnvelope:
            return None

    async def _subject_counts(self, stream: str, subject: str) -> dict[str, int]:
        answer = await self._connection.api(f"STREAM.INFO.{stream}", {"subjects_filter": subject})
        counts: dict[str, int] | None = answer["state"].get("subjects")
        return counts or {}


def _news(agent: AgentId) -> str:
    return f"{_presence(agent)}.urgent"


def _both(ordinary: Address) -> str:
    """Return the subject filter for all the mail of an agent."""
    return ordinary.subject.replace(subjects.MAILBOX, subjects.ANY_MAIL, 1)


def _together(ordinary: MailboxStatus, urgent: MailboxStatus) -> MailboxStatus:
    """Return the status of a mailbox that is read in two ways; who is there reads the ordinary."""
    in_flight = ordinary.in_flight + urgent.in_flight
    return MailboxStatus(ordinary.pending, in_flight, attended=ordinary.attended)


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
