"""What is measured: agents of ours, through each of the three doors.

python -m benchmarks.routed sender|router|receiver JOB     (started by the suite)
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from time import monotonic
from typing import Any

from benchmarks.contest import Job, play
from caxton_nats import Agent, CaxtonError, Context, Settings, connect, serve, started
from caxton_nats.core import codec
from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream import subjects
from caxton_nats.jetstream.connection import connect as connect_nats
from caxton_nats.jetstream.headers import block
from caxton_nats.jetstream.wire import Frame, Post

CHUNK = 1_000


def settings(job: Job, **more: Any) -> Settings:
    """Return the settings of a participant."""
    return Settings(nats_url=job.url, queue_size=100_000, request_timeout=30.0, **more)


async def prepare(url: str) -> None:
    """Make the streams, before participants that start together do."""
    async with connect(settings(Job(url=url)), observer=lambda _: None):
        pass


async def sender(job: Job) -> dict[str, Any]:
    """Send all messages, a thousand at a time from each sender."""
    logging.disable(logging.WARNING)
    router = "service" if job.door == "service" else "embedded"
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(
            connect(settings(job, router=router), observer=lambda _: None)
        )
        agents = [Agent(name) for name in job.senders]
        await stack.enter_async_context(started(platform, *agents))
        send = submitting if job.door == "submit" else sending
        await job.go()
        share = job.messages // len(agents)
        await asyncio.gather(*(send(job, one, share) for one in agents))
        job.done()
    return {}


async def sending(job: Job, agent: Agent, number: int) -> None:
    """Send by `send_many`."""
    content = "x" * job.size
    for start in range(0, number, CHUNK):
        batch = [
            agent.message("inform", job.receivers[at % len(job.receivers)], content)
            for at in range(start, min(start + CHUNK, number))
        ]
        for result in await agent.send_many(batch):
            if isinstance(result, CaxtonError):
                raise result


async def submitting(job: Job, agent: Agent, number: int) -> None:
    """Store messages for the router, as any NATS client would."""
    connection = await connect_nats(job.url, name="submitter")
    acked, heard = 0, asyncio.Event()

    def hear(frames: list[Frame]) -> None:
        nonlocal acked
        assert not any(b'"error"' in frame.data for frame in frames), frames[0]
        acked += len(frames)
        heard.set()

    answers = connection.client.new_inbox()
    await connection.client.listen(answers, hear)
    content, subject = "x" * job.size, f"{subjects.SUBMIT}.{agent.name}"
    for start in range(0, number, CHUNK // 2):
        while start - acked > CHUNK // 2:
            heard.clear()
            await heard.wait()
        posts: list[Post] = []
        for at in range(start, min(start + CHUNK // 2, number)):
            message = agent.message("inform", job.receivers[at % len(job.receivers)], content)
            head = block({"Nats-Msg-Id": message.message_id})
            posts.append(Post(subject, codec.encode(message), answers, head))
        await connection.client.post(posts)
    while acked < number:
        heard.clear()
        await heard.wait()
    await connection.close()


async def router(job: Job) -> dict[str, Any]:
    """Route until told to stop."""
    logging.disable(logging.WARNING)
    async with serve(settings(job)):
        await job.go()
        await job.stopped()
        job.done()
        await job.dismissed()
    return {}


async def receiver(job: Job, look: Callable[[], dict[str, Any]] = dict) -> dict[str, Any]:
    """Handle all messages, each once; say what there is to look at then, too."""
    logging.disable(logging.WARNING)
    seen: set[str] = set()
    complete = asyncio.Event()
    again = 0

    async def handle(ctx: Context) -> None:
        nonlocal again
        again += ctx.envelope.message_id in seen
        seen.add(ctx.envelope.message_id)
        if len(seen) >= job.messages:
            complete.set()

    async with connect(settings(job), observer=lambda _: None) as platform:
        agents = [Agent(name) for name in job.receivers]
        for one in agents:
            one.on("inform")(handle)
        async with started(platform, *agents):
            await registered(platform, job)
            await job.go()
            await complete.wait()
            ended = monotonic()
            await asyncio.gather(*(emptied(platform, one) for one in agents))
            assert not again, f"{again} messages were handled twice"
            job.done(handled=len(seen), ended=ended, **look())
    return {}


async def registered(platform: Platform, job: Job) -> None:
    """Register as many more agents as the job says; they do nothing."""
    for number in range(job.more.get("registered", 0)):
        await platform.registrar.register(platform.agent_id(f"other-{number}"))


async def emptied(platform: Platform, agent: Agent) -> None:
    """Return when all is settled: what is handled and not acknowledged is not done."""
    # Nobody tells: it is the server that is asked.
    while (await platform.ports.mailboxes.status(agent.id)).pending:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


if __name__ == "__main__":
    play(sys.argv, {"sender": sender, "router": router, "receiver": receiver})
