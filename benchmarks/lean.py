"""The ceiling: producer, router and agent that do the least that the job takes, and nothing else.

Written to be measured against, not to be used: no reconnection, no errors, no order, no retries, no
ledger. What they do is what nobody could leave out: decode, look the receiver up among a thousand,
publish durably with an id and a trace context, confirm to the producer, pull, decode, acknowledge
each message.

    python -m benchmarks.lean producer|router|agent JOB     (started by the suite)
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from benchmarks.contest import Job, play

WINDOW, PULL = 1_000, 500
AGENTS = 1_000
TRACE = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n"
Frame = tuple[bytes, bytes, bytes]
"""Subject, reply, data."""


class Message(msgspec.Struct):
    """As much of a message as a router looks at."""

    receiver: str
    message_id: str
    content: msgspec.Raw


class Client(asyncio.Protocol):
    """Reads and writes the NATS protocol, a socket buffer at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._rest = b""
        self._heard: dict[bytes, Callable[[list[Frame]], None]] = {}
        self.connected = asyncio.Event()
        self._pong = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Introduce ourselves."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True}
        self.write([f"CONNECT {json.dumps(options)}\r\n".encode()])
        self.connected.set()

    def write(self, frames: list[bytes]) -> None:
        """Write all at once."""
        self._transport.write(b"".join(frames))

    async def listen(self, subject: str, heard: Callable[[list[Frame]], None]) -> None:
        """Subscribe, and return once the server knows."""
        number = b"%d" % (len(self._heard) + 1)
        self._heard[number] = heard
        self._pong.clear()
        self.write([f"SUB {subject} {number.decode()}\r\nPING\r\n".encode()])
        await self._pong.wait()

    def data_received(self, data: bytes) -> None:
        """Take what a read has brought."""
        data, at = self._rest + data, 0
        batches: dict[bytes, list[Frame]] = {}
        while True:
            ends = data.find(b"\r\n", at)
            if ends < 0:
                break
            line = data[at:ends]
            if line[:4] == b"PONG":
                self._pong.set()
            elif line[:4] == b"PING":
                self.write([b"PONG\r\n"])
            elif line[:3] == b"MSG" or line[:4] == b"HMSG":
                fields = line.split(b" ")
                start, total = ends + 2, int(fields[-1])
                if len(data) < start + total + 2:
                    break
                is_plain = line[:1] == b"M"
                begins = start if is_plain else start + int(fields[-2])
                has_reply = len(fields) == (5 if is_plain else 6)
                reply = fields[3] if has_reply else b""
                frame = fields[1], reply, data[begins : start + total]
                batches.setdefault(fields[2], []).append(frame)
                ends = start + total
            at = ends + 2
        self._rest = data[at:]
        for number, frames in batches.items():
            self._heard[number](frames)


async def connect(url: str) -> Client:
    """Return a client of the server."""
    host, port = url.removeprefix("nats://").split(":")
    _, client = await asyncio.get_running_loop().create_connection(Client, host, int(port))
    await client.connected.wait()
    return client


def bodies(job: Job) -> list[bytes]:
    """Return the messages, encoded as they are sent."""
    encode = msgspec.json.Encoder().encode
    content = msgspec.Raw(json.dumps("x" * job.size).encode())
    return [
        encode(Message(job.receivers[at % len(job.receivers)], f"{job.name}-{at}", content))
        for at in range(job.messages)
    ]


