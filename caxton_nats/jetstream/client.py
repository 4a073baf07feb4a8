"""nats-py's client, which no message can make deaf: whatever bytes a stranger publishes.

To a NATS server subjects are bytes, and so is the line that headers begin with. nats-py decodes
both, and what it cannot decode ends its reading for good: the connection stays up, and not another
word is heard of any subject. It also splits lines at characters that are no separators to a server,
cannot read what is left, and connects anew. One request silences a router, one stored message every
router that is ever started. Here such messages arrive, with a subject that names nobody.

Nor does it give up a connection that the server has ended with a complaint: it connects again.
"""

from __future__ import annotations

from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import ProtocolError
from nats.protocol.parser import AWAITING_CONTROL_LINE, PERMISSIONS_ERR, Parser

_NO_SEPARATORS = bytes.maketrans(b"\v\f", b"??")
"""What bytes.split and re call white space and NATS does not; no token has a question mark."""


class AttentiveClient(Client):
    """A client whose reading does not end by what it reads."""

    def __init__(self) -> None:
        super().__init__()
        self._ps = _AttentiveParser(self)

    async def _process_err(self, err_msg: str) -> None:
        """Connect again after what the server ends a connection for; nats-py would close it."""
        if not self.is_connected or PERMISSIONS_ERR in err_msg:
            await super()._process_err(err_msg)
            return
        complaint = NatsError(f"the server ended the connection: {err_msg}")
        await self._error_cb(complaint)
        await self._process_op_err(complaint)

    async def _select_next_server(self) -> None:
        """Try the server last that has just been lost, or left; nats-py may take it again."""
        self._server_pool.sort(key=lambda server: server is self._current_server)
        await super()._select_next_server()

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


class _AttentiveParser(Parser):
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


def _readable(name: bytes) -> bytes:
    return name if name.isascii() else name.decode("utf-8", "replace").encode()
