"""Storing messages in groups: all of a group or nothing, with one sync of the server's disk.

JetStream's atomic batches (ADR-50 of nats-architecture-and-design): the messages of a batch carry
its id and their number, the last one commits it, and its PubAck speaks for all. The server refuses
a batch as a whole, for one message over the bound of its subject, or one id that it knows: then
nothing of it is stored, and its messages go one by one, so that each has its own result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from caxton_nats.core.errors import CaxtonError
from caxton_nats.jetstream.wire import Post
from caxton_nats.ports import Stored

MOST = 1000
"""Messages of a group; a server takes no more unless it is configured so."""
MOST_BYTES = 4 * 1024 * 1024
"""Bytes of a group: the server lays them aside until the last message has come."""
DISABLED = 10_174
"""The error of a stream that takes no batches."""


def cut(sizes: Sequence[int]) -> Iterator[slice]:
    """Yield which messages may be one group, in order.

    Args:
        sizes: of their bodies, in bytes.
    """
    start = held = 0
    for at, size in enumerate(sizes):
        if at > start and (at - start == MOST or held + size > MOST_BYTES):
            yield slice(start, at)
            start, held = at, 0
        held += size
    if start < len(sizes):
        yield slice(start, len(sizes))


def batch(posts: Sequence[Post], name: str) -> list[Post]:
    """Return the posts as a batch of this name; the last one has the reply subject.

    Args:
        posts: with a block of headers each.
        name: no other batch of any client may have it, 64 characters at most.
    """
    last = len(posts)
    return [
        post._replace(
            headers=b"%sNats-Batch-Id: %s\r\nNats-Batch-Sequence: %d\r\n%s\r\n"
            % (
                post.headers[:-2],
                name.encode(),
                number,
                b"Nats-Batch-Commit: 1\r\n" if number == last else b"",
            )
        )
        for number, post in enumerate(posts, 1)
    ]


def results(number: int, ack: Stored | CaxtonError | None, count: int) -> list[Stored] | None:
    """Return what became of a batch of so many; None if that must be found out one by one.

    Args:
        number: messages of the batch.
        ack: of the last message.
        count: messages that the ack speaks for.
    """
    if not isinstance(ack, Stored) or count != number:
        return None
    first = ack.sequence - number + 1
    return [Stored(ack.stream, first + at, duplicate=False) for at in range(number)]
