"""Settings: one frozen model for a process, read at the composition root only.

Values come from code, then from ``CAXTON_*`` variables, then from the defaults here. Unknown names
are errors: a typing mistake must not silently leave a default in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from caxton_nats.core.errors import ConfigurationError, InvalidEnvelope
from caxton_nats.core.identifiers import AMS, agent_id

PREFIX = "CAXTON_"
_NOT_SETTINGS = ("CAXTON_TEST_",)


class Settings(BaseModel):
    """What one process may choose. Times are in seconds, sizes in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nats_url: str = "nats://127.0.0.1:4222"
    """Where the server is; several with commas."""
    router: Literal["embedded", "service"] = "embedded"
    """Route in this process, or ask the router service (locked-down deployments)."""
    request_timeout: float = Field(default=5.0, gt=0, le=300)
    """How long one request to the server may take."""

    # A deployment agrees on these; they are written down when its topology is applied.
    platform: str = Field(default="caxton", min_length=1, max_length=255)
    shards: int = Field(default=16, ge=1, le=1024)
    queue_size: int = Field(default=1000, ge=1, le=100_000)
    replicas: int = Field(default=1, ge=1, le=5)
    duplicate_window: float = Field(default=120.0, ge=0.1, le=86_400)

    max_content: int = Field(default=1_048_576, ge=1, le=10_485_760)
    max_receivers: int = Field(default=1_000, ge=1, le=10_000)
    max_participants: int = Field(default=1_000, ge=2, le=10_000)

    ack_wait: float = Field(default=30.0, ge=0.5, le=3600)
    """After this long without a sign of life a delivery comes again."""
    max_deliver: int = Field(default=100, ge=12, le=1000)
    """Hard ceiling of deliveries, above the most retries a message may have (10)."""
    max_retries: int = Field(default=3, ge=1, le=10)
    retry_delay: float = Field(default=1.0, ge=0.1, le=300)
    retry_factor: float = Field(default=2.0, ge=1.1, le=5.0)
    retry_max_delay: float = Field(default=60.0, ge=0.1, le=3600)
    concurrency: int = Field(default=16, ge=1, le=1000)
    """Handlers of one agent at work at the same time."""
    drain: float = Field(default=10.0, ge=0, le=600)
    """How long running handlers may finish when a process stops."""

    @field_validator("platform")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        try:
            agent_id(AMS, value)
        except InvalidEnvelope as error:
            raise ValueError(error.reason) from None
        return value


def from_environment(environment: Mapping[str, str], **chosen: Any) -> Settings:
    """Return the settings: what is ``chosen`` in code wins over ``CAXTON_*`` variables.

    Raises:
        ConfigurationError: an unknown name or a value out of its bounds; names the variable.
    """
    names = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and not name.startswith(_NOT_SETTINGS)
    }
    in_code = {name: value for name, value in chosen.items() if value is not None}
    wanted = {**names, **in_code}
    try:
        return Settings.model_validate(wanted)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        known = ", ".join(sorted(Settings.model_fields))
        raise ConfigurationError(
            first["msg"],
            field=f"{PREFIX}{field.upper()}" if field not in in_code else field,
            value=str(wanted.get(field, ""))[:60],
            hint=f"the settings are: {known}" if first["type"] == "extra_forbidden" else "",
        ) from None
