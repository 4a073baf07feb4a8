"""NATS being away: what follows from it, and what it must not be taken for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from caxton_nats.core.errors import CaxtonError, HandlerFailed, TransportError

_SOON = timedelta(seconds=1)
"""After which a delivery is tried again: NATS may be back as soon as a stream has a leader."""
_OFTEN = 10
"""Deliveries after which it is not an election that is waited for."""
_DOUBLED = 6
"""Times at most: a minute is waited for one that came in vain again and again."""


class Away(Exception):
    """NATS has failed where neither a message nor its handler had a part in it."""

    def __init__(self, error: TransportError) -> None:
        super().__init__(str(error))
        self.error = error


def again(deliveries: int) -> timedelta:
    """Return when to try a delivery again at which NATS has failed.

    The server allows a message so many deliveries and no more. Tried every second, it would have
    used them up within two minutes, and die of it that NATS was away.
    """
    return _SOON * (1 << min(max(0, deliveries - _OFTEN), _DOUBLED))


@contextmanager
def not_theirs() -> Iterator[None]:
    """Raise `Away` for whatever NATS fails at in the body."""
    try:
        yield
    except TransportError as error:
        raise Away(error) from error


def failure(raised: Exception) -> CaxtonError:
    """Return what a handler's exception means: NATS being away is not the handler's fault."""
    if isinstance(raised, TransportError):
        return raised
    after = raised.retry_after if isinstance(raised, CaxtonError) else None
    return HandlerFailed(f"{type(raised).__name__}: {_said(raised)}", retry_after=after)


def _said(raised: Exception) -> str:
    try:
        return str(raised)
    except Exception as error:  # noqa: BLE001 - an exception may raise anything when it is asked
        return f"it cannot say what it is ({type(error).__name__})"
