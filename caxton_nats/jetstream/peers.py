"""The routers of a platform: each has a record in the bucket caxton-routers, and can be asked.

Questions are core NATS requests on ``caxton.router.<id>.<question>``. The server answers at once
for a router whose connection is gone ("no responders"), so that a crash keeps nobody waiting; the
record that such a router has left behind is removed by whoever notices.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any

import msgspec
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from caxton_nats.core.errors import CaxtonError
from caxton_nats.jetstream import direct, subjects
from caxton_nats.jetstream.acks import Post
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.publisher import JetStreamPublisher
from caxton_nats.ports import Answer
from caxton_nats.tasks import end, heeding_cancellation

_MOST = 10_000
"""Routers that are asked at most."""
_STREAM = f"KV_{subjects.ROUTERS_BUCKET}"
log = logging.getLogger("caxton_nats.jetstream")


class _Presence(msgspec.Struct, frozen=True):
    """The record of a router, for `nats kv get caxton-routers ID`."""

    router: str
    node: str


class NatsPeers:
    """See `ports.Peers`."""

    def __init__(
        self, connection: Connection, publisher: JetStreamPublisher, *, own_id: str
    ) -> None:
        self._connection = connection
        self._publisher = publisher
        self._own_id = own_id
        self._answers: Mapping[str, Answer] = {}
        self._subscription: Subscription | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._forget: Callable[[], None] = _nothing

    @property
    def own_id(self) -> str:
        """This router's id."""
        return self._own_id

    async def join(self, answers: Mapping[str, Answer]) -> None:
        """Be asked from now on."""
        self._answers = answers
        self._subscription = await self._connection.client.subscribe(
            f"{subjects.ROUTER}.{self._own_id}.*", cb=self._on_question
        )
        # Who finds the record must find somebody who answers.
        await self._connection.listening(self._subscription.subject)
        await self._announce()
        # Somebody may have found us gone meanwhile.
        self._forget = self._connection.on_reconnect(lambda: self._start(self._announce_again()))

    async def leave(self) -> None:
        """Be asked no more."""
        self._forget()
        if self._subscription is None:
            return
        subscription, self._subscription = self._subscription, None
        await end(self._tasks)
        try:
            await self._remove(self._own_id)
            await subscription.unsubscribe()
        except (NatsError, CaxtonError) as error:
            log.warning("the record of router %s stays behind: %s", self._own_id, error)

    async def ask(
        self, question: str, body: bytes = b"", *, wait: timedelta
    ) -> dict[str, bytes | None]:
        """Ask every router at once."""
        subject = f"$KV.{subjects.ROUTERS_BUCKET}.*"
        found = await direct.newest(self._connection, _STREAM, subject, _MOST)
        routers = [record.subject.rsplit(".", 1)[-1] for record in found if not record.deleted]
        answers = await asyncio.gather(
            *(self._ask(router, question, body, wait) for router in routers)
        )
        return {
            router: answer
            for router, (there, answer) in zip(routers, answers, strict=True)
            if there
        }

    async def _ask(
        self, router: str, question: str, body: bytes, wait: timedelta
    ) -> tuple[bool, bytes | None]:
        """Return whether the router is there, and its answer."""
        subject = f"{subjects.ROUTER}.{router}.{question}"
        try:
            with heeding_cancellation():
                answer = await self._connection.client.request(
                    subject, body, timeout=wait.total_seconds()
                )
        except NoRespondersError:
            await self._remove(router)
            return False, None
        except (NatsError, TimeoutError):
            return True, None
        return True, bytes(answer.data)

    async def _announce(self) -> None:
        presence = _Presence(self._own_id, f"{socket.gethostname()}/{os.getpid()}")
        subject = f"$KV.{subjects.ROUTERS_BUCKET}.{self._own_id}"
        await self._publisher.store_one(Post(subject, msgspec.json.encode(presence), {}))

    async def _announce_again(self) -> None:
        try:
            await self._announce()
        except CaxtonError as error:
            log.warning("router %s is not on record: %s", self._own_id, error)

    async def _remove(self, router: str) -> None:
        # Purged, it leaves no marker behind: nobody watches this bucket.
        subject = f"$KV.{subjects.ROUTERS_BUCKET}.{router}"
        await self._connection.api(f"STREAM.PURGE.{_STREAM}", {"filter": subject})

    async def _on_question(self, message: Msg) -> None:
        self._start(self._answer(message))

    async def _answer(self, message: Msg) -> None:
        answer = self._answers.get(message.subject.rsplit(".", 1)[-1])
        if answer is None or not subjects.may_be_answered(message.reply):
            return
        try:
            body = await answer(bytes(message.data))
            await self._connection.client.publish(message.reply, body)
        except (NatsError, CaxtonError, ValueError) as error:
            # ValueError: anybody may ask, and no router asks like this.
            log.warning("a question on %a has no answer: %a", message.subject, str(error))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _nothing() -> None:
    pass
