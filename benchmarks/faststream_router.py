"""The same router on FastStream: a subscriber that publishes to JetStream and answers.

python -m benchmarks.faststream_router router JOB     (started by the suite)
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from faststream.nats import NatsBroker

from benchmarks.contest import Job, play
from benchmarks.lean import AGENTS

WORKERS = 64
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def router(job: Job) -> dict[str, Any]:
    """Route until told to stop."""
    quiet = logging.getLogger("faststream.quiet")
    quiet.setLevel(logging.ERROR)
    broker = NatsBroker(job.url, logger=quiet)
    names = [*job.receivers, *(f"other-{number}" for number in range(AGENTS))]
    registry = {name: f"mail.{name}" for name in names}

    @broker.subscriber("route", max_workers=WORKERS)
    async def route(message: dict[str, Any]) -> str:
        headers = {"Nats-Msg-Id": message["message_id"], "traceparent": TRACE}
        subject = registry[message["receiver"]]
        await broker.publish(message, subject, headers=headers, stream="MAIL")
        return "ok"

    async with broker:
        await broker.start()
        await job.go()
        await job.stopped()
        job.done()
    return {}


if __name__ == "__main__":
    play(sys.argv, {"router": router})
