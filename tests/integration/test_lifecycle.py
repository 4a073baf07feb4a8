"""Agents' states through every door: who still gets mail, and from when on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from caxton_nats import app
from caxton_nats.core.errors import (
    AgentDraining,
    AgentNotFound,
    AgentStopped,
    CaxtonError,
    InvalidEnvelope,
    InvalidStateTransition,
)
from caxton_nats.core.registry import AgentState
from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream.embedded import EmbeddedServer
from caxton_nats.sdk.agent import Agent
from tests.integration.lab import EMBEDDED_ONLY, Lab
from tests.integration.proxy import wire
from tests.plugins.eventually import eventually
from tests.plugins.nats_cli import NatsCli

DRAINING, STOPPED = AgentState.DRAINING, AgentState.STOPPED


async def state(platform: Platform, name: str) -> AgentState:
    found = await platform.ports.registry_store.load(platform.agent_id(name))
    assert found is not None
    return found[0].state


async def test_draining(lab: Lab, door: str) -> None:
    """Conversations that the agent takes part in go on; a new one is refused to the sender."""
    platform = await lab.through(door)
    alice = await lab.agent("alice", platform)
    bob = await lab.collector("bob", await lab.platform(router=door))
    await alice.send("inform", "bob", 1, conversation_id="old")
    change = await platform.registrar.update_state(bob.id, DRAINING, drain=timedelta(minutes=5))
    assert change.everywhere
    assert (await platform.registrar.update_state(alice.id, DRAINING)).drain_until is not None
    await alice.send("inform", "bob", 2, conversation_id="old")
    for fields in ({"conversation_id": "new"}, {}):
        with pytest.raises(AgentDraining):
            await alice.send("inform", "bob", 3, **fields)
    await eventually(lambda: bob.contents == [1, 2])
    # It still speaks itself, in both directions of what it begins.
    await bob.got[0].inform("answer")


async def test_stopped(lab: Lab, door: str) -> None:
    """The sender is told by the error; the message is a dead letter; the process takes no mail."""
    platform = await lab.through(door)
    alice = await lab.agent("alice", platform)
    bob = await lab.register("bob", platform)
    assert (await platform.registrar.update_state(bob, STOPPED)).everywhere
    with pytest.raises(AgentStopped):
        await alice.send("inform", "bob", 1, message_id="m-1")
    (letter,) = await platform.ports.dead_letters.list()
    assert (letter.message_id, letter.agent, letter.last_error["code"]) == (
        "m-1",
        bob,
        "AgentStopped",
    )
    with pytest.raises(InvalidStateTransition):
        await platform.registrar.update_state(bob, AgentState.RUNNING)
    # Registering again is the way back, and redriving the way of the letter.
    returned = await lab.collector("bob", platform)
    await platform.redrive.redrive(letter.id)
    await eventually(lambda: returned.contents == [1])


async def test_program_that_comes_later(lab: Lab, door: str) -> None:
    """An agent may be registered as Unloaded or Loaded: its mail waits until its program runs."""
    platform = await lab.through(door)
    alice = await lab.agent("alice", platform)
    bob = platform.agent_id("bob")
    await platform.registrar.register(bob, state=AgentState.UNLOADED)
    await alice.send("inform", "bob", 1)
    await platform.registrar.update_state(bob, AgentState.LOADED)
    await alice.send("inform", "bob", 2)
    with pytest.raises(InvalidStateTransition):
        await platform.registrar.update_state(bob, DRAINING)
    running = await lab.collector("bob", platform)
    await eventually(lambda: running.contents == [1, 2])
    assert await state(platform, "bob") is AgentState.RUNNING


async def test_errors_of_a_change(lab: Lab, door: str) -> None:
    """They are the same through both doors, and say what was wrong."""
    platform = await lab.through(door)
    bob = await lab.register("bob", platform)
    with pytest.raises(AgentNotFound):
        await platform.registrar.update_state(platform.agent_id("nobody"), STOPPED)
    with pytest.raises(InvalidEnvelope) as caught:
        await platform.registrar.update_state(bob, DRAINING, drain=timedelta(seconds=1))
    assert (caught.value.field, caught.value.limit) == ("drain", 5)
    with pytest.raises(InvalidStateTransition) as refused:
        await platform.registrar.update_state(bob, AgentState.LOADED)
    assert (refused.value.limit, refused.value.value) == ("Running", "Loaded")


async def test_two_operators_at_once(lab: Lab) -> None:
    """Of two at once, on different connections, exactly one changes the state."""
    here, there = await lab.platform(), await lab.platform()
    for number in range(10):
        agent = await lab.register(f"agent-{number}", here)
        results = await asyncio.gather(
            here.registrar.update_state(agent, DRAINING),
            there.registrar.update_state(agent, DRAINING),
            return_exceptions=True,
        )
        kinds = sorted(type(one).__name__ for one in results)
        assert kinds == ["InvalidStateTransition", "StateChange"], results


async def sends_all_the_while(
    send: Callable[[int], Coroutine[Any, Any, list[str]]], until: asyncio.Event, refused: list[str]
) -> None:
    """Send, always in new conversations, until told to stop; note the errors."""
    for number in count():
        if until.is_set():
            return
        refused += await send(number)


@EMBEDDED_ONLY
async def test_a_change_has_taken_effect_when_the_call_returns(lab: Lab) -> None:
    """Under load through every door, no new conversation is accepted after that by any."""
    operator = await lab.router(queue_size=100_000)
    bob = await lab.register("bob", operator)
    agents = [
        await lab.agent("alice", await lab.platform(router="service")),
        await lab.agent("carol", await lab.platform()),
        await lab.agent("dave", await lab.platform()),
    ]
    nats = await lab.nats()

    async def submit(number: int) -> list[str]:
        body = {"performative": "inform", "receiver": "bob", "conversation_id": f"s-{number}"}
        await nats.request("caxton.submit.erin", json.dumps(body).encode(), what="submit")
        await asyncio.sleep(0.01)
        return []

    def new_conversations(
        agent: Agent, lane: int
    ) -> Callable[[int], Coroutine[Any, Any, list[str]]]:
        async def send(number: int) -> list[str]:
            names = [f"{agent.name}-{lane}-{number}-{n}" for n in range(10)]
            results = await agent.send_many(
                [agent.message("inform", "bob", conversation_id=name) for name in names]
            )
            return [one.code for one in results if isinstance(one, CaxtonError)]

        return send

    done, refused = asyncio.Event(), list[str]()
    # Many lanes, so that some message is in each stage of its way when the change comes.
    sends = [submit, *(new_conversations(agent, lane) for agent in agents for lane in range(8))]
    running = [asyncio.create_task(sends_all_the_while(send, done, refused)) for send in sends]
    mailboxes = operator.ports.mailboxes

    async def under_way() -> bool:
        return (await mailboxes.status(bob)).pending > 100

    await eventually(under_way)
    assert (await operator.registrar.update_state(bob, DRAINING)).everywhere
    accepted = (await mailboxes.status(bob)).pending
    before = len(refused)
    await eventually(lambda: len(refused) > before + 50)

    async def submissions_are_refused() -> bool:
        return bool(await operator.ports.dead_letters.list(limit=1))

    await eventually(submissions_are_refused)
    done.set()
    await asyncio.gather(*running)
    assert (await mailboxes.status(bob)).pending == accepted
    assert set(refused) == {"AgentDraining"}


@EMBEDDED_ONLY
async def test_router_that_was_cut_off(lab: Lab) -> None:
    """It routes nothing by what it knew before: it learns first what it has missed."""
    operator = await lab.platform()
    bob = await lab.register("bob", operator)
    alice = Agent("alice")
    async with (
        wire(lab.url) as proxy,
        app.connect(lab.settings(nats_url=proxy.url), observer=lab.books.observe) as platform,
        app.started(platform, alice),
    ):
        await alice.send("inform", "bob", 1)
        for number in range(5):
            bob = await lab.register(f"bob-{number}", operator)
            await alice.send("inform", f"bob-{number}", "before")
            await proxy.cut()
            assert (await operator.registrar.update_state(bob, DRAINING)).everywhere
            sending = asyncio.create_task(alice.send("inform", f"bob-{number}", "after"))
            await asyncio.sleep(0)
            await proxy.mend()
            with pytest.raises(AgentDraining):
                await sending


@EMBEDDED_ONLY
async def test_router_that_hears_nothing_for_a_while(lab: Lab) -> None:
    """The change is made, and the call names that router; when it hears again it goes by it."""
    operator = await lab.platform()
    bob, alice = await lab.register("bob", operator), Agent("alice")
    async with (
        wire(lab.url) as proxy,
        app.connect(lab.settings(nats_url=proxy.url), observer=lab.books.observe) as platform,
        app.started(platform, alice),
    ):
        await alice.send("inform", "bob", 1)
        proxy.stall()
        change = await operator.registrar.update_state(bob, DRAINING)
        assert (change.state, change.everywhere) == (DRAINING, False)
        assert change.missing == (platform.ports.peers.own_id,)
        proxy.flow()

        async def knows() -> bool:
            found = platform.registry.find(bob)
            return found is not None and found.state is DRAINING

        await eventually(knows)
        with pytest.raises(AgentDraining):
            await alice.send("inform", "bob", 2)
        again = await operator.registrar.update_state(bob, STOPPED)
        assert (again.everywhere, again.missing) == (True, ())


async def test_drain_survives_a_restart_of_everything(
    own_server: EmbeddedServer, own_lab: Lab
) -> None:
    """The deadline comes although nobody was running meanwhile, and the agent is Stopped."""
    async with own_lab.serving() as operator:
        bob = await own_lab.register("bob", operator)
        await operator.registrar.update_state(bob, DRAINING, drain=timedelta(seconds=5))
    await own_server.kill()
    await own_server.restart()
    async with own_lab.serving() as operator:

        async def stopped() -> bool:
            return await state(operator, "bob") is STOPPED

        await eventually(stopped)
        assert (await operator.ports.registry_store.load(bob)) is not None


@pytest.mark.nats_cli
async def test_nats_command_line(lab: Lab, nats_cli: NatsCli) -> None:
    """Any NATS client changes a state, and reads it; what is illegal is a precise error."""
    platform = await lab.router()
    await lab.register("bob", platform)

    async def change(body: str) -> dict[str, Any]:
        done = await nats_cli(lab.url, "req", "--raw", "caxton.state.bob", body)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    answer = await change('{"state": "Draining", "drain": 120}')
    assert (answer["state"], answer["everywhere"], answer["missing"]) == ("Draining", True, [])
    stored = await nats_cli(lab.url, "kv", "get", "caxton-agents", "bob", "--raw")
    assert json.loads(stored.stdout)["drain_until"] == answer["drain_until"]
    error = (await change('{"state": "Running"}'))["error"]
    assert (error["code"], error["limit"], error["value"]) == (
        "InvalidStateTransition",
        "Draining",
        "Running",
    )
