"""The lines to copy that `caxton up` prints: each block works alone, as it is."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import msgspec

from caxton_nats.core.registry import Address


class Block(msgspec.Struct, frozen=True):
    """Something to copy into a shell."""

    title: str
    commands: tuple[str, ...]


def blocks(url: str, mailbox: Address) -> list[Block]:
    """Return what to try first against a server.

    Args:
        url: the server; a password in it is not printed again, ``$CAXTON_NATS_URL`` is.
        mailbox: where bob's mail lies.
    """
    server = '"$CAXTON_NATS_URL"' if "@" in url else shlex.quote(url)
    nats = f"nats --server {server}"
    message = '{"performative": "inform", "receiver": "bob", "content": "hello"}'
    return [
        Block(
            "with the nats command line tool: register bob, write to him, read his mailbox",
            (
                f"{nats} req caxton.register.bob ''",
                f"{nats} req caxton.send.alice '{message}'",
                f"{nats} consumer next {mailbox.stream} {mailbox.consumer}",
            ),
        ),
        Block("with Python: an agent that answers, and one that asks", (_python(url),)),
        Block(
            "with caxton: write to bob, and look",
            (
                f"{_caxton()} agents register bob --nats-url {server}",
                f"{_caxton()} send alice inform bob --text hello --nats-url {server}",
                f"{_caxton()} stats --nats-url {server}",
            ),
        ),
    ]


def _python(url: str) -> str:
    # Settings find $CAXTON_NATS_URL by themselves.
    where = "" if "@" in url else f"settings(nats_url={url!r})"
    return f"""{_command("python", sys.executable)} - <<'EOF'
import asyncio
from caxton_nats import Agent, connect, settings, started

echo, ann = Agent("echo"), Agent("ann")

@echo.on("request")
async def shout(ctx):
    await ctx.inform(ctx.content.upper())

async def main():
    async with connect({where}) as platform, started(platform, echo, ann):
        print((await ann.request("echo", "hello")).content)

asyncio.run(main())
EOF"""


def _caxton() -> str:
    """Return how this very program is called from a shell."""
    beside = str(Path(sys.executable).parent / "caxton")
    if Path(beside).exists():
        return _command("caxton", beside)
    return f"{_command('python', sys.executable)} -m caxton_nats"


def _command(name: str, path: str) -> str:
    """Return the bare name if a shell finds the same program by it, else the path."""
    found = shutil.which(name)
    return name if found is not None and Path(found) == Path(path) else shlex.quote(path)
