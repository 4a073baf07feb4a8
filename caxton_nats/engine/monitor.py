"""Looks after the platform: again and again by itself, and whenever somebody asks.

What is well is decided in core/diagnosis.py. Here is what a check looks at, and what is remembered
between checks: how often each component was found not healthy, and what was wrong last.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from time import perf_counter
from typing import TypeVar

import msgspec

from caxton_nats.core.breaker import Breakers
from caxton_nats.core.diagnosis import Observed, cut_off, examine, routers
from caxton_nats.core.errors import CaxtonError, StreamMissing
from caxton_nats.core.health import (
    ComponentHealth,
    DetailedHealthStatus,
    Finding,
    Healthy,
    overall,
    reason_of,
    together,
)
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.reading import UNREADABLE
from caxton_nats.ports import Due, Ports
from caxton_nats.tasks import forever

HEALTH = "health"
"""The question that a router answers with its own check."""
_WAIT = timedelta(seconds=5)
_CATCHING_UP = timedelta(seconds=1)
_LOOK_AGAIN = timedelta(milliseconds=50)
_T = TypeVar("_T")
_decoder = msgspec.json.Decoder(DetailedHealthStatus)
log = logging.getLogger("caxton_nats")


class Monitor:
    """The health of this process, and of all together."""

    def __init__(
        self, ports: Ports, breakers: Breakers, *, queue_size: int, interval: timedelta
    ) -> None:
        self._ports = ports
        self._breakers = breakers
        self._queue_size = queue_size
        self._interval = interval
        self._began = ports.clock.now()
        self._health = DetailedHealthStatus(overall=Healthy())
        self._closed = False

    @property
    def latest(self) -> DetailedHealthStatus:
        """What the last check found; without components before the first one."""
        return self._health

    async def run(self) -> None:
        """Check at each interval until cancelled."""
        await forever(
            self._check_and_rest,
            what="looking after the platform",
            expected=CaxtonError,
            sleep=self._ports.clock.sleep,
        )

    def close(self) -> None:
        """Say from now on that this process has been shut down."""
        self._closed = True

    async def check(self) -> DetailedHealthStatus:
        """Look at everything once; whatever cannot be read is told, not raised."""
        if self._closed:
            findings = cut_off("this process has been shut down")
        elif trouble := self._trouble():
            # Nothing is asked: it would only wait for an answer that cannot come.
            findings = cut_off(trouble)
        else:
            try:
                findings = examine(await self._observe(), self._ports.clock.now())
            except CaxtonError as error:
                findings = cut_off(self._trouble() or str(error))
        self._remember(findings)
        return self._health

    async def answer(self, _: bytes) -> bytes:
        """Check, and return what was found."""
        return msgspec.json.encode(await self.check())

    async def everybody(self) -> DetailedHealthStatus:
        """Have every router check, and return the health of all of them as one.

        Without any router, and when none can be asked, it is what this process sees itself.
        """
        answers: dict[str, bytes | None] = {}
        if not self._closed and not self._trouble():
            try:
                answers = await self._ports.peers.ask(HEALTH, wait=_WAIT)
            except CaxtonError:
                return await self.check()
        read = {router: _read(router, answer) for router, answer in answers.items()}
        silent = [router for router, health in read.items() if health is None]
        known = [health for health in read.values() if health is not None]
        about = routers(len(known), silent)
        if not known:
            known = [await self.check()]
        here = DetailedHealthStatus(
            overall=about.status,
            components={"routers": self._component("routers", about)},
        )
        return together([*known, here])

    def _trouble(self) -> str:
        return self._ports.streams.connection().trouble(self._ports.clock.now())

    async def _check_and_rest(self) -> None:
        await self.check()
        await self._ports.clock.sleep(self._interval)

    async def _observe(self) -> Observed:
        began = perf_counter()
        states = await self._ports.streams.states()
        round_trip = timedelta(seconds=perf_counter() - began)
        nothing: dict[AgentId, int] = {}
        pending, due, behind = await asyncio.gather(
            _unless_missing(self._ports.mailboxes.pending, nothing),
            _unless_missing(self._ports.timers.due, Due()),
            _unless_missing(self._behind, 0),
        )
        return Observed(
            states=states,
            breakers=list(self._breakers),
            round_trip=round_trip,
            losses=self._ports.streams.connection().losses,
            behind=behind,
            fullest=max(pending.items(), key=lambda one: one[1], default=("", 0)),
            queue_size=self._queue_size,
            due=due.number,
            due_since=due.since,
        )

    async def _behind(self) -> int:
        """Return how far the mirror is behind, after it had the time to catch up."""
        end = self._ports.clock.now() + _CATCHING_UP
        while behind := await self._ports.registry_store.behind():
            if self._ports.clock.now() >= end:
                return behind
            await self._ports.clock.sleep(_LOOK_AGAIN)
        return 0

    def _remember(self, findings: Mapping[str, Finding]) -> None:
        now = self._ports.clock.now()
        found = {name: self._component(name, one) for name, one in findings.items()}
        # What could not be seen this time stays as it was; it says when that was.
        components = {**self._health.components, **found}
        wrong = [
            f"{name}: {reason_of(one.status)}"
            for name, one in findings.items()
            if reason_of(one.status)
        ]
        if wrong and wrong[-1] != self._health.last_error:
            log.warning("not healthy: %s", "; ".join(wrong))
        self._health = DetailedHealthStatus(
            overall=overall(components),
            components=components,
            uptime_ms=int((now - self._began) / timedelta(milliseconds=1)),
            last_error=wrong[-1] if wrong else self._health.last_error,
            last_error_at=now if wrong else self._health.last_error_at,
        )

    def _component(self, name: str, finding: Finding) -> ComponentHealth:
        before = self._health.components.get(name)
        return ComponentHealth(
            status=finding.status,
            last_check=self._ports.clock.now(),
            error_count=(before.error_count if before else 0)
            + (not isinstance(finding.status, Healthy)),
            metrics=finding.metrics,
        )


def _read(router: str, answer: bytes | None) -> DetailedHealthStatus | None:
    try:
        return None if answer is None else _decoder.decode(answer)
    except UNREADABLE as error:
        log.warning("the health of router %s is not readable: %s", router, error)
        return None


async def _unless_missing(read: Callable[[], Awaitable[_T]], otherwise: _T) -> _T:
    """Return what is read; that its stream is missing is told by the streams' own states."""
    try:
        # Called here and not before: cancelled before it begins, nothing would await it.
        return await read()
    except StreamMissing:
        return otherwise
