"""``caxton health``: whether the platform works, and what to look at if not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from caxton_nats.cli.exits import Exit
from caxton_nats.cli.options import AsJson, NatsUrl, connected, work
from caxton_nats.cli.output import facts, show, table
from caxton_nats.core.errors import NotConnected
from caxton_nats.core.health import (
    ComponentHealth,
    Degraded,
    DetailedHealthStatus,
    Healthy,
    Unhealthy,
    reason_of,
)

_EXITS: dict[type[Any], Exit] = {
    Healthy: Exit.OK,
    Degraded: Exit.DEGRADED,
    Unhealthy: Exit.UNHEALTHY,
}


def health(*, nats_url: NatsUrl = None, as_json: AsJson = False) -> int:
    """Show whether the platform works, over all routers; the exit code says it, too."""

    async def checked() -> int:
        try:
            # Only looking: this process must not appear among the routers.
            async with connected(nats_url, "service") as platform:
                found = await platform.health_check()
        except NotConnected as error:
            found = DetailedHealthStatus(overall=Unhealthy(f"connection: {error}"))
        show(msgspec.to_builtins(found), _facts(found), "", _components(found), as_json=as_json)
        return _EXITS[type(found.overall)]

    return work(checked())


def _facts(found: DetailedHealthStatus) -> Any:
    return facts(
        {
            "health": type(found.overall).__name__,
            "reason": reason_of(found.overall),
            "up for": timedelta(seconds=found.uptime_ms // 1000),
            "last error": found.last_error,
            "at": found.last_error_at,
        }
    )


def _components(found: DetailedHealthStatus) -> Any:
    rows = [
        (
            name,
            type(one.status).__name__,
            one.error_count,
            one.last_check,
            reason_of(one.status) or _figures(one),
        )
        for name, one in sorted(found.components.items())
    ]
    titles = ("component", "status", "errors", "checked", "reason, or figures")
    return table(*titles, rows=rows, right=("errors",), empty="nothing could be looked at")


def _figures(one: ComponentHealth) -> list[str]:
    return [f"{name.replace('_', ' ')} {value:.4g}" for name, value in one.metrics.items()]
