"""The router service from the client's side: a `Door` and a `Registrar` over NATS requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec

from caxton_nats.core import codec
from caxton_nats.core.envelope import NO_CONTENT, Claim, Envelope, content_bytes
from caxton_nats.core.errors import CaxtonError, InvalidEnvelope, TransportError
from caxton_nats.core.identifiers import AgentId, MessageId, agent_token, platform_part
from caxton_nats.core.lease import Heartbeat, Lease
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
        answer = await self._ask(subjects.RECEIPTS, sender, body)
        return msgspec.convert(answer["receipts"], list[StagedReceipt])

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
        answer = await self._ask(subjects.REGISTER, agent, msgspec.json.encode(body))
        return msgspec.convert(answer, Registration)

    async def heartbeat(self, agent: AgentId, beat: Heartbeat) -> Lease:
        """Renew the lease through the service (see `ports.Registrar`)."""
        answer = await self._ask(subjects.HEARTBEAT, agent, msgspec.json.encode(beat))
        return msgspec.convert(answer, Lease)

    async def release(self, agent: AgentId, instance: str) -> bool:
        """Give the lease back through the service (see `ports.Registrar`)."""
        body = msgspec.json.encode({"instance": instance})
        answer = await self._ask(subjects.RELEASE, agent, body)
        return bool(answer["released"])

    async def update_state(
        self, agent: AgentId, state: AgentState, *, drain: timedelta | None = None
    ) -> StateChange:
        """Have the service change the state (see `ports.Registrar`)."""
        body = {"state": state, "drain": drain.total_seconds() if drain is not None else None}
        answer = await self._ask(subjects.STATE, agent, msgspec.json.encode(body), patient=True)
        return msgspec.convert(answer, StateChange)

    async def deregister(self, agent: AgentId) -> bool:
        """Deregister through the service (see `ports.Registrar`)."""
        answer = await self._ask(subjects.DEREGISTER, agent, b"", patient=True)
        return bool(answer["deregistered"])

    async def _send(self, submission: Submission) -> Receipt | CaxtonError:
        body, upload = submission.body, None
        try:
            if submission.envelope is not None:
                body, upload = await self._encode(submission.sender, submission.envelope)
            answer = await self._ask(subjects.SEND, submission.sender, body)
        except CaxtonError as error:
            return error
        finally:
            if upload is not None:
                await self._forget(upload)
        return Receipt(
            message_id=answer["message_id"],
            outcomes=tuple(_outcome(one) for one in answer["receivers"]),
        )

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
        self, subject: str, agent: AgentId, body: bytes, *, patient: bool = False
    ) -> dict[str, Any]:
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
        answer: dict[str, Any] = msgspec.json.decode(data)
        if "error" in answer:
            raise CaxtonError.from_dict(answer["error"])
        return answer


def _outcome(data: dict[str, Any]) -> Outcome:
    error = CaxtonError.from_dict(data["error"]) if "error" in data else None
    return Outcome(
        receiver=data["receiver"],
        stream=data.get("stream", ""),
        sequence=data.get("sequence", 0),
        duplicate=data.get("duplicate", False),
        target=data.get("target", ""),
        reason=data.get("reason", ""),
        error=error,
    )
