"""Leases in the bucket caxton-leases, and signs of life by core NATS requests.

Whoever runs an instance answers on ``caxton.alive.<instance>``. The server says at once that there
is nobody ("no responders") when the connection of a process has gone, so a crash is known without
waiting for a lease to end.
"""

from __future__ import annotations

import logging

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from caxton_nats.core.identifiers import AgentId, agent_from_token, agent_token
from caxton_nats.core.lease import Health, Lease
from caxton_nats.jetstream import subjects
from caxton_nats.jetstream.bucket import Bucket
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.errors import translate
from caxton_nats.jetstream.publisher import JetStreamPublisher
from caxton_nats.ports import Pulse
from caxton_nats.tasks import heeding_cancellation

PATIENCE = 2.0
"""Seconds that a sign of life may take."""
log = logging.getLogger("caxton_nats.jetstream")


class _HealthMirror:
    """Carries the bucket's changes, which speak of keys, into the mirror."""

    def __init__(self, health: Health, platform: str) -> None:
        self._platform = platform
        self.replace = health.replace
        self.put = health.put
        self._remove = health.remove

    def forget(self, key: str) -> None:
        self._remove(agent_from_token(key, self._platform))


class KvLeases:
    """See `ports.Leases`; one key per agent."""

    def __init__(
        self, connection: Connection, publisher: JetStreamPublisher, platform: str
    ) -> None:
        self._connection = connection
        self._bucket = Bucket(connection, publisher, subjects.LEASES_BUCKET, Lease)
        self._platform = platform
        self._answering: dict[str, Subscription] = {}

    async def save(self, lease: Lease, *, revision: int | None) -> int:
        """Write it if the stored revision is still this."""
        return await self._bucket.save(agent_token(lease.agent), lease, revision=revision)

    async def load(self, agent: AgentId) -> tuple[Lease, int] | None:
        """Return the agent's lease and its revision."""
        return await self._bucket.load(agent_token(agent))

    async def remove(self, agent: AgentId) -> bool:
        """Remove the lease; False if there was none."""
        return bool(await self._bucket.remove(agent_token(agent)))

    async def follow(self, health: Health) -> None:
        """Keep ``health`` equal to the bucket; returns when the first complete state is in."""
        await self._bucket.follow(_HealthMirror(health, self._platform))

    async def answer_for(self, instance: str) -> None:
        """Answer requests for this instance."""
        try:
            self._answering[instance] = await self._connection.client.subscribe(
                _subject(instance), cb=self._answer
            )
            # Who finds the lease must find somebody who answers.
            with heeding_cancellation():
                await self._connection.client.flush(timeout=int(max(1, self._connection.timeout)))
        except (NatsError, TimeoutError) as error:
            raise translate(error, "answering for an agent") from None

    async def fall_silent(self, instance: str) -> None:
        """Answer no more."""
        subscription = self._answering.pop(instance, None)
        if subscription is None:
            return
        try:
            await subscription.unsubscribe()
        except NatsError as error:
            # Closed, the connection answers for nobody.
            log.debug("instance %s: %r", instance, error)

    async def pulse(self, instance: str) -> Pulse:
        """Ask, and wait a moment for the answer."""
        try:
            with heeding_cancellation():
                await self._connection.client.request(_subject(instance), b"", timeout=PATIENCE)
        except NoRespondersError:
            return Pulse.GONE
        except (NatsError, TimeoutError):
            return Pulse.SILENT
        return Pulse.ANSWERS

    async def stop(self) -> None:
        """End the watch, and answer for nobody."""
        await self._bucket.stop()
        for instance in list(self._answering):
            await self.fall_silent(instance)

    async def _answer(self, message: Msg) -> None:
        try:
            if subjects.may_be_answered(message.reply):
                await self._connection.client.publish(message.reply, b"")
        except NatsError as error:
            log.warning("a request on %s has no answer: %r", message.subject, error)


def _subject(instance: str) -> str:
    return f"{subjects.ALIVE}.{instance}"
