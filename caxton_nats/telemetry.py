"""What is told of a message's way: one event per outcome, with names in one place.

An observer is any callable that takes an `Event`; the default writes one log line each. Nothing
here decides anything or knows NATS. The W3C trace context of a message is read and written here,
too; only the OpenTelemetry API is used, so nothing happens until a program sets up its SDK.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

import msgspec
from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.identifiers import AgentId

log = logging.getLogger("caxton_nats")


class Action(StrEnum):
    """What happened."""

    ROUTED = "routed"
    """Stored in a mailbox: from a door, as a notice of the platform, or redriven."""
    REFUSED = "refused"
    DELIVERED = "delivered"
    HANDLED = "handled"
    RETRIED = "retried"
    DEAD_LETTERED = "dead-lettered"
    DUPLICATE = "duplicate"
    REDRIVEN = "redriven"
    REGISTERED = "registered"
    """An agent, by this process; one that comes back, too."""
    DEREGISTERED = "deregistered"
    FORWARDED = "forwarded"
    """Stored at another platform: it ends here, and goes on there."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened to one message for one agent, or to the agent itself."""

    action: Action
    agent: AgentId
    """Whose mailbox; the sender for what was refused at a door."""
    sender: AgentId = AgentId("")
    message_id: str = ""
    performative: str = ""
    conversation_id: str = ""
    origin: Origin | None = None
    """The stored message: what was routed was accepted under this name, and ends under it."""
    attempt: int = 0
    detail: str = ""


Observer = Callable[[Event], None]


def event(
    action: Action,
    agent: AgentId,
    envelope: Envelope | None = None,
    *,
    origin: Origin | None = None,
    attempt: int = 0,
    detail: str = "",
) -> Event:
    """Return the event, with what the envelope tells."""
    return Event(
        action=action,
        agent=agent,
        sender=envelope.sender if envelope else AgentId(""),
        message_id=envelope.message_id if envelope else "",
        performative=envelope.performative if envelope else "",
        conversation_id=envelope.conversation_id if envelope else "",
        origin=origin,
        attempt=attempt,
        detail=detail,
    )


def guarded(observer: Observer) -> Observer:
    """Return the observer without its exceptions: they are logged, and the message goes on."""

    def observe(happened: Event) -> None:
        try:
            observer(happened)
        except Exception:
            log.exception("the observer failed for %s", happened.action)

    return observe


_propagator = TraceContextTextMapPropagator()


def current_trace() -> dict[str, str]:
    """Return ``traceparent`` and ``tracestate`` of the span that is current; {} without one."""
    carrier: dict[str, str] = {}
    if trace.get_current_span().get_span_context().is_valid:
        _propagator.inject(carrier)
    return carrier


def answering_trace(about: Envelope) -> dict[str, str]:
    """Return the trace context of an answer: a span begun since, else that of ``about``.

    The message's own is passed on byte for byte.
    """
    current = current_trace()
    # The same trace and span: version, trace id and span id take 52 characters.
    if not current or current["traceparent"][:52] == about.traceparent[:52]:
        return {"traceparent": about.traceparent, "tracestate": about.tracestate}
    return {"tracestate": "", **current}


@contextmanager
def joined_trace(envelope: Envelope) -> Iterator[None]:
    """Let spans that are begun inside become children of the message's trace, if it has one."""
    if not envelope.traceparent:
        yield
        return
    carrier = {"traceparent": envelope.traceparent, "tracestate": envelope.tracestate}
    attached = context.attach(_propagator.extract(carrier))
    try:
        yield
    finally:
        context.detach(attached)


def log_event(happened: Event) -> None:
    """Write the event as one line: warnings for what went wrong, debug for the rest."""
    bad = happened.action in (Action.RETRIED, Action.DEAD_LETTERED, Action.REFUSED)
    level = logging.WARNING if bad else logging.DEBUG
    if log.isEnabledFor(level):
        log.log(
            level,
            "%s %s %s from %s for %s attempt %d %s",
            happened.action,
            happened.performative or "-",
            ascii(happened.message_id),
            happened.sender or "-",
            happened.agent,
            happened.attempt,
            ascii(happened.detail) if happened.detail else "",
        )
