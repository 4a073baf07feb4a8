"""What one process measures of its own routing and handling, as it happens.

Counting is a few additions per message, and reading the clock twice per batch. Durations are
taken from a clock that is never set; the rate goes by the time of day, so that the seconds of
several routers are the same seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter_ns

import msgspec

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.errors import CaxtonError
from caxton_nats.core.statistics import Figures
from caxton_nats.core.verdict import Finding
from caxton_nats.engine import usage
from caxton_nats.ports import Clock, Letter, Publisher, Receipt, Stored
from caxton_nats.telemetry import Action, Event, Observer

_UNDER_WAY = 10_000
"""Handlers whose beginning is remembered."""
_DELIVERED = Action.DELIVERED
_ENDS = frozenset({Action.HANDLED, Action.RETRIED, Action.DEAD_LETTERED})


class Meter:
    """The figures of this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._processor = usage.Processor()
        self._figures = Figures(node=usage.node(), started_at=clock.now())
        self._begun: dict[Origin | None, int] = {}

    def routed(self, results: Sequence[Receipt | CaxtonError], nanoseconds: int) -> None:
        """Count a batch that took so long from the door to its results."""
        if not results:
            return
        self._figures.count(len(results), self._clock.now())
        self._figures.routing.record(nanoseconds // 1000, len(results))
        for result in results:
            failed = result if isinstance(result, CaxtonError) else _first_error(result)
            if failed is not None:
                _count_one(self._figures.errors, failed.code)

    def judged(self, protocol: str, finding: Finding) -> None:
        """Count the verdict on a message of an interaction protocol."""
        _count_one(self._figures.verdicts, f"{protocol} {finding.state} {finding.verdict}")

    def observing(self, observer: Observer) -> Observer:
        """Return the observer; what it is told is counted."""

        def observe(happened: Event) -> None:
            self._saw(happened)
            observer(happened)

        return observe

    def counting(self, publisher: Publisher) -> Publisher:
        """Return the publisher; what it has under way is counted."""
        return _CountedPublisher(publisher, self._figures)

    def figures(self) -> Figures:
        """Return a copy of what has been measured until now."""
        return msgspec.structs.replace(
            msgspec.convert(msgspec.to_builtins(self._figures), Figures),
            memory_bytes=usage.memory_bytes(),
            cpu_percent=self._processor.percent(),
        )

    def _saw(self, happened: Event) -> None:
        action, key = happened.action, happened.origin
        _count_one(self._figures.actions, action)
        if action is _DELIVERED:
            self._begun[key] = perf_counter_ns()
            if len(self._begun) > _UNDER_WAY:
                # Its handler was cancelled, so that nothing followed.
                del self._begun[next(iter(self._begun))]
        elif action in _ENDS and (began := self._begun.pop(key, None)) is not None:
            self._figures.handling.record((perf_counter_ns() - began) // 1000)


class _CountedPublisher:
    def __init__(self, publisher: Publisher, figures: Figures) -> None:
        self._publisher = publisher
        self._figures = figures

    async def publish(self, letters: Sequence[Letter]) -> list[Stored | CaxtonError]:
        """Store the letters."""
        self._figures.outbound += len(letters)
        try:
            return await self._publisher.publish(letters)
        finally:
            self._figures.outbound -= len(letters)


def _first_error(receipt: Receipt) -> CaxtonError | None:
    return next((one.error for one in receipt.outcomes if one.error is not None), None)


def _count_one(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1
