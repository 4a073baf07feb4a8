"""Lower library's errors to ours, in one table.

A time-out of a publish leaves it unknown whether the server stored the message: that is
`PublishUnconfirmed`, and the cure is to publish again with the same ``Nats-Msg-Id``.
"""

from __future__ import annotations

import nats.errors as client
import nats.js.errors as js

from caxton_nats.core.errors import (
    CaxtonError,
    ConfigurationError,
    NotConnected,
    PermissionDenied,
    PublishUnconfirmed,
    QueueFull,
    RevisionConflict,
    ServerExhausted,
    StreamMissing,
    TransportError,
)
from caxton_nats.jetstream.client import Denied

_DOWN = (
    client.ConnectionClosedError,
    client.ConnectionReconnectingError,
    client.ConnectionDrainingError,
    client.NoServersError,
    client.StaleConnectionError,
    client.OutboundBufferLimitError,
    client.UnexpectedEOF,
)

_TABLE: tuple[tuple[tuple[type[Exception], ...], type[CaxtonError], str, str], ...] = (
    (
        (js.NoStreamResponseError, client.NoRespondersError, js.ServiceUnavailableError),
        StreamMissing,
        "nobody answered; no stream or service listens there",
        "run `caxton topology check`; for the service doors, start `caxton up`",
    ),
    (
        (client.TimeoutError, TimeoutError),
        PublishUnconfirmed,
        "no answer in time; whether it happened is unknown",
        "try again with the same message id",
    ),
    (
        (client.MaxPayloadError,),
        ConfigurationError,
        "larger than the server's max_payload",
        "raise max_payload",
    ),
    (_DOWN, NotConnected, "no connection to NATS", "it is tried again until it is back"),
)

# JetStream's own error codes (server/errors.json).
WRONG_LAST_SEQUENCE = frozenset({10071, 10164})
QUEUE_FULL = 10077
STORE_FAILED = 10051
"""What is asked for cannot be written: the description has the system's words."""
NOT_FOUND = frozenset({10014, 10037, 10043, 10059})
DELETE_FAILED = 10057
NO_QUORUM = 10008
"""The server knows no leader of its cluster."""
_MORE_ROOM = "the server needs more disk or memory, or higher limits of them"
EXHAUSTED = {
    10023: _MORE_ROOM,
    10026: "deregister agents that are gone, or start a platform with more shards",
    10028: _MORE_ROOM,
    10047: _MORE_ROOM,
}
"""What makes room again."""
_NO_SPACE = "no space left on device"
_FULL = (
    "make room on the disk of the server's store, and start the server anew if it is not the one"
    " of `caxton up`; send again with the same message id"
)
PERMANENT = frozenset({10052, 10054, 10060, 10111, 10165, 10166, 10168, 10174, 10188})


def translate(error: Exception, what: str) -> CaxtonError:
    """Return our error for one of nats-py's; ``what`` says what was being done."""
    if isinstance(error, CaxtonError):
        return error
    if isinstance(error, Denied):
        return denied(error, what)
    # nats-py leaves its fields out where it makes such an error itself (KeyNotFoundError).
    code = getattr(error, "err_code", None)
    if isinstance(error, js.APIError) and code:
        return api_error(code, error.description or str(error), what)
    for kinds, kind, reason, hint in _TABLE:
        if isinstance(error, kinds):
            return kind(f"{what}: {reason}", hint=hint)
    return TransportError(f"{what}: {type(error).__name__}: {error}")


def denied(error: Denied, what: str) -> PermissionDenied:
    """Return our error for what this user may not do."""
    return PermissionDenied(
        f"{what}: the server does not let this user {error.right} there",
        field=error.subject,
        value=error.right,
        hint=f"add {error.subject} to the user's permissions to {error.right}",
    )


def api_error(err_code: int, description: str, what: str) -> CaxtonError:
    """Return our error for a JetStream API error."""
    if err_code in WRONG_LAST_SEQUENCE:
        return RevisionConflict(f"{what}: somebody else wrote first")
    if err_code == QUEUE_FULL and "per subject" in description:
        return QueueFull(f"{what}: the mailbox is full")
    gone = err_code == DELETE_FAILED and "no message found" in description
    if err_code in NOT_FOUND or gone:
        return StreamMissing(f"{what}: {description}", hint="run `caxton topology check`")
    if err_code in EXHAUSTED or _NO_SPACE in description:
        hint = EXHAUSTED.get(err_code, _FULL)
        return ServerExhausted(f"{what}: {description}", value=err_code, hint=hint)
    if err_code in PERMANENT:
        return ConfigurationError(f"{what}: {description}", value=err_code)
    return TransportError(f"{what}: {description}", value=err_code)
