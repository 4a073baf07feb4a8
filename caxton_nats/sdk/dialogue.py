"""Which handler, or which waiting request, a message is for."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from caxton_nats.core.disposition import Reject
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.errors import AgentNotFound, CaxtonError, InvalidEnvelope
from caxton_nats.core.performatives import FINAL_ANSWERS, NO_ANSWER, Performative, performative
from caxton_nats.sdk.context import Context
from caxton_nats.telemetry import joined_trace

Handle = Callable[..., Coroutine[Any, Any, None]]
ANY = "*"


class _Handler(msgspec.Struct, frozen=True):
    """A handler, and what it wants to be called for and with."""

    call: Handle
    protocol: str
    content: Any
    """Type of the second argument; None if the handler takes the context only."""


class Dialogue:
    """An agent's handlers and its open requests; the `Receiver` of its mailbox."""

    def __init__(self, context: Callable[[Envelope, int], Context]) -> None:
        self._context = context
        self._handlers: dict[str, list[_Handler]] = {}
        self._requests: dict[str, asyncio.Future[Context]] = {}

    def add(self, act: str, call: Handle, *, protocol: str, content: Any) -> None:
        """Add a handler; those for one protocol come before the general ones."""
        if not inspect.iscoroutinefunction(call):
            raise TypeError(f"the handler {call!r} is not an `async def` function")
        key = ANY if act == ANY else str(performative(act))
        handlers = self._handlers.setdefault(key, [])
        handlers.append(_Handler(call, protocol, content))
        handlers.sort(key=lambda one: not one.protocol)

    @contextmanager
    def waiting_for(self, token: str) -> Iterator[asyncio.Future[Context]]:
        """Have the answer to ``reply_with`` token go to the future instead of a handler.

        Raises:
            InvalidEnvelope: another request waits for the same token.
        """
        if token in self._requests:
            raise InvalidEnvelope("another request waits for it", field="reply_with", value=token)
        answer: asyncio.Future[Context] = asyncio.get_running_loop().create_future()
        self._requests[token] = answer
        try:
            yield answer
        finally:
            del self._requests[token]

    def abandon(self, reason: CaxtonError) -> None:
        """End all open requests with an error."""
        for answer in self._requests.values():
            if not answer.done():
                answer.set_exception(reason)
                # Who is still sending does not look at it; that is no news for a log.
                answer.exception()

    def expects(self, envelope: Envelope) -> bool:
        """Return whether a request waits for this message, and has no answer yet."""
        answer = self._requests.get(envelope.in_reply_to)
        return answer is not None and not answer.done() and envelope.performative in FINAL_ANSWERS

    def waits(self) -> bool:
        """Return whether any request is open."""
        return bool(self._requests)

    async def receive(self, envelope: Envelope, attempt: int) -> Sequence[Envelope]:
        """Give the message to the request that waits for it, else to its handler.

        Returns the handler's answers.
        """
        context = self._context(envelope, attempt)
        if self.expects(envelope):
            self._requests[envelope.in_reply_to].set_result(context)
            return ()
        handler = self._find(envelope)
        if not envelope.traceparent:
            return await _answers(handler, context)
        with joined_trace(envelope):
            return await _answers(handler, context)

    def _find(self, envelope: Envelope) -> _Handler | None:
        for key in (envelope.performative, ANY):
            for handler in self._handlers.get(key, ()):
                if not handler.protocol or handler.protocol == envelope.protocol:
                    return handler
        return None


async def _answers(handler: _Handler | None, context: Context) -> Sequence[Envelope]:
    context.collect()
    try:
        if handler is None:
            await _no_handler(context)
        else:
            await _call(handler, context)
    finally:
        answers = context.collected()
    return answers


async def _call(handler: _Handler, context: Context) -> None:
    """Call the handler; content that it cannot read is its sender's fault, and tried once only."""
    try:
        if handler.content is None:
            await handler.call(context)
        else:
            await handler.call(context, context.content_as(handler.content))
    except InvalidEnvelope as error:
        if not context.is_unreadable(error):
            raise
        context.forget_answers()
        if context.performative not in NO_ANSWER:
            await _not_understood(context, error)


async def _no_handler(context: Context) -> None:
    """FIPA: what an agent cannot process is answered with not-understood; an answer is not."""
    if context.performative in FINAL_ANSWERS or context.performative == Performative.AGREE:
        return
    error = InvalidEnvelope(
        f"{context.agent.id} has no handler for {context.performative}", field="performative"
    )
    await _not_understood(context, error)


async def _not_understood(context: Context, error: InvalidEnvelope) -> None:
    """Tell the sender; if nobody knows it, the message becomes a dead letter for that at once."""
    try:
        await context.not_understood({"error": error.to_dict()}, now=True)
    except AgentNotFound:
        raise Reject(f"{error}; its sender cannot be told: it is not registered") from None
