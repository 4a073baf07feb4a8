"""Why a message died, in the seed's nine words, and whose fault that is.

Each kind of error names one reason and one who is to blame, and says whether trying the same again
may help: that decides what becomes of a message (the seed's handle_routing_failure).
"""

from __future__ import annotations

from enum import StrEnum


class FailureReason(StrEnum):
    """The nine reasons of the seed; every dead letter has exactly one."""

    AGENT_NOT_FOUND = "AgentNotFound"
    AGENT_NOT_RESPONDING = "AgentNotResponding"
    NETWORK_ERROR = "NetworkError"
    RESOURCE_EXHAUSTED = "ResourceExhausted"
    MESSAGE_TOO_LARGE = "MessageTooLarge"
    INVALID_MESSAGE = "InvalidMessage"
    CIRCUIT_BREAKER_OPEN = "CircuitBreakerOpen"
    QUEUE_FULL = "QueueFull"
    TIMEOUT = "Timeout"


class Blame(StrEnum):
    """Whose fault a failure is."""

    SENDER = "sender"
    """The message: the same bytes would fail in the same way."""
    RECEIVER = "receiver"
    """The agent it is for."""
    INFRASTRUCTURE = "infrastructure"
    """What lies between them."""
    OPERATOR = "operator"
    """What somebody has set up, or asked for."""
