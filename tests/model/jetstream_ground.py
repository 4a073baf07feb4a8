"""The same ground over a real server: ten of a schedule's seconds are one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from caxton_nats.app import RandomIds
from caxton_nats.core.conversation import Terms
from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.disposition import RetryPolicy
from caxton_nats.core.errors import StreamMissing
from caxton_nats.core.identifiers import AgentId, agent_token
from caxton_nats.engine.receiver import MailboxOptions
from caxton_nats.engine.router import RouterOptions
from caxton_nats.jetstream import direct, subjects, topology
from caxton_nats.jetstream.acks import Post
from caxton_nats.jetstream.adapter import open_ports
from caxton_nats.jetstream.connection import Connection, connect
from caxton_nats.jetstream.inbox import PullInbox
from caxton_nats.jetstream.mailboxes import ConsumerOptions
from caxton_nats.jetstream.publisher import JetStreamPublisher
from caxton_nats.ports import Inbox, Ports
from tests.model.ground import PLATFORM
from tests.model.records import Rules
from tests.plugins.clock import RealClock
from tests.plugins.deployments import deploy

SCALE = 0.1
ACK_WAIT = 1.0
LONGEST = 1.0
"""Seconds that any single command lets pass, at most."""


class JetStreamGround:
    """See `ground.Ground`."""

    def __init__(
        self, url: str, connection: Connection, deployment: topology.Deployment, rules: Rules
    ) -> None:
        self.rules = rules
        self.scale = SCALE
        self._url = url
        self._connection = connection
        self._deployment = deployment
        self._clock = RealClock()
        self._start = self._clock.now()
        self.router = RouterOptions(platform=PLATFORM, queue_size=rules.queue_size, terms=Terms())
        self.mailbox = MailboxOptions(
            policy=RetryPolicy(max_retries=rules.max_retries, delay=timedelta(seconds=SCALE)),
            concurrency=3,
            ack_wait=timedelta(seconds=ACK_WAIT),
            drain=timedelta(seconds=2 * SCALE),
            breaker_threshold=0,
        )
        self._options = ConsumerOptions(ACK_WAIT, 7)
        self._publisher: JetStreamPublisher | None = None

    def now(self) -> float:
        return self.seconds(self._clock.now())

    def seconds(self, moment: object) -> float:
        assert isinstance(moment, datetime)
        return (moment - self._start).total_seconds()

    def moment(self, seconds: float) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds * SCALE)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds * SCALE, LONGEST))

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Ports]:
        connection = await connect(self._url, name="model")
        try:
            async with open_ports(
                connection, self._deployment, self._options, clock=self._clock, ids=RandomIds()
            ) as ports:
                yield ports
        finally:
            await connection.close()

    async def ingress(self) -> Inbox:
        return await self._reading(subjects.INGRESS_STREAM, "router")

    async def advisories(self) -> Inbox:
        return await self._reading(subjects.ADVISORIES_STREAM, "advisories")

    async def _reading(self, stream: str, template: str) -> Inbox:
        config = topology.consumer(template)
        config["ack_wait"] = int(ACK_WAIT * 1e9)
        await topology.ensure_consumer(self._connection, stream, config)
        inbox = PullInbox(self._connection, stream, subjects.ROUTER_CONSUMER)
        await inbox.start()
        return inbox

    async def submit(self, sender: AgentId, body: bytes) -> None:
        if self._publisher is None:
            self._publisher = JetStreamPublisher(self._connection, queue_size=10_000)
            await self._publisher.start()
        await self._publisher.store_one(Post(f"{subjects.SUBMIT}.{agent_token(sender)}", body, {}))

    async def last(self) -> dict[str, int]:
        return {
            stream: await direct.last_sequence(self._connection, stream)
            for stream in self._mailboxes()
        }

    async def pending(self) -> set[Origin]:
        found: set[Origin] = set()
        for stream in self._mailboxes():
            found |= {Origin(stream, one.sequence) for one in await self._all(stream)}
        return found

    async def submitted(self) -> int:
        info = await self._connection.api(f"STREAM.INFO.{subjects.INGRESS_STREAM}")
        return int(info["state"]["messages"])

    def agent_of(self, subject: str) -> AgentId:
        return subjects.agent_of(subject, PLATFORM)

    def _mailboxes(self) -> list[str]:
        return [f"{subjects.MAILBOX_STREAM}{shard}" for shard in range(self._deployment.shards)]

    async def _all(self, stream: str) -> list[direct.Record]:
        found: list[direct.Record] = []
        while True:
            start = found[-1].sequence + 1 if found else 1
            wanted = {
                "seq": start,
                "next_by_subj": f"{subjects.ANY_MAIL}.>",
                "batch": direct.BATCH,
            }
            try:
                page = await direct.batch(self._connection, stream, wanted)
            except StreamMissing:
                return found
            found += page
            if len(page) < direct.BATCH:
                return found


@asynccontextmanager
async def deployed(url: str) -> AsyncIterator[JetStreamGround]:
    """Yield an empty ground on this server."""
    rules = Rules(
        duplicate_window=6.0,
        patience=3 * SCALE,
        conversation_timeout=1800.0,
        conversation_lifetime=7 * 86400.0,
        slack=0.5,
    )
    connection = await connect(url, name="ground")
    try:
        options = topology.Options(
            platform=PLATFORM,
            shards=2,
            queue_size=rules.queue_size,
            duplicate_window=rules.duplicate_window,
        )
        deployment = await deploy(connection, options)
        yield JetStreamGround(url, connection, deployment, rules)
    finally:
        await connection.close()
