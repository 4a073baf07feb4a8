"""Settings: one frozen model for a process, read at the composition root only.

What there is to choose, between which bounds, by which presets and rules. Where a process's values
come from is app/sources.py's affair. Unknown names are errors: a typing mistake must not silently
leave a default in force.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.core.identifiers import AMS, agent_id

Preset = Literal["development", "production", "testing"]

PRESETS: dict[str, dict[str, Any]] = {
    "development": {
        "batch_size": 10,
        "workers": 2,
        "publish_window": 1_000,
        "reply_timeout": 10.0,
        "ingress_size": 1_000,
        "dead_letter_size": 10_000,
        "compression": "none",
        "storage": "memory",
        "max_retries": 2,
        "health_interval": 10.0,
        "retry_delay": 0.5,
        "retry_factor": 1.5,
        "rate_limit": 0,
        "breaker_threshold": 3,
        "breaker_timeout": 30.0,
        "max_participants": 5,
        "conversation_timeout": 600.0,
        "max_content": 1_048_576,
    },
    "production": {
        "batch_size": 1_000,
        "workers": 8,
        "publish_window": 50_000,
        "reply_timeout": 30.0,
        "ingress_size": 100_000,
        "dead_letter_size": 1_000_000,
        "compression": "s2",
        "storage": "file",
        "max_retries": 3,
        "health_interval": 60.0,
        "retry_delay": 1.0,
        "retry_factor": 2.0,
        "rate_limit": 10_000,
        "breaker_threshold": 10,
        "breaker_timeout": 60.0,
        "max_participants": 20,
        "conversation_timeout": 1_800.0,
        "max_content": 10_485_760,
    },
    "testing": {
        "batch_size": 5,
        "workers": 1,
        "publish_window": 10_000,
        "reply_timeout": 5.0,
        "ingress_size": 10_000,
        "dead_letter_size": 10_000,
        "compression": "none",
        "storage": "memory",
        "max_retries": 1,
        "health_interval": 5.0,
        "retry_delay": 0.1,
        "retry_factor": 1.1,
        "rate_limit": 0,
        "breaker_threshold": 1,
        "breaker_timeout": 5.0,
        "max_participants": 3,
        "conversation_timeout": 300.0,
        "max_content": 1024,
    },
}
"""The seed's three presets, under our names; what they leave out stays at its default."""


class Rule(NamedTuple):
    """What two settings must agree on."""

    field: str
    other: str
    holds: Callable[[Any, Any], bool]
    reason: str


RULES = (
    Rule(
        "batch_size",
        "ingress_size",
        lambda batch, queue: batch * 10 <= queue,
        "one batch may be a tenth of the queue at most",
    ),
    Rule(
        "retry_delay",
        "retry_max_delay",
        lambda delay, most: delay <= most,
        "the first delay of a retry is longer than the longest one",
    ),
    Rule(
        "conversation_timeout",
        "conversation_lifetime",
        lambda idle, whole: idle <= whole,
        "a conversation would end before it may be silent for that long",
    ),
)


