"""The composition root: the only place that knows adapters, engine and settings at once."""

from caxton_nats.app.clock import RandomIds, SystemClock
from caxton_nats.app.composition import at_work, connect, operate
from caxton_nats.app.options import (
    configuration,
    conversation_terms,
    mailbox_options,
    retry_policy,
    router_options,
    settings,
    topology_options,
)
from caxton_nats.app.running import dismissed, interrupted, run, started
from caxton_nats.app.service import serve
from caxton_nats.app.sources import Configuration
from caxton_nats.config import Settings

__all__ = [
    "Configuration",
    "RandomIds",
    "Settings",
    "SystemClock",
    "at_work",
    "configuration",
    "connect",
    "conversation_terms",
    "dismissed",
    "interrupted",
    "mailbox_options",
    "operate",
    "retry_policy",
    "router_options",
    "run",
    "serve",
    "settings",
    "started",
    "topology_options",
]
