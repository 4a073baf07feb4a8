"""The doors of the router service on core NATS: registration, states, and ``caxton.send.*``.

All routers share a queue group, so each request meets one of them. The sender is the last token of
the subject: that is what NATS permissions can restrict, and a body that says otherwise is refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from caxton_nats.core.errors import CaxtonError, InvalidEnvelope, TransportError
from caxton_nats.core.fields import shown
from caxton_nats.core.identifiers import AgentId, check_message_id
from caxton_nats.core.lease import Heartbeat
from caxton_nats.core.lifecycle import seconds
from caxton_nats.core.reading import UNREADABLE, complaint, repeated
from caxton_nats.core.registry import AgentState
from caxton_nats.jetstream import subjects
from caxton_nats.jetstream.answers import error_body, respond
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.send_door import QUEUE_GROUP, SEND, SendDoor
from caxton_nats.jetstream.waiting import MOST, refusal
from caxton_nats.ports import Door, Registrar
from caxton_nats.tasks import Workers, end

T = TypeVar("T")
log = logging.getLogger("caxton_nats.jetstream")
Answer = Callable[[AgentId, bytes], Awaitable[dict[str, Any]]]


class _Registering(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a registration request; an empty one is `{}`."""

    capabilities: tuple[str, ...] = ()
    node: str = ""
    state: AgentState = AgentState.RUNNING
    instance: str | None = None
    """Of an agent that takes the lease, and sends heartbeats from now on."""
    lease: float | None = None

    def beat(self) -> Heartbeat | None:
        """Return the first heartbeat; None if the agent takes no lease."""
        if self.instance is not None:
            beat = Heartbeat(instance=self.instance)
            return beat if self.lease is None else msgspec.structs.replace(beat, lease=self.lease)
        if self.lease is None:
            return None
        raise InvalidEnvelope(
            "is missing: without one there is no lease",
            field="instance",
            hint='for example {"instance": "bob-1", "lease": 60}',
        )


class _Releasing(msgspec.Struct, forbid_unknown_fields=True):
    instance: str


class _Asking(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a question after a message."""

    message_id: str


class _Changing(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request for another state."""

    state: AgentState
    drain: float | None = None
    """Seconds; for Draining."""


class Doors:
    """Serves the request doors until closed."""

    def __init__(
        self,
        connection: Connection,
        door: Door,
        registrar: Registrar,
        *,
        platform: str,
        workers: Workers,
    ) -> None:
        self._connection = connection
        self._door = door
        self._registrar = registrar
        self._platform = platform
        self._sending = SendDoor(connection, door, platform=platform, workers=workers)
        self._subscriptions: list[Subscription] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Begin to answer."""
        await self._sending.open()
        for subject, callback in (
            (subjects.REGISTER, self._in_task(self._register)),
            (subjects.DEREGISTER, self._in_task(self._deregister)),
            (subjects.HEARTBEAT, self._in_task(self._heartbeat)),
            (subjects.RELEASE, self._in_task(self._release)),
            (subjects.RECEIPTS, self._in_task(self._receipts)),
            (subjects.STATE, self._in_task(self._update_state)),
        ):
            self._subscriptions.append(
                await self._connection.client.subscribe(
                    f"{subject}.*", queue=QUEUE_GROUP, cb=callback
                )
            )
        # Who was told that the doors are open may send at once.
        await self._connection.listening(SEND, *(one.subject for one in self._subscriptions))

    async def close(self, *, within: float = 10.0) -> None:
        """Refuse new requests, answer those that are in, if that takes no more seconds than these.

        Who gets no answer does not know whether the message is stored, and may send it again.
        """
        for subscription in self._subscriptions:
            try:
                async with asyncio.timeout(self._connection.timeout):
                    await subscription.drain()  # type: ignore[no-untyped-call]
            except (NatsError, TimeoutError) as error:
                log.warning("closing the door %s: %r", subscription.subject, error)
        answering = asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(
            self._sending.close(within=within), asyncio.wait([answering], timeout=within)
        )
        await end(self._tasks)

    async def _register(self, agent: AgentId, body: bytes) -> dict[str, Any]:
        hint = '{"capabilities": ["translate"]}, or nothing'
        wanted = _read(body, _Registering, hint)
        registration = await self._registrar.register(
            agent,
            capabilities=wanted.capabilities,
            node=wanted.node,
            beat=wanted.beat(),
            state=wanted.state,
        )
        built: dict[str, Any] = msgspec.to_builtins(registration)
        return built

    async def _heartbeat(self, agent: AgentId, body: bytes) -> dict[str, Any]:
        beat = _read(body, Heartbeat, '{"instance": "bob-1"}')
        built: dict[str, Any] = msgspec.to_builtins(await self._registrar.heartbeat(agent, beat))
        return built

    async def _release(self, agent: AgentId, body: bytes) -> dict[str, Any]:
        instance = _read(body, _Releasing, '{"instance": "bob-1"}').instance
        return {"agent": agent, "released": await self._registrar.release(agent, instance)}

    async def _deregister(self, agent: AgentId, _: bytes) -> dict[str, Any]:
        return {"agent": agent, "deregistered": await self._registrar.deregister(agent)}

    async def _receipts(self, sender: AgentId, body: bytes) -> dict[str, Any]:
        message_id = _read(body, _Asking, '{"message_id": "m-1"}').message_id
        found = await self._door.receipts(sender, check_message_id(message_id))
        return {"receipts": msgspec.to_builtins(found)}

    async def _update_state(self, agent: AgentId, body: bytes) -> dict[str, Any]:
        wanted = _read(body, _Changing, '{"state": "Draining", "drain": 60}')
        drain = None if wanted.drain is None else seconds(wanted.drain)
        changed = await self._registrar.update_state(agent, wanted.state, drain=drain)
        built: dict[str, Any] = msgspec.to_builtins(changed)
        return built

    def _in_task(self, answer: Answer) -> Callable[[Msg], Awaitable[None]]:
        """Answer each request in a task of its own: nats-py calls back one after the other."""

        async def on_request(message: Msg) -> None:
            if len(self._tasks) >= MOST:
                await self._respond(message, error_body(refusal(len(self._tasks))))
                return
            self._start(self._answer(message, answer))

        return on_request

    async def _answer(self, message: Msg, answer: Answer) -> None:
        try:
            agent = subjects.agent_of(message.subject, self._platform)
            body = await answer(agent, bytes(message.data))
        except CaxtonError as error:
            body = error_body(error)
        except Exception as error:
            # Unanswered, it would be asked again and again, and nobody would know why.
            log.exception("a request on %s failed", message.subject)
            body = error_body(TransportError(f"{type(error).__name__}: {error}"))
        await self._respond(message, body)

    async def _respond(self, message: Msg, body: dict[str, Any]) -> None:
        await respond(self._connection, [(message.subject, message.reply, body)])

    def _start(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _read(body: bytes, kind: type[T], hint: str) -> T:
    body = body or b"{}"
    try:
        found = msgspec.json.decode(body, type=kind)
    except UNREADABLE as error:
        raise InvalidEnvelope(
            f"the request cannot be read: {complaint(body, error)}",
            field="body",
            hint=f"for example {hint}",
        ) from None
    twice = repeated(body)
    if twice is not None:
        raise InvalidEnvelope("is given twice", field=shown(twice))
    return found
