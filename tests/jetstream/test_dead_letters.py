"""The stream of dead letters at sizes at which the server answers in parts."""

from __future__ import annotations

from caxton_nats import connect, settings
from caxton_nats.core.dead_letter import encode
from caxton_nats.jetstream import direct
from caxton_nats.jetstream.connection import connect as to_server
from caxton_nats.jetstream.embedded import EmbeddedOptions
from tests.conformance.test_dead_letters import dead
from tests.plugins.eventually import eventually
from tests.plugins.servers import StartServer

MANY = 100_100
"""The server tells of 100,000 subjects at a time, and each letter has its own."""
LARGE = 6 * 1024 * 1024
"""More than a page of letters may have in all."""


async def test_more_letters_than_the_server_counts_at_a_time(embedded_server: StartServer) -> None:
    """All of them are counted, by agent and reason."""
    server = await embedded_server()
    chosen = settings(nats_url=server.url, dead_letter_size=1_000_000, request_timeout=30)
    async with connect(chosen, observer=lambda _: None) as platform:
        stranger = await to_server(server.url, name="stranger")
        for number in range(MANY):
            reason = "Timeout" if number % 2 else "QueueFull"
            await stranger.client.publish(f"caxton.dlq.{reason}.bob.S-{number}", b"")
        await stranger.client.flush()

        async def stored() -> bool:
            return await direct.last_sequence(stranger, "CAXTON_DLQ") == MANY

        await eventually(stored, within=60)
        found = await platform.dead_letter_statistics()
        assert found.total_messages == MANY
        assert found.messages_by_reason == {"Timeout": MANY / 2, "QueueFull": MANY / 2}
        await stranger.close()


async def test_letters_larger_than_a_page(embedded_server: StartServer) -> None:
    """Where the server takes such messages, each is a page of its own."""
    server = await embedded_server(EmbeddedOptions(max_payload=2 * LARGE))
    async with connect(settings(nats_url=server.url), observer=lambda _: None) as platform:
        letters = platform.ports.dead_letters
        body = b'"' + b"x" * LARGE + b'"'
        sizes = []
        for number in (1, 2, 3):
            assert len(encode(dead(number, body=body))) > LARGE
            await letters.write(dead(number, body=body))
        page = await letters.page()
        while True:
            sizes += [len(one.body) for one in page.letters]
            if page.is_last:
                break
            page = await letters.page(after=page.after, until=page.until)
        assert sizes == [len(body)] * 3


async def test_a_long_list_of_large_letters(embedded_server: StartServer) -> None:
    """It has all of them, though the server answers with 64 MiB at most."""
    server = await embedded_server()
    async with connect(settings(nats_url=server.url), observer=lambda _: None) as platform:
        letters = platform.ports.dead_letters
        body = b'"' + b"x" * 950_000 + b'"'
        for number in range(90):
            await letters.write(dead(number, body=body))
        assert len(await letters.list()) == 90
