"""`caxton agents`: registered agents, as a table and as JSON."""

from __future__ import annotations

import re

from caxton_nats import Agent, started
from caxton_nats.core.errors import NotConnected
from tests.cli.conftest import Caxton, Here


async def test_a_registered_agent_is_listed_with_its_state(caxton: Caxton, here: Here) -> None:
    """The table has name, state, capabilities, connected, pending and since when."""
    assert (await caxton("agents", "register", "bob", "--capability", "shout")).code == 0
    await caxton("send", "alice", "inform", "bob", "--text", "hello")
    listed = await caxton("agents")
    assert listed.code == 0
    title, row = listed.out.splitlines()
    assert title.split("  ")[0] == "agent"
    cells = [cell for cell in row.split("  ") if cell]
    assert [one.strip() for one in cells[:5]] == ["bob@caxton", "Running", "shout", "no", "1"]


async def test_json_lists_the_same_agents_under_stable_keys(caxton: Caxton, here: Here) -> None:
    """--json is one document, with every key for every agent."""
    await caxton("agents", "register", "bob", "--capability", "shout")
    async with started(here.platform, Agent("carol")):
        (bob, carol) = (await caxton("agents", "list", "--json")).json["agents"]
    assert bob.keys() == carol.keys()
    assert (bob["agent"], bob["capabilities"], bob["connected"]) == ("bob@caxton", ["shout"], False)
    assert (carol["agent"], carol["capabilities"], carol["connected"]) == ("carol@caxton", [], True)


async def test_a_capability_narrows_the_list(caxton: Caxton, here: Here) -> None:
    """Only agents that offer the capability are listed, and an empty list says so."""
    await caxton("agents", "register", "bob", "--capability", "shout")
    await caxton("agents", "register", "carol")
    found = (await caxton("agents", "--capability", "shout", "--json")).json["agents"]
    assert [one["agent"] for one in found] == ["bob@caxton"]
    assert "no agents are found" in (await caxton("agents", "--capability", "sing")).out
    assert "no agents are found" in (await caxton("agents", "--after", "dave")).out


async def test_the_health_of_an_agent_is_shown(caxton: Caxton, here: Here) -> None:
    """Who has no lease is well; who says that it is ill, or has stopped, is shown with that."""
    await caxton("agents", "register", "bob")
    carol = Agent("carol")
    async with started(here.platform, carol):
        await carol.report_health(healthy=False, reason="no disk")
        (bob, ill) = (await caxton("agents", "--json")).json["agents"]
        assert (bob["available"], bob["trouble"], bob["last_heartbeat"]) == (True, "", None)
        assert (ill["available"], ill["trouble"]) == (False, "no disk")
        assert "no disk" in (await caxton("agents")).out
        shown = await caxton("agents", "show", "carol")
        heard = ill["last_heartbeat"][:19].replace("T", " ")
        assert f"last heartbeat    {heard}Z" in shown.out
    assert "stopped" in (await caxton("agents", "show", "carol")).out


async def test_an_agent_of_another_platform_is_not_shown(caxton: Caxton, here: Here) -> None:
    """Nor taken for the one of the same local name here."""
    await caxton("agents", "register", "bob")
    shown = await caxton("agents", "show", "bob@plant", "--json")
    assert (shown.code, shown.error["value"]) == (1, "bob@plant")


async def test_only_who_runs_is_available(caxton: Caxton, here: Here) -> None:
    """The seed's rule: whatever its lease says, an agent in another state takes nothing new."""
    await caxton("agents", "register", "bob", "--state", "loaded")
    for name in ("carol", "dave"):
        await caxton("agents", "register", name)
    await caxton("agents", "state", "carol", "stopped")
    found = (await caxton("agents", "--json")).json["agents"]
    assert [one["available"] for one in found] == [False, False, True]


async def test_a_long_list_is_paged(caxton: Caxton, here: Here) -> None:
    """A page ends with the name to go on after, in the table and as "next"; the last one does not."""
    for name in ("ann", "bob", "cyd"):
        await here.platform.registrar.register(
            here.platform.agent_id(name), capabilities=["shout:v2.0"]
        )
    first = await caxton("agents", "list", "--limit", "2")
    assert first.out.splitlines()[-1] == "more: --after bob@caxton"
    paged = (await caxton("agents", "list", "--limit", "2", "--capability", "shout", "--json")).json
    assert ([one["agent"] for one in paged["agents"]], paged["next"]) == (
        ["ann@caxton", "bob@caxton"],
        "bob@caxton",
    )
    last = (await caxton("agents", "list", "--limit", "2", "--after", "bob", "--json")).json
    assert ([one["agent"] for one in last["agents"]], last["next"]) == (["cyd@caxton"], None)


