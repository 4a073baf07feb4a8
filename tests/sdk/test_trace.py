"""The W3C trace context of a message: carried, continued, joined."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from caxton_nats import Agent, Context, started
from caxton_nats.testing import memory_platform

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STATE = "custom=value,  other=1"


@pytest.fixture
def tracer() -> Iterator[trace.Tracer]:
    provider = TracerProvider()
    yield provider.get_tracer("test")
    provider.shutdown()


async def exchange(bob: Agent, **fields: str) -> Context:
    alice = Agent("alice")
    async with memory_platform() as platform, started(platform, bob, alice):
        return await alice.request("bob", "?", timeout=30, **fields)


async def test_an_answer_carries_the_trace_of_its_message_byte_for_byte() -> None:
    """Traceparent and tracestate come back as they were sent, spaces included."""
    bob = Agent("bob")

    @bob.on("request")
    async def handle(ctx: Context) -> None:
        await ctx.inform("!")

    answer = await exchange(bob, traceparent=PARENT, tracestate=STATE)
    assert (answer.envelope.traceparent, answer.envelope.tracestate) == (PARENT, STATE)


async def test_a_handlers_spans_join_the_trace_of_the_message(tracer: trace.Tracer) -> None:
    """A span begun in a handler is a child of the sender's, and its answer continues from it."""
    bob = Agent("bob")
    seen: asyncio.Future[trace.SpanContext] = asyncio.get_running_loop().create_future()

    @bob.on("request")
    async def handle(ctx: Context) -> None:
        with tracer.start_as_current_span("work") as span:
            seen.set_result(span.get_span_context())
            await ctx.inform("!")

    answer = await exchange(bob, traceparent=PARENT)
    work = await seen
    assert f"{work.trace_id:032x}" in PARENT
    assert f"{work.span_id:016x}" in answer.envelope.traceparent
    assert PARENT[3:35] in answer.envelope.traceparent


async def test_a_message_sent_inside_a_span_carries_it(tracer: trace.Tracer) -> None:
    """A sender with a current span need not fill in trace headers."""
    bob = Agent("bob")

    @bob.on("request")
    async def handle(ctx: Context) -> None:
        await ctx.inform(ctx.envelope.traceparent)

    with tracer.start_as_current_span("ask") as span:
        answer = await exchange(bob)
    assert f"{span.get_span_context().span_id:016x}" in answer.content


async def test_without_a_span_there_is_no_trace() -> None:
    """Nobody pays for a trace that nobody began."""
    bob = Agent("bob")

    @bob.on("request")
    async def handle(ctx: Context) -> None:
        await ctx.inform(ctx.envelope.traceparent)

    assert (await exchange(bob)).content == ""
