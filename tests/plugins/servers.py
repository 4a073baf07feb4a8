"""NATS servers for tests: the embedded one, and an official image in a container."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Protocol

import docker
import docker.errors
import pytest
import pytest_asyncio
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from caxton_nats.jetstream.embedded import EmbeddedOptions, EmbeddedServer
from caxton_nats.jetstream.server_probe import ask_jetstream
from chaos.cluster import Cluster, running
from tests.plugins.requirements import give_up, require

IMAGE = "CAXTON_TEST_NATS_IMAGE"
_OFFICIAL_IMAGE = "nats:2.15"
_CLIENT_PORT = 4222


class StartServer(Protocol):
    async def __call__(self, options: EmbeddedOptions | None = None) -> EmbeddedServer:
        """Start a server of the test's own; it is stopped when the test ends."""


@pytest.fixture
async def embedded_url() -> AsyncIterator[str]:
    """URL of an embedded server of the test's own: it starts faster than another is wiped.

    And more surely: a server that has just deleted a stream may bring its messages back, or refuse
    its store, when one of the same name is made at once.
    """
    async with EmbeddedServer() as server:
        yield server.url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def container_url() -> AsyncIterator[str]:
    """URL of one server in a container for all tests: keep to names of your own."""
    require("docker")
    image = os.environ.get(IMAGE, _OFFICIAL_IMAGE)
    _provide(image)
    # Ryuk is one more image to pull, and cleans up what the line below cleans up.
    testcontainers_config.ryuk_disabled = True
    with DockerContainer(image).with_command("-js").with_exposed_ports(_CLIENT_PORT) as container:
        host = container.get_container_host_ip()
        port = container.get_exposed_port(_CLIENT_PORT)
        await _until_ready(container, host, port)
        yield f"nats://{host}:{port}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster_url() -> AsyncIterator[str]:
    """URL of three nodes for all tests of a module, which leave them as they are."""
    async with running() as cluster:
        yield cluster.url


@pytest.fixture
async def own_cluster() -> AsyncIterator[Cluster]:
    """Three nodes that the test may kill, freeze and restart."""
    async with running() as cluster:
        yield cluster


@pytest.fixture(
    params=["embedded", pytest.param("container", marks=pytest.mark.container)],
)
def nats_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a server; the test runs once over each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def embedded_server() -> AsyncIterator[StartServer]:
    """Yield a starter of servers that the test may kill and restart."""
    async with AsyncExitStack() as running:

        async def start(options: EmbeddedOptions | None = None) -> EmbeddedServer:
            return await running.enter_async_context(EmbeddedServer(options))

        yield start


def _provide(image: str) -> None:
    client = docker.from_env()
    try:
        client.images.get(image)
    except docker.errors.ImageNotFound:
        try:
            client.images.pull(image)
        except docker.errors.APIError as error:
            give_up(
                "docker",
                f"the image {image} is not here and cannot be pulled ({error.explanation}): run"
                f" tests/images/build_nats_image.sh and set {IMAGE} to the tag it prints",
            )
    finally:
        client.close()


async def _until_ready(container: DockerContainer, host: str, port: int) -> None:
    trouble = "never asked"
    try:
        async with asyncio.timeout(30):
            while trouble:
                trouble = await ask_jetstream(host, port)
                await asyncio.sleep(0.02)
    except TimeoutError:
        _, log = container.get_logs()
        pytest.fail(f"the container is not ready: {trouble}; it said:\n{log.decode()}")
