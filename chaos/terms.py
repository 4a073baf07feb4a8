"""The settings of every process: short terms, so that faults are soon noticed, and soon over."""

from __future__ import annotations

from typing import Any

from caxton_nats.config import Settings

LEASE = 2.0
ACK_WAIT = 2.0


def settings(url: str, *, replicas: int = 1, **chosen: Any) -> Settings:
    """Return the settings on this server, with what a scenario chooses itself."""
    common: dict[str, Any] = {
        "nats_url": url,
        "platform": "chaos",
        "shards": 4,
        "replicas": replicas,
        "lease": LEASE,
        "ack_wait": ACK_WAIT,
        "request_timeout": 2.0,
        "retry_delay": 0.1,
        "drain": 2.0,
    }
    return Settings.model_validate({**common, **chosen})


def variables(chosen: Settings) -> dict[str, str]:
    """Return the settings as CAXTON_* variables, for another process."""
    wanted = chosen.model_dump(exclude_unset=True)
    return {f"CAXTON_{name.upper()}": str(value) for name, value in wanted.items()}
