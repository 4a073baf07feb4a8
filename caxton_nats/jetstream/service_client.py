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
_GROUP, _GROUP_BYTES, _GROUP_RECEIVERS = 50, 256 * 1024, 1_000
"""Messages of one request, their bytes, and receivers, whose outcomes make the answer long."""
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
        """Send the messages in as few requests as they take (see `ports.Door`)."""
        if len(batch) == 1:
            return [await self._send(batch[0])]
        results: list[Receipt | CaxtonError | None] = [None] * len(batch)
        alone, groups = self._grouped(batch)

        async def one(at: int) -> None:
            results[at] = await self._send(batch[at])

        async def many(group: _Group) -> None:
            for at, result in zip(group.at, await self._send_group(group), strict=True):
                results[at] = result

        # All at once, and each on its way in the order in which they are given.
        await asyncio.gather(*map(many, groups), *map(one, alone))
        return [result for result in results if result is not None]

    def _grouped(self, batch: Sequence[Submission]) -> tuple[list[int], list[_Group]]:
        """Return which messages go in requests of their own, and which together."""
        alone: list[int] = []
        groups: list[_Group] = []
        for at, one in enumerate(batch):
            body = one.body if one.envelope is None else codec.encode(one.envelope)
            is_json = one.envelope is not None or codec.REPRESENTATION not in one.headers
            if not is_json or len(body) > min(self._max_body, _GROUP_BYTES):
                alone.append(at)
                continue
            number = 1 if one.envelope is None else len(one.envelope.receiver)
            if not groups or not groups[-1].takes(one.sender, len(body), number):
                groups.append(_Group(one.sender))
            groups[-1].add(at, body, number)
        return alone, groups

    async def _send_group(self, group: _Group) -> Sequence[Receipt | CaxtonError]:
        body = b"[" + b",".join(group.bodies) + b"]"
        try:
            return await self._ask(subjects.SEND, group.sender, body, group.read)
        except CaxtonError as error:
            return [error] * len(group.at)

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
            named = None if submission.envelope else submission.headers.get(codec.REPRESENTATION)
            # Of what comes with bytes, the router must know in which encoding they are.
            more = None if named is None else {codec.REPRESENTATION: named}
            return await self._ask(subjects.SEND, submission.sender, body, _receipt, more=more)
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
        read: Callable[[Any], T],
        *,
        patient: bool = False,
        more: dict[str, str] | None = None,
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
                    subject, body, what=f"request {subject}", longer=longer, more=more
                )
                break
            except TransportError:
                if tried == tries:
                    raise
                await asyncio.sleep(0.2 * tried)
        return _read(data, subject, read)


class _Group:
    """Messages of one sender that go in one request."""

    def __init__(self, sender: AgentId) -> None:
        self.sender = sender
        self.at: list[int] = []
        """Their places among all."""
        self.bodies: list[bytes] = []
        self._bytes = self._receivers = 0

    def takes(self, sender: AgentId, size: int, receivers: int) -> bool:
        """Return whether it has room for one more."""
        return (
            sender == self.sender
            and len(self.at) < _GROUP
            and self._bytes + size <= _GROUP_BYTES
            and self._receivers + receivers <= _GROUP_RECEIVERS
        )

    def add(self, at: int, body: bytes, receivers: int) -> None:
        """Take one more."""
        self.at.append(at)
        self.bodies.append(body)
        self._bytes += len(body)
        self._receivers += receivers

    def read(self, answer: Any) -> list[Receipt | CaxtonError]:
        """Return what the answer says of each."""
        results = [_result(one) for one in answer]
        if len(results) != len(self.at):
            raise TypeError(f"{len(results)} results for {len(self.at)} messages")
        return results


def _result(answer: dict[str, Any]) -> Receipt | CaxtonError:
    return CaxtonError.from_dict(answer["error"]) if "error" in answer else _receipt(answer)


def _read(data: bytes, subject: str, read: Callable[[Any], T]) -> T:
    """Return what the answer says, or raise the error that it is; anybody may have answered."""
    try:
        answer = msgspec.json.decode(data, type=dict[str, Any] | list[dict[str, Any]])
        if isinstance(answer, list) or "error" not in answer:
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
