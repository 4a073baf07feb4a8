"""Three real nats-servers as one JetStream cluster, to be hurt one by one.

Each node is a process of its own, with its own store and its own ports. Where they listen is a
`Place`: ports of this machine, or a network namespace for each (chaos/partition.py). Nothing
outlives the programme: a guard (a shell at the other end of a pipe) ends what is left when the
programme dies, stopped processes included.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caxton_nats.jetstream.embedded import find_server
from caxton_nats.jetstream.server_folder import ServerFolder

PATIENCE = 60.0
"""Seconds until a cluster that is not well counts as broken."""
_POLL = 0.05
_ANSWER = 2.0
_WILL = 'while read -r line; do [ "$line" = done ] && exit 0; will="$line"; done; eval "$will"'


class Guard:
    """A shell that carries out a will when this programme dies, and nothing if it is dismissed."""

    def __init__(self) -> None:
        self._shell: asyncio.subprocess.Process | None = None

    async def swear_in(self, will: str = ":") -> None:
        """Start it, with a command that it is to run."""
        self._shell = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", _WILL),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        self.change(will)

    def change(self, will: str) -> None:
        """Have it run this command instead."""
        if self._shell is not None and self._shell.stdin is not None:
            self._shell.stdin.write(f"{will}\n".encode())

    async def dismiss(self) -> None:
        """Let it go; its will is not carried out."""
        shell, self._shell = self._shell, None
        if shell is not None:
            await shell.communicate(b"done\n")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one node listens."""

    name: str
    host: str
    port: int
    routes: int
    """Port for the other nodes."""
    monitoring: int
    inside: tuple[str, ...] = ()
    """Words before the server's own command line: ``ip netns exec NAME``."""

    @property
    def route(self) -> str:
        """What the others connect to."""
        return f"nats://{self.host}:{self.routes}"

    @property
    def url(self) -> str:
        """What clients connect to."""
        return f"nats://{self.host}:{self.port}"


