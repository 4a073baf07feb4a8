"""A durable message bus for software agents: FIPA ACL carried by NATS JetStream."""

from caxton_nats.app import Settings, connect, run, serve, settings, started
from caxton_nats.core.disposition import Reject, Retry
from caxton_nats.core.envelope import Envelope, Priority
from caxton_nats.core.errors import CaxtonError
from caxton_nats.core.performatives import Performative
from caxton_nats.ports import Receipt
from caxton_nats.sdk.agent import Agent
from caxton_nats.sdk.context import Context

__all__ = [
    "Agent",
    "CaxtonError",
    "Context",
    "Envelope",
    "Performative",
    "Priority",
    "Receipt",
    "Reject",
    "Retry",
    "Settings",
    "connect",
    "run",
    "serve",
    "settings",
    "started",
]
