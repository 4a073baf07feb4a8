"""``caxton breakers``: which agents are left alone because they fail again and again."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from caxton_nats.cli.exits import Exit
from caxton_nats.cli.options import AsJson, NatsUrl, connected, noun, work
from caxton_nats.cli.output import show, table
from caxton_nats.core.errors import AgentNotFound
from caxton_nats.core.routing import check_own

breakers = noun("Circuit breakers of agents that fail again and again.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="local or local@platform")]


@breakers.command("list", epilog="Example: caxton breakers")
def list_breakers(*, nats_url: NatsUrl = None, as_json: AsJson = False) -> int:
    """List the circuit breakers that are not closed, and what went wrong last."""

    async def listed() -> int:
        async with connected(nats_url, "service") as platform:
            found = list(platform.health.breakers)
            now = platform.ports.clock.now()
        rows = [
            (
                one.agent,
                one.state_at(now),
                one.failures,
                one.opened_at,
                one.until,
                one.last_error.get("reason", ""),
            )
            for one in found
        ]
        show(
            {
                "breakers": [
                    {**msgspec.to_builtins(one), "state": one.state_at(now)} for one in found
                ]
            },
            table(
                *("agent", "state", "failures", "open since", "next trial", "last error"),
                rows=rows,
                right=("failures",),
                empty="all circuit breakers are closed",
            ),
            as_json=as_json,
        )
        return Exit.OK

    return work(listed())


@breakers.command("close", epilog="Example: caxton breakers close bob")
def close_breaker(name: Name, *, nats_url: NatsUrl = None, as_json: AsJson = False) -> int:
    """Close a circuit breaker by hand: its agent is mended, and is not to wait for its trial."""

    async def closed() -> int:
        async with connected(nats_url, "service") as platform:
            agent = platform.agent_id(name)
            check_own(agent, platform.name)
            if not await platform.ports.breakers.remove(agent):
                raise AgentNotFound(
                    f"the circuit breaker of {agent} is not open",
                    field="agent",
                    value=agent,
                    hint="see `caxton breakers`",
                )
        show({"agent": agent, "closed": True}, f"the breaker of {agent} is closed", as_json=as_json)
        return Exit.OK

    return work(closed())
