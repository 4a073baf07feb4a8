"""The same router on plain nats-py, used well: many publishes in flight, msgspec, one dict.

python -m benchmarks.nats_py_router router JOB     (started by the suite)
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import msgspec
import nats
from nats.aio.msg import Msg

from benchmarks.contest import Job, play
from benchmarks.lean import AGENTS, Message

TASKS = 256
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def router(job: Job) -> dict[str, Any]:
    """Route until told to stop; `TASKS` messages at a time wait for their PubAck."""
    client = await nats.connect(job.url)
    stream = client.jetstream()
    decode = msgspec.json.Decoder(Message).decode
    names = [*job.receivers, *(f"other-{number}" for number in range(AGENTS))]
    registry = {name: f"mail.{name}" for name in names}
    waiting: asyncio.Queue[Msg] = asyncio.Queue()

    async def work() -> None:
        while True:
            asked = await waiting.get()
            message = decode(asked.data)
            headers = {"Nats-Msg-Id": message.message_id, "traceparent": TRACE}
            await stream.publish(registry[message.receiver], asked.data, headers=headers)
            await asked.respond(b"ok")

    tasks = [asyncio.create_task(work()) for _ in range(TASKS)]
    await client.subscribe(
        "route", cb=waiting.put, pending_msgs_limit=1_000_000, pending_bytes_limit=-1
    )
    await client.flush()
    await job.go()
    await job.stopped()
    job.done()
    for task in tasks:
        task.cancel()
    await client.close()
    return {}


async def publisher(job: Job) -> dict[str, Any]:
    """Store messages by `publish_async`, as many in flight as it lets."""
    client = await nats.connect(job.url)
    stream = client.jetstream(publish_async_max_pending=1_000)
    body = b"x" * job.size
    await job.go()
    acks = [
        await stream.publish_async(
            f"mail.{job.receivers[0]}", body, headers={"Nats-Msg-Id": str(number)}
        )
        for number in range(job.messages)
    ]
    await stream.publish_async_completed()
    stored = {ack.result().seq for ack in acks}
    job.done(handled=len(stored))
    await client.close()
    return {}


if __name__ == "__main__":
    play(sys.argv, {"router": router, "publisher": publisher})
