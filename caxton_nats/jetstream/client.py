"""nats-py's client, which nothing makes deaf: no message, no late answer, no server that is silent.

To a NATS server subjects are bytes, and so is the line that headers begin with. nats-py decodes
both, and what it cannot decode ends its reading for good: the connection stays up, and not another
word is heard of any subject. It also splits lines at characters that are no separators to a server,
cannot read what is left, and connects anew. One request silences a router, one stored message every
router that is ever started. Here such messages arrive, with a subject that names nobody.

It comes to the same end when a PONG comes for somebody who has given up. Each of these is taken
care of, and reading that ends all the same, for whatever reason, begins again on a new connection.

What the server refuses is told to whoever listens (`Denied`): nats-py has a log line for it, and
whoever asked waits in vain. All that is known of nats-py's own ways is kept in this module.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any
from urllib.parse import ParseResult

from nats.aio.client import PING_PROTO, Client
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport
from nats.errors import ConnectionDrainingError, MaxPayloadError
from nats.errors import Error as NatsError
from nats.js.kv import KeyValue
from nats.protocol.parser import PERMISSIONS_ERR

from caxton_nats.jetstream.headers import DESCRIPTION, STATUS, block, parse_block
from caxton_nats.jetstream.questions import Questions
from caxton_nats.jetstream.wire import AttentiveParser, BatchParser, Frame, Listener, Post, written

_KNOWN = "2.16."
"""The nats-py whose inside the batches rely on."""
_MUCH = 256 * 1024
"""Bytes that are written before more is posted."""
log = logging.getLogger("caxton_nats.jetstream")
_VIOLATION = re.compile(rb"""-ERR 'Permissions Violation for (\w+) (?:to|with [^"]*) "([^"]+)\"""")


class Denied(NatsError):
    """This user may not do what it has just tried."""

    def __init__(self, right: str, subject: str) -> None:
        """Say what is not allowed: to ``publish`` to a subject, or to ``subscribe`` to it."""
        super().__init__(f"this user may not {right} to {subject}")
        self.right = right
        self.subject = subject


class ReadingEnded(NatsError):
    """Nothing is read from the connection any more, and nobody knows why."""


