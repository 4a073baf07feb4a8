"""Routes to agents of other platforms: what is kept, what is believed, who counts more."""

from __future__ import annotations

from datetime import timedelta

import pytest

from caxton_nats.core.errors import AgentNotFound, InvalidEnvelope
from caxton_nats.core.identifiers import AgentId
from caxton_nats.core.remote import (
    ROUTE_LIFE,
    Remote,
    RouteInfo,
    Routes,
    any_agent_from_token,
    any_agent_token,
    everybody,
    locate,
    replaces,
    route_info,
)
from tests.core.sample import NOON

BOB = AgentId("bob@plant")
LATER = NOON + ROUTE_LIFE
TICK = timedelta(microseconds=1)


def made(
    agent: str = BOB, *, node: str = "plant", hops: int = 1, age: timedelta = timedelta()
) -> RouteInfo:
    return route_info(AgentId(agent), node, hops, NOON - age, platform="office")


def test_a_route_is_believed_for_five_minutes() -> None:
    """From its own moment on, and 300 seconds later no more."""
    route = made()
    assert route.expires_at - route.updated_at == timedelta(seconds=300)
    assert route.fresh(NOON)
    assert route.fresh(LATER - TICK)
    assert not route.fresh(LATER)


def test_a_clock_that_goes_back() -> None:
    """A route of the future is not believed."""
    assert not made().fresh(NOON - TICK)


@pytest.mark.parametrize("hops", [0, 255])
def test_hops_at_the_edge(hops: int) -> None:
    """0 to 255 are hops."""
    assert made(hops=hops).hops == hops


@pytest.mark.parametrize("hops", [-1, 256])
def test_hops_beyond_the_edge(hops: int) -> None:
    """One beyond is refused with the limit and the value."""
    with pytest.raises(InvalidEnvelope) as refused:
        made(hops=hops)
    edge = max(0, min(hops, 255))
    assert (refused.value.field, refused.value.limit, refused.value.value) == ("hops", edge, hops)


@pytest.mark.parametrize("node", ["", "x" * 256, "a b", "a@b", "\u200b"])
def test_what_is_no_node(node: str) -> None:
    """A node is called as a platform may be called."""
    with pytest.raises(InvalidEnvelope) as refused:
        made(node=node)
    assert refused.value.field == "node"


def test_an_agent_of_this_platform_is_never_remote() -> None:
    """Nobody can have the platform's own mail sent away by a route."""
    with pytest.raises(InvalidEnvelope, match="never remote") as refused:
        made("bob@office")
    assert refused.value.field == "agent"


@pytest.mark.parametrize(
    ("hops", "before", "taken"),
    [(1, 2, True), (2, 2, True), (3, 2, False), (0, 255, True)],
    ids=["nearer", "as near", "farther", "from end to end"],
)
def test_the_nearer_route_wins(hops: int, before: int, *, taken: bool) -> None:
    """While what is known is fresh, only a route as near or nearer takes its place."""
    assert replaces(made(hops=hops), made(hops=before, node="other"), NOON) is taken


def test_a_farther_route_replaces_an_expired_one() -> None:
    """What has expired counts for nothing, and neither does nothing."""
    old = made(hops=1, age=ROUTE_LIFE)
    assert replaces(made(hops=9), old, NOON)
    assert not replaces(made(hops=9), made(hops=1, age=ROUTE_LIFE - TICK), NOON)
    assert replaces(made(hops=9), None, NOON)


def routes(*known: RouteInfo) -> Routes:
    found = Routes()
    found.replace(known)
    return found


def test_an_agents_own_route_counts_before_its_platforms() -> None:
    """The more precise one, also when it is farther; the other serves the other agents."""
    own, common = made(hops=5, node="spare"), made("*@plant")
    known = routes(own, common)
    assert locate(BOB, known, NOON) == Remote(own)
    assert locate(AgentId("carol@plant"), known, NOON) == Remote(common)


def test_an_expired_route_leaves_it_to_the_platforms() -> None:
    """What has expired is passed over."""
    own, common = made(age=ROUTE_LIFE), made("*@plant")
    assert locate(BOB, routes(own, common), NOON) == Remote(common)


def test_no_route() -> None:
    """The error names the agent and the platform, and where routes are seen."""
    with pytest.raises(AgentNotFound, match="no route to platform plant") as refused:
        locate(BOB, routes(made("*@mine")), NOON)
    assert (refused.value.field, refused.value.value) == ("receiver", BOB)
    assert "caxton routes" in refused.value.hint


def test_expired_route() -> None:
    """The error says that there was one, over which node, and when it expired."""
    with pytest.raises(AgentNotFound, match="platform plant over plant expired at") as refused:
        locate(BOB, routes(made("*@plant", age=ROUTE_LIFE)), NOON)
    assert str(NOON) in refused.value.reason


def test_routes_change_one_by_one() -> None:
    """Put, replace and remove act on one name; the list is in order and has expired ones, too."""
    known = routes(made("zoe@plant"))
    known.put(made(age=ROUTE_LIFE))
    known.put(made("*@plant"))
    known.put(made("zoe@plant", hops=7))
    known.remove(everybody("plant"))
    known.remove(AgentId("nobody@plant"))
    assert list(known) == [made(age=ROUTE_LIFE), made("zoe@plant", hops=7)]


@pytest.mark.parametrize("name", ["bob@office", "bob@plant", "b.ob@plant"])
def test_tokens_of_namesakes_differ(name: str) -> None:
    """Seen from a platform, its own agents go by their local part and others by the whole name."""
    agent = AgentId(name)
    tokens = [any_agent_token(agent, platform) for platform in ("office", "plant")]
    assert len(set(tokens)) == 2
    for text, platform in zip(tokens, ("office", "plant"), strict=True):
        assert any_agent_from_token(text, platform) == agent
