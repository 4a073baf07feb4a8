"""The router service from the client's side: a `Door` and a `Registrar` over NATS requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from caxton_nats.core import codec
from caxton_nats.core.envelope import NO_CONTENT, Claim, Envelope, content_bytes
from caxton_nats.core.errors import CaxtonError, InvalidEnvelope, TransportError
from caxton_nats.core.identifiers import AgentId, MessageId, agent_token, platform_part
from caxton_nats.core.lease import Heartbeat, Lease
from caxton_nats.core.reading import UNREADABLE
from caxton_nats.core.registry import AgentState, Registration
from caxton_nats.core.staged_receipt import StagedReceipt
from caxton_nats.jetstream import subjects
from caxton_nats.jetstream.connection import Connection
from caxton_nats.ports import (
    ContentStore,
    Outcome,
    Receipt,
    StateChange,
    Submission,
)
from caxton_nats.ports.doors import REACH_WAIT

T = TypeVar("T")
TRIES = 3
"""A request without an answer is repeated: the message id makes that safe."""
log = logging.getLogger("caxton_nats.jetstream")


class ServiceClient:
    """Sends and registers through the router service; needs no right to write a stream."""

    def __init__(
        self, connection: Connection, contents: ContentStore, *, platform: str, max_body: int
    ) -> None:
        self._connection = connection
        self._platform = platform
        self._contents = contents
        self._max_body = max_body

    async def send(self, batch: Sequence[Submission]) -> list[Receipt | CaxtonError]:
        """Send each message as a request (see `ports.Door`)."""
        return list(await asyncio.gather(*(self._send(submission) for submission in batch)))

    async def receipts(self, sender: AgentId, message_id: MessageId) -> list[StagedReceipt]:
        """Ask the service (see `ports.Door`); it tells of the sender's own messages only."""
        body = msgspec.json.encode({"message_id": message_id})
        return await self._ask(
            subjects.RECEIPTS,
            sender,
            body,
            lambda answer: msgspec.convert(answer["receipts"], list[StagedReceipt]),
        )

    async def register(
        self,
        agent: AgentId,
        *,
        capabilities: Sequence[str] = (),
        node: str = "",
        beat: Heartbeat | None = None,
        state: AgentState = AgentState.RUNNING,
    ) -> Registration:
        """Register through the service (see `ports.Registrar`)."""
        body: dict[str, Any] = {"capabilities": list(capabilities), "node": node, "state": state}
        if beat is not None:
            body |= {"instance": beat.instance, "lease": beat.lease}
        data = msgspec.json.encode(body)
        return await self._ask(subjects.REGISTER, agent, data, _reader(Registration))

    async def heartbeat(self, agent: AgentId, beat: Heartbeat) -> Lease:
        """Renew the lease through the service (see `ports.Registrar`)."""
        data = msgspec.json.encode(beat)
        return await self._ask(subjects.HEARTBEAT, agent, data, _reader(Lease))

    async def release(self, agent: AgentId, instance: str) -> bool:
        """Give the lease back through the service (see `ports.Registrar`)."""
        body = msgspec.json.encode({"instance": instance})
        return await self._ask(
            subjects.RELEASE, agent, body, lambda answer: bool(answer["released"])
        )

    async def update_state(
        self, agent: AgentId, state: AgentState, *, drain: timedelta | None = None
    ) -> StateChange:
        """Have the service change the state (see `ports.Registrar`)."""
        body = {"state": state, "drain": drain.total_seconds() if drain is not None else None}
        data = msgspec.json.encode(body)
        return await self._ask(subjects.STATE, agent, data, _reader(StateChange), patient=True)

    async def deregister(self, agent: AgentId) -> bool:
        """Deregister through the service (see `ports.Registrar`)."""
        return await self._ask(
            subjects.DEREGISTER,
            agent,
            b"",
            lambda answer: bool(answer["deregistered"]),
            patient=True,
        )

    async def _send(self, submission: Submission) -> Receipt | CaxtonError:
        body, upload = submission.body, None
        try:
            if submission.envelope is not None:
                body, upload = await self._encode(submission.sender, submission.envelope)
            return await self._ask(subjects.SEND, submission.sender, body, _receipt)
        except CaxtonError as error:
            return error
        finally:
            if upload is not None:
                await self._forget(upload)

    async def _encode(self, sender: AgentId, envelope: Envelope) -> tuple[bytes, Claim | None]:
        """Encode the envelope; content too large for a request is uploaded under our own name."""
        body = codec.encode(envelope)
        if len(body) <= self._max_body:
            return body, None
        name = f"{agent_token(sender)}.upload.{envelope.message_id}"
        claim = await self._contents.put(name, content_bytes(envelope))
        uploaded = msgspec.structs.replace(envelope, content=NO_CONTENT, claim=claim)
        return codec.encode(uploaded), claim

    async def _forget(self, upload: Claim) -> None:
        """The router has made its own copies by now; who sends again uploads again."""
        try:
            await self._contents.remove(upload)
        except CaxtonError as error:
            log.warning("the upload %s stays behind: %s", upload.object, error)

    async def _ask(
        self,
        subject: str,
        agent: AgentId,
        body: bytes,
        read: Callable[[dict[str, Any]], T],
        *,
        patient: bool = False,
    ) -> T:
        """Ask the service; a patient one asks once, for a second time would meet its own change."""
        if platform_part(agent) != self._platform:
            # The subject has no place for it: the service would take it for its own agent.
            raise InvalidEnvelope(
                "an agent of another platform cannot act here",
                field="agent",
                limit=self._platform,
                value=agent,
            )
        subject = f"{subject}.{agent_token(agent)}"
        tries, longer = (1, REACH_WAIT.total_seconds()) if patient else (TRIES, 0.0)
        for tried in range(1, tries + 1):
            try:
                data = await self._connection.request(
                    subject, body, what=f"request {subject}", longer=longer
                )
                break
            except TransportError:
                if tried == tries:
                    raise
                await asyncio.sleep(0.2 * tried)
        return _read(data, subject, read)


def _read(data: bytes, subject: str, read: Callable[[dict[str, Any]], T]) -> T:
    """Return what the answer says, or raise the error that it is; anybody may have answered."""
    try:
        answer = msgspec.json.decode(data, type=dict[str, Any])
        if "error" not in answer:
            return read(answer)
        told = CaxtonError.from_dict(answer["error"])
    except (*UNREADABLE, KeyError, TypeError, AttributeError) as error:
        raise TransportError(
            f"the answer to {subject} is not readable: {error!a}",
            hint="who answers there? sending again with the same message id is safe",
        ) from None
    raise told


def _reader(kind: type[T]) -> Callable[[dict[str, Any]], T]:
    return lambda answer: msgspec.convert(answer, kind)


def _receipt(answer: dict[str, Any]) -> Receipt:
    outcomes = tuple(_outcome(one) for one in answer["receivers"])
    return Receipt(message_id=str(answer["message_id"]), outcomes=outcomes)


def _outcome(data: dict[str, Any]) -> Outcome:
    error = CaxtonError.from_dict(data["error"]) if "error" in data else None
    return Outcome(
        receiver=AgentId(str(data["receiver"])),
        stream=str(data.get("stream", "")),
        sequence=msgspec.convert(data.get("sequence", 0), int),
        duplicate=bool(data.get("duplicate", False)),
        target=str(data.get("target", "")),
        reason=str(data.get("reason", "")),
        error=error,
    )
