"""Messages that a JetStream server is to store, and its PubAcks: what it says of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from caxton_nats.core.errors import CaxtonError, PublishUnconfirmed
from caxton_nats.core.reading import UNREADABLE
from caxton_nats.jetstream.errors import api_error
from caxton_nats.ports import Stored


class Post(msgspec.Struct, frozen=True):
    """One message to be stored: subject, headers, payload."""

    subject: str
    body: bytes
    headers: Mapping[str, str]


class _Error(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class _PubAck(msgspec.Struct):
    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: _Error | None = None
    count: int = 0


_decoder = msgspec.json.Decoder(_PubAck)


class Batch:
    """Messages that are on their way together, and what became of each."""

    def __init__(self, posts: Sequence[Post], *, is_group: bool = False) -> None:
        """Take what is on its way.

        Args:
            posts: it is said to each whether it is stored.
            is_group: the ack of the one speaks for others, too.
        """
        self.posts = posts
        self.is_group = is_group
        self.results: list[Stored | CaxtonError | None] = [None] * len(posts)
        self.left = len(posts)
        self.complete = asyncio.Event()
        self.count = 0
        """Messages that the last ack spoke for."""

    def put(self, at: int, result: Stored | CaxtonError) -> bool:
        """Take a result; False if there is one: what came first counts."""
        if self.results[at] is not None:
            return False
        self.results[at] = result
        self.left -= 1
        if not self.left:
            self.complete.set()
        return True

    def end(self, error: CaxtonError) -> None:
        """Let everything that waits have this."""
        for at in range(len(self.posts)):
            self.put(at, error)


def read_ack(data: bytes, status: str) -> Stored | CaxtonError:
    """Return what a PubAck says.

    Args:
        data: the answer.
        status: what its headers begin with; 503 if nobody is there.
    """
    if status.startswith("503"):
        return api_error(10059, "no stream answers for this subject", "publish")
    try:
        ack = _decoder.decode(data)
    except UNREADABLE as error:
        return PublishUnconfirmed(f"publish: the ack could not be read: {error}")
    if ack.error is not None:
        return api_error(ack.error.err_code, ack.error.description, "publish")
    return Stored(ack.stream, ack.seq, ack.duplicate)


def count_of(data: bytes) -> int:
    """Return how many messages a PubAck speaks for; 0 if it is none."""
    try:
        return _decoder.decode(data).count
    except UNREADABLE:
        return 0
