"""What others wrote into our streams: it is left out or named, and stands in nobody's way."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from caxton_nats import connect, settings
from caxton_nats.core.dead_letter import DeadLetter, Origin, Stage
from caxton_nats.core.errors import ConfigurationError
from caxton_nats.core.failure import FailureReason
from caxton_nats.core.identifiers import MessageId
from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream.connection import connect as to_server
from tests.plugins.servers import StartServer

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
NO_NAME = "=ZZ"


class Foreign:
    """A platform with one agent, and somebody who writes what he likes."""

    def __init__(self, platform: Platform, url: str) -> None:
        self.platform = platform
        self.url = url

    async def write(self, subject: str, body: bytes = b"junk") -> None:
        connection = await to_server(self.url, name="stranger")
        await connection.request(subject, body, what="writing")
        await connection.close()


@pytest.fixture
async def foreign(embedded_server: StartServer) -> AsyncIterator[Foreign]:
    server = await embedded_server()
    chosen = settings(nats_url=server.url, shards=1)
    async with connect(chosen, observer=lambda _: None) as platform:
        await platform.registrar.register(platform.agent_id("bob"))
        yield Foreign(platform, server.url)


@pytest.mark.parametrize("way", ["mailbox", "urgent"])
async def test_mail_of_no_name(foreign: Foreign, way: str) -> None:
    """It is nobody's mail: the others are counted, swept and chosen among as ever."""
    platform = foreign.platform
    await foreign.write(f"caxton.{way}.0.{NO_NAME}")
    await foreign.write(f"caxton.{way}.0.bob")
    bob = platform.agent_id("bob")
    assert await platform.ports.mailboxes.pending() == {bob: 1}
    statuses = await platform.ports.mailboxes.statuses()
    assert {agent: one.pending for agent, one in statuses.items()} == {bob: 1}
    assert (await platform.statistics()).total.pending == 1
    assert str((await platform.health_check()).overall) == "Healthy()"


async def test_what_is_no_dead_letter(foreign: Foreign, caplog: pytest.LogCaptureFixture) -> None:
    """The list leaves it out and says where it lies; asked for by its id, it says how to remove it."""
    letters = foreign.platform.ports.dead_letters
    bob = foreign.platform.agent_id("bob")
    for number, body in enumerate((b"junk", b"{}", b'{"id": 7}')):
        await foreign.write(f"caxton.dlq.Timeout.bob.x-{number}", body)
    letter = DeadLetter(
        id="CAXTON_MAILBOX_0-1",
        reason=FailureReason.TIMEOUT,
        stage=Stage.DELIVER,
        agent=bob,
        sender=bob,
        message_id=MessageId("m-1"),
        performative="inform",
        attempts=1,
        first_at=NOON,
        last_at=NOON,
        last_error={},
        origin=Origin("CAXTON_MAILBOX_0", 1),
        subject="caxton.mailbox.0.bob",
    )
    await letters.write(letter)
    await foreign.write("caxton.dlq.Timeout.bob.y")
    with caplog.at_level(logging.WARNING):
        assert [one.id for one in await letters.list(limit=1)] == [letter.id]
    assert "nats stream rmm CAXTON_DLQ 5" in caplog.text
    with pytest.raises(ConfigurationError, match="not readable") as caught:
        await letters.get("x-1")
    assert "nats stream rmm CAXTON_DLQ 2" in caught.value.hint
    with pytest.raises(ConfigurationError):
        await foreign.platform.redrive.discard("x-1")


async def test_a_dead_letter_of_no_name(foreign: Foreign) -> None:
    """It is counted for nobody."""
    await foreign.write(f"caxton.dlq.Timeout.{NO_NAME}.x")
    assert await foreign.platform.ports.dead_letters.count() == {}
    assert (await foreign.platform.statistics()).total.dead_letters == 1
