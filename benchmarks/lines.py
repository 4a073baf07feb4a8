"""The lines of the suite: who competes for what, and which ratios come of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from benchmarks.contest import Durability, Job, Participant, Round, a_server, play_round
from caxton_nats.jetstream.connection import connect

Contestant = Callable[[int], Awaitable[Round]]
"""Plays one round with so many messages."""
FASTSTREAM = "FastStream"
BOUND = 100_000
WINDOW_NS = 120_000_000_000
SIXTEEN = [f"bob-{number}" for number in range(16)]
SENDERS = [f"alice-{number}" for number in range(16)]


@dataclass(frozen=True)
class Ratio:
    """What one contestant's figure is to another's, and what it should be."""

    name: str
    of: str
    to: str
    target: float
    figure: str = "rate"
    """``rate`` or ``sending``, messages a second until they are handled or stored, which should be
    high; or ``cost``, microseconds of all processes for a message, which should be low."""


@dataclass(frozen=True)
class Line:
    """Contestants that take turns, round by round."""

    name: str
    what: str
    contestants: Mapping[str, Contestant]
    messages: int
    ratios: tuple[Ratio, ...] = ()
    few: Mapping[str, int] = field(default_factory=dict)
    """Messages of contestants that are slow."""
    in_quick: bool = False
    durability: str = "process"
    limit: str = ""
    """What keeps it from being faster, for the page."""


def without(line: Line, absent: str) -> Line:
    """Return the line without a contestant, and without what is said of it."""
    contestants = {name: one for name, one in line.contestants.items() if name != absent}
    ratios = tuple(one for one in line.ratios if absent not in (one.of, one.to))
    return replace(line, contestants=contestants, ratios=ratios)


async def ours(
    messages: int,
    *,
    door: str,
    receivers: list[str] | None = None,
    senders: list[str] | None = None,
    size: int = 256,
    durability: Durability = "process",
) -> Round:
    """Play a round of our agents."""
    async with a_server(durability) as server:
        job = Job(
            url=server.url,
            messages=messages,
            door=door,
            size=size,
            receivers=receivers or ["bob"],
            senders=senders or ["alice"],
        )
        module = "benchmarks.routed"
        participants = [Participant("sender", module, "sender", job)]
        participants.append(Participant("receiver", module, "receiver", job))
        if door != "embedded":
            participants.append(Participant("router", module, "router", job, waits=True))
        return await play_round(server, participants)


async def lean(
    messages: int,
    *,
    door: str,
    router: str = "benchmarks.lean",
    receivers: list[str] | None = None,
    size: int = 256,
    durability: Durability = "process",
) -> Round:
    """Play a round of the ceiling, or of another router between its ends."""
    async with a_server(durability) as server:
        job = Job(
            url=server.url, messages=messages, door=door, size=size, receivers=receivers or ["bob"]
        )
        await lean_streams(server.url, job.receivers)
        participants = [Participant("producer", "benchmarks.lean", "producer", job)]
        participants.append(Participant("agent", "benchmarks.lean", "agent", job))
        if door != "embedded":
            participants.append(Participant("router", router, "router", job, waits=True))
        return await play_round(server, participants)


async def stored(
    messages: int, *, module: str, role: str, durability: Durability = "process"
) -> Round:
    """Play a round of sending alone: whatever is stored counts."""
    async with a_server(durability) as server:
        job = Job(url=server.url, messages=messages, door="embedded")
        await lean_streams(server.url, job.receivers)
        return await play_round(server, [Participant("sender", module, role, job)])


async def lean_streams(url: str, receivers: list[str]) -> None:
    """Make a mailbox stream and an ingress like ours, and a consumer for each receiver."""
    connection = await connect(url, name="benchmark")
    queue = {
        "retention": "workqueue",
        "storage": "file",
        "discard": "new",
        "duplicate_window": WINDOW_NS,
        "max_consumers": 10_000,
        "allow_direct": True,
    }
    mail = {"max_msgs_per_subject": BOUND, "discard_new_per_subject": True}
    consumers = [("MAIL", name, f"mail.{name}") for name in receivers]
    for name, stream in (
        ("MAIL", {"subjects": ["mail.*"], **queue, **mail}),
        ("INGRESS", {"subjects": ["submit"], **queue, "max_msgs": BOUND}),
    ):
        await connection.api(f"STREAM.CREATE.{name}", {"name": name, **stream})
    for stream_name, name, subject in [*consumers, ("INGRESS", "router", "submit")]:
        config = {
            "durable_name": name,
            "ack_policy": "explicit",
            "filter_subject": subject,
            "max_ack_pending": 20_000,
        }
        request = {"stream_name": stream_name, "config": config}
        await connection.api(f"CONSUMER.CREATE.{stream_name}.{name}", request)
    await connection.close()


def beside_ceiling(**how: Any) -> dict[str, Contestant]:
    """Return us and the ceiling, both through the same door; the ceiling has one sender."""
    theirs = {name: value for name, value in how.items() if name != "senders"}
    return {"caxton": partial(ours, **how), "ceiling": partial(lean, **theirs)}


LINES: list[Line] = [
    Line(
        "service 1 to 1",
        "256 bytes through the router service: sender, router and receiver are three processes",
        {
            "caxton": partial(ours, door="service"),
            "ceiling": partial(lean, door="service"),
            "nats-py": partial(lean, door="service", router="benchmarks.nats_py_router"),
            FASTSTREAM: partial(lean, door="service", router="benchmarks.faststream_router"),
            "caxton embedded": partial(ours, door="embedded"),
        },
        messages=30_000,
        few={"nats-py": 15_000, FASTSTREAM: 1_500},
        ratios=(
            Ratio("routed_vs_ceiling", "caxton", "ceiling", 0.6),
            # The best way to send that there is, and the best of those that send one by one.
            Ratio("send_many_vs_ceiling", "caxton embedded", "ceiling", 1.0),
            Ratio("routed_vs_nats_py", "caxton", "nats-py", 2.0),
            Ratio("routed_vs_faststream", "caxton", FASTSTREAM, 20.0),
        ),
        in_quick=True,
        limit="the receiver's process",
    ),
    Line(
        "embedded 1 to 1",
        "256 bytes, routed in the sender's process",
        beside_ceiling(door="embedded"),
        messages=30_000,
        ratios=(Ratio("embedded_vs_ceiling", "caxton", "ceiling", 0.6),),
        in_quick=True,
        limit="the receiver's process, then the sender's",
    ),
    Line(
        "submit 1 to 1",
        "256 bytes, stored in the ingress first, by any client",
        beside_ceiling(door="submit"),
        messages=15_000,
        ratios=(Ratio("submit_vs_ceiling", "caxton", "ceiling", 0.6),),
        limit="the router's process and the server: every message is stored twice",
    ),
    Line(
        "embedded 1 to 16",
        "256 bytes from one sender to sixteen receivers",
        beside_ceiling(door="embedded", receivers=SIXTEEN),
        messages=24_000,
        ratios=(Ratio("one_to_16_vs_ceiling", "caxton", "ceiling", 0.6),),
        limit="the receivers' process",
    ),
    Line(
        "embedded 16 to 16",
        "256 bytes from sixteen senders of one process to sixteen receivers of another",
        beside_ceiling(door="embedded", receivers=SIXTEEN, senders=SENDERS),
        messages=24_000,
        ratios=(Ratio("16_to_16_vs_ceiling", "caxton", "ceiling", 0.6),),
        limit="the receivers' process",
    ),
    Line(
        "embedded 1 to 1, 2 KiB",
        "2 KiB, routed in the sender's process",
        beside_ceiling(door="embedded", size=2048),
        messages=20_000,
        ratios=(Ratio("large_vs_ceiling", "caxton", "ceiling", 0.6),),
        limit="the receiver's process",
    ),
    Line(
        "embedded 1 to 16, 2 KiB",
        "2 KiB from one sender to sixteen receivers",
        {"caxton": partial(ours, door="embedded", receivers=SIXTEEN, size=2048)},
        messages=16_000,
        limit="the receivers' process",
    ),
    Line(
        "embedded 16 to 16, 2 KiB",
        "2 KiB from sixteen senders of one process to sixteen receivers of another",
        {"caxton": partial(ours, door="embedded", receivers=SIXTEEN, senders=SENDERS, size=2048)},
        messages=16_000,
        limit="the receivers' process",
    ),
    Line(
        "power-safe 1 to 1",
        "256 bytes, every write synced before it is acknowledged",
        {
            "caxton": partial(ours, door="embedded", durability="power"),
            "publish_async": partial(
                stored, module="benchmarks.nats_py_router", role="publisher", durability="power"
            ),
        },
        messages=10_000,
        ratios=(
            Ratio(
                "power_send_many_vs_publish_async",
                "caxton",
                "publish_async",
                5.0,
                figure="sending",
            ),
        ),
        in_quick=True,
        durability="power",
        limit="the disk: a sync for each message, or for each group",
    ),
    Line(
        "power-safe, other doors",
        "256 bytes through the router service, and stored in the ingress first",
        {
            "caxton": partial(ours, door="service", durability="power"),
            "caxton submit": partial(ours, door="submit", durability="power"),
            "ceiling": partial(lean, door="service", durability="power"),
        },
        messages=3_000,
        durability="power",
        limit="the disk: in the ingress, every message is synced twice",
    ),
]
