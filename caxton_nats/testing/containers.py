"""A NATS server in a container, for one test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from caxton_nats.core.errors import CaxtonError, ConfigurationError
from caxton_nats.jetstream.connection import connect

_PORT = 4222
_PATIENCE = 30.0


@asynccontextmanager
async def a_container(image: str) -> AsyncIterator[str]:
    """Yield the URL of a server with JetStream that runs in a container of its own.

    Raises:
        ConfigurationError: testcontainers is not installed, or no container could be started.
    """
    try:
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            "a container takes the package testcontainers, which is not installed",
            hint="pip install 'caxton-nats[test]', or pytest --caxton=embedded",
        ) from None
    container = DockerContainer(image).with_command("-js").with_exposed_ports(_PORT)
    try:
        await asyncio.to_thread(container.start)
    except Exception as error:
        # docker's and testcontainers' errors have no common base.
        raise ConfigurationError(
            f"the container of {image} did not start: {error}",
            hint="start a Docker engine, or pytest --caxton=embedded",
        ) from error
    try:
        host = container.get_container_host_ip()
        url = f"nats://{host}:{container.get_exposed_port(_PORT)}"
        await _until_ready(url)
        yield url
    finally:
        await asyncio.to_thread(container.stop)


async def _until_ready(url: str) -> None:
    ends = asyncio.get_running_loop().time() + _PATIENCE
    while True:
        try:
            connection = await connect(url, name="waiting for the container")
        except CaxtonError:
            if asyncio.get_running_loop().time() > ends:
                raise
            await asyncio.sleep(0.05)
        else:
            await connection.close()
            return
