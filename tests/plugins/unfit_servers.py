"""Servers that are of no use: of another version, without JetStream, or no NATS server at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from caxton_nats.jetstream.embedded import find_server
from tests.plugins.eventually import eventually


def greeting(version: str) -> bytes:
    """Return what a server of this version says first."""
    info = {"server_id": "OLD", "version": version, "max_payload": 1_048_576, "headers": True}
    return f"INFO {json.dumps(info)}\r\n".encode()


@asynccontextmanager
async def scripted_server(first: bytes) -> AsyncIterator[str]:
    """Listen, say ``first`` to everybody who comes, and answer nothing but PING."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        async for line in reader:
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def talking_nonsense(words: bytes, port: int) -> AsyncIterator[Callable[[], int]]:
    """Say this to everybody who comes, then hang up; yields how many have come."""
    came = 0

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal came
        came += 1
        writer.write(words)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    async with server:
        yield lambda: came


@asynccontextmanager
async def without_jetstream(folder: Path) -> AsyncIterator[str]:
    """Run a real server with JetStream switched off."""
    process = await asyncio.create_subprocess_exec(
        *(str(find_server()), "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", str(folder)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        ports = folder / f"nats-server_{process.pid}.ports"
        await eventually(lambda: ports.exists() and bool(ports.read_text()))
        yield json.loads(ports.read_text())["nats"][0]
    finally:
        process.terminate()
        await process.wait()