class AttentiveClient(Client):
    """A client whose reading does not end by what it reads."""

    def __init__(self) -> None:
        super().__init__()
        self._by_batch = version("nats-py").startswith(_KNOWN)
        """Whether to listen and post by the batch: nats-py is as we know it. Otherwise both go by
        its public API, one message after the other."""
        self._ps = BatchParser(self) if self._by_batch else AttentiveParser(self)
        self._writes_soon = False
        self.listeners: dict[bytes, Listener] = {}
        """By the number of the subscription, as the server writes it."""
        self._questions = Questions(self)
        self._on_denied: list[Callable[[Denied], None]] = []
        self.refused: dict[str, Denied] = {}
        """Subjects of this connection that nothing will be heard of."""

    def on_denied(self, listener: Callable[[Denied], None]) -> Callable[[], None]:
        """Call ``listener`` with whatever the server refuses; the returned function ends that."""
        self._on_denied.append(listener)

        def forget() -> None:
            with suppress(ValueError):
                self._on_denied.remove(listener)

        return forget

    @property
    def last_url(self) -> ParseResult | None:
        """The address of the server that this client has, or had last."""
        return self._current_server.uri if self._current_server is not None else None

    async def _process_err(self, err_msg: str) -> None:
        """Connect again after what the server ends a connection for; nats-py would close it."""
        if PERMISSIONS_ERR in err_msg:
            await self._process_denial(err_msg)
            return
        complaint = NatsError(f"the server ended the connection: {err_msg}")
        await self._error_cb(complaint)
        await self._process_op_err(complaint)

    async def _process_denial(self, err_msg: str) -> None:
        # What nats-py hands on it has made lower case; the line itself is still there.
        found = _VIOLATION.match(bytes(self._ps.buf))
        if found is None:
            await self._error_cb(NatsError(err_msg))
            return
        right = "publish" if found[1] == b"Publish" else "subscribe"
        denied = Denied(right, found[2].decode("utf-8", "replace"))
        if right == "subscribe":
            self.refused[denied.subject] = denied
        await self._error_cb(denied)
        self._questions.refused(denied, right, denied.subject)
        for listener in list(self._on_denied):
            listener(denied)

    async def _request_new_style(
        self,
        subject: str,
        payload: bytes,
        timeout: float = 1,  # noqa: ASYNC109 - nats-py's own signature
        headers: dict[str, Any] | None = None,
    ) -> Msg:
        """Ask as nats-py does, but wait for no answer once the question has been refused."""
        return await self._questions.ask(subject, payload, headers, timeout)

    async def listen(
        self, subject: str, hear: Callable[[list[Frame]], None], *, queue: str = ""
    ) -> Listener:
        """Subscribe; ``hear`` is called with everything that one read has brought, in order.

        It is called while the connection is being read: it must be quick and not wait.

        Raises:
            NatsError: the subject is none, or the connection is closed.
        """
        listener = Listener(hear)

        async def one(message: Msg) -> None:
            hear([_frame(message)])

        number = b"%d" % (self._sid + 1)
        if self._by_batch:
            # Before it is made: what comes for it must not go two ways.
            self.listeners[number] = listener
        try:
            listener.subscription = await self.subscribe(
                subject, queue, cb=one, pending_bytes_limit=-1
            )
        except BaseException:
            self.listeners.pop(number, None)
            raise
        return listener

    def heard(self, listener: Listener, frames: list[Frame]) -> None:
        """Hand on what was read; for the parser."""
        self.stats["in_msgs"] += len(frames)
        self.stats["in_bytes"] += sum(len(frame.data) for frame in frames)
        try:
            listener.hear(frames)
        except Exception:
            # The connection must be read on, whatever one listener makes of it.
            log.exception("what came on %a could not be taken", frames[0].subject)

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        super()._remove_sub(sid, max_msgs)
        self.listeners.pop(b"%d" % sid, None)

    async def post(self, posts: Sequence[Post]) -> None:
        """Write the messages, at once and in order, after all that was written before.

        Returns when they are with the operating system, or wait for a connection; that the server
        has them says only its answer.

        Raises:
            ValueError: a subject is none.
            NatsError: one is too large, the connection is closed, or there is none and too much
                waits for it. In the first two cases none is written.
        """
        if not posts:
            return
        transport = self._transport
        if not (self._by_batch and self.is_connected and isinstance(transport, TcpTransport)):
            for post in posts:
                head = parse_block(post.headers) or None
                await self.publish(post.subject, post.data, reply=post.reply, headers=head)
            return
        if self.is_draining_pubs:
            raise ConnectionDrainingError
        if any(len(post.data) + len(post.headers) > self._max_payload for post in posts):
            raise MaxPayloadError
        text = written(posts)
        self.stats["out_msgs"] += len(posts)
        self.stats["out_bytes"] += len(text)
        # In one write with what nats-py has not written yet, and what else is posted in this turn
        # of the loop. Not before the next: a write to a connection that is lost has all thrown away
        # that has come on it and is not read, deliveries that nobody gets again before ack_wait.
        self._pending.append(text)
        self._pending_data_size += len(text)
        if not self._writes_soon:
            self._writes_soon = True
            asyncio.get_running_loop().call_soon(self._write_pending)
        if self._pending_data_size > _MUCH:
            await asyncio.sleep(0)
        # Here it shows, too, that the connection is lost; what is to be done, whoever reads knows.
        with suppress(OSError):
            await transport.drain()  # type: ignore[no-untyped-call]

    def _write_pending(self) -> None:
        self._writes_soon = False
        transport = self._transport
        if self._pending and self.is_connected and transport is not None:
            pending, self._pending, self._pending_data_size = self._pending, [], 0
            transport.writelines(pending)

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        """Ask behind all that was written before; nats-py's PING overtakes what still waits.

        Its PONG would say nothing of that: a flush could return before the server has a
        subscription, a request, or the end of either.
        """
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        await self._send_command(PING_PROTO)
        await self._flush_pending()

    async def _process_pong(self) -> None:
        """Tell whoever waits for it; nats-py's reading ends when that one has given up."""
        if self._pongs:
            waiting = self._pongs.pop(0)
            if not waiting.done():
                waiting.set_result(True)
            self._pongs_received += 1
            self._pings_outstanding = 0

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        """Hand the message on; that one cannot be, is told, and is no reason to read no further."""
        try:
            await super()._process_msg(sid, subject, reply, data, headers)
        except Exception as error:  # noqa: BLE001 - anything that a stranger's message leads to
            await self._error_cb(error)

    async def _process_headers(self, headers: Any) -> dict[str, str] | None:
        """Return the headers; none if they do not even begin like headers."""
        try:
            return await super()._process_headers(headers)
        except (UnicodeDecodeError, IndexError):
            return None

    def _build_message(
        self,
        sid: int,
        subject: bytes,
        reply: bytes,
        data: bytes,
        headers: dict[str, str] | None,
    ) -> Msg:
        """Return the message; what is no UTF-8 in a name becomes U+FFFD, which no token has."""
        return super()._build_message(  # type: ignore[no-any-return]
            sid, _readable(subject), _readable(reply), data, headers
        )

    async def _read_loop(self) -> None:
        """Read until the connection ends; should reading end before that, connect again."""
        await super()._read_loop()
        if self.is_connected and asyncio.current_task() is self._reading_task:
            ended = ReadingEnded("reading from the connection has ended by an error of nats-py")
            await self._error_cb(ended)
            await self._process_op_err(ended)

    async def _attempt_reconnect(self) -> None:
        """Connect again, whatever goes wrong meanwhile.

        nats-py ends the old connection politely, which a server that has fallen silent never lets
        come to its end; and what it did not expect of a new one ends its trying.
        """
        self.refused.clear()
        self._questions.give_up(b"".join(self._pending))
        while not self.is_closed:
            self._abort()
            try:
                await super()._attempt_reconnect()
            except Exception as error:  # noqa: BLE001 - one server may talk any nonsense
                await self._error_cb(error)
                await asyncio.sleep(self.options["reconnect_time_wait"])
            else:
                return

    def drop(self) -> None:
        """Give up what is not written: closing would wait until a silent server takes it."""
        self._pending.clear()
        self._pending_data_size = 0
        self._abort()

    def _abort(self) -> None:
        transport = self._transport
        if isinstance(transport, TcpTransport) and transport._io_writer is not None:  # noqa: SLF001
            transport._io_writer.transport.abort()  # noqa: SLF001


def place_of_delivery(watcher: KeyValue.KeyWatcher) -> str:
    """Return where the server delivers what is watched; another place is another consumer.

    nats-py makes one whenever it has heard nothing for two heartbeats, and has it go on behind what
    came last: in a stream that was made anew that is nowhere.
    """
    subscription: Any = watcher._sub  # noqa: SLF001
    return str(subscription._sub._subject)  # noqa: SLF001


def _frame(message: Msg) -> Frame:
    """Return a message that nats-py has read; its headers are not as they came, but the same."""
    # Some of the names that nats-py gives are members of an enumeration.
    headers = {
        str(getattr(name, "value", name)): " ".join(value.split("\r\n"))
        for name, value in (message.headers or {}).items()
    }
    status = f"{headers.pop(STATUS, '')} {headers.pop(DESCRIPTION, '')}".strip()
    text = block(headers)
    if status:
        text = b"NATS/1.0 %s\r\n%s" % (status.encode(), text.partition(b"\r\n")[2] or b"\r\n")
    return Frame(message.subject.encode(), message.reply.encode(), text, message.data)


def _readable(name: bytes) -> bytes:
    return name if name.isascii() else name.decode("utf-8", "replace").encode()
