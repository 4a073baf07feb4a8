"""Why a message died, in the seed's nine words; each kind of error names one of them."""

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
