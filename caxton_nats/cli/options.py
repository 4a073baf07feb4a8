"""Options that several commands share, and what every command does around its work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from caxton_nats import app
from caxton_nats.config import Settings
from caxton_nats.engine.platform import Platform
from caxton_nats.telemetry import Event

# The variables are read with all the others, so that `caxton config show` tells them from options.
NatsUrl = Annotated[
    str | None,
    typer.Option(
        "--nats-url",
        metavar="URL",
        show_default="$CAXTON_NATS_URL, or nats://127.0.0.1:4222",
        help="The NATS server; several with commas.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
_config: ContextVar[Path | None] = ContextVar("config", default=None)
RouterKind = Literal["embedded", "service"]
RouterChoice = Annotated[
    RouterKind | None,
    typer.Option(
        "--router",
        show_default="$CAXTON_ROUTER, or embedded",
        help="Route in this process, or ask the router service.",
    ),
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="Show this many at most.")]


class ListByDefault(TyperGroup):
    """A noun without a verb lists: ``caxton agents --json`` is ``caxton agents list --json``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``list`` in front unless a command or help is asked for."""
        wants_help = bool(args) and args[0] in ctx.help_option_names
        if not args or (args[0].startswith("-") and not wants_help):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def noun(text: str) -> typer.Typer:
    """Return the group of a noun's commands; ``list`` is its default."""
    return typer.Typer(cls=ListByDefault, help=f"{text} Without a command: list.")


def common(
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="PATH", show_default="$CAXTON_CONFIG", help="TOML file of settings."
        ),
    ] = None,
) -> None:
    """Take what comes before the command."""
    _config.set(config)


def settings(**chosen: object) -> Settings:
    """Return the settings of a command: its options first."""
    return configuration(**chosen).settings


def configuration(**chosen: object) -> app.Configuration:
    """Return the settings of a command, and where each comes from."""
    return app.configuration(config=_config.get(), **chosen)


def work(coroutine: Coroutine[Any, Any, int]) -> int:
    """Run a command's work and return its exit code."""
    return asyncio.run(coroutine)


@asynccontextmanager
async def connected(nats_url: str | None, router: str | None = None) -> AsyncIterator[Platform]:
    """Connect for one command; what becomes of its message is its result, not a log line."""
    chosen = settings(nats_url=nats_url, router=router)
    async with app.connect(
        chosen, name="caxton cli", observer=_unobserved, create=False
    ) as platform:
        yield platform


def _unobserved(_: Event) -> None:
    pass
