"""What the streams of a platform hold, and whether there is a connection to them, for health."""

from __future__ import annotations

from typing import Protocol

from caxton_nats.core.connection_state import ConnectionState
from caxton_nats.core.stream_state import StreamState


class Streams(Protocol):
    """All streams of a platform."""

    async def states(self) -> list[StreamState]:
        """Return the state of each stream that there is or should be; cheap, however many agents.

        Raises:
            TransportError: no answer.
        """

    def connection(self) -> ConnectionState:
        """Return the state of the connection that this process has to all of them."""
