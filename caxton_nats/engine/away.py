"""NATS being away: what follows from it, and what it must not be taken for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from caxton_nats.core.errors import TransportError

AGAIN = timedelta(seconds=1)
"""After which a delivery is tried again: NATS may be back as soon as a stream has a leader."""


class Away(Exception):
    """NATS has failed where neither a message nor its handler had a part in it."""

    def __init__(self, error: TransportError) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def not_theirs() -> Iterator[None]:
    """Raise `Away` for whatever NATS fails at in the body."""
    try:
        yield
    except TransportError as error:
        raise Away(error) from error
