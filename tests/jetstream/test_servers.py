"""The fixtures give what they promise: servers that JetStream requests reach."""

from __future__ import annotations

from urllib.parse import urlsplit

from caxton_nats.jetstream.server_probe import ask_jetstream
from tests.plugins.nats_cli import NatsCli


async def test_a_shared_server_answers(nats_url: str) -> None:
    address = urlsplit(nats_url)
    assert address.hostname
    assert address.port
    assert await ask_jetstream(address.hostname, address.port) == ""


async def test_the_nats_command_reaches_a_shared_server(nats_url: str, nats_cli: NatsCli) -> None:
    """The tool publishes through its own client and reads what it has stored."""
    done = await nats_cli(nats_url, "account", "info")
    assert done.returncode == 0, done.stderr
    assert "JetStream Account Information" in done.stdout


async def test_a_failing_nats_command_returns_its_code(
    embedded_url: str, nats_cli: NatsCli
) -> None:
    done = await nats_cli(embedded_url, "kv", "get", "NO_SUCH_BUCKET", "key")
    assert done.returncode != 0
    assert "bucket not found" in done.stderr
