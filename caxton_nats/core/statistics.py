"""What routers measure, what NATS knows, and how both become one account of a platform.

`Figures` are one router's own since it started (`add` adds those of several), `Gauges` the state of
the streams; `router_stats` puts them together. Nothing here measures: numbers and `now` come in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from caxton_nats.core.breaker import CircuitBreakerState
from caxton_nats.core.histogram import Histogram, Latency, added, latency
from caxton_nats.core.identifiers import AgentId

WINDOW = timedelta(seconds=10)
"""The rate of messages is an average over this long, the second under way included."""
REMEMBERED_SECONDS = 60
_Key = TypeVar("_Key")


class Figures(msgspec.Struct, kw_only=True):
    """What one router has measured since it started; it grows while it is being kept."""

    node: str = ""
    """Host and process, for people."""
    started_at: datetime
    processed: int = 0
    """Messages that came in by any door, refused ones included."""
    errors: dict[str, int] = {}
    """Messages of which at least one copy was not stored, once each, by the error's code."""
    actions: dict[str, int] = {}
    """What became of copies of messages in this process, by `telemetry.Action`."""
    verdicts: dict[str, int] = {}
    """Messages by "<protocol> <state> <verdict>"."""
    routing: Histogram = msgspec.field(default_factory=Histogram)
    """From the door to the receipt."""
    handling: Histogram = msgspec.field(default_factory=Histogram)
    """From the start of a handler to what follows from it."""
    seconds: dict[int, int] = {}
    """Messages in each whole second (of Unix time) of the last minute."""
    busiest: int = 0
    """Messages in the busiest second of all."""
    outbound: int = 0
    """Letters that were published and have no PubAck yet."""
    memory_bytes: int = 0
    cpu_percent: float = 0.0
    """Of one core."""

    def count(self, messages: int, now: datetime) -> None:
        """Count messages that came in just now."""
        self.processed += messages
        second = int(now.timestamp())
        if second not in self.seconds:
            old = [one for one in self.seconds if one <= second - REMEMBERED_SECONDS]
            for one in old:
                del self.seconds[one]
        self.seconds[second] = self.seconds.get(second, 0) + messages
        self.busiest = max(self.busiest, self.seconds[second])


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """What the streams hold at one moment."""

    accepted: int = 0
    """Messages that were ever stored in a mailbox."""
    pending: Mapping[AgentId, int] = {}
    """Messages in mailboxes and not settled, per agent that has any."""
    dead_letters: int = 0
    breakers: Mapping[AgentId, CircuitBreakerState] = {}
    """Of agents whose circuit breaker is not closed."""
    inbound: int = 0
    """Messages submitted that no router has taken yet."""
    outbound: int = 0
    """Messages that wait for another platform."""
    registered: int = 0
    active_conversations: int = 0
    total_conversations: int = 0
    average_conversation_length: float = 0.0
    """Messages in each of the (at most 1,000) active ones with the latest activity."""
    database_bytes: int = 0


class RouterStats(msgspec.Struct, frozen=True, kw_only=True):
    """The seed's RouterStats, of one router or of a platform's routers together."""

    routers: int
    messages_per_second: float
    peak_messages_per_second: int
    total_processed: int
    routing_latency_us: Latency
    handling_latency_us: Latency
    total_errors: int
    error_rate: float
    """Share of the messages processed, 0..1."""
    errors_by_type: dict[str, int]
    actions: dict[str, int]
    verdicts: dict[str, int]
    inbound_queue_depth: int
    outbound_queue_depth: int
    """Letters without PubAck yet, and what waits for other platforms."""
    agent_queue_depths: Mapping[AgentId, int]
    circuit_breakers: Mapping[AgentId, CircuitBreakerState]
    """Those that are not closed."""
    accepted: int
    pending: int
    dead_letters: int
    registered_agents: int
    active_conversations: int
    total_conversations: int
    average_conversation_length: float
    memory_bytes: int
    cpu_percent: float
    database_bytes: int


class DeadLetterStats(msgspec.Struct, frozen=True, kw_only=True):
    """The seed's DeadLetterStats."""

    total_messages: int
    messages_by_reason: dict[str, int]
    oldest_message_age_ms: int | None
    """None if there is no dead letter."""
    queue_size_bytes: int
    max_messages: int | None
    """With more, the oldest go."""


def add(figures: Iterable[Figures], now: datetime) -> Figures:
    """Return the figures of several routers as those of one; without any, it starts now.

    The busiest second is the busiest of the last minute of all routers together, or an earlier one
    of a single router: what they did together longer ago was not written down.
    """
    routers = list(figures)
    total = Figures(started_at=min((one.started_at for one in routers), default=now))
    for one in routers:
        total.processed += one.processed
        total.outbound += one.outbound
        total.memory_bytes += one.memory_bytes
        total.cpu_percent += one.cpu_percent
        total.routing = added(total.routing, one.routing)
        total.handling = added(total.handling, one.handling)
        total.errors = _sum(total.errors, one.errors)
        total.actions = _sum(total.actions, one.actions)
        total.verdicts = _sum(total.verdicts, one.verdicts)
        total.seconds = _sum(total.seconds, one.seconds)
    total.busiest = max([*total.seconds.values(), *(one.busiest for one in routers)], default=0)
    return total


def router_stats(figures: Iterable[Figures], gauges: Gauges, now: datetime) -> RouterStats:
    """Return the account of these routers and of what the streams hold."""
    routers = list(figures)
    total = add(routers, now)
    failed = sum(total.errors.values())
    return RouterStats(
        routers=len(routers),
        messages_per_second=_rate(total, now),
        peak_messages_per_second=total.busiest,
        total_processed=total.processed,
        routing_latency_us=latency(total.routing),
        handling_latency_us=latency(total.handling),
        total_errors=failed,
        error_rate=failed / total.processed if total.processed else 0.0,
        errors_by_type=total.errors,
        actions=total.actions,
        verdicts=total.verdicts,
        inbound_queue_depth=gauges.inbound,
        outbound_queue_depth=total.outbound + gauges.outbound,
        agent_queue_depths=gauges.pending,
        circuit_breakers=gauges.breakers,
        accepted=gauges.accepted,
        pending=sum(gauges.pending.values()),
        dead_letters=gauges.dead_letters,
        registered_agents=gauges.registered,
        active_conversations=gauges.active_conversations,
        total_conversations=gauges.total_conversations,
        average_conversation_length=gauges.average_conversation_length,
        memory_bytes=total.memory_bytes,
        cpu_percent=total.cpu_percent,
        database_bytes=gauges.database_bytes,
    )


def _rate(total: Figures, now: datetime) -> float:
    """Return messages per second; a router younger than the window is measured from its start."""
    second = int(now.timestamp())
    window = int(WINDOW.total_seconds())
    recent = sum(number for one, number in total.seconds.items() if one > second - window)
    lived = (now - total.started_at).total_seconds()
    return recent / min(max(lived, 1.0), window)


def _sum(one: Mapping[_Key, int], other: Mapping[_Key, int]) -> dict[_Key, int]:
    return dict(Counter(one) + Counter(other))
