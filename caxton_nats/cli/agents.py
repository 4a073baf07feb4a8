"""``caxton agents``: who is registered, and who reads his mail."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import typer

from caxton_nats.cli.exits import Exit
from caxton_nats.cli.options import AsJson, NatsUrl, RouterChoice, connected, noun, work
from caxton_nats.cli.output import facts, moment, say, show, table
from caxton_nats.core.breaker import CircuitBreakerState
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.lease import Lease
from caxton_nats.core.lifecycle import seconds
from caxton_nats.core.registry import AgentState, Registration
from caxton_nats.core.routing import agent_not_found, check_own
from caxton_nats.engine.platform import Platform
from caxton_nats.ports import MailboxStatus

agents = noun("Registered agents and their mailboxes.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="local or local@platform")]
AT_A_TIME = 64
"""Status requests under way at the same time."""


@agents.command("list", epilog="Example: caxton agents --capability translate")
def list_agents(
    *,
    capability: Annotated[
        str | None, typer.Option("--capability", help="Only agents that offer it.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 100,
    after: Annotated[
        str | None, typer.Option("--after", metavar="NAME", help="Only those behind this name.")
    ] = None,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """List the registered agents by name, a page at a time."""

    async def listed() -> int:
        async with connected(nats_url) as platform:
            behind = platform.agent_id(after) if after is not None else None
            found = platform.registry.page(limit + 1, after=behind, capability=capability)
            more, found = len(found) > limit, found[:limit]
            states = await statuses(platform, [one.agent for one in found])
        now = platform.ports.clock.now()
        rows = [
            (
                one.agent,
                one.state,
                one.capabilities,
                states[one.agent].attended,
                states[one.agent].pending,
                platform.health.trouble(one.agent, now) or "well",
                one.registered_at,
            )
            for one in found
        ]
        narrowed = capability is not None or after is not None
        nobody = "no agents are found" if narrowed else "no agents are registered"
        titles = (
            *("agent", "state", "capabilities", "connected", "pending", "health"),
            "registered since",
        )
        document = {
            "agents": [_document(platform, one, states[one.agent]) for one in found],
            "next": found[-1].agent if more else None,
        }
        show(
            document,
            table(*titles, rows=rows, right=("pending",), empty=nobody),
            as_json=as_json,
        )
        if more and not as_json:
            say(f"more: --after {found[-1].agent}")
        return Exit.OK

    return work(listed())


@agents.command("show", epilog="Example: caxton agents show bob")
def show_agent(name: Name, *, nats_url: NatsUrl = None, as_json: AsJson = False) -> int:
    """Show one agent: its registration, its mailbox, its dead letters."""

    async def shown() -> int:
        async with connected(nats_url) as platform:
            agent = platform.agent_id(name)
            check_own(agent, platform.name)
            found = await platform.ports.registry_store.load(agent)
            if found is None:
                raise agent_not_found(agent, field="agent")
            status = await platform.ports.mailboxes.status(agent)
            counts = await platform.ports.dead_letters.count()
            lease = platform.health.find(agent)
        dead = {reason: number for (whose, reason), number in counts.items() if whose == agent}
        document = {**_document(platform, found[0], status), "dead_letters": dead}
        show(document, _facts(document, found[0], lease), as_json=as_json)
        return Exit.OK

    return work(shown())


@agents.command("register", epilog="Example: caxton agents register bob --capability translate")
def register_agent(
    name: Name,
    *,
    capability: Annotated[
        list[str] | None, typer.Option("--capability", help="What it offers; may be repeated.")
    ] = None,
    state: Annotated[
        AgentState,
        typer.Option("--state", case_sensitive=False, help="Running, or Loaded or Unloaded."),
    ] = AgentState.RUNNING,
    router: RouterChoice = None,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """Register an agent, so that it can be sent mail. Its program may come later."""

    async def registered() -> int:
        async with connected(nats_url, router) as platform:
            made = await platform.registrar.register(
                platform.agent_id(name),
                capabilities=capability or (),
                node="caxton cli",
                state=state,
            )
        read = f"nats consumer next {made.address.stream} {made.address.consumer}"
        show(
            msgspec.to_builtins(made),
            f"registered {made.agent}; its mail is read with: {read}",
            as_json=as_json,
        )
        return Exit.OK

    return work(registered())


@agents.command("state", epilog="Example: caxton agents state bob Draining --deadline 120")
def change_state(
    name: Name,
    state: Annotated[AgentState, typer.Argument(metavar="STATE", case_sensitive=False)],
    *,
    deadline: Annotated[
        float | None,
        typer.Option("--deadline", help="Seconds that it drains before it is Stopped: 5..600."),
    ] = None,
    router: RouterChoice = None,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """Change an agent's state: Unloaded, Loaded, Running, Draining or Stopped."""

    async def changed() -> int:
        async with connected(nats_url, router) as platform:
            made = await platform.registrar.update_state(
                platform.agent_id(name),
                state,
                drain=None if deadline is None else seconds(deadline),
            )
        until = f" until {moment(made.drain_until)}" if made.drain_until else ""
        unheard = ", ".join(made.missing) or "the routers could not be asked"
        show(
            msgspec.to_builtins(made),
            f"{made.agent} is {made.state}{until}; "
            + ("every router goes by it" if made.everywhere else f"not yet known to: {unheard}"),
            as_json=as_json,
        )
        return Exit.OK if made.everywhere else Exit.PARTIAL

    return work(changed())


