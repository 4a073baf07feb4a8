"""``caxton up`` and ``caxton router``: a platform in one foreground command."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from caxton_nats import app
from caxton_nats.cli import durability
from caxton_nats.cli.exits import Exit
from caxton_nats.cli.first_steps import blocks
from caxton_nats.cli.options import AsJson, NatsUrl, settings, work
from caxton_nats.cli.output import say, show, visible, warn
from caxton_nats.cli.topology import options_for
from caxton_nats.config import Settings
from caxton_nats.core.errors import ConfigurationError, NotConnected
from caxton_nats.engine.platform import Platform
from caxton_nats.jetstream import topology as streams
from caxton_nats.jetstream.addresses import without_password
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.embedded import EmbeddedOptions, EmbeddedServer
from caxton_nats.jetstream.upkeep import kept_up

DEFAULT_PORT = 4222

PlatformName = Annotated[
    str | None, typer.Option("--platform", help="Name of the platform, if it is a new one.")
]
Shards = Annotated[
    int | None,
    typer.Option("--shards", min=1, max=1024, help="Mailbox streams, if the platform is new."),
]


def up(  # noqa: PLR0913 - one parameter per option
    *,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=0, max=65_535, show_default=str(DEFAULT_PORT), help="0: any free one."
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option("--store", show_default=".caxton", help="Folder for the streams."),
    ] = None,
    mode: Annotated[
        durability.Mode | None,
        typer.Option(
            "--durability", show_default="power", help="What acknowledged messages survive."
        ),
    ] = None,
    domain: Annotated[
        str | None,
        typer.Option("--domain", help="JetStream domain, for links to other platforms."),
    ] = None,
    server_config: Annotated[
        Path | None,
        typer.Option("--server-config", help="More of nats-server's own configuration."),
    ] = None,
    platform: PlatformName = None,
    shards: Shards = None,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """Run a NATS server and a router in the foreground. Ctrl-C drains and ends them.

    With --nats-url the router works on a server that runs already.
    """
    # Settings are read before anything is started.
    folder = str(store) if store else None
    chosen = settings(nats_url=nats_url, store=folder, platform=platform, shards=shards)
    if "nats_url" in chosen.model_fields_set:
        if any(one is not None for one in (port, store, mode, domain, server_config)):
            raise typer.BadParameter(
                "--port, --store, --durability, --domain and --server-config are for a server of"
                " its own, but --nats-url, CAXTON_NATS_URL or the file of settings names one that"
                " runs already"
            )
        return work(_on_running_server(chosen, "caxton is up", first_steps=True, as_json=as_json))
    kind: durability.Mode = mode or "power"
    options = EmbeddedOptions(
        port=DEFAULT_PORT if port is None else port,
        store=Path(chosen.store),
        durability=kind,
        server_name=durability.server_name(kind),
        domain=domain or "",
        extra=server_config,
    )

    async def embedded() -> int:
        stop = Stop()
        async with EmbeddedServer(options) as server:
            there = chosen.model_copy(update={"nats_url": server.url})
            async with kept_up(server), _serving(there, stop) as (running, about):
                about["store"] = str(server.folder.path)
                if about["durability"]["source"] == "server name":
                    about["durability"]["source"] = "its own"
                _announce("caxton is up", running, about, first_steps=True, as_json=as_json)
                await _until_stopped(stop, server)
                _say_draining(as_json=as_json)
        if not as_json:
            say("stopped")
        return Exit.OK

    return work(embedded())


def router(
    *,
    platform: PlatformName = None,
    shards: Shards = None,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """Run the router service alone, on a server that runs already. Several share the work."""
    chosen = settings(nats_url=nats_url, platform=platform, shards=shards)
    return work(_on_running_server(chosen, "the router is up", first_steps=False, as_json=as_json))


class Stop:
    """Ctrl-C and SIGTERM: drain when it serves; give up while it starts, or the second time."""

    def __init__(self) -> None:
        self.serving = False
        self.asked = asyncio.Event()
        self._task = asyncio.current_task()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        if self.serving and not self.asked.is_set():
            self.asked.set()
        elif self._task is not None:
            self._task.cancel()


async def _on_running_server(
    chosen: Settings, headline: str, *, first_steps: bool, as_json: bool
) -> int:
    stop = Stop()
    async with _serving(chosen, stop) as (running, about):
        _announce(headline, running, about, first_steps=first_steps, as_json=as_json)
        await _until_stopped(stop, None)
        _say_draining(as_json=as_json)
    if not as_json:
        say("stopped")
    return Exit.OK


@asynccontextmanager
async def _serving(chosen: Settings, stop: Stop) -> AsyncIterator[tuple[Platform, dict[str, Any]]]:
    about = await _prepare(chosen)
    async with app.serve(chosen) as running:
        stop.serving = True
        yield running, about


async def _prepare(chosen: Settings) -> dict[str, Any]:
    """Look at the server before serving on it, and return what is worth telling of it."""
    async with app.operate(chosen) as (connection, settings):
        deployment = await streams.discover(connection)
        if deployment is None:
            await streams.apply(connection, app.topology_options(settings))
        else:
            _refuse_other("platform", deployment.platform, settings)
            _refuse_other("shards", deployment.shards, settings)
            await _complete(connection, await options_for(connection, settings))
        return {
            "url": without_password(settings.nats_url),
            "nats_url": settings.nats_url,
            "server_version": connection.server_version,
            "durability": await durability.describe(connection),
        }


def _refuse_other(name: str, has: str | int, settings: Settings) -> None:
    wanted = getattr(settings, name)
    if name in settings.model_fields_set and wanted != has:
        raise ConfigurationError(
            "the deployment on this server was made with another value, and keeps it",
            field=name,
            limit=has,
            value=wanted,
            hint=f"leave --{name} out, or start on another server or store",
        )


async def _complete(connection: Connection, options: streams.Options) -> None:
    """Make what is missing: lost, or new in this version. What was only changed is left so."""
    found = await streams.inspect(connection, options)
    names = ", ".join(one.stream for one in found)
    if any(one.kind != "changed" for one in found):
        await streams.apply(connection, options)
        warn(f"note: brought to what the files say: {names}")
    elif found:
        warn(f"note: not as the files say: {names}; see `caxton topology diff`")


def _announce(
    headline: str, running: Platform, about: dict[str, Any], *, first_steps: bool, as_json: bool
) -> None:
    server = f"nats-server {about['server_version']}"
    lines = [f"{headline}: {about['url']} (platform {running.name}, {server})"]
    if "store" in about:
        lines.append(f"store: {about['store']}")
    lines.append(f"durability: {visible(durability.sentence(about['durability']))}")
    if first_steps:
        lines += ["", "Copy and paste, in another terminal:"]
        if "@" in about["nats_url"]:
            lines.append("(where CAXTON_NATS_URL is the address with its password)")
        mailbox = running.ports.mailboxes.address(running.agent_id("bob"))
        for block in blocks(about["nats_url"], mailbox):
            lines += ["", f"# {block.title}", *block.commands]
    lines += ["", "Ctrl-C ends it, after the requests that are in have been answered."]
    document = {
        "url": about["url"],
        "platform": running.name,
        "server_version": about["server_version"],
        "store": about.get("store"),
        "durability": about["durability"],
    }
    show(document, *lines, as_json=as_json)


def _say_draining(*, as_json: bool) -> None:
    if not as_json:
        say("stopping: requests that are in are being answered, no new ones are taken")


async def _until_stopped(stop: Stop, server: EmbeddedServer | None) -> None:
    """Wait for a signal, or for the end of a server of our own, which nobody asked for."""
    waits: set[asyncio.Task[Any]] = {asyncio.create_task(stop.asked.wait())}
    if server is not None:
        waits.add(asyncio.create_task(server.ended()))
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    if server is not None and not stop.asked.is_set():
        raise NotConnected(
            f"the embedded nats-server ended by itself; its last words:\n{server.log_tail()}\n",
            field="nats-server",
            hint="what was acknowledged is in the store: start again",
        )
