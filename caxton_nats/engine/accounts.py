"""The accounts of a platform: what its routers have measured, and what its streams hold.

How many requests this takes depends on the number of routers and shards, never on the agents.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta

import msgspec

from caxton_nats.core.breaker import Breakers
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.reading import UNREADABLE
from caxton_nats.core.registry import Registry
from caxton_nats.core.statistics import (
    DeadLetterStats,
    Figures,
    Gauges,
    RouterStats,
    router_stats,
)
from caxton_nats.core.stream_state import Role, StreamState
from caxton_nats.engine.meter import Meter
from caxton_nats.ports import Ports

STATS = "stats"
"""The question that a router answers with its figures."""
_WAIT = timedelta(seconds=2)
_CONVERSATIONS = 1000
_decoder = msgspec.json.Decoder(Figures)
log = logging.getLogger("caxton_nats")


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The account of a whole platform at one moment."""

    total: RouterStats
    routers: Mapping[str, Figures]
    """Each router's own figures since it started, by its id."""
    silent: tuple[str, ...]
    """Routers that are there and did not answer in time: what they measured is missing."""
    dead_letters: Mapping[AgentId, Mapping[str, int]]
    """Per agent that has any, by reason."""


class Accounts:
    """Answers for this process, and asks all others."""

    def __init__(self, ports: Ports, registry: Registry, breakers: Breakers, meter: Meter) -> None:
        self._ports = ports
        self._breakers = breakers
        self._registry = registry
        self._meter = meter

    async def answer(self, _: bytes) -> bytes:
        """Return the figures of this process."""
        return msgspec.json.encode(self._meter.figures())

    async def overview(self) -> Overview:
        """Return the account of the platform.

        Raises:
            TransportError: the streams could not be read.
        """
        answers, gauges, dead = await asyncio.gather(
            self._ports.peers.ask(STATS, wait=_WAIT), self._gauges(), self._dead()
        )
        figures = {router: _read(router, answer) for router, answer in sorted(answers.items())}
        known = {router: one for router, one in figures.items() if one is not None}
        return Overview(
            total=router_stats(known.values(), gauges, self._ports.clock.now()),
            routers=known,
            silent=tuple(router for router, one in figures.items() if one is None),
            dead_letters=dead,
        )

    async def dead_letters(self) -> DeadLetterStats:
        """Return how many dead letters there are, why, how old and how large."""
        states, counts = await asyncio.gather(
            self._ports.streams.states(), self._ports.dead_letters.count()
        )
        reasons: Counter[str] = Counter()
        for (_, reason), number in counts.items():
            reasons[reason] += number
        (state,) = _of(states, Role.DEAD_LETTERS)
        age = self._ports.clock.now() - state.first_at if state.first_at else None
        return DeadLetterStats(
            total_messages=state.messages,
            messages_by_reason=dict(reasons.most_common()),
            oldest_message_age_ms=None if age is None else max(0, int(age / _MILLISECOND)),
            queue_size_bytes=state.bytes,
            max_messages=state.max_messages,
        )

    async def _gauges(self) -> Gauges:
        states, pending, conversations, ended, latest = await asyncio.gather(
            self._ports.streams.states(),
            self._ports.mailboxes.pending(),
            self._ports.conversations.count(),
            self._ports.archive.added(),
            self._ports.conversations.list(limit=_CONVERSATIONS),
        )
        messages = sum(one.message_count for one in latest)
        return Gauges(
            breakers={one.agent: one.state_at(self._ports.clock.now()) for one in self._breakers},
            accepted=sum(one.last_sequence for one in _of(states, Role.MAILBOX)),
            pending=pending,
            dead_letters=sum(one.messages for one in _of(states, Role.DEAD_LETTERS)),
            inbound=sum(one.messages for one in _of(states, Role.INGRESS)),
            outbound=sum(one.messages for one in _of(states, Role.OUTBOUND)),
            registered=len(self._registry),
            active_conversations=conversations,
            total_conversations=conversations + ended,
            average_conversation_length=messages / len(latest) if latest else 0.0,
            database_bytes=sum(one.bytes for one in states),
        )

    async def _dead(self) -> dict[AgentId, dict[str, int]]:
        dead: dict[AgentId, dict[str, int]] = defaultdict(dict)
        for (agent, reason), number in sorted((await self._ports.dead_letters.count()).items()):
            dead[agent][reason] = number
        return dict(dead)


_MILLISECOND = timedelta(milliseconds=1)


def _of(states: Iterable[StreamState], role: Role) -> list[StreamState]:
    return [state for state in states if state.role is role]


def _read(router: str, answer: bytes | None) -> Figures | None:
    try:
        return None if answer is None else _decoder.decode(answer)
    except UNREADABLE as error:
        log.warning("the figures of router %s are not readable: %s", router, error)
        return None
