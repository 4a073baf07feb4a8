"""A platform in memory, with the same engine as any other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from caxton_nats.app import (
    RandomIds,
    SystemClock,
    at_work,
    conversation_terms,
    mailbox_options,
    router_options,
)
from caxton_nats.config import Settings
from caxton_nats.engine.platform import Platform, build
from caxton_nats.memory import MemoryBroker
from caxton_nats.ports import Clock
from caxton_nats.telemetry import Observer, log_event
from caxton_nats.testing.virtual_time import VirtualClock, VirtualTimeLoop


@asynccontextmanager
async def memory_platform(
    chosen: Settings | None = None,
    *,
    broker: MemoryBroker | None = None,
    clock: Clock | None = None,
    observer: Observer = log_event,
) -> AsyncIterator[Platform]:
    """Yield a platform whose messages live in this process and go with it.

    Args:
        chosen: settings; what concerns a server has no effect.
        broker: to share one between several platforms, as processes share a server.
        clock: the time of a broker that is made here; by default the running loop's, if that is
            virtual, else the real one.
        observer: is told of every outcome.
    """
    chosen = chosen or Settings()
    broker = broker or MemoryBroker(
        clock or _clock(),
        platform=chosen.platform,
        shards=chosen.shards,
        queue_size=chosen.queue_size,
        ingress_size=chosen.ingress_size,
        dead_letter_size=chosen.dead_letter_size,
        ack_wait=timedelta(seconds=chosen.ack_wait),
        max_deliver=chosen.max_deliver,
        duplicate_window=timedelta(seconds=chosen.duplicate_window),
        conversation_retention=timedelta(seconds=chosen.conversation_retention),
    )
    platform = build(
        broker.ports(RandomIds()),
        router_options(
            chosen,
            chosen.platform,
            chosen.queue_size,
            conversation_terms(chosen),
            chosen.rate_limit,
        ),
        observer=observer,
        mailbox_options=mailbox_options(chosen),
    )
    async with at_work(platform):
        yield platform


def _clock() -> Clock:
    virtual = isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
    return VirtualClock() if virtual else SystemClock()
