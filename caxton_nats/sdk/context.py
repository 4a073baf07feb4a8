"""What a handler gets: the message, its content as a typed value, and the answers to it.

Each answering method fills in receiver, in-reply-to, conversation, protocol, ontology, language
and trace context, as FIPA wants an answer to be addressed. Answers are collected, and sent when the
handler has returned: they and the acknowledgement of the message succeed or fail together. The id
of an answer is derived from the message it answers, so what is sent again is the same answer.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
from pydantic import BaseModel, TypeAdapter, ValidationError

from caxton_nats.core.envelope import Envelope, content_bytes, content_value
from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.core.identifiers import AgentId, ConversationId, MessageId
from caxton_nats.core.performatives import Performative
from caxton_nats.core.reading import UNREADABLE
from caxton_nats.ports import Receipt
from caxton_nats.telemetry import answering_trace

T = TypeVar("T")


class Answering(Protocol):
    """The agent, as far as its context needs it."""

    @property
    def id(self) -> AgentId:
        """The agent's full identifier."""

    def message(
        self, act: str, to: str | Sequence[str], content: Any = None, **fields: Any
    ) -> Envelope:
        """Return a message of the agent."""

    async def send(
        self, act: str, to: str | Sequence[str], content: Any = None, **fields: Any
    ) -> Receipt:
        """Send a message as the agent."""


