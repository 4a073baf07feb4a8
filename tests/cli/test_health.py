"""`caxton health`: the status, the reason, the exit code."""

from __future__ import annotations

import msgspec

from caxton_nats.core.health import DetailedHealthStatus, Healthy
from caxton_nats.jetstream.connection import connect
from tests.cli.conftest import Caxton, Here


async def test_healthy(caxton: Caxton, here: Here) -> None:
    """Exit code 0, and each component with its status and figures; --json is the whole record."""
    healthy = await caxton("health")
    assert healthy.code == 0
    assert "Healthy" in healthy.out.splitlines()[0]
    for component in ("connection", "registry", "mailboxes", "ingress", "dead letters", "routers"):
        (line,) = [one for one in healthy.out.splitlines() if one.startswith(component)]
        assert "Healthy" in line
    document = (await caxton("health", "--json")).json
    assert msgspec.convert(document, DetailedHealthStatus).overall == Healthy()
    assert document["components"]["routers"]["metrics"] == {"running": 1.0, "silent": 0.0}


async def test_degraded(caxton: Caxton, here: Here) -> None:
    """Exit code 7 and the reason: here a mailbox that is full."""
    await caxton("agents", "register", "bob")
    for _ in range(3):
        await caxton("send", "alice", "inform", "bob")
    degraded = await caxton("health")
    assert degraded.code == 7
    assert "the mailbox of bob@caxton holds 3 of 3 messages" in degraded.out
    document = (await caxton("health", "--json")).json
    assert document["overall"]["status"] == "Degraded"


async def test_unhealthy(caxton: Caxton, here: Here) -> None:
    """Exit code 8 and the reason: here a stream that is gone."""
    connection = await connect(here.chosen.nats_url, name="test")
    await connection.api("STREAM.DELETE.CAXTON_DLQ")
    await connection.close()
    unhealthy = await caxton("health")
    assert unhealthy.code == 8
    assert "missing: CAXTON_DLQ" in unhealthy.out


async def test_no_server(caxton: Caxton) -> None:
    """Without a server it is unhealthy, which is an answer and not a failure of the command."""
    nowhere = await caxton("health", "--json", "--nats-url", "nats://127.0.0.1:1")
    assert (nowhere.code, nowhere.err) == (8, "")
    assert nowhere.json["overall"]["status"] == "Unhealthy"
    assert "cannot connect" in nowhere.json["overall"]["reason"]
