"""Nodes in network namespaces of their own, so that the wire between two of them can be cut.

A cut loses packets silently in both directions, as a broken switch does: nobody is told, and TCP
repeats what was lost once the wire is whole. Clients stay outside, and reach every node. It takes
root and Linux; `missing` says what keeps it from working here.

Everything is named after this process and removed at the end, by a guard if this programme dies.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from chaos.cluster import Guard, Node, Place

_CLIENTS, _ROUTES, _MONITORING = 4222, 6222, 8222


def missing() -> str:
    """Return what keeps network namespaces from being made here; empty if nothing does."""
    if os.geteuid() != 0:
        return "network namespaces take root"
    without = [tool for tool in ("ip", "iptables") if shutil.which(tool) is None]
    return f"not installed: {', '.join(without)}" if without else ""


class Wires:
    """The wires between the nodes of one cluster."""

    def __init__(self, where: list[Place]) -> None:
        self.places = where

    async def isolate(self, node: Node, others: Iterable[Node]) -> None:
        """Cut the node off from the others, and them from it."""
        for other in others:
            await _drop(node.place, other.place)
            await _drop(other.place, node.place)

    async def heal(self) -> None:
        """Make every wire whole."""
        for place in self.places:
            await _run(*place.inside, "iptables", "-F", "INPUT")


@asynccontextmanager
async def namespaces(number: int = 3) -> AsyncIterator[Wires]:
    """Yield places in as many namespaces, joined by a bridge that this process reaches, too."""
    mark, net = f"cx{os.getpid() % 100_000}", f"10.77.{os.getpid() % 250}"
    bridge = f"{mark}br"
    where = [
        Place(
            name=f"n{at}",
            host=f"{net}.{at}",
            port=_CLIENTS,
            routes=_ROUTES,
            monitoring=_MONITORING,
            inside=("ip", "netns", "exec", f"{mark}n{at}"),
        )
        for at in range(1, number + 1)
    ]
    # Docker has the machine drop what one port of a bridge sends to another.
    pass_through = ("FORWARD", "-i", bridge, "-o", bridge, "-j", "ACCEPT")
    # A namespace goes when its last socket has; its wire goes first, or it would stay as long.
    undo = [
        *(("ip", "link", "del", f"{place.inside[-1]}v") for place in where),
        *(("ip", "netns", "del", place.inside[-1]) for place in where),
        ("ip", "link", "del", bridge),
        ("iptables", "-D", *pass_through),
    ]
    guard = Guard()
    await guard.swear_in("; ".join(map(shlex.join, undo)))
    try:
        await _run("ip", "link", "add", bridge, "type", "bridge")
        await _run("ip", "addr", "add", f"{net}.254/24", "dev", bridge)
        await _run("ip", "link", "set", bridge, "up")
        await _run("iptables", "-I", *pass_through)
        for place in where:
            await _join(place, bridge)
        yield Wires(where)
    finally:
        for command in undo:
            await _run(*command, check=False)
        await guard.dismiss()


async def _join(place: Place, bridge: str) -> None:
    space = place.inside[-1]
    await _run("ip", "netns", "add", space)
    await _run(
        *("ip", "link", "add", f"{space}v", "type", "veth"),
        *("peer", "name", "eth0", "netns", space),
    )
    await _run("ip", "link", "set", f"{space}v", "master", bridge, "up")
    await _run("ip", "-n", space, "addr", "add", f"{place.host}/24", "dev", "eth0")
    for device in ("eth0", "lo"):
        await _run("ip", "-n", space, "link", "set", device, "up")


async def _drop(at: Place, sender: Place) -> None:
    await _run(*at.inside, "iptables", "-A", "INPUT", "-s", sender.host, "-j", "DROP")


async def _run(*command: str, check: bool = True) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    if check and process.returncode:
        raise OSError(f"{shlex.join(command)}: {said.decode().strip()}")
