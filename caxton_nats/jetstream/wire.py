"""The NATS protocol by the batch: what one read has brought is handed over at once, in one call.

nats-py takes a coroutine, a queue, a task and several objects for each message that comes, and most
of a flush for each that goes. Here whatever a read brought for a listener is one list, and what is
posted together is one write. nats-py keeps the connection with all that belongs to it (TLS,
authentication, reconnection, subscriptions made anew), and reads every line that is not for a
listener.

See the NATS client protocol; https://docs.nats.io/reference/reference-protocols/nats-protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from nats.aio.subscription import Subscription
from nats.errors import BadSubjectError, ProtocolError
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

_NO_SEPARATORS = bytes.maketrans(b"\v\f", b"??")
"""What bytes.split and re call white space and NATS does not; no token has a question mark."""
_M, _H = b"MH"
_MSG_FIELDS, _HMSG_FIELDS = 4, 5
"""Of a line without a reply subject."""


class Frame(NamedTuple):
    """A message as it came. Subjects are bytes to a NATS server, and may be no UTF-8."""

    subject: bytes
    reply: bytes
    """Empty if none."""
    headers: bytes
    """The whole block (see `headers.parse_block`); empty if none."""
    data: bytes


class Post(NamedTuple):
    """A message to be written."""

    subject: str
    data: bytes
    reply: str = ""
    headers: bytes = b""
    """A whole block (see `headers.block`); empty for none."""


class NoSubject(BadSubjectError):
    """What nothing can be written to."""

    def __init__(self, subject: str) -> None:
        """Take what was given for one."""
        self._subject = subject

    def __str__(self) -> str:
        """Say which."""
        return f"nats: {self._subject!a} is no subject to write to"


class Listener:
    """Who hears everything that comes for one subscription, a read at a time."""

    def __init__(self, hear: Callable[[list[Frame]], None]) -> None:
        """Take whom to call; `client.listen` does the rest."""
        self.hear = hear
        self.subscription: Subscription

    async def stop(self) -> None:
        """Hear nothing any more.

        Raises:
            NatsError: the connection is closed.
        """
        await self.subscription.unsubscribe()

    async def drain(self) -> None:
        """Hear what the server has sent before it knows of the end, and nothing any more.

        Raises:
            NatsError: the connection is closed, or was lost meanwhile.
        """
        await self.subscription.drain()  # type: ignore[no-untyped-call]


class Hearing(Protocol):
    """A client with listeners."""

    listeners: dict[bytes, Listener]
    """By the number of the subscription, as the server writes it."""

    def heard(self, listener: Listener, frames: list[Frame]) -> None:
        """Hand on what was read for it."""


def written(posts: Sequence[Post]) -> bytes:
    """Return the posts as a server reads them.

    Raises:
        NoSubject: a subject is none; nothing of it may be written.
    """
    parts: list[bytes] = []
    for subject, data, reply, headers in posts:
        address = f"{subject} {reply}" if reply else subject
        if not address.isprintable() or address.count(" ") > bool(reply) or not subject:
            raise NoSubject(address)
        if headers:
            size = len(headers)
            line = f"HPUB {address} {size} {size + len(data)}\r\n"
            parts += (line.encode(), headers, data, b"\r\n")
        else:
            parts += (f"PUB {address} {len(data)}\r\n".encode(), data, b"\r\n")
    return b"".join(parts)


class AttentiveParser(Parser):
    """Reads on where a subject or reply has a character that nats-py stumbles over."""

    async def parse(self, data: bytes = b"") -> None:
        """Take what the server has sent; see `Parser.parse`."""
        while True:
            try:
                await super().parse(data)
            except ProtocolError:
                if not self._mend_line():
                    raise
            else:
                # With much in the buffer it waits for more of the line instead, for ever.
                if self.state != AWAITING_CONTROL_LINE or not self._mend_line():
                    return
            data = b""

    def _mend_line(self) -> bool:
        """Make the line that could not be read readable; False if it is whole without that."""
        end = self.buf.find(b"\r\n")
        line = bytes(self.buf[: max(end, 0)])
        mended = line.translate(_NO_SEPARATORS)
        self.buf[: len(line)] = mended
        return mended != line


class BatchParser(AttentiveParser):
    """Takes out what is for listeners, and leaves the rest to nats-py, one whole item at a time."""

    def __init__(self, client: Hearing) -> None:
        """Take whose listeners to serve."""
        self._client = client
        self._batches: dict[Listener, list[Frame]] = {}
        self._fed = 0
        super().__init__(client)

    def reset(self) -> None:
        """Forget what came of an item that is not whole; another connection begins anew."""
        super().reset()
        self._parts: list[bytes] = []
        self._missing = 0
        """Bytes at least until the item is whole that has begun."""
        self._fed += 1

    async def parse(self, data: bytes = b"") -> None:
        """Take what the server has sent."""
        if self._missing > len(data):
            # A long message comes in many reads: joined once, not with each of them.
            self._missing -= len(data)
            self._parts.append(data)
            return
        if self._parts:
            self._parts.append(data)
            data, self._parts = b"".join(self._parts), []
        self._missing = 0
        at, fed = 0, self._fed
        while at < len(data):
            at, ends = self._take(data, at)
            if not ends:
                break
            # In its order among the others: after a PONG, all that was sent before it is handed on.
            self._hand_on()
            await super().parse(data[at:ends])
            if self._fed != fed:
                return
            if self.buf:
                raise ProtocolError("nats: unknown protocol")
            at = ends
        self._hand_on()
        if at < len(data):
            self._parts = [data[at:]]

    # One function, for each message that is read goes through it.
    def _take(self, data: bytes, at: int) -> tuple[int, int]:  # noqa: PLR0911, PLR0912 - as above
        """Take messages for listeners; return where that ends, and where the item there ends.

        That one is not for a listener, or 0 if it is not whole.
        """
        listeners, batches, size = self._client.listeners, self._batches, len(data)
        while at < size:
            line_ends = data.find(b"\r\n", at)
            if line_ends < 0:
                return at, 0
            start = line_ends + 2
            kind = data[at]
            if kind not in (_M, _H):
                return at, start
            fields = data[at:line_ends].split(b" ")
            length = fields[-1]
            if not length.isdigit():
                return at, start
            ends = start + int(length)
            if ends + 2 > size:
                self._missing = ends + 2 - size
                return at, 0
            listener = listeners.get(fields[2]) if len(fields) > _MSG_FIELDS - 1 else None
            if listener is None:
                return at, ends + 2
            frame = _frame(fields, data, start, ends, kind)
            if frame is None:
                return at, ends + 2
            batch = batches.get(listener)
            if batch is None:
                batches[listener] = [frame]
            else:
                batch.append(frame)
            at = ends + 2
        return at, 0

    def _hand_on(self) -> None:
        if self._batches:
            batches, self._batches = self._batches, {}
            for listener, frames in batches.items():
                self._client.heard(listener, frames)


def _frame(fields: list[bytes], data: bytes, start: int, ends: int, kind: int) -> Frame | None:
    """Return the message; None if its line is none that we know."""
    number = len(fields)
    if kind == _M:
        if number == _MSG_FIELDS:
            return Frame(fields[1], b"", b"", data[start:ends])
        if number == _MSG_FIELDS + 1:
            return Frame(fields[1], fields[3], b"", data[start:ends])
        return None
    if number not in (_HMSG_FIELDS, _HMSG_FIELDS + 1) or not fields[-2].isdigit():
        return None
    begins = start + int(fields[-2])
    reply = fields[3] if number > _HMSG_FIELDS else b""
    return Frame(fields[1], reply, data[start:begins], data[begins:ends])