@agents.command("deregister", epilog="Example: caxton agents deregister bob")
def deregister_agent(
    name: Name, *, router: RouterChoice = None, nats_url: NatsUrl = None, as_json: AsJson = False
) -> int:
    """Remove a registration. Its mail goes to the dead letters if nobody registers soon."""

    async def removed() -> int:
        async with connected(nats_url, router) as platform:
            agent = platform.agent_id(name)
            known = await platform.registrar.deregister(agent)
            if not known:
                raise agent_not_found(agent, field="agent")
            left = (await platform.ports.mailboxes.status(agent)).pending
        show(
            {"agent": agent, "deregistered": known, "pending": left},
            f"deregistered {agent}; {left} messages are in its mailbox"
            + (", for a router service to make dead letters" if left else ""),
            as_json=as_json,
        )
        return Exit.OK

    return work(removed())


async def statuses(platform: Platform, names: Sequence[AgentId]) -> dict[AgentId, MailboxStatus]:
    """Return the state of these agents' mailboxes."""
    places = asyncio.Semaphore(AT_A_TIME)

    async def status(agent: AgentId) -> MailboxStatus:
        async with places:
            return await platform.ports.mailboxes.status(agent)

    found = await asyncio.gather(*map(status, names))
    return dict(zip(names, found, strict=True))


def _document(
    platform: Platform, registration: Registration, status: MailboxStatus
) -> dict[str, Any]:
    lease = platform.health.find(registration.agent)
    now = platform.ports.clock.now()
    trouble = platform.health.trouble(registration.agent, now)
    breaker = platform.health.breakers.find(registration.agent)
    return {
        **msgspec.to_builtins(registration),
        "available": registration.state is AgentState.RUNNING and not trouble,
        "trouble": trouble,
        "last_heartbeat": msgspec.to_builtins(lease.last_heartbeat) if lease else None,
        "circuit_breaker": breaker.state_at(now) if breaker else CircuitBreakerState.CLOSED,
        "connected": status.attended,
        "pending": status.pending,
        "in_flight": status.in_flight,
    }


def _facts(document: dict[str, Any], registration: Registration, lease: Lease | None) -> Any:
    dead = [f"{number} {reason}" for reason, number in document["dead_letters"].items()]
    return facts(
        {
            "agent": registration.agent,
            "state": registration.state,
            "drains until": registration.drain_until or "-",
            "connected": document["connected"],
            "capabilities": registration.capabilities,
            "registered since": registration.registered_at,
            "registered by": registration.node,
            "health": document["trouble"] or "well",
            "last heartbeat": lease.last_heartbeat if lease else "none: it has no lease",
            "circuit breaker": document["circuit_breaker"],
            "pending": document["pending"],
            "in flight": document["in_flight"],
            "queue size": registration.queue_size,
            "dead letters": dead or "none",
            "mail": f"nats consumer next {registration.address.stream}"
            f" {registration.address.consumer}",
        }
    )