def places(number: int = 3) -> list[Place]:
    """Return places with free ports of this machine."""
    sockets = [socket.socket() for _ in range(3 * number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
    return [
        Place(
            name=f"n{at + 1}",
            host="127.0.0.1",
            port=ports[3 * at],
            routes=ports[3 * at + 1],
            monitoring=ports[3 * at + 2],
        )
        for at in range(number)
    ]


class Node:
    """One server of a cluster."""

    def __init__(self, place: Place, others: Sequence[Place], folder: Path) -> None:
        self.place = place
        self._folder = ServerFolder(folder)
        self._config = {
            "server_name": place.name,
            "host": place.host,
            "port": place.port,
            "http": f"{place.host}:{place.monitoring}",
            "jetstream": {},
            "cluster": {
                "name": "chaos",
                "ping_interval": "2s",
                "ping_max": 2,
                "host": place.host,
                "port": place.routes,
                "routes": [one.route for one in others],
            },
        }
        self._process: asyncio.subprocess.Process | None = None
        self._guard = Guard()

    def __repr__(self) -> str:
        return f"<{self.place.name}, {f'pid {self.pid}' if self.running else 'not running'}>"

    @property
    def name(self) -> str:
        """Its name in the cluster."""
        return self.place.name

    @property
    def url(self) -> str:
        """What clients connect to."""
        return self.place.url

    @property
    def running(self) -> bool:
        """Whether the process is there, stopped or not."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Process id of the server, the last one if it has ended."""
        assert self._process is not None, "it was never started"
        return self._process.pid

    async def start(self) -> None:
        """Start the process on its store; it may not be well yet when this returns."""
        if self.running:
            return
        await self._guard.dismiss()
        await self._guard.swear_in()
        config = self._folder.write_config(self._config)
        with self._folder.open_stderr() as stderr:
            self._process = await asyncio.create_subprocess_exec(
                *self.place.inside,
                str(find_server()),
                "-c",
                str(config),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
            )
        # SIGKILL ends a stopped process, too.
        self._guard.change(f"kill -KILL {self._process.pid}")

    async def terminate(self) -> None:
        """End it with SIGTERM, as an operator does, and wait until it has ended."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """End it with SIGKILL, as a crash would; its store stays."""
        await self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Stop it where it is, connected as it is (SIGSTOP)."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    async def monitoring(self, path: str) -> dict[str, Any]:
        """Return what it says under this path of its monitoring port; {} if it says nothing."""
        try:
            async with asyncio.timeout(_ANSWER):
                reader, writer = await asyncio.open_connection(
                    self.place.host, self.place.monitoring
                )
                try:
                    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                    answer = await reader.read()
                finally:
                    writer.close()
            found = json.loads(answer.partition(b"\r\n\r\n")[2])
        except (OSError, TimeoutError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    async def trouble(self) -> str:
        """Return what the node itself finds wrong; empty if it is well."""
        said = await self.monitoring("/healthz")
        if said.get("status") == "ok":
            return ""
        return f"{self.name}: {said.get('error') or said.get('status') or 'no answer'}"

    async def streams(self) -> dict[str, dict[str, Any]]:
        """Return what it says of each stream that it has a replica of."""
        said = await self.monitoring("/jsz?accounts=true&streams=true&leader-only=false")
        return {
            one["name"]: one
            for account in said.get("account_details") or ()
            for one in account.get("stream_detail") or ()
        }

    @property
    def folder(self) -> Path:
        """Where its streams and its log lie."""
        return self._folder.path

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of its log."""
        return self._folder.log_tail(lines)

    async def _end(self, number: int) -> None:
        if self._process is not None and self.running:
            # A stopped process heeds SIGTERM only when it goes on.
            self.resume()
            self._process.send_signal(number)
            await self._process.wait()
        await self._guard.dismiss()


class Cluster:
    """All nodes; make one with `running`."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = list(nodes)

    @property
    def url(self) -> str:
        """What a client of the cluster is given: every node."""
        return ",".join(one.url for one in self.nodes)

    def others(self, *these: Node) -> list[Node]:
        """Return all nodes but these."""
        return [one for one in self.nodes if one not in these]

    def node(self, name: str) -> Node:
        """Return the node of this name."""
        return next(one for one in self.nodes if one.name == name)

    async def leader(self, stream: str) -> Node:
        """Return the node that leads the stream, if those that run agree on one."""
        found: list[Node] = []

        async def agree() -> str:
            said = await asyncio.gather(*(one.streams() for one in self.nodes))
            names = {
                streams[stream].get("cluster", {}).get("leader")
                for streams in said
                if stream in streams
            }
            found[:] = [self.node(name) for name in names if name and self.node(name).running]
            return "" if len(names) == 1 and found else f"{stream} is led by {names}"

        await _until_well(agree, "no leader")
        return found[0]

    async def meta_leader(self) -> Node:
        """Return the node that leads the cluster itself, if those that run agree on one."""
        found: list[Node] = []

        async def agree() -> str:
            said = await asyncio.gather(*(one.monitoring("/jsz") for one in self.nodes))
            names = {one["meta_cluster"].get("leader") for one in said if "meta_cluster" in one}
            found[:] = [self.node(name) for name in names if name and self.node(name).running]
            return "" if len(names) == 1 and found else f"the cluster is led by {names}"

        await _until_well(agree, "no meta leader")
        return found[0]

    async def complete(self) -> None:
        """Return when every node is well, and known to the one that leads the cluster."""

        async def missing() -> str:
            said = await (await self.meta_leader()).monitoring("/jsz")
            known = [one for one in said["meta_cluster"].get("replicas", ()) if one["current"]]
            return "" if len(known) == len(self.nodes) - 1 else f"only {known} are there"

        await _until_well(missing, "the cluster is not complete")
        await self.well()

    async def well(self, within: float = PATIENCE) -> None:
        """Return when every node says that it is well.

        Raises:
            AssertionError: that is not so in time; it says what is wrong.
        """
        await _until_well(self.trouble, "the cluster is not well", within)

    async def same(self, within: float = PATIENCE) -> None:
        """Return when every node is well, and every replica of every stream holds the same.

        Raises:
            AssertionError: that is not so in time, or somebody writes all the time.
        """
        await _until_well(self.differences, "replicas differ", within)

    async def trouble(self) -> str:
        """Return what nodes find wrong themselves; empty if nothing is."""
        return "; ".join(filter(None, [await one.trouble() for one in self.nodes]))

    async def differences(self) -> str:
        """Return what is wrong with nodes, or with replicas; empty if nothing is."""
        return await self.trouble() or "; ".join(await self._differences())

    async def _differences(self) -> list[str]:
        states: dict[str, dict[str, tuple[int, int]]] = {}
        for node, streams in zip(
            self.nodes, await asyncio.gather(*(one.streams() for one in self.nodes)), strict=True
        ):
            for name, one in streams.items():
                held = one["state"]["messages"], one["state"]["last_seq"]
                states.setdefault(name, {})[node.name] = held
        return [
            f"{name}: replicas hold (messages, last sequence) {held}"
            for name, held in states.items()
            if len(set(held.values())) > 1
        ]


@asynccontextmanager
async def running(where: Sequence[Place] | None = None) -> AsyncIterator[Cluster]:
    """Yield a cluster that is well, on empty stores; it is gone afterwards."""
    where = places() if where is None else where
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="caxton-cluster-")))
        guard = Guard()
        # After the guards of the nodes, which would write there.
        await guard.swear_in(f"sleep 2; rm -rf {shlex.quote(str(folder))}")
        stack.push_async_callback(guard.dismiss)
        nodes = []
        for place in where:
            others = [one for one in where if one is not place]
            nodes.append(Node(place, others, folder / place.name))
            stack.push_async_callback(nodes[-1].kill)
        for node in nodes:
            await node.start()
        cluster = Cluster(nodes)
        await cluster.complete()
        yield cluster


async def _until_well(
    trouble: Callable[[], Awaitable[str]], what: str, within: float = PATIENCE
) -> None:
    said = ""
    try:
        async with asyncio.timeout(within):
            while said := await trouble():  # noqa: ASYNC110 - nodes tell nobody that they are well
                await asyncio.sleep(_POLL)
    except TimeoutError:
        raise AssertionError(f"{what} after {within:g} s: {said}") from None
