"""``caxton stats``: where all the messages are."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from caxton_nats.cli.agents import statuses
from caxton_nats.cli.exits import Exit
from caxton_nats.cli.options import AsJson, NatsUrl, connected, work
from caxton_nats.cli.output import facts, show, table
from caxton_nats.core.identifiers import AgentId
from caxton_nats.engine.platform import Platform


def stats(*, nats_url: NatsUrl = None, as_json: AsJson = False) -> int:
    """Show what is pending, in flight and dead, for each agent and in all."""

    async def counted() -> int:
        async with connected(nats_url) as platform:
            document = await _count(platform)
        rows = [
            (
                one["agent"],
                one["registered"],
                one["connected"],
                one["pending"],
                one["in_flight"],
                [f"{number} {reason}" for reason, number in one["dead_letters"].items()],
            )
            for one in document["agents"]
        ]
        titles = ("agent", "registered", "connected", "pending", "in flight", "dead letters")
        totals = {name.replace("_", " "): value for name, value in document["totals"].items()}
        show(
            document,
            table(*titles, rows=rows, right=("pending", "in flight"), empty="no agents"),
            "",
            facts({"platform": document["platform"], **totals}),
            as_json=as_json,
        )
        return Exit.OK

    return work(counted())


async def _count(platform: Platform) -> dict[str, Any]:
    ports = platform.ports
    dead: dict[AgentId, dict[str, int]] = defaultdict(dict)
    for (agent, reason), number in sorted((await ports.dead_letters.count()).items()):
        dead[agent][reason] = number
    registered = {one.agent for one in platform.registry}
    # Mail and dead letters may be left of an agent that has gone.
    names = sorted(registered | dead.keys() | (await ports.mailboxes.pending()).keys())
    states = await statuses(platform, names)
    accepted = await ports.mailboxes.stored()
    conversations = await ports.conversations.count()
    return {
        "platform": platform.name,
        "agents": [
            {
                "agent": agent,
                "registered": agent in registered,
                "connected": states[agent].attended,
                "pending": states[agent].pending,
                "in_flight": states[agent].in_flight,
                "dead_letters": dead.get(agent, {}),
            }
            for agent in names
        ],
        "totals": {
            "accepted": accepted,
            "pending": sum(state.pending for state in states.values()),
            "in_flight": sum(state.in_flight for state in states.values()),
            "dead_letters": sum(sum(reasons.values()) for reasons in dead.values()),
            "registered_agents": len(registered),
            "conversations": conversations,
        },
    }
