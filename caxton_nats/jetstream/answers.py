"""What a router answers, as clients of any language read it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import msgspec
from nats.errors import Error as NatsError

from caxton_nats.core.errors import CaxtonError, TransportError
from caxton_nats.jetstream import subjects
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.wire import Post
from caxton_nats.ports import Outcome, Receipt

log = logging.getLogger("caxton_nats.jetstream")


async def respond(connection: Connection, answers: Sequence[tuple[str, str, object]]) -> None:
    """Answer requests, all at once: the subject, where the answer goes, and what it is."""
    posts: list[Post] = []
    limit = connection.max_payload
    for _, reply, body in answers:
        if not subjects.may_be_answered(reply):
            continue
        answer = msgspec.json.encode(body)
        if len(answer) > limit:
            # Unanswered, what was done would look as if nobody had heard of it.
            answer = msgspec.json.encode(error_body(_too_long(limit, len(answer))))
        posts.append(Post(reply, answer))
    try:
        await connection.client.post(posts)
    except NatsError as error:
        log.warning("a request on %s has no answer: %r", answers[0][0], error)


def result_body(result: Receipt | CaxtonError) -> dict[str, Any]:
    """Return what became of a message."""
    if isinstance(result, CaxtonError):
        return error_body(result)
    return {
        "message_id": result.message_id,
        "receivers": [_outcome_body(outcome) for outcome in result.outcomes],
    }


def error_body(error: CaxtonError) -> dict[str, Any]:
    """Return an error."""
    return {"error": error.to_dict()}


def _outcome_body(outcome: Outcome) -> dict[str, Any]:
    chosen = {"target": outcome.target, "reason": outcome.reason} if outcome.target else {}
    if outcome.error is not None:
        return {"receiver": outcome.receiver, **chosen, **error_body(outcome.error)}
    return {
        "receiver": outcome.receiver,
        **chosen,
        "stream": outcome.stream,
        "sequence": outcome.sequence,
        "duplicate": outcome.duplicate,
    }


def _too_long(limit: int, size: int) -> CaxtonError:
    return TransportError(
        "it was done, but the answer is larger than the server's max_payload",
        limit=limit,
        value=size,
        hint="name fewer receivers at once; sending again with the same message id is safe",
    )
