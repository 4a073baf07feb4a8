"""Addresses of servers: shown without their passwords, and why nobody lets us in at one."""

from __future__ import annotations

import re

from caxton_nats.core.errors import (
    CaxtonError,
    ConfigurationError,
    NotConnected,
    PermissionDenied,
)

_NO_ADDRESS = ("invalid connect url", "invalid hostname", "mixing of websocket")
"""What nats-py says of addresses, with an exception class that says nothing."""
_NO_ENTRANCE = ("authorization violation", "authentication")
"""What a server says to somebody whom it does not let in."""


def cannot_connect(url: str, reason: BaseException) -> CaxtonError:
    """Return our error for a connection that could not be opened."""
    if any(words in str(reason) for words in _NO_ADDRESS):
        return ConfigurationError(
            "is no address of a server",
            field="nats_url",
            value=without_password(url),
            hint="for example nats://127.0.0.1:4222",
        )
    if any(words in str(reason).lower() for words in _NO_ENTRANCE):
        return PermissionDenied(
            f"the server does not let us in: {reason}",
            field="nats_url",
            value=without_password(url),
            hint="write the user and password of the server's configuration before the @",
        )
    return NotConnected(
        f"cannot connect to {without_password(url)}: {str(reason) or type(reason).__name__}",
        hint="is a server running there? `caxton up` starts one",
    )


def without_password(url: str) -> str:
    """Return the addresses with ``***`` for whatever a user wrote before the @."""
    # A password may contain @, / and commas as well as it may lack a scheme before it.
    return ",".join(
        re.sub(r"^(\w+://)?.*@", r"\1***@", server) for server in re.split(r",(?=\w+://)", url)
    )