async def test_show_tells_where_the_mail_of_an_agent_lies(caxton: Caxton, here: Here) -> None:
    """The line for the nats command line tool names the stream and the consumer."""
    await caxton("agents", "register", "bob")
    address = here.platform.ports.mailboxes.address(here.platform.agent_id("bob"))
    shown = await caxton("agents", "show", "bob")
    assert f"nats consumer next {address.stream} {address.consumer}" in shown.out
    document = (await caxton("agents", "show", "bob@caxton", "--json")).json
    assert (document["pending"], document["dead_letters"]) == (0, {})


async def test_an_unknown_agent_is_an_error_that_says_where_to_look(
    caxton: Caxton, here: Here
) -> None:
    """Showing or deregistering somebody unknown fails with 1, in one form on stderr."""
    for verb in ("show", "deregister"):
        failed = await caxton("agents", verb, "nobody")
        assert (failed.code, failed.out) == (1, "")
        assert failed.err.startswith("error: no agent nobody@caxton is registered [AgentNotFound]")
        assert "next: see `caxton agents`" in failed.err
        error = (await caxton("agents", verb, "nobody", "--json")).error
        assert (error["code"], error["value"]) == ("AgentNotFound", "nobody@caxton")


async def test_deregistering_keeps_the_mail(caxton: Caxton, here: Here) -> None:
    """What is stored for an agent is there when it registers again."""
    await caxton("agents", "register", "bob")
    await caxton("send", "alice", "inform", "bob", "--text", "hello")
    assert (await caxton("agents", "deregister", "bob", "--json")).json["pending"] == 1
    assert (await caxton("agents", "--json")).json == {"agents": [], "next": None}
    await caxton("agents", "register", "bob", "--router", "service")
    assert (await caxton("agents", "show", "bob", "--json")).json["pending"] == 1


async def test_a_name_in_use_is_not_taken_over(caxton: Caxton, here: Here) -> None:
    """Registering the name of an agent that runs is refused."""
    async with started(here.platform, Agent("bob")):
        refused = await caxton("agents", "register", "bob", "--json")
    assert (refused.code, refused.error["code"]) == (1, "AgentAlreadyRegistered")


async def test_state_of_an_agent_is_changed_and_shown(caxton: Caxton, here: Here) -> None:
    """A drain has a deadline, which both the change and `show` tell; case does not matter."""
    await caxton("agents", "register", "bob")
    changed = await caxton("agents", "state", "bob", "draining", "--deadline", "120")
    assert changed.code == 0
    assert re.match(r"bob@caxton is Draining until [\d-]+ [\d:]+Z; ", changed.out)
    assert "every router goes by it" in changed.out
    shown = await caxton("agents", "show", "bob")
    assert "Draining" in shown.out
    assert "drains until" in shown.out
    document = (await caxton("agents", "state", "bob", "Stopped", "--json")).json
    assert (document["state"], document["everywhere"], document["missing"]) == ("Stopped", True, [])


async def test_agent_is_registered_before_its_program(caxton: Caxton, here: Here) -> None:
    """It is Loaded until it is made Running, or its program starts."""
    made = (await caxton("agents", "register", "bob", "--state", "loaded", "--json")).json
    assert made["state"] == "Loaded"
    assert (await caxton("send", "alice", "inform", "bob", "--text", "hello")).code == 0
    assert (await caxton("agents", "state", "bob", "Running")).code == 0
    refused = await caxton("agents", "register", "carol", "--state", "Stopped")
    assert (refused.code, "cannot be registered" in refused.err) == (1, True)


async def test_state_that_may_not_follow(caxton: Caxton, here: Here) -> None:
    """It fails with 1 and says what may; a state that does not exist is a wrong command line."""
    await caxton("agents", "register", "bob")
    failed = await caxton("agents", "state", "bob", "Loaded")
    assert (failed.code, failed.out) == (1, "")
    assert "bob@caxton is Running and cannot become Loaded" in failed.err
    assert "Draining or Stopped" in failed.err
    assert (await caxton("agents", "state", "bob", "Asleep")).code == 2
    assert (await caxton("agents", "state", "bob", "Draining", "--deadline", "1")).code == 1


async def test_change_that_some_router_may_not_know(caxton: Caxton, here: Here) -> None:
    """It is made, a warning names the router, and the exit code is 5."""
    await caxton("agents", "register", "bob")

    async def deaf(_: bytes) -> bytes:
        raise NotConnected("on purpose")

    platform = here.platform
    await platform.ports.peers.leave()
    await platform.ports.peers.join({"sync": deaf})
    changed = await caxton("agents", "state", "bob", "Stopped")
    assert changed.code == 5
    assert platform.ports.peers.own_id in changed.out