class Router:
    """Decodes, looks up, publishes durably; tells the producer when the server has it."""

    def __init__(self, client: Client, job: Job) -> None:
        self._client = client
        self._decode = msgspec.json.Decoder(Message).decode
        names = [*job.receivers, *(f"other-{number}" for number in range(AGENTS))]
        self._registry = {name: f"mail.{name}" for name in names}
        self._asking: dict[bytes, bytes] = {}
        self._next = 0
        self.acked = 0
        self.heard = asyncio.Event()

    async def start(self) -> None:
        """Listen for acks."""
        await self._client.listen("acks.*", self._on_acks)

    def route(self, frames: list[Frame]) -> None:
        """Publish what has come, at once."""
        out: list[bytes] = []
        for _, reply, data in frames:
            out.append(self.stored(data, reply))
        self._client.write(out)

    def stored(self, data: bytes, reply: bytes = b"") -> bytes:
        """Return what stores a message."""
        message = self._decode(data)
        subject = self._registry[message.receiver]
        self._next += 1
        if reply:
            self._asking[b"acks.%d" % self._next] = reply
        head = f"NATS/1.0\r\nNats-Msg-Id: {message.message_id}\r\n{TRACE}"
        line = f"HPUB {subject} acks.{self._next} {len(head)} {len(head) + len(data)}\r\n"
        return b"".join(((line + head).encode(), data, b"\r\n"))

    def _on_acks(self, frames: list[Frame]) -> None:
        self.acked += len(frames)
        out: list[bytes] = []
        for subject, _, data in frames:
            assert b'"error"' not in data, data
            reply = self._asking.pop(subject, None)
            if reply is not None:
                out.append(b"PUB %s 2\r\nok\r\n" % reply)
        if out:
            self._client.write(out)
        self.heard.set()


async def producer(job: Job) -> dict[str, Any]:
    """Send all messages through the door, so many at a time, and wait until all are confirmed."""
    client = await connect(job.url)
    if job.door == "embedded":
        router = Router(client, job)
        await router.start()
        await job.go()
        given = bodies(job)
        for at in range(0, len(given), WINDOW // 2):
            while at - router.acked > WINDOW // 2:
                router.heard.clear()
                await router.heard.wait()
            client.write([router.stored(one) for one in given[at : at + WINDOW // 2]])
        while router.acked < job.messages:
            router.heard.clear()
            await router.heard.wait()
        return {}
    confirmed, heard = 0, asyncio.Event()

    def on_answers(frames: list[Frame]) -> None:
        nonlocal confirmed
        confirmed += len(frames)
        heard.set()

    await client.listen("sent", on_answers)
    await job.go()
    subject = b"route" if job.door == "service" else b"submit"
    given = bodies(job)
    for at in range(0, len(given), WINDOW // 2):
        while at - confirmed > WINDOW // 2:
            heard.clear()
            await heard.wait()
        part = given[at : at + WINDOW // 2]
        client.write([b"PUB %s sent %d\r\n%s\r\n" % (subject, len(one), one) for one in part])
    while confirmed < job.messages:
        heard.clear()
        await heard.wait()
    return {}


async def router(job: Job) -> dict[str, Any]:
    """Route until told to stop."""
    client = await connect(job.url)
    routing = Router(client, job)
    await routing.start()
    await client.listen("route", routing.route)
    await job.go()
    await job.stopped()
    return {}


async def agent(job: Job) -> dict[str, Any]:
    """Pull, decode and acknowledge until all messages are here."""
    client = await connect(job.url)
    decode = msgspec.json.Decoder(Message).decode
    seen: set[str] = set()
    complete, left = asyncio.Event(), [0] * len(job.receivers)

    def pull(at: int, name: str) -> bytes:
        left[at] = PULL
        request = b'{"batch":%d,"expires":60000000000}' % PULL
        return b"PUB $JS.API.CONSUMER.MSG.NEXT.MAIL.%s mine.%d %d\r\n%s\r\n" % (
            name.encode(),
            at,
            len(request),
            request,
        )

    def on_mail(frames: list[Frame]) -> None:
        out: list[bytes] = []
        for _, reply, data in frames:
            message = decode(data)
            seen.add(message.message_id)
            out.append(b"PUB %s 4\r\n+ACK\r\n" % reply)
            at = job.receivers.index(message.receiver) if len(left) > 1 else 0
            left[at] -= 1
            if not left[at]:
                out.append(pull(at, message.receiver))
        client.write(out)
        if len(seen) >= job.messages:
            complete.set()

    await client.listen("mine.*", on_mail)
    client.write([pull(at, name) for at, name in enumerate(job.receivers)])
    await job.go()
    await complete.wait()
    return {"handled": len(seen)}


if __name__ == "__main__":
    play(sys.argv, {"producer": producer, "router": router, "agent": agent})
