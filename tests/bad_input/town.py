"""A deployment on a server for many cases, and strangers who speak to the server in plain bytes."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import msgspec

from caxton_nats import app
from caxton_nats.config import Settings
from caxton_nats.core.dead_letter import DeadLetter, Origin
from caxton_nats.core.envelope import Envelope
from caxton_nats.core.health import Healthy
from caxton_nats.core.identifiers import AgentId
from caxton_nats.engine import stored
from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream.connection import Connection, connect
from caxton_nats.jetstream.embedded import EmbeddedServer
from caxton_nats.jetstream.headers import stored_headers
from tests.bad_input.case import GOOD, RECEIVER, SENDER
from tests.plugins.eventually import eventually

Marks = dict[str, int]
"""The last sequence of each stream: it moves with everything that is ever stored there."""


class Stranger:
    """A client of the server that keeps to no client's rules."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.heard: list[bytes] = []

    async def store(self, subject: bytes, body: bytes, headers: bytes = b"") -> dict[str, Any]:
        """Publish into a stream, and return the server's answer."""
        self._writer.write(b"SUB _INBOX.stranger 1\r\n")
        await self.publish(subject, body, reply=b"_INBOX.stranger", headers=headers, answered=True)
        size = int(self.heard.pop().split()[-1])
        ack: dict[str, Any] = msgspec.json.decode(await self._reader.readexactly(size))
        return ack

    async def publish(
        self,
        subject: bytes,
        body: bytes,
        *,
        reply: bytes = b"",
        headers: bytes = b"",
        answered: bool = False,
    ) -> None:
        """Publish, and return when the server has it, or has answered it."""
        words = [b"HPUB" if headers else b"PUB", subject, *([reply] if reply else [])]
        words += [b"%d" % len(headers)] if headers else []
        words += [b"%d" % len(headers + body)]
        self._writer.write(b" ".join(words) + b"\r\n" + headers + body + b"\r\nPING\r\n")
        end = b"MSG " if answered else b"PONG"
        while not (line := await self._reader.readline()).startswith(end):
            assert line.startswith((b"INFO", b"PING", b"PONG")), line
        self.heard.append(line)

    async def write(self, data: bytes) -> bytes:
        """Write bytes as they are, and return what the server says before it hangs up."""
        said = b""
        # The server may have hung up in the middle of it.
        with suppress(OSError):
            self._writer.write(data)
            self._writer.write_eof()
            while piece := await self._reader.read(65_536):
                said += piece
        return said


class Town:
    """A router service on a server, with a sender and a receiver who do not read their mail."""

    def __init__(self, url: str, platform: Platform, connection: Connection) -> None:
        self.url = url
        self.platform = platform
        self.connection = connection

    async def ask(self, subject: str, body: bytes = b"", **more: Any) -> dict[str, Any]:
        """Return what a door answers."""
        answer = await self.connection.client.request(subject, body, timeout=10, **more)
        found: dict[str, Any] = msgspec.json.decode(answer.data)
        return found

    async def submit(self, body: bytes, **headers: str) -> Origin:
        """Store bytes at the door, and return where."""
        ack = await self.ask("caxton.submit.mallory", body, headers=headers or None)
        assert "error" not in ack, ack
        return Origin(ack["stream"], ack["seq"])

    async def marks(self) -> Marks:
        """Return how far each stream is."""
        answer = await self.connection.api("STREAM.LIST")
        return {one["config"]["name"]: one["state"]["last_seq"] for one in answer["streams"]}

    async def mailed(self) -> int:
        """Return how many messages have been stored in mailboxes."""
        marks = await self.marks()
        return sum(last for name, last in marks.items() if name.startswith("CAXTON_MAILBOX"))

    async def worked_off(self) -> None:
        """Wait until nothing is left at the store-and-forward door."""

        async def empty() -> bool:
            info = await self.connection.api("STREAM.INFO.CAXTON_INGRESS")
            return not info["state"]["messages"]

        await eventually(empty)

    async def letter(self, origin: Origin) -> DeadLetter:
        """Return the dead letter of a stored message."""
        letter = await self.platform.ports.dead_letters.get(origin.key)
        assert letter is not None
        return letter

    async def mail(self, agent: AgentId) -> list[Envelope]:
        """Return the last few messages in an agent's mailbox, the newest first."""
        found = await self.platform.ports.mailboxes.list(agent, limit=20)
        return [stored.decode(one.body) for one in found]

    async def newest(self, agent: AgentId = RECEIVER) -> Envelope:
        """Return the last message in an agent's mailbox."""
        return (await self.mail(agent))[0]

    async def newest_headers(self) -> dict[str, str]:
        """Return the headers of the last message in the receiver's mailbox, NATS's own too."""
        (found,) = await self.platform.ports.mailboxes.list(RECEIVER, limit=1)
        answer = await self.connection.api(
            f"STREAM.MSG.GET.{found.origin.stream}", {"seq": found.origin.sequence}
        )
        assert b64decode(answer["message"]["data"]) == found.body
        return stored_headers(answer["message"]["hdrs"])

    async def is_well(self) -> None:
        """Insist that the next good message is taken by both doors, and that all is healthy."""
        receipt = await self.ask("caxton.send.mallory", GOOD)
        assert "error" not in receipt, receipt
        await self.submit(GOOD)
        await self.worked_off()
        assert isinstance((await self.platform.health_check()).overall, Healthy)

    async def is_quick(self) -> None:
        """Insist that the next good message is taken."""
        receipt = await self.ask("caxton.send.mallory", GOOD)
        assert "error" not in receipt, receipt

    @asynccontextmanager
    async def stranger(self) -> AsyncIterator[Stranger]:
        """Connect to the server as some client of some language."""
        where = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n')
        try:
            yield Stranger(reader, writer)
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@asynccontextmanager
async def open_town() -> AsyncIterator[Town]:
    """Open a town; when it is left, all must be well, and the good mail be handled."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(EmbeddedServer())
        chosen = Settings(
            nats_url=server.url,
            platform="here",
            shards=1,
            queue_size=100_000,
            retry_delay=0.1,
            ack_wait=1,
            request_timeout=10,
        )
        platform = await stack.enter_async_context(app.serve(chosen, observer=lambda _: None))
        for agent in (SENDER, RECEIVER):
            await platform.registrar.register(agent)
        connection = await connect(server.url, name="test")
        stack.push_async_callback(connection.close)
        town = Town(server.url, platform, connection)
        yield town
        await town.is_well()
