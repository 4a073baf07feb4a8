"""A command whose user lacks a right says which, at once, and ends with exit code 3."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from caxton_nats import serve, settings
from tests.cli.conftest import Caxton
from tests.plugins.permissions import Guarded, but, guarded

USERS = {
    "api": but("publish", "$JS.API.>"),
    "deaf": but("subscribe", "_INBOX.>"),
    "mail": but("publish", "caxton.mailbox.>"),
    "door": but("publish", "caxton.*.*"),
    "lists": but("publish", "$JS.API.STREAM.LIST", "$JS.API.STREAM.INFO.CAXTON_MAILBOX_0"),
}
SERVICE = ("--router", "service")
REFUSED = [
    ("api", ("agents",), "$JS.API."),
    ("api", ("health",), "$JS.API."),
    ("deaf", ("send", "alice", "inform", "bob"), "_INBOX."),
    ("mail", ("send", "alice", "inform", "bob"), "caxton.mailbox.0.bob"),
    ("door", ("send", "alice", "inform", "bob", *SERVICE), "caxton.send.alice"),
    ("door", ("agents", "register", "carol", *SERVICE), "caxton.register.carol"),
    ("lists", ("messages", "list", "bob"), "$JS.API.STREAM.INFO.CAXTON_MAILBOX_0"),
]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded(tmp_path, **USERS) as server:
        chosen = settings(nats_url=server.url(), shards=1)
        async with serve(chosen, observer=lambda _: None) as platform:
            await platform.registrar.register(platform.agent_id("bob"))
            yield server


@pytest.mark.parametrize(("user", "command", "subject"), REFUSED)
async def test_a_command(
    server: Guarded,
    caxton: Caxton,
    monkeypatch: pytest.MonkeyPatch,
    user: str,
    command: tuple[str, ...],
    subject: str,
) -> None:
    """Long before a request would time out."""
    monkeypatch.setenv("CAXTON_REQUEST_TIMEOUT", "60")
    monkeypatch.setenv("CAXTON_NATS_URL", server.url(user))
    async with asyncio.timeout(15):
        result = await caxton(*command)
    assert subject in result.err + result.out
    assert "the server does not let this user" in result.err + result.out
    assert result.code in (3, 5, 1)
    assert "Traceback" not in result.err
