"""``caxton stats``: where all the messages are, and how fast the routers route."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from caxton_nats.cli.exits import Exit
from caxton_nats.cli.options import AsJson, Limit, NatsUrl, connected, work
from caxton_nats.cli.output import facts, show, table
from caxton_nats.core.histogram import Latency, latency
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.statistics import Figures, RouterStats
from caxton_nats.engine.accounts import Overview
from caxton_nats.engine.platform import Platform
from caxton_nats.ports import MailboxStatus

Routers = Annotated[bool, typer.Option("--routers", help="Each router's own figures, too.")]
Readers = Annotated[
    bool,
    typer.Option(
        "--readers", help="Who is connected and what is in flight, too; takes longer with many."
    ),
]


def stats(
    *,
    routers: Routers = False,
    readers: Readers = False,
    limit: Limit = 50,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """Show what is routed, pending and dead: in all, and for the agents with the most."""

    async def counted() -> int:
        # Only looking: this process must not appear among the routers.
        async with connected(nats_url, "service") as platform:
            overview = await platform.statistics()
            read = await platform.ports.mailboxes.statuses() if readers else None
        agents = _agents(platform, overview, read)
        document = _document(platform.name, overview, agents[:limit], len(agents))
        lines: list[Table | Text | str] = [_agents_table(agents[:limit], read is not None)]
        if len(agents) > limit:
            lines.append(f"… and {len(agents) - limit} more agents: see --limit")
        lines += ["", _totals(platform.name, overview)]
        if routers:
            document["routers"] = [_router(*one) for one in overview.routers.items()]
            lines += ["", _routers_table(overview.routers)]
        show(document, *lines, as_json=as_json)
        return Exit.OK

    return work(counted())


def _agents(
    platform: Platform, overview: Overview, read: Mapping[AgentId, MailboxStatus] | None
) -> list[dict[str, Any]]:
    """Return one entry per agent, those with the most mail and dead letters first."""
    pending, dead = overview.total.agent_queue_depths, overview.dead_letters
    registered = {one.agent for one in platform.registry}
    # Mail and dead letters may be left of an agent that has gone.
    names = registered | pending.keys() | dead.keys()
    entries = []
    for agent in sorted(names):
        entry: dict[str, Any] = {
            "agent": agent,
            "registered": agent in registered,
            "pending": pending.get(agent, 0),
            "dead_letters": dead.get(agent, {}),
        }
        if read is not None:
            status = read.get(agent)
            entry["connected"] = status is not None and status.attended
            entry["in_flight"] = status.in_flight if status else 0
        entries.append(entry)
    return sorted(
        entries, key=lambda one: (-one["pending"], -sum(one["dead_letters"].values()), one["agent"])
    )


def _document(
    name: str, overview: Overview, agents: list[dict[str, Any]], number: int
) -> dict[str, Any]:
    totals = msgspec.to_builtins(overview.total)
    # The agents have their own list, which is bounded.
    del totals["agent_queue_depths"]
    return {
        "platform": name,
        "totals": totals,
        "agents": agents,
        "agents_in_all": number,
        "silent_routers": list(overview.silent),
    }


def _agents_table(agents: list[dict[str, Any]], with_readers: bool) -> Table | Text:  # noqa: FBT001 - one of two tables
    titles = ["agent", "registered", "pending", "dead letters"]
    if with_readers:
        titles[2:2] = ["connected", "in flight"]
    keys = [title.replace(" ", "_") for title in titles]
    rows = [
        [_in_words(one[key]) if key == "dead_letters" else one[key] for key in keys]
        for one in agents
    ]
    return table(*titles, rows=rows, right=("pending", "in flight"), empty="no agents")


def _totals(name: str, overview: Overview) -> Table:
    total = overview.total
    return facts(
        {
            "platform": name,
            "accepted": total.accepted,
            "pending": total.pending,
            "dead letters": total.dead_letters,
            "registered agents": total.registered_agents,
            "conversations": f"{total.active_conversations} active,"
            f" {total.total_conversations} in all,"
            f" {total.average_conversation_length:.1f} messages on average",
            "database": _size(total.database_bytes),
            "submitted, not routed": total.inbound_queue_depth,
            "outbound": total.outbound_queue_depth,
            "circuit breakers": [
                f"{agent} {state}" for agent, state in total.circuit_breakers.items()
            ],
            "routers": total.routers,
            "did not answer": list(overview.silent),
            **_measured(total),
        }
    )


def _measured(total: RouterStats) -> dict[str, object]:
    """Return what the routers that run now have measured since each of them started."""
    if not total.routers:
        return {}
    return {
        "processed": f"{total.total_processed}, {total.messages_per_second:.1f}/s now,"
        f" {total.peak_messages_per_second}/s at most",
        "errors": f"{total.total_errors} ({total.error_rate:.2%})",
        "by type": _in_words(total.errors_by_type),
        "out of protocol": _in_words(
            {name: number for name, number in total.verdicts.items() if name.endswith("illegal")}
        ),
        "routing": _durations(total.routing_latency_us),
        "handling": _durations(total.handling_latency_us),
        "memory": _size(total.memory_bytes),
        "processor": f"{total.cpu_percent:.1f} % of one core",
    }


def _routers_table(routers: Mapping[str, Figures]) -> Table | Text:
    titles = ("router", "node", "since", "processed", "errors", "routing p50", "p99", "memory")
    rows = []
    for router, one in routers.items():
        routing = latency(one.routing)
        rows.append(
            (
                router,
                one.node,
                one.started_at.astimezone(UTC),
                one.processed,
                sum(one.errors.values()),
                _time(routing.p50),
                _time(routing.p99),
                _size(one.memory_bytes),
            )
        )
    right = ("processed", "errors", "routing p50", "p99", "memory")
    return table(*titles, rows=rows, right=right, empty="no routers are running")


def _router(router: str, one: Figures) -> dict[str, Any]:
    figures = msgspec.to_builtins(one)
    return {
        "router": router,
        **figures,
        "routing": msgspec.to_builtins(latency(one.routing)),
        "handling": msgspec.to_builtins(latency(one.handling)),
    }


def _in_words(counts: Mapping[str, int]) -> list[str]:
    return [f"{number} {name}" for name, number in counts.items()]


def _durations(measured: Latency) -> str:
    if not measured.count:
        return ""
    shares = {"p50": measured.p50, "p90": measured.p90, "p99": measured.p99, "p99.9": measured.p999}
    return ", ".join(f"{name} {_time(value)}" for name, value in shares.items())


def _time(microseconds: int) -> str:
    if microseconds < 1000:
        return f"{microseconds} µs"
    if microseconds < 1_000_000:
        return f"{microseconds / 1000:.1f} ms"
    return f"{microseconds / 1_000_000:.1f} s"


def _size(number: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"
