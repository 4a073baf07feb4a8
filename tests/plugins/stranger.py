"""Somebody who speaks to the server in plain bytes, as a client of any language might."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class Stranger:
    """A connection without a client library; make one with `visiting`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.write = writer.write

    async def publish(
        self, subject: bytes, body: bytes, *, reply: bytes = b"", headers: bytes = b""
    ) -> None:
        """Publish, and return when the server has taken it."""
        words = [b"HPUB" if headers else b"PUB", subject, *([reply] if reply else [])]
        words += [b"%d" % len(headers)] if headers else []
        words += [b"%d" % len(headers + body)]
        self.write(b" ".join(words) + b"\r\n" + headers + body + b"\r\nPING\r\n")
        while (line := await self._reader.readline()) != b"PONG\r\n":
            assert line.startswith((b"INFO", b"PING")), line


@asynccontextmanager
async def visiting(url: str) -> AsyncIterator[Stranger]:
    """Yield a stranger who has introduced himself."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(b'CONNECT {"verbose":false,"headers":true}\r\n')
    yield Stranger(reader, writer)
    writer.close()
    await writer.wait_closed()
