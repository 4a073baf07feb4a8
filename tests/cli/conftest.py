"""The command line in tests: commands in this process, long-running ones as processes."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest

from caxton_nats import Settings, cli, serve, settings
from caxton_nats.engine.platform import Platform
from tests.plugins.servers import StartServer

ROOT = Path(__file__).resolve().parents[2]


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout; anything else there fails the test."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error on stderr of a command with --json."""
        return json.loads(self.err)["error"]


class Caxton(Protocol):
    async def __call__(self, *arguments: str, stdin: bytes = b"") -> Result:
        """Run `caxton ARGUMENTS…` to its end; the caller judges the exit code."""


class Program:
    """A `caxton` that runs until it is told to end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def said(self, last: str, *, within: float = 30) -> list[str]:
        """Return the lines on stdout up to the one that starts with `last`."""
        assert self.process.stdout is not None
        lines: list[str] = []
        async with asyncio.timeout(within):
            async for line in self.process.stdout:
                lines.append(line.decode().rstrip("\n"))
                if lines[-1].startswith(last):
                    return lines
        pytest.fail(f"it never said {last!r}, but {lines} and {await self.complaint()!r}")

    async def complaint(self) -> str:
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()

    async def ended(self, *, within: float = 30) -> Result:
        out, err = await asyncio.wait_for(self.process.communicate(), within)
        assert self.process.returncode is not None
        return Result(self.process.returncode, out.decode(), err.decode())


class Start(Protocol):
    async def __call__(self, *arguments: str, **environment: str) -> Program:
        """Start `caxton ARGUMENTS…` as a process; it is killed at the end of the test."""


@pytest.fixture(autouse=True)
def environment_(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the settings and the folder of whoever runs the tests out of them."""
    for name in [name for name in os.environ if name.startswith("CAXTON_") and "TEST" not in name]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def caxton() -> Caxton:
    """Return a way to run commands, in a thread so that agents of the test's loop can answer."""

    async def run(*arguments: str, stdin: bytes = b"") -> Result:
        return await asyncio.to_thread(_run, arguments, stdin)

    return run


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Yield a starter of `caxton` processes."""
    async with AsyncExitStack() as running:

        async def started(*arguments: str, **environment: str) -> Program:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "caxton_nats", *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            )
            running.push_async_callback(_kill, process)
            return Program(process)

        yield started


@pytest.fixture
async def url(embedded_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the address of an empty server of the test's own, which commands use by default."""
    server = await embedded_server()
    monkeypatch.setenv("CAXTON_NATS_URL", server.url)
    return server.url


class Here(NamedTuple):
    """A platform on the test's own server, with a router service."""

    platform: Platform
    chosen: Settings


@pytest.fixture
async def here(url: str) -> AsyncIterator[Here]:
    """Yield a small platform that commands use by default."""
    chosen = settings(
        nats_url=url, shards=2, queue_size=3, retry_delay=0.1, max_retries=1, request_timeout=10
    )
    async with serve(chosen, observer=lambda _: None) as platform:
        yield Here(platform, chosen)


def _run(arguments: tuple[str, ...], stdin: bytes) -> Result:
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    given = io.TextIOWrapper(io.BytesIO(stdin), "utf-8")
    before, sys.stdin = sys.stdin, given
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.run(arguments)
    finally:
        sys.stdin = before
    texts = (stream.buffer.getvalue().decode() for stream in (out, err))
    return Result(code, *texts)


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.communicate()
