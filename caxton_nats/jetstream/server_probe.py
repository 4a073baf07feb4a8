"""Ask an address who is there, in as much of the NATS protocol as two questions need.

Used before a connection exists: is the port free, and does JetStream answer? Readiness is an answer
to a real request, since a server that listens may still be recovering its streams.
"""

from __future__ import annotations

import asyncio
import errno
import json
import socket
from typing import TYPE_CHECKING, Any

from caxton_nats.core.errors import ConfigurationError

if TYPE_CHECKING:
    from asyncio import StreamReader

_PATIENCE = 2.0
_INBOX = "_INBOX.caxton-ready"
_QUESTION = (
    'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n'
    f"SUB {_INBOX} 1\r\n"
    f"PUB $JS.API.INFO {_INBOX} 0\r\n\r\n"
).encode()
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - translated, not bound


def reachable(host: str) -> str:
    """Return the address to connect to for a server that listens on `host`."""
    return _ANY_ADDRESS.get(host, host)


async def refuse_busy_port(host: str, port: int, option: str) -> None:
    """Raise unless a server could listen on `host` and `port` now.

    Raises:
        ConfigurationError: Says who has the port, as far as it can be told, and what to do.
    """
    try:
        await asyncio.to_thread(_bind_once, host, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise ConfigurationError(
                f"cannot listen on {host}:{port}: {error.strerror}",
                field=option,
                hint="choose an address of this machine and a port of 1024 or above",
            ) from error
        raise ConfigurationError(
            f"port {port} on {host} is taken by {await _describe(host, port)}",
            field=option,
            value=port,
            hint=f"stop it, choose another port with --{option.replace('_', '-')} (0 takes a free"
            " one), or use a running NATS server with --nats-url",
        ) from error


async def ask_jetstream(host: str, port: int) -> str:
    """Return what keeps JetStream from being used; empty when it answers."""
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection(reachable(host), port)
            try:
                info = await _read_info(reader)
                if info is None:
                    return "no NATS server answers"
                if not info.get("jetstream"):
                    return "JetStream is off"
                writer.write(_QUESTION)
                return await _read_answer(reader)
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        return f"it does not answer ({str(error) or 'no reply in time'})"


def _bind_once(host: str, port: int) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as trial:
        # As the server does it: connections that linger after a restart are no obstacle.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind(address)
        trial.listen(1)


async def _describe(host: str, port: int) -> str:
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection(reachable(host), port)
            try:
                info = await _read_info(reader)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        info = None
    if info is None:
        return "another program"
    return f"nats-server {info.get('version', '')} named {info.get('server_name', '?')}"


async def _read_info(reader: StreamReader) -> dict[str, Any] | None:
    """Return what a NATS server says first; None for anybody else."""
    try:
        verb, _, body = (await reader.readline()).partition(b" ")
        info = json.loads(body) if verb == b"INFO" else None
    except ValueError:  # No JSON, or no line at all within the reader's limit.
        return None
    return info if isinstance(info, dict) else None


async def _read_answer(reader: StreamReader) -> str:
    async for line in reader:
        verb, *words = line.split()
        if verb == b"HMSG":
            return "nobody answers for JetStream"
        if verb == b"-ERR":
            return line.decode(errors="replace").strip()
        if verb == b"MSG":
            answer = json.loads(await reader.readexactly(int(words[-1])))
            return str(answer.get("error", {}).get("description", ""))
    return "it closed the connection"
