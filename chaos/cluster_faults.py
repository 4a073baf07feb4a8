"""Scenarios on three nodes with three replicas: one after the other is killed, frozen, cut off.

What is hurt is chosen by what it does: the node that leads a mailbox stream, one that follows it,
the one that leads the cluster, the one that the processes are connected to. After each fault every
conversation must go on within a stated time, and when all is over every replica must hold the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from hashlib import sha256

from caxton_nats import CaxtonError
from caxton_nats.app import operate
from caxton_nats.jetstream.connection import connect
from chaos.cluster import Cluster, Node, running
from chaos.effects import now
from chaos.needs import Need
from chaos.partition import Wires, missing, namespaces
from chaos.process_faults import UNORDERED
from chaos.scenario import Casting, scenario
from chaos.servers import Server
from chaos.stage import NotResumed, Stage

LED = "CAXTON_MAILBOX_0"
"""Whose leader is hurt."""
AWAY = 5.0
"""Seconds for which a node is away: longer than it takes the others to choose another leader."""
GOES_ON = 15.0
"""Seconds from a fault until every conversation must have gone on.

An election takes 4 to 9 seconds, and who was asking meanwhile asks again within a few.
"""
STUCK = 30.0
"""Seconds after which a replica that differs counts as stuck."""
SAME = 60.0
"""Seconds after which every replica must hold the same again."""
NAMESPACES = Need("network namespaces", missing)


class Three:
    """A cluster, as scenarios see it."""

    replicas = 3

    def __init__(self, cluster: Cluster, wires: Wires | None = None) -> None:
        self.cluster = cluster
        self.wires = wires

    @property
    def url(self) -> str:
        """The first node alone: clients learn of the others from it, and begin there."""
        return self.cluster.nodes[0].url


@asynccontextmanager
async def on_this_machine(casting: Casting) -> AsyncIterator[Server]:
    """Run a cluster whose nodes are told apart by their ports."""
    async with running() as cluster:
        yield Three(cluster)
        await _same(cluster, casting)


@asynccontextmanager
async def in_namespaces(casting: Casting) -> AsyncIterator[Server]:
    """Run a cluster whose wires can be cut."""
    async with namespaces() as wires, running(wires.places) as cluster:
        yield Three(cluster, wires)
        await _same(cluster, casting)


@scenario("cluster-calm", promises=UNORDERED, server=on_this_machine, short=False)
async def calm(stage: Stage) -> None:
    """Three nodes and no fault."""
    async for _ in stage.moments():
        await _went_on(stage, now())


@scenario("cluster-leader-kill", promises=UNORDERED, server=on_this_machine)
async def leader_killed(stage: Stage) -> None:
    """The leader of a mailbox stream is killed, and is back after five seconds."""
    await _rounds(stage, lambda: _kill(stage, _leader))


@scenario("cluster-own-node-kill", promises=UNORDERED, server=on_this_machine, short=False)
async def own_node_killed(stage: Stage) -> None:
    """The node is killed that routers, agents and senders are connected to."""
    await _rounds(stage, lambda: _kill(stage, _busiest))


@scenario("cluster-meta-leader-kill", promises=UNORDERED, server=on_this_machine, short=False)
async def meta_leader_killed(stage: Stage) -> None:
    """The node is killed that leads the cluster itself."""
    await _rounds(stage, lambda: _kill(stage, lambda cluster: cluster.meta_leader()))


@scenario("cluster-leader-stop", promises=UNORDERED, server=on_this_machine, short=False)
async def leader_stopped(stage: Stage) -> None:
    """The leader of a mailbox stream is frozen for five seconds."""
    await _rounds(stage, lambda: _freeze(stage, _leader))


@scenario("cluster-follower-stop", promises=UNORDERED, server=on_this_machine, short=False)
async def follower_stopped(stage: Stage) -> None:
    """A follower of a mailbox stream is frozen for five seconds."""
    await _rounds(stage, lambda: _freeze(stage, _follower))


@scenario("cluster-rolling-restart", promises=UNORDERED, server=on_this_machine)
async def rolling_restart(stage: Stage) -> None:
    """Each node is stopped by SIGTERM and started again, one after the other."""

    async def round_of_restarts() -> None:
        cluster = the_cluster(stage)
        for node in cluster.nodes:
            at = now()
            stage.say(f"restart {node.name}")
            await node.terminate()
            await node.start()
            await _well(stage)
            await _went_on(stage, at)

    await _rounds(stage, round_of_restarts)


@scenario("cluster-all-kill", promises=UNORDERED, server=on_this_machine, short=False)
async def all_killed(stage: Stage) -> None:
    """All three nodes are killed at once, and started again."""

    async def kill_all() -> None:
        cluster = the_cluster(stage)
        stage.say("kill all nodes")
        await asyncio.gather(*(node.kill() for node in cluster.nodes))
        await stage.wait(0.1, 1.5)
        at = now()
        for node in cluster.nodes:
            await node.start()
        await _well(stage)
        await _went_on(stage, at)

    await _rounds(stage, kill_all)


@scenario(
    "partition-follower",
    promises=UNORDERED,
    server=in_namespaces,
    needs=(NAMESPACES,),
    short=False,
)
async def follower_isolated(stage: Stage) -> None:
    """A follower of a mailbox stream, with nobody connected to it, is cut off for ten seconds."""
    await _rounds(stage, lambda: _isolate(stage, _idle_follower))


@scenario(
    "partition-leader",
    promises=UNORDERED,
    server=in_namespaces,
    needs=(NAMESPACES,),
    short=False,
)
async def leader_isolated(stage: Stage) -> None:
    """The leader of a mailbox stream is cut off, and everybody is connected elsewhere."""

    async def elsewhere(cluster: Cluster) -> Node:
        busiest = await _busiest(cluster)
        return await _lead(stage, cluster.others(busiest)[0])

    await _rounds(stage, lambda: _isolate(stage, elsewhere))


@scenario(
    "partition-own-leader",
    promises=UNORDERED,
    server=in_namespaces,
    needs=(NAMESPACES,),
)
async def own_leader_isolated(stage: Stage) -> None:
    """The node is cut off that leads a mailbox stream and that everybody is connected to."""

    async def here(cluster: Cluster) -> Node:
        return await _lead(stage, await _busiest(cluster))

    await _rounds(stage, lambda: _isolate(stage, here))


def the_cluster(stage: Stage) -> Cluster:
    """Return the cluster of a scenario that has one."""
    assert isinstance(stage.server, Three)
    return stage.server.cluster


async def _rounds(stage: Stage, once: Callable[[], Awaitable[None]]) -> None:
    async for _ in stage.moments((0.5, 1.5)):
        await once()


Choose = Callable[[Cluster], Awaitable[Node]]


async def _kill(stage: Stage, choose: Choose) -> None:
    node = await choose(the_cluster(stage))
    at = now()
    stage.say(f"kill {node.name}")
    await node.kill()
    await asyncio.gather(_back_after(stage, node), _went_on(stage, at))
    await _well(stage)


async def _back_after(stage: Stage, node: Node) -> None:
    await asyncio.sleep(AWAY)
    stage.say(f"start {node.name}")
    await node.start()


async def _freeze(stage: Stage, choose: Choose) -> None:
    node = await choose(the_cluster(stage))
    at = now()
    stage.say(f"freeze {node.name}")
    node.pause()

    async def thaw() -> None:
        await asyncio.sleep(AWAY)
        stage.say(f"thaw {node.name}")
        node.resume()

    await asyncio.gather(thaw(), _went_on(stage, at))
    await _well(stage)


async def _isolate(stage: Stage, choose: Choose) -> None:
    cluster = the_cluster(stage)
    assert isinstance(stage.server, Three)
    wires = stage.server.wires
    assert wires is not None
    node = await choose(cluster)
    at = now()
    stage.say(f"cut {node.name} off; {await _connected(cluster)} are connected")
    await wires.isolate(node, cluster.others(node))
    try:
        await _went_on(stage, at)
        stage.say(f"{await _connected(cluster)} are connected")
        await asyncio.sleep(max(0.0, 2 * AWAY - (now() - at)))
    finally:
        stage.say("heal")
        await wires.heal()
    await _well(stage)
    await _went_on(stage, now())


async def _leader(cluster: Cluster) -> Node:
    return await cluster.leader(LED)


async def _follower(cluster: Cluster) -> Node:
    return cluster.others(await cluster.leader(LED))[0]


async def _idle_follower(cluster: Cluster) -> Node:
    leader, busiest = await cluster.leader(LED), await _busiest(cluster)
    return cluster.others(leader, busiest)[0]


async def _busiest(cluster: Cluster) -> Node:
    """Return the node that most of our connections are to."""
    connected = await _connected(cluster)
    return cluster.node(max(connected, key=lambda name: connected[name]))


async def _connected(cluster: Cluster) -> dict[str, int]:
    said = await asyncio.gather(*(node.monitoring("/connz") for node in cluster.nodes))
    return {
        node.name: int(one.get("num_connections", 0))
        for node, one in zip(cluster.nodes, said, strict=True)
    }


async def _lead(stage: Stage, node: Node) -> Node:
    """Have the node lead the stream, and return it."""
    cluster = the_cluster(stage)
    async with operate(stage.settings()) as (connection, _):
        while await cluster.leader(LED) is not node:
            await connection.api(
                f"STREAM.LEADER.STEPDOWN.{LED}", {"placement": {"preferred": node.name}}
            )
    return node


async def _went_on(stage: Stage, since: float) -> None:
    """Return when each conversation has a message that was sent and handled since the fault.

    Raises:
        NotResumed: one has none, within `GOES_ON`.
    """
    waiting = {sent.task.conversation for sent in stage.load.sent.values()}
    effects = stage.folder / "effects"
    while waiting:
        waiting -= {
            sent.task.conversation
            for message, sent in list(stage.load.sent.items())
            if sent.begun > since and (effects / sha256(message.encode()).hexdigest()[:32]).exists()
        }
        if now() - since > GOES_ON:
            raise NotResumed(f"{sorted(waiting)} have not gone on within {GOES_ON:g} s")
        await asyncio.sleep(0.05)
    stage.books.heals.append((since, now()))
    stage.say(f"every conversation has gone on {now() - since:.2f} s after the fault")


async def _well(stage: Stage) -> None:
    """Return when every node says that it is well: only then the next one may be hurt."""
    at = now()
    try:
        await the_cluster(stage).well(SAME)
    except AssertionError as error:
        raise NotResumed(str(error)) from None
    stage.say(f"every node is well after {now() - at:.2f} s")


async def _same(cluster: Cluster, casting: Casting) -> None:
    """Insist that every replica of every stream holds the same, with nobody writing any more.

    One may stay stuck after a partition has healed, which is NATS's (nats-server 2.15.1): it is
    told, and helped as an operator would help it.
    """
    try:
        await cluster.same(STUCK)
    except AssertionError as error:
        casting.say(f"a replica is stuck, and the leaders step down: {error}")
        try:
            await _step_down(cluster)
            await cluster.same(SAME)
        except AssertionError as still:
            raise NotResumed(str(still)) from None


async def _step_down(cluster: Cluster) -> None:
    connection = await connect(cluster.url, name="chaos")
    try:
        for name in (await connection.api("STREAM.NAMES"))["streams"]:
            with suppress(CaxtonError):
                await connection.api(f"STREAM.LEADER.STEPDOWN.{name}")
    finally:
        await connection.close()