class Settings(BaseModel):
    """What one process may choose. Times are in seconds, sizes in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Preset | None = None
    """A set of values that is laid under what is chosen one by one."""
    nats_url: str = Field(default="nats://127.0.0.1:4222", min_length=1)
    """Where the server is; several with commas."""
    router: Literal["embedded", "service"] = "embedded"
    """Route in this process, or ask the router service (locked-down deployments)."""
    store: str = Field(default=".caxton", min_length=1)
    """Folder of the streams of the server that ``caxton up`` starts."""
    request_timeout: float = Field(default=5.0, gt=0, le=300)
    """How long one request to the server may take."""

    # A deployment agrees on these; they are written down when its topology is applied.
    platform: str = Field(default="caxton", min_length=1, max_length=255)
    shards: int = Field(default=16, ge=1, le=1024)
    queue_size: int = Field(default=1000, ge=1, le=100_000)
    replicas: int = Field(default=1, ge=1, le=5)
    duplicate_window: float = Field(default=120.0, ge=0.1, le=86_400)

    ingress_size: int = Field(default=100_000, ge=10, le=1_000_000)
    """Submissions that wait for a router at most; the next one is refused."""
    rate_limit: int = Field(default=0, ge=0, le=100_000)
    """Messages that one sender may send per second; 0: as many as it likes."""
    dead_letter_size: int = Field(default=100_000, ge=10_000, le=10_000_000)
    """Dead letters that are kept at most; then the oldest go."""
    compression: Literal["none", "s2"] = "none"
    """How the streams lie on the disk; in memory they are not compressed."""
    storage: Literal["file", "memory"] = "file"
    """Where the streams lie; in memory, everything is gone when the server stops."""

    max_participants: int = Field(default=1_000, ge=2, le=10_000)
    conversation_timeout: float = Field(default=1_800.0, ge=300, le=86_400)
    """A conversation ends when nobody has written for this long."""
    conversation_lifetime: float = Field(default=604_800.0, ge=300, le=31_536_000)
    """A conversation ends this long after its first message."""
    conversation_retention: float = Field(default=2_592_000.0, ge=3_600, le=315_360_000)
    """How long an ended conversation stays readable, and its id taken."""

    max_content: int = Field(default=1_048_576, ge=1, le=10_485_760)
    max_receivers: int = Field(default=1_000, ge=1, le=10_000)

    illegal_acts: Literal["allow", "warn", "reject"] = "warn"
    """What this process's router does with an act that its protocol does not allow."""

    ack_wait: float = Field(default=30.0, ge=0.5, le=3600)
    """After this long without a sign of life a delivery comes again."""
    max_deliver: int = Field(default=100, ge=12, le=1000)
    """Hard ceiling of deliveries, above the most retries a message may have (10)."""
    max_retries: int = Field(default=3, ge=1, le=10)
    retry_delay: float = Field(default=1.0, ge=0.1, le=300)
    retry_factor: float = Field(default=2.0, ge=1.1, le=5.0)
    retry_max_delay: float = Field(default=60.0, ge=0.1, le=3600)
    breaker_threshold: int = Field(default=10, ge=0, le=100)
    """Messages in a row whose handling fails until an agent is left alone; 0: it never is."""
    breaker_timeout: float = Field(default=60.0, ge=5, le=300)
    """After this long alone, such an agent is tried with one message."""
    lease: float = Field(default=15.0, ge=1, le=3600)
    """After this long without a sign of life an agent counts as silent, and nobody finds it."""
    concurrency: int = Field(default=16, ge=1, le=1000)
    """Handlers of one agent at work at the same time."""
    batch_size: int = Field(default=256, ge=1, le=10_000)
    """Messages that a router service takes at once, from its ingress and from its doors."""
    workers: int = Field(default=4, ge=1, le=32)
    """Batches that a router service works on at the same time."""
    publish_window: int = Field(default=10_000, ge=10, le=1_000_000)
    """Messages of this process that may wait for the server's acknowledgement."""
    reply_timeout: float = Field(default=30.0, ge=1, le=300)
    """How long a request waits for its answer, if it does not say."""
    links: str = ""
    """Nodes of other platforms that the router service keeps routes to; names with commas."""
    health_interval: float = Field(default=30.0, ge=1, le=300)
    """How often a process that routes looks after itself and the streams."""
    drain: float = Field(default=10.0, ge=0, le=600)
    """How long running handlers may finish when a process stops."""

    @field_validator("links")
    @classmethod
    def _are_nodes(cls, value: str) -> str:
        # People write a space behind a comma.
        names = [name.strip() for name in value.split(",")]
        return ",".join(cls._is_a_name(name) for name in names if name)

    @field_validator("platform")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        try:
            agent_id(AMS, value)
        except InvalidEnvelope as error:
            raise ValueError(error.reason) from None
        return value

    @model_validator(mode="before")
    @classmethod
    def _lay_preset(cls, chosen: Any) -> Any:
        if isinstance(chosen, dict) and isinstance(chosen.get("preset"), str):
            return {**PRESETS.get(chosen["preset"], {}), **chosen}
        return chosen

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_truth_value(cls, value: Any, info: ValidationInfo) -> Any:
        """Python takes true for 1; a person who writes it means something else."""
        if isinstance(value, bool):
            raise ValueError(f"{str(value).lower()} is no value of {info.field_name}")  # noqa: TRY004 - pydantic's way
        return value

    @model_validator(mode="after")
    def _agree(self) -> Self:
        for rule in RULES:
            values = getattr(self, rule.field), getattr(self, rule.other)
            if not rule.holds(*values):
                raise PydanticCustomError(
                    "rule",
                    "{reason}: {field} is {value}, {other} is {limit}",
                    {
                        "reason": rule.reason,
                        "field": rule.field,
                        "other": rule.other,
                        "value": values[0],
                        "limit": values[1],
                    },
                )
        return self
