"""Sender and receiver on plain nats-py: publish to JetStream, pull, acknowledge.

python -m benchmarks.nats_py_ends sender|echo JOB     (started by the suite)
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

import nats
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StreamConfig

from benchmarks.contest import PATIENCE, Job, play
from benchmarks.paced import Taken, paced

FETCH = 100


async def sender(job: Job) -> dict[str, Any]:
    """Send by the schedule, each message by a task of its own; with answers, take them."""
    client = await nats.connect(job.url)
    stream = client.jetstream()
    taken = Taken(job)
    round_trip = job.more["round_trip"]

    async def send(contents: Sequence[str]) -> None:
        await asyncio.gather(*(stream.publish("mail.bob", one.encode()) for one in contents))

    inbox = await _inbox(stream, "alice")
    await job.go()
    pulling = asyncio.create_task(_pull(inbox, taken)) if round_trip else None
    await paced(job, send)
    figures = {}
    if pulling is not None:
        await pulling
        figures = taken.figures()
    await client.close()
    return figures


async def echo(job: Job) -> dict[str, Any]:
    """Take the messages; with answers, send each one back."""
    client = await nats.connect(job.url)
    stream = client.jetstream()
    taken = Taken(job)
    inbox = await _inbox(stream, "bob")
    await job.go()
    if job.more["round_trip"]:
        await _answer_all(inbox, stream, job.messages)
        await job.stopped()
    else:
        await _pull(inbox, taken)
    await client.flush()
    await client.close()
    return {} if job.more["round_trip"] else taken.figures()


async def _inbox(stream: JetStreamContext, name: str) -> JetStreamContext.PullSubscription:
    await stream.add_stream(
        StreamConfig(name="MAIL", subjects=["mail.>"], retention=RetentionPolicy.WORK_QUEUE)
    )
    config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, max_ack_pending=-1)
    return await stream.pull_subscribe(f"mail.{name}", durable=name, stream="MAIL", config=config)


async def _pull(inbox: JetStreamContext.PullSubscription, taken: Taken) -> None:
    """Pull and acknowledge until all is here."""
    while not taken.complete.is_set():
        for message in await inbox.fetch(FETCH, timeout=PATIENCE):
            taken.take(message.data.decode())
            await message.ack()


async def _answer_all(
    inbox: JetStreamContext.PullSubscription, stream: JetStreamContext, number: int
) -> None:
    """Send each message to alice before its ack, each by a task of its own."""
    answering: list[asyncio.Task[None]] = []
    while len(answering) < number:
        for message in await inbox.fetch(FETCH, timeout=PATIENCE):
            answering.append(asyncio.create_task(_answer(stream, message)))  # noqa: PERF401
    await asyncio.gather(*answering)


async def _answer(stream: JetStreamContext, message: Msg) -> None:
    await stream.publish("mail.alice", message.data)
    await message.ack()


if __name__ == "__main__":
    play(sys.argv, {"sender": sender, "echo": echo})
