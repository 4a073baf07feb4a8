"""A server whose users may each do everything but one thing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from caxton_nats.jetstream.embedded import EmbeddedOptions, EmbeddedServer


class Guarded:
    """Addresses of one server, by user."""

    def __init__(self, url: str) -> None:
        self._place = urlsplit(url).netloc

    def url(self, user: str = "") -> str:
        """Return the address for a user; without one, of who may do everything."""
        return f"nats://{user}:secret@{self._place}" if user else f"nats://{self._place}"


@asynccontextmanager
async def guarded(folder: Path, **users: dict[str, Any]) -> AsyncIterator[Guarded]:
    """Run a server with users of these permissions, in nats-server's own words."""
    known = [{"user": "all", "password": "secret"}]
    known += [
        {"user": user, "password": "secret", "permissions": permissions}  # type: ignore[dict-item]
        for user, permissions in users.items()
    ]
    accounts = {"ALL": {"jetstream": "enabled", "users": known}}
    file = folder / "users.conf"
    file.write_text(f'accounts: {json.dumps(accounts)}\nno_auth_user: "all"\n')
    async with EmbeddedServer(EmbeddedOptions(extra=file)) as server:
        yield Guarded(server.url)


def but(right: str, *subjects: str) -> dict[str, Any]:
    """Return the permissions of who may do everything but this."""
    return {right: {"allow": [">"], "deny": list(subjects)}}
