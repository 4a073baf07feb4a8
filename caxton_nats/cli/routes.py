"""``caxton routes``: where agents of other platforms are reached."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from caxton_nats.cli.exits import Exit
from caxton_nats.cli.options import AsJson, NatsUrl, connected, noun, work
from caxton_nats.cli.output import moment, show, table
from caxton_nats.core.errors import AgentNotFound
from caxton_nats.core.remote import MAX_HOPS

routes = noun("Routes to agents of other platforms.")
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="local@platform, or '*@platform' for everybody.")
]


@routes.command("list", epilog="Example: caxton routes")
def list_routes(*, nats_url: NatsUrl = None, as_json: AsJson = False) -> int:
    """List the routes, those that have expired included, and what waits for each node."""

    async def listed() -> int:
        async with connected(nats_url) as platform:
            found = list(platform.remote.routes)
            waiting = await platform.ports.links.waiting()
            now = platform.ports.clock.now()
        rows = [
            (
                one.agent,
                one.node,
                one.hops,
                one.fresh(now),
                waiting.get(one.node, 0),
                one.expires_at,
            )
            for one in found
        ]
        show(
            {
                "routes": [{**msgspec.to_builtins(one), "fresh": one.fresh(now)} for one in found],
                "waiting": dict(waiting),
            },
            table(
                *("agent", "node", "hops", "believed", "waiting for node", "expires"),
                rows=rows,
                right=("hops", "waiting for node"),
                empty="no routes to other platforms are known",
            ),
            as_json=as_json,
        )
        return Exit.OK

    return work(listed())


@routes.command("set", epilog="Example: caxton routes set bob@plant --node plant --hops 2")
def set_route(
    name: Name,
    *,
    node: Annotated[str, typer.Option("--node", help="The link; most often the platform.")],
    hops: Annotated[
        int, typer.Option("--hops", min=0, max=MAX_HOPS, help="How far; the nearer route wins.")
    ] = 1,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """Take note of a route; it is believed for 300 seconds, unless a nearer one is known."""

    async def noted() -> int:
        async with connected(nats_url) as platform:
            made = await platform.update_remote_route(name, node, hops)
        show(
            msgspec.to_builtins(made),
            f"{made.agent} is reached over {made.node}, {made.hops} hops,"
            f" until {moment(made.expires_at)}",
            as_json=as_json,
        )
        return Exit.OK

    return work(noted())


@routes.command("remove", epilog="Example: caxton routes remove bob@plant")
def remove_route(name: Name, *, nats_url: NatsUrl = None, as_json: AsJson = False) -> int:
    """Forget a route. What waits for its node keeps waiting."""

    async def removed() -> int:
        async with connected(nats_url) as platform:
            agent = platform.agent_id(name)
            if not await platform.remote.remove(agent):
                raise AgentNotFound(
                    f"there is no route of the name {agent}",
                    field="agent",
                    value=agent,
                    hint="see `caxton routes`",
                )
        show(
            {"agent": agent, "removed": True},
            f"the route to {agent} is forgotten",
            as_json=as_json,
        )
        return Exit.OK

    return work(removed())
