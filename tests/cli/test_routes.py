"""`caxton routes`: set, seen, removed."""

from __future__ import annotations

from tests.cli.conftest import Caxton, Here


async def test_a_route_is_set_seen_and_removed(caxton: Caxton, here: Here) -> None:
    """What was noted is listed with its node, hops and end, and is gone after its removal."""
    made = await caxton("routes", "set", "bob@plant", "--node", "plant", "--hops", "2", "--json")
    assert (made.code, made.json["agent"], made.json["hops"]) == (0, "bob@plant", 2)
    listed = await caxton("routes", "--json")
    (route,) = listed.json["routes"]
    assert route == {**made.json, "fresh": True}
    shown = await caxton("routes")
    assert "bob@plant" in shown.out
    assert (await caxton("routes", "remove", "bob@plant")).code == 0
    assert (await caxton("routes", "--json")).json == {"routes": [], "waiting": {}}
    assert "no routes" in (await caxton("routes")).out


async def test_what_waits_is_counted(caxton: Caxton, here: Here) -> None:
    """Mail that no link takes is seen beside the route that it was sent by."""
    await caxton("routes", "set", "*@plant", "--node", "plant")
    sent = await caxton("send", "alice", "inform", "bob@plant", "--text", "x", "--json")
    assert sent.json["receivers"][0]["stream"] == "CAXTON_OUTBOUND"
    assert (await caxton("routes", "--json")).json["waiting"] == {"plant": 1}


async def test_an_agent_of_this_platform_has_no_route(caxton: Caxton, here: Here) -> None:
    """The refusal names the agent."""
    refused = await caxton("routes", "set", "bob", "--node", "plant", "--json")
    assert (refused.code, refused.error["field"]) == (1, "agent")


async def test_a_route_that_is_not_there(caxton: Caxton, here: Here) -> None:
    """Removing what nobody knows fails and says so."""
    refused = await caxton("routes", "remove", "bob@plant", "--json")
    assert (refused.code, refused.error["code"]) == (1, "AgentNotFound")
