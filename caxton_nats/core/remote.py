"""resolve: where agents of other platforms are reached, and for how long that is believed.

A route says that an agent, or all agents of a platform, can be reached over a node: the name of a
link to another NATS domain. Routes are hearsay: they are believed until they expire, and a
registration on this platform always counts for more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, NewType

import msgspec

from caxton_nats.core.errors import AgentNotFound, InvalidEnvelope
from caxton_nats.core.identifiers import (
    AgentId,
    agent_id,
    local_part,
    platform_part,
    token,
    untoken,
)
from caxton_nats.core.registry import Registration

NodeId = NewType("NodeId", str)
"""Name of a link to another NATS domain: 1..255 visible characters, most often the platform's."""
MAX_HOPS: Final = 255
ROUTE_LIFE: Final = timedelta(seconds=300)
EVERYBODY: Final = "*"
"""Local part of a route for all agents of a platform: ``*@plant``."""


class RouteInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Where an agent of another platform is reached, as it lies in the bucket caxton-routes."""

    agent: AgentId
    """``bob@plant``, or ``*@plant`` for everybody there."""
    node: NodeId
    hops: int
    """0..255, how far away; the nearer one is taken."""
    updated_at: datetime
    expires_at: datetime

    def fresh(self, now: datetime) -> bool:
        """Return whether the route is believed; one from the future is not (clocks go back)."""
        return self.updated_at <= now < self.expires_at


class Local(msgspec.Struct, frozen=True):
    """An agent of this platform, with its registration."""

    registration: Registration


class Remote(msgspec.Struct, frozen=True):
    """An agent of another platform, with the route to it."""

    route: RouteInfo


AgentLocation = Local | Remote


def route_info(agent: AgentId, node: str, hops: int, now: datetime, *, platform: str) -> RouteInfo:
    """Return a route that is believed from now on, for five minutes.

    Args:
        agent: whom it leads to: an agent or ``*`` of another platform.
        node: name of the link, 1..255 characters as in an agent's name.
        hops: 0..255.
        now: when this was learnt.
        platform: this platform, whose agents are never remote.

    Raises:
        InvalidEnvelope: a value out of its bounds, or an agent of this platform.
    """
    if platform_part(agent) == platform:
        raise InvalidEnvelope(
            "is an agent of this platform, and never remote", field="agent", value=agent
        )
    if not 0 <= hops <= MAX_HOPS:
        raise InvalidEnvelope(
            f"must be 0 to {MAX_HOPS}",
            field="hops",
            limit=MAX_HOPS if hops > MAX_HOPS else 0,
            value=hops,
        )
    return RouteInfo(
        agent=agent,
        node=node_id(node),
        hops=hops,
        updated_at=now,
        expires_at=now + ROUTE_LIFE,
    )


def node_id(name: str) -> NodeId:
    """Return the checked name of a link.

    Raises:
        InvalidEnvelope: it could not be a platform's name.
    """
    agent_id(EVERYBODY, name, field="node")
    return NodeId(name)


def replaces(news: RouteInfo, before: RouteInfo | None, now: datetime) -> bool:
    """Return whether a route takes the place of what was known: nearer, as near, or the last."""
    return before is None or news.hops <= before.hops or not before.fresh(now)


class Routes:
    """All routes by agent: the mirror of the bucket, kept current by an adapter."""

    def __init__(self) -> None:
        self._by_agent: dict[AgentId, RouteInfo] = {}

    def __iter__(self) -> Iterator[RouteInfo]:
        """Iterate over the routes as they are now, by name, expired ones included."""
        return iter(sorted(self._by_agent.values(), key=lambda one: one.agent))

    def candidates(self, agent: AgentId) -> tuple[RouteInfo, ...]:
        """Return the agent's own route and its platform's, the more precise one first."""
        names = (agent, everybody(platform_part(agent)))
        return tuple(self._by_agent[name] for name in names if name in self._by_agent)

    def put(self, route: RouteInfo) -> None:
        """Add the route, or replace the one of the same name."""
        self._by_agent[route.agent] = route

    def remove(self, agent: AgentId) -> None:
        """Forget the route of this name; nothing happens if there is none."""
        self._by_agent.pop(agent, None)

    def replace(self, routes: Iterable[RouteInfo]) -> None:
        """Become exactly these routes."""
        self._by_agent = {route.agent: route for route in routes}


def locate(agent: AgentId, routes: Routes, now: datetime) -> Remote:
    """Return where an agent of another platform is reached.

    Its own route counts before that of its platform, an expired one not at all.

    Raises:
        AgentNotFound: no route leads there now.
    """
    known = routes.candidates(agent)
    for route in known:
        if route.fresh(now):
            return Remote(route)
    platform = platform_part(agent)
    if known:
        last = max(known, key=lambda route: route.expires_at)
        why = f"the route to platform {platform} over {last.node} expired at {last.expires_at}"
    else:
        why = f"there is no route to platform {platform}"
    raise AgentNotFound(
        f"{agent} cannot be reached: {why}",
        field="receiver",
        value=agent,
        hint="see `caxton routes`; is the link up, and is the platform among CAXTON_LINKS?",
    )


def everybody(platform: str) -> AgentId:
    """Return the name of a route for all agents of a platform."""
    return AgentId(f"{EVERYBODY}@{platform}")


def any_agent_token(agent: AgentId, platform: str) -> str:
    """Return the token of an agent of any platform, seen from this one.

    Those of this platform go by their local part, all others by the whole identifier, so that
    ``alice`` of here and of there are two.
    """
    return token(local_part(agent) if platform_part(agent) == platform else agent)


def any_agent_from_token(text: str, platform: str) -> AgentId:
    """Return the agent that `any_agent_token` escaped.

    Raises:
        InvalidEnvelope: the token is not the escape of any agent's name.
    """
    return agent_id(untoken(text), platform, field="subject")
