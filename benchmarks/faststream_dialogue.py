"""The request protocol on FastStream, over JetStream: request, agree and inform are all stored.

python -m benchmarks.faststream_dialogue initiator|participant JOB     (started by the suite)
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

from faststream.nats import JStream, NatsBroker, PullSub
from nats.js.api import RetentionPolicy

from benchmarks.contest import Job, play
from benchmarks.dialogue import in_flight

WORKERS = 64
STREAM = JStream("TALK", subjects=["talk.>"], retention=RetentionPolicy.WORK_QUEUE)
READING: dict[str, Any] = {
    "stream": STREAM,
    "pull_sub": PullSub(batch_size=WORKERS),
    "max_workers": WORKERS,
}
"""How both sides take their mail."""
Message = dict[str, Any]


async def initiator(job: Job) -> dict[str, Any]:
    """Request, and wait for what is informed."""
    broker = NatsBroker(job.url, logger=None, log_level=logging.CRITICAL)
    waiting: dict[int, asyncio.Future[None]] = {}
    agreed: set[int] = set()
    content = "x" * job.size

    @broker.subscriber("talk.alice", durable="alice", **READING)
    async def take(message: Message) -> None:
        if message["act"] == "agree":
            agreed.add(message["number"])
        else:
            waiting[message["number"]].set_result(None)

    async def converse(number: int) -> None:
        waiting[number] = asyncio.get_running_loop().create_future()
        request: Message = {"act": "request", "number": number, "content": content}
        await broker.publish(request, "talk.bob", stream="TALK", timeout=30)
        await waiting[number]

    async with broker:
        await broker.start()
        await job.go()
        await in_flight(job.messages, converse)
        async with asyncio.timeout(10):
            while len(agreed) < job.messages:  # noqa: ASYNC110 - other tasks still take them
                await asyncio.sleep(0.01)
    return {"handled": len(waiting)}


async def participant(job: Job) -> dict[str, Any]:
    """Agree to everything, and inform."""
    broker = NatsBroker(job.url, logger=None, log_level=logging.CRITICAL)

    @broker.subscriber("talk.bob", durable="bob", **READING)
    async def answer(message: Message) -> None:
        for act in ("agree", "inform"):
            await broker.publish({**message, "act": act}, "talk.alice", stream="TALK", timeout=30)

    async with broker:
        await broker.start()
        await job.go()
        await job.stopped()
    return {}


if __name__ == "__main__":
    play(sys.argv, {"initiator": initiator, "participant": participant})
