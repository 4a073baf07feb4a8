"""What the pretended streams hold. There is no second net in memory, so no advisories either."""

from __future__ import annotations

from collections.abc import Sequence

from caxton_nats.core.connection_state import ConnectionState
from caxton_nats.core.stream_state import Role, StreamState
from caxton_nats.memory.mail import turn
from caxton_nats.memory.stores import MemoryDeadLetters
from caxton_nats.memory.work_queue import Stream


class MemoryStreams:
    """See `ports.Streams`."""

    def __init__(
        self,
        mailboxes: Sequence[Stream],
        ingress: Stream,
        outbound: Stream,
        dead_letters: MemoryDeadLetters,
    ) -> None:
        self._mailboxes = mailboxes
        self._ingress = ingress
        self._outbound = outbound
        self._dead_letters = dead_letters

    async def states(self) -> list[StreamState]:
        """Return the state of each stream."""
        await turn()
        return [
            *(_state(stream, Role.MAILBOX) for stream in self._mailboxes),
            _state(self._ingress, Role.INGRESS, max_messages=self._ingress.queue_size),
            _state(self._outbound, Role.OUTBOUND),
            self._dead_letters.state(),
        ]

    def connection(self) -> ConnectionState:
        """Return that nothing can be lost on the way."""
        return ConnectionState(connected=True)


def _state(stream: Stream, role: Role, *, max_messages: int | None = None) -> StreamState:
    held = [message for queue in stream.queues.values() for message in queue.messages.values()]
    return StreamState(
        name=stream.name,
        role=role,
        messages=len(held),
        bytes=sum(len(message.body) for message in held),
        last_sequence=stream.last_sequence,
        first_at=min((message.stored_at for message in held), default=None),
        consumers=len(stream.queues),
        max_messages=max_messages,
    )
