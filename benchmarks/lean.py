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
from time import monotonic
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
        self.write([f"SUB {subject} {number.decode()}\r\n".encode()])
        await self.flush()

    async def flush(self) -> None:
        """Return once the server has read all that was written."""
        self._pong.clear()
        self.write([b"PING\r\n"])
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


def headed(subject: str, reply: str, message_id: str, data: bytes) -> bytes:
    """Return what stores a message, with the headers that a message has."""
    head = f"NATS/1.0\r\nNats-Msg-Id: {message_id}\r\n{TRACE}"
    line = f"HPUB {subject} {reply} {len(head)} {len(head) + len(data)}\r\n"
    return b"".join(((line + head).encode(), data, b"\r\n"))


class Router:
    """Decodes, looks up, publishes durably; tells the producer when the server has it."""

    def __init__(self, client: Client, job: Job) -> None:
        self._client = client
        self._decode = msgspec.json.Decoder(Message).decode
        names = [*job.receivers, *(f"other-{number}" for number in range(AGENTS))]
        self._registry = {name: f"mail.{name}" for name in names}
        self._asking: dict[bytes, bytes] = {}
        self._next = 0

    async def start(self) -> None:
        """Listen for acks."""
        await self._client.listen("acks.*", self._on_acks)

    def route(self, frames: list[Frame]) -> None:
        """Publish what has come, at once."""
        out: list[bytes] = []
        for _, reply, data in frames:
            self._next += 1
            ack_to = f"acks.{self._next}"
            self._asking[ack_to.encode()] = reply
            out.append(self.stored(data, ack_to=ack_to))
        self._client.write(out)

    def stored(self, data: bytes, *, ack_to: str) -> bytes:
        """Return what stores a message."""
        message = self._decode(data)
        return headed(self._registry[message.receiver], ack_to, message.message_id, data)

    def _on_acks(self, frames: list[Frame]) -> None:
        out: list[bytes] = []
        for subject, _, data in frames:
            assert b'"error"' not in data, data
            out.append(b"PUB %s 4\r\n+ACK\r\n" % self._asking.pop(subject))
        self._client.write(out)


class Pace:
    """Keeps so many messages on their way, and no more."""

    def __init__(self) -> None:
        self.confirmed = 0
        self._heard = asyncio.Event()

    def confirm(self, frames: list[Frame]) -> None:
        """Take answers."""
        assert not any(b'"error"' in data for _, _, data in frames), frames[0]
        self.confirmed += len(frames)
        self._heard.set()

    async def until(self, confirmed: int) -> None:
        """Return when so many are confirmed."""
        while self.confirmed < confirmed:
            self._heard.clear()
            await self._heard.wait()


async def producer(job: Job) -> dict[str, Any]:
    """Send all messages through the door, so many at a time, and wait until all are confirmed."""
    client, pace = await connect(job.url), Pace()
    routing = Router(client, job)
    await client.listen("sent", pace.confirm)

    def written(number: int, body: bytes) -> bytes:
        if job.door == "embedded":
            return routing.stored(body, ack_to="sent")
        if job.door == "submit":
            return headed("submit", "sent", f"{job.name}-{number}", body)
        return b"PUB route sent %d\r\n%s\r\n" % (len(body), body)

    await job.go()
    given = bodies(job)
    step = WINDOW // 2
    for start in range(0, len(given), step):
        await pace.until(start - step)
        part = enumerate(given[start : start + step], start)
        client.write([written(number, body) for number, body in part])
    await pace.until(len(given))
    return {}


async def router(job: Job) -> dict[str, Any]:
    """Route until told to stop."""
    client = await connect(job.url)
    routing = Router(client, job)
    await routing.start()
    if job.door == "submit":
        await pulling(client, routing)
    else:
        await client.listen("route", routing.route)
    await job.go()
    await job.stopped()
    return {}


async def pulling(client: Client, routing: Router) -> None:
    """Route what lies in the ingress; the answer to its reply subject acknowledges it there."""
    left = 2 * PULL
    request = b'{"batch":%d,"expires":60000000000}' % PULL
    pull = b"PUB $JS.API.CONSUMER.MSG.NEXT.INGRESS.router given %d\r\n%s\r\n" % (
        len(request),
        request,
    )

    def take(frames: list[Frame]) -> None:
        nonlocal left
        routing.route(frames)
        left -= len(frames)
        if left <= PULL:
            left += PULL
            client.write([pull])

    await client.listen("given", take)
    client.write([pull, pull])


async def agent(job: Job) -> dict[str, Any]:
    """Pull, decode and acknowledge until all messages are here."""
    client = await connect(job.url)
    decode = msgspec.json.Decoder(Message).decode
    seen: set[str] = set()
    handled = 0
    complete, left = asyncio.Event(), [0] * len(job.receivers)
    places = {name: at for at, name in enumerate(job.receivers)}

    def pull(at: int, name: str) -> bytes:
        left[at] += PULL
        request = b'{"batch":%d,"expires":60000000000}' % PULL
        return b"PUB $JS.API.CONSUMER.MSG.NEXT.MAIL.%s mine.%d %d\r\n%s\r\n" % (
            name.encode(),
            at,
            len(request),
            request,
        )

    def on_mail(frames: list[Frame]) -> None:
        nonlocal handled
        handled += len(frames)
        out: list[bytes] = []
        for _, reply, data in frames:
            message = decode(data)
            seen.add(message.message_id)
            out.append(b"PUB %s 4\r\n+ACK\r\n" % reply)
            at = places[message.receiver]
            left[at] -= 1
            if left[at] <= PULL:
                out.append(pull(at, message.receiver))
        client.write(out)
        if len(seen) >= job.messages:
            complete.set()

    await client.listen("mine.*", on_mail)
    client.write([pull(at, name) for at, name in [*enumerate(job.receivers)] * 2])
    await job.go()
    await complete.wait()
    ended = monotonic()
    await client.flush()
    assert handled == len(seen), f"{handled - len(seen)} messages were handled twice"
    return {"handled": handled, "ended": ended}


if __name__ == "__main__":
    play(sys.argv, {"producer": producer, "router": router, "agent": agent})