class Context:
    """One delivery in the hands of its handler."""

    def __init__(self, agent: Answering, envelope: Envelope, attempt: int) -> None:
        self.agent = agent
        self.envelope = envelope
        self.attempt = attempt
        """1 the first time; more when earlier attempts failed."""
        self._answers = 0
        self._unreadable: InvalidEnvelope | None = None
        self._collected: list[Envelope] | None = None

    def collect(self) -> None:
        """Collect the answers that are given from now on."""
        self._collected = []

    def collected(self) -> list[Envelope]:
        """Return what was collected; later answers are sent at once."""
        collected, self._collected = self._collected or [], None
        return collected

    def forget_answers(self) -> None:
        """Send none of what was collected so far."""
        if self._collected is not None:
            self._collected.clear()

    @property
    def sender(self) -> AgentId:
        """Who sent the message."""
        return self.envelope.sender

    @property
    def performative(self) -> str:
        """What the message does, in FIPA's spelling."""
        return self.envelope.performative

    @property
    def conversation_id(self) -> ConversationId:
        """The conversation; empty if the message belongs to none."""
        return self.envelope.conversation_id

    @property
    def content(self) -> Any:
        """The content as a Python value: bytes, a JSON value, or None.

        Raises:
            InvalidEnvelope: Python has no value for it (a number out of range). Left to pass, the
                sender is told that it was not understood.
        """
        return self._read(content_value)

    def content_as(self, model: type[T]) -> T:
        """Return the content as a pydantic model, a msgspec struct, or any type msgspec knows.

        Raises:
            InvalidEnvelope: the content does not fit. Left to pass, the sender is told that it was
                not understood.
        """
        return self._read(lambda envelope: read_content(envelope, model))

    def is_unreadable(self, error: Exception) -> bool:
        """Return whether this is the error that reading the content has ended with."""
        return error is self._unreadable

    def _read(self, read: Callable[[Envelope], T]) -> T:
        try:
            return read(self.envelope)
        except InvalidEnvelope as error:
            self._unreadable = error
            raise

    async def agree(self, content: Any = None, **more: Any) -> MessageId:
        """Promise to do what was requested; ``inform`` or ``failure`` must follow.

        It is sent at once: a promise that comes with its result is none.
        """
        return await self.answer(Performative.AGREE, content, **{"now": True, **more})

    async def refuse(self, content: Any = None, **more: Any) -> MessageId:
        """Decline, with the reason as content."""
        return await self.answer(Performative.REFUSE, content, **more)

    async def inform(self, content: Any = None, **more: Any) -> MessageId:
        """Tell a result, or that something is so."""
        return await self.answer(Performative.INFORM, content, **more)

    async def failure(self, content: Any = None, **more: Any) -> MessageId:
        """Tell that it was tried and failed, with the reason as content."""
        return await self.answer(Performative.FAILURE, content, **more)

    async def propose(self, content: Any = None, **more: Any) -> MessageId:
        """Offer to do it, under the conditions in the content."""
        return await self.answer(Performative.PROPOSE, content, **more)

    async def accept_proposal(self, content: Any = None, **more: Any) -> MessageId:
        """Take the offer that was proposed."""
        return await self.answer(Performative.ACCEPT_PROPOSAL, content, **more)

    async def reject_proposal(self, content: Any = None, **more: Any) -> MessageId:
        """Decline the offer that was proposed."""
        return await self.answer(Performative.REJECT_PROPOSAL, content, **more)

    async def not_understood(self, content: Any = None, **more: Any) -> MessageId:
        """Tell that the message makes no sense here, with the reason as content."""
        return await self.answer(Performative.NOT_UNDERSTOOD, content, **more)

    async def answer(
        self, performative: str, content: Any = None, *, now: bool = False, **more: Any
    ) -> MessageId:
        """Give any act as the answer to this message; return the id under which it goes.

        It is sent when the handler has returned, once, whatever crashes; if the handler raises, it
        is not sent. If it cannot be sent then, that is tried again by the retry policy, without the
        handler; if it never can, the message that was handled becomes a dead letter.

        Args:
            performative: the act.
            content: as for `Agent.send`.
            now: send it at once instead, and be told what goes wrong. If the handler runs again,
                it is the same message, stored once within the duplicate window. What is answered
                after the handler has returned is sent so always.
            more: as for `Agent.send`. In another ``conversation_id`` it answers nothing:
                ``in_reply_to`` is of one conversation.

        Raises:
            InvalidEnvelope: an unknown field, one of the wrong type, or content without a JSON
                form.
            CaxtonError: it was to be sent at once, and was not stored. Left to pass, the delivery
                is tried again.
        """
        about = self.envelope
        self._answers += 1
        # Whoever is named for the answers himself cannot send them to himself.
        others = [name for name in about.reply_to if name != self.agent.id]
        receivers: list[str] = list(others) or [about.sender]
        fields: dict[str, Any] = {
            "in_reply_to": about.reply_with or about.message_id,
            "conversation_id": about.conversation_id,
            "protocol": about.protocol,
            "ontology": about.ontology,
            "language": about.language,
            **answering_trace(about),
            "message_id": self._answer_id(performative),
        }
        if more.get("conversation_id") not in (None, about.conversation_id):
            del fields["in_reply_to"]
        fields |= more
        if now or self._collected is None:
            receipt = await self.agent.send(performative, receivers, content, **fields)
            return MessageId(receipt.message_id)
        given = self.agent.message(performative, receivers, content, **fields)
        self._collected.append(given)
        return given.message_id

    def _answer_id(self, performative: str) -> str:
        """Return the same id for the same answer of the same delivery, run after run."""
        about = self.envelope
        seed = f"{self.agent.id}|{about.sender}|{about.message_id}|{performative}|{self._answers}"
        return f"re-{hashlib.sha256(seed.encode()).hexdigest()[:32]}"


def read_content(envelope: Envelope, model: type[T]) -> T:
    """Return the content as ``model``; msgspec reads all types but pydantic's own.

    Raises:
        InvalidEnvelope: the content does not fit, with where and why.
    """
    raw = content_bytes(envelope)
    if model is bytes:
        return raw  # type: ignore[return-value]  # T is bytes here
    try:
        if _is_pydantic(model):
            return TypeAdapter(model).validate_json(raw or b"null")
        return msgspec.json.decode(raw or b"null", type=model)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("content", *first["loc"]))
        raise InvalidEnvelope(first["msg"], field=where) from None
    except UNREADABLE as error:
        raise InvalidEnvelope(f"does not fit {model}: {error}", field="content") from None


def _is_pydantic(model: object) -> bool:
    return inspect.isclass(model) and issubclass(model, BaseModel)
