"""The cluster of the fault programme: nodes that can be hurt, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from chaos.cluster import Cluster, running
from chaos.partition import missing, namespaces
from tests.plugins.eventually import eventually

_ROOT = Path(__file__).parents[2]
_PROGRAM = """
import asyncio
from chaos.cluster import running
from chaos.partition import namespaces

async def main():
    async with {where} as wires, running({places}) as cluster:
        folder = cluster.nodes[0].folder.parent
        cluster.nodes[0].pause()
        print(folder, *(node.pid for node in cluster.nodes), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def alive(pid: int) -> bool:
    """Tell whether the process runs; one that has ended and waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_nodes_come_and_go(own_cluster: Cluster) -> None:
    """One that is away is missed, and the cluster is well again when it is back."""
    leader = await own_cluster.meta_leader()
    await leader.kill()
    assert (await own_cluster.trouble()).startswith(f"{leader.name}: no answer")
    assert await own_cluster.meta_leader() is not leader
    await leader.start()
    await own_cluster.same()


async def test_a_partition() -> None:
    """A node that is cut off is led by nobody; its clients reach it all the same."""
    if missing():
        pytest.skip(missing())
    async with namespaces() as wires, running(wires.places) as cluster:
        leader = await cluster.meta_leader()
        await wires.isolate(leader, cluster.others(leader))

        async def cut_off() -> bool:
            said = await leader.monitoring("/jsz")
            return bool(said) and not said["meta_cluster"].get("leader")

        await eventually(cut_off)
        await wires.heal()
        await cluster.complete()


@pytest.mark.parametrize("place", ["ports", "namespaces"])
async def test_nothing_is_left_behind(place: str) -> None:
    """Of a programme that is killed: no server, not even a stopped one, no store, no namespace."""
    if place == "namespaces" and missing():
        pytest.skip(missing())
    where, places = ("namespaces()", "wires.places")
    if place == "ports":
        where, places = ("asyncio.timeout(None)", "None")
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PROGRAM.format(where=where, places=places)),
        stdout=asyncio.subprocess.PIPE,
        cwd=_ROOT,
    )
    assert program.stdout is not None
    folder, *pids = (await program.stdout.readline()).decode().split()
    assert all(alive(int(pid)) for pid in pids)
    os.kill(program.pid, signal.SIGKILL)
    await program.communicate()
    await eventually(lambda: not any(alive(int(pid)) for pid in pids))
    await eventually(lambda: not Path(folder).exists())
    mark = f"cx{program.pid % 100_000}"
    left = Path("/sys/class/net")
    await eventually(lambda: not left.exists() or not [*left.glob(f"{mark}*")])
