"""Three nodes, three replicas: what holds on one server holds there, also while a node is away."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from caxton_nats.app.options import topology_options
from caxton_nats.core.errors import CaxtonError, TransportError
from caxton_nats.core.health import Degraded, HealthStatus, Healthy
from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream import topology
from chaos.cluster import Cluster
from tests.integration import (
    test_capabilities,
    test_conversations,
    test_dead_letters,
    test_deadlines,
    test_delivery,
    test_dialogue,
    test_lifecycle,
    test_messages,
    test_queue_bound,
    test_receipts,
    test_registry,
    test_settling,
    test_submit_door,
    test_urgent,
)
from tests.integration.lab import Lab
from tests.plugins.eventually import eventually

MAIN_PATHS: list[Callable[..., Awaitable[None]]] = [
    test_capabilities.test_a_repeat_through_another_router_is_a_duplicate,
    test_conversations.test_two_routers_let_in_one,
    test_deadlines.test_a_receiver_that_never_comes,
    test_delivery.test_content_set_aside_is_removed_when_handled,
    test_dialogue.test_answer_fills_in_the_fields,
    test_lifecycle.test_stopped,
    test_messages.test_listed_and_removed,
    test_queue_bound.test_bound_is_exact_under_concurrency,
    test_receipts.test_from_accepted_to_handled,
    test_registry.test_fresh_registration_is_found_before_the_mirror_has_it,
    test_settling.test_exhausted_retries_become_a_dead_letter,
    test_submit_door.test_submitted_while_no_router_runs,
    test_urgent.test_past_a_full_backlog,
]
"""Each as its own module has it, over one server."""


@pytest.mark.parametrize("path", MAIN_PATHS, ids=lambda path: path.__name__)
async def test_main_path(
    path: Callable[..., Awaitable[None]], cluster_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is promised with one server is promised with three, through the router service."""
    known: dict[str, Any] = {"lab": cluster_lab, "door": "service", "monkeypatch": monkeypatch}
    await path(**{name: known[name] for name in inspect.signature(path).parameters})


async def test_redrive(cluster_lab: Lab) -> None:
    """A letter that was just written is redriven at once."""
    await test_dead_letters.test_redrive(cluster_lab, "again")


async def test_topology(cluster_lab: Lab) -> None:
    """Every stream has three replicas, nothing differs from the files, and all is healthy."""
    platform = await cluster_lab.router()
    connection = await cluster_lab.nats()
    options = topology_options(cluster_lab.settings())
    assert await topology.inspect(connection, options) == []
    for config in topology.streams(options):
        info = await connection.api(f"STREAM.INFO.{config['name']}")
        assert len(info["cluster"]["replicas"]) == 2, config["name"]
    assert (await platform.health_check()).overall == Healthy()
    assert (await platform.statistics()).silent == ()


async def test_a_node_that_is_killed(own_cluster: Cluster, own_cluster_lab: Lab) -> None:
    """All goes on without it: mail, registrations, mirrors; and it catches up when it is back."""
    lab = own_cluster_lab
    platform, watching = await lab.platform(), await lab.platform()
    bob = await lab.collector("bob")
    alice = await lab.agent("alice", platform)
    await alice.send("inform", "bob", 0)
    await eventually(lambda: bob.contents == [0])
    leader = await own_cluster.leader(platform.ports.mailboxes.address(bob.id).stream)
    assert await replicas(platform) == Healthy()
    await leader.kill()
    for number in range(1, 6):

        async def sent(number: int = number) -> bool:
            message = alice.message("inform", "bob", number, message_id=f"m-{number}")
            (result,) = await alice.send_many([message])
            return not isinstance(result, CaxtonError) and not result.outcomes[0].error

        await eventually(sent)
    await eventually(lambda: bob.contents == [0, 1, 2, 3, 4, 5])
    carol = platform.agent_id("carol")

    async def registered() -> bool:
        with suppress(TransportError):
            await lab.register("carol", platform)
        return watching.registry.find(carol) is not None

    await eventually(registered)

    async def said() -> bool:
        found = await replicas(platform)
        return isinstance(found, Degraded) and f"{leader.name} is behind" in found.reason

    await eventually(said)
    await leader.start()
    await own_cluster.same()

    async def healed() -> bool:
        return await replicas(platform) == Healthy()

    await eventually(healed)


async def replicas(platform: Platform) -> HealthStatus:
    """Return what is said of the copies of all streams."""
    return (await platform.health_check()).components["replicas"].status
