"""How well a platform is, by component, in one process and in several together.

What is well and what is not is decided in core/diagnosis.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec


class Healthy(msgspec.Struct, frozen=True, tag_field="status", tag="Healthy"):
    """All is well."""


class Degraded(msgspec.Struct, frozen=True, tag_field="status", tag="Degraded"):
    """It works, and somebody should look."""

    reason: str


class Unhealthy(msgspec.Struct, frozen=True, tag_field="status", tag="Unhealthy"):
    """It does not work."""

    reason: str


HealthStatus = Healthy | Degraded | Unhealthy
_ORDER: tuple[type[HealthStatus], ...] = (Healthy, Degraded, Unhealthy)


class Finding(msgspec.Struct, frozen=True):
    """What one check says of one component."""

    status: HealthStatus = Healthy()
    metrics: dict[str, float] = {}


class ComponentHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The latest finding of a component."""

    status: HealthStatus
    last_check: datetime
    error_count: int = 0
    """Checks that found it not healthy, since the start."""
    metrics: dict[str, float] = {}


class DetailedHealthStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The seed's DetailedHealthStatus, of one process or of a platform."""

    overall: HealthStatus
    components: dict[str, ComponentHealth] = {}
    uptime_ms: int = 0
    last_error: str | None = None
    """What was found wrong last, even if it is right again."""
    last_error_at: datetime | None = None


def overall(components: Mapping[str, ComponentHealth]) -> HealthStatus:
    """Return the worst status; its reason names each component that has it."""
    worst = max((_rank(one.status) for one in components.values()), default=0)
    reasons = [
        f"{name}: {reason_of(one.status)}"
        for name, one in components.items()
        if worst and _rank(one.status) == worst
    ]
    kind = _ORDER[worst]
    return Healthy() if kind is Healthy else kind("; ".join(reasons))


def together(several: Iterable[DetailedHealthStatus]) -> DetailedHealthStatus:
    """Return the health of several processes as one.

    Of each component the worst is told, errors are added, and the largest figure counts: what the
    streams hold is the same for everybody.
    """
    processes = list(several)
    components: dict[str, ComponentHealth] = {}
    for process in processes:
        for name, one in process.components.items():
            components[name] = _both(components[name], one) if name in components else one
    errors = [(one.last_error_at, one.last_error) for one in processes if one.last_error_at]
    at, error = max(errors, default=(None, None))
    return DetailedHealthStatus(
        overall=overall(components),
        components=components,
        uptime_ms=max((one.uptime_ms for one in processes), default=0),
        last_error=error,
        last_error_at=at,
    )


def reason_of(status: HealthStatus) -> str:
    """Return why it is not healthy; empty if it is."""
    return "" if isinstance(status, Healthy) else status.reason


def _rank(status: HealthStatus) -> int:
    return _ORDER.index(type(status))


def _both(one: ComponentHealth, other: ComponentHealth) -> ComponentHealth:
    return ComponentHealth(
        status=max(one.status, other.status, key=_rank),
        last_check=max(one.last_check, other.last_check),
        error_count=one.error_count + other.error_count,
        metrics={
            name: max(each.metrics[name] for each in (one, other) if name in each.metrics)
            for name in one.metrics | other.metrics
        },
    )
