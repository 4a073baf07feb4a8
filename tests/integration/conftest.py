from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from caxton_nats.jetstream.embedded import EmbeddedServer
from chaos.cluster import Cluster
from tests.integration.lab import Lab, open_lab
from tests.integration.linked import Linked, open_linked
from tests.plugins.servers import StartServer

_LABS = {"lab", "own_lab", "cluster_lab", "own_cluster_lab", "books", "linked"}


@pytest.fixture(autouse=True)
def conservation(request: pytest.FixtureRequest) -> None:
    """Insist that every test here runs under the conservation law: a lab keeps the books."""
    assert _LABS & set(request.fixturenames), f"use one of {sorted(_LABS)}: they keep the books"


@pytest.fixture
async def lab(nats_url: str, tmp_path: Path) -> AsyncIterator[Lab]:
    """Give the test a deployment of its own on the shared servers, embedded and container."""
    async with open_lab(nats_url, tmp_path) as made:
        yield made


@pytest.fixture
async def own_server(embedded_server: StartServer) -> EmbeddedServer:
    """Return a server that the test may kill and restart."""
    return await embedded_server()


@pytest.fixture
async def own_lab(own_server: EmbeddedServer, tmp_path: Path) -> AsyncIterator[Lab]:
    """Give the test a deployment on `own_server`."""
    async with open_lab(own_server.url, tmp_path) as made:
        yield made


@pytest.fixture
async def cluster_lab(cluster_url: str, tmp_path: Path) -> AsyncIterator[Lab]:
    """Give the test a deployment with three replicas on the module's cluster."""
    async with open_lab(cluster_url, tmp_path, replicas=3, shards=2) as made:
        yield made


@pytest.fixture
async def own_cluster_lab(own_cluster: Cluster, tmp_path: Path) -> AsyncIterator[Lab]:
    """Give the test a deployment with three replicas on `own_cluster`.

    A settlement that is lost with a node comes again after ack_wait, while the books are awaited.
    """
    async with open_lab(own_cluster.url, tmp_path, replicas=3, shards=2, ack_wait=5.0) as made:
        yield made


@pytest.fixture(params=["embedded", "service"])
def door(request: pytest.FixtureRequest) -> str:
    """Name how agents reach a router: in their own process, or the service over NATS."""
    name: str = request.param
    return name


@pytest.fixture
async def linked(tmp_path: Path) -> AsyncIterator[Linked]:
    """Give the test two platforms on servers of their own, joined as docs/remote.md says."""
    async with open_linked(tmp_path) as made:
        yield made
