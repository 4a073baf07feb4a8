"""Links to other platforms: servers joined by a leaf node, each with a JetStream domain of its own.

All that crosses is below ``caxton.link``, the ways of the answers included: whoever joins the
servers lets nothing else across (docs/remote.md), or the streams of both would take each other's
messages. A PubAck that comes back is the other server's word that it has the message.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial

import msgspec
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.errors import CaxtonError, PublishUnconfirmed
from caxton_nats.core.identifiers import AgentId, agent_token, token, untoken
from caxton_nats.core.reading import UNREADABLE
from caxton_nats.core.registry import Address
from caxton_nats.core.remote import NodeId
from caxton_nats.jetstream import subjects, topology
from caxton_nats.jetstream.acks import read_ack
from caxton_nats.jetstream.client import Denied
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.errors import translate
from caxton_nats.jetstream.headers import MSG_ID, STATUS
from caxton_nats.jetstream.inbox import PullInbox
from caxton_nats.jetstream.mailboxes import ConsumerOptions
from caxton_nats.ports import Stored
from caxton_nats.ports.remote import Parcel

RESERVE = 16_384
"""Bytes of a message that are left to its headers."""
log = logging.getLogger("caxton_nats.jetstream")


class _Presence(msgspec.Struct, frozen=True):
    """The answer to a ping."""

    platform: str


class NatsLinks:
    """See `ports.Links`."""

    def __init__(self, connection: Connection, platform: str, options: ConsumerOptions) -> None:
        self._connection = connection
        self._platform = platform
        self._options = options
        unique = connection.client.new_inbox().rsplit(".", 1)[-1]
        self._reply = f"{subjects.LINK}.reply.{token(platform)}.{unique}"
        self._asked: dict[str, tuple[str, asyncio.Future[Msg]]] = {}
        self._listening: asyncio.Task[None] | None = None
        self._last = 0

    @property
    def max_parcel(self) -> int:
        """Bytes of a parcel's body: what this server takes; the others must take as much."""
        return self._connection.max_payload - RESERVE

    def address(self, agent: AgentId, node: NodeId) -> Address:
        """Return where a letter waits for its link."""
        return subjects.outbound_address(agent, node)

    def receiver(self, subject: str) -> AgentId:
        """Return whom it is for."""
        return subjects.outbound_receiver(subject)

    def sender(self, subject: str) -> AgentId:
        """Return who sent it."""
        return subjects.link_sender(subject, self._platform)

    def holds(self, origin: Origin) -> bool:
        """Return whether it is one of the outbound stream."""
        return origin.stream == subjects.OUTBOUND_STREAM

    async def waiting(self) -> dict[NodeId, int]:
        """Return how much mail waits, by node."""
        answer = await self._connection.api(
            f"STREAM.INFO.{subjects.OUTBOUND_STREAM}", {"subjects_filter": ">"}
        )
        counts: dict[NodeId, int] = {}
        for subject, number in (answer["state"].get("subjects") or {}).items():
            node = NodeId(untoken(subject.split(".")[-2]))
            counts[node] = counts.get(node, 0) + number
        return counts

    async def outbound(self, node: NodeId) -> PullInbox:
        """Return what waits for a node."""
        config = topology.consumer("outbound")
        address = self.address(AgentId(f"*@{node}"), node)
        config.update(
            durable_name=address.consumer,
            description=f"Mail for {node}",
            filter_subject=f"{subjects.OUTBOUND}.{token(node)}.*",
        )
        return await self._inbox(subjects.OUTBOUND_STREAM, config)

    async def inbound(self) -> PullInbox:
        """Return what other platforms have sent here."""
        return await self._inbox(subjects.LINK_STREAM, topology.consumer("link"))

    async def forward(self, node: NodeId, parcels: Sequence[Parcel]) -> list[Stored | CaxtonError]:
        """Store the parcels at the other end."""
        answers = await asyncio.gather(
            *(
                self._ask(
                    f"{subjects.LINK}.mail.{token(node)}.{token(self._platform)}"
                    f".{agent_token(parcel.sender)}",
                    parcel.body,
                    headers={**parcel.headers, MSG_ID: parcel.message_key},
                    wait=self._connection.timeout,
                )
                for parcel in parcels
            )
        )
        return [answer if isinstance(answer, CaxtonError) else _ack(answer) for answer in answers]

    async def ping(self, node: NodeId, *, wait: timedelta) -> str | None:
        """Return the name of the platform at the other end; None if nobody answers in time."""
        subject = f"{subjects.LINK}.ping.{token(node)}.{token(self._platform)}"
        answer = await self._ask(subject, b"", headers={}, wait=wait.total_seconds())
        if isinstance(answer, CaxtonError) or (answer.headers or {}).get(STATUS) == "503":
            return None
        try:
            return msgspec.json.decode(answer.data, type=_Presence).platform
        except UNREADABLE as error:
            log.warning("what answers for node %a is no platform: %s", node, error)
            return None

    async def answer_pings(self) -> Callable[[], Awaitable[None]]:
        """Tell other platforms that ask that this one is there."""
        body = msgspec.json.encode(_Presence(self._platform))

        async def answer(message: Msg) -> None:
            if message.reply.startswith(f"{subjects.LINK}.reply."):
                await self._connection.client.publish(message.reply, body)

        subscription = await self._connection.client.subscribe(
            f"{subjects.LINK}.ping.{token(self._platform)}.*", queue="caxton-router", cb=answer
        )
        await self._connection.client.flush()

        async def stop() -> None:
            try:
                await subscription.unsubscribe()
            except NatsError as error:
                log.warning("pings are still answered: %r", error)

        return stop

    async def _inbox(self, stream: str, config: topology.Json) -> PullInbox:
        config["ack_wait"] = int(self._options.ack_wait * 1e9)
        inbox = PullInbox(
            self._connection,
            stream,
            config["durable_name"],
            ensure=partial(topology.ensure_consumer, self._connection, stream, config),
        )
        await inbox.start()
        return inbox

    async def _ask(
        self, subject: str, body: bytes, *, headers: Mapping[str, str], wait: float
    ) -> Msg | CaxtonError:
        """Publish with a way back that may cross the link, and return what comes."""
        self._last += 1
        name = str(self._last)
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._asked[name] = subject, answer
        try:
            await self._listen()
            await self._connection.client.publish(
                subject, body, reply=f"{self._reply}.{name}", headers=dict(headers) or None
            )
            async with asyncio.timeout(wait):
                return await answer
        except (NatsError, ValueError) as error:
            return translate(error, f"publish to {subject}")
        except TimeoutError:
            return PublishUnconfirmed(f"{subject}: no answer from the other end in time")
        finally:
            self._asked.pop(name, None)

    async def _listen(self) -> None:
        """Subscribe once, however many ask at the same time, and before anything is asked."""
        if self._listening is None or (self._listening.done() and self._listening.exception()):
            self._listening = asyncio.create_task(self._subscribe())
        await self._listening

    async def _subscribe(self) -> None:
        self._connection.client.on_denied(self._on_denied)
        await self._connection.client.subscribe(f"{self._reply}.*", cb=self._on_answer)

    async def _on_answer(self, message: Msg) -> None:
        asked = self._asked.get(message.subject.rsplit(".", 1)[-1])
        if asked is not None and not asked[1].done():
            asked[1].set_result(message)

    def _on_denied(self, denied: Denied) -> None:
        for subject, answer in self._asked.values():
            if denied.subject in (subject, f"{self._reply}.*") and not answer.done():
                answer.set_exception(denied)


def _ack(answer: Msg) -> Stored | CaxtonError:
    return read_ack(answer.data, (answer.headers or {}).get(STATUS, ""))
