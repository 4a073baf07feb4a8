"""``caxton topology``: the streams on a server against the files in streams/."""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec
import typer

from caxton_nats import app
from caxton_nats.cli import durability
from caxton_nats.cli.exits import Exit
from caxton_nats.cli.options import AsJson, NatsUrl, settings, work
from caxton_nats.cli.output import show, table
from caxton_nats.config import Settings
from caxton_nats.jetstream import topology as streams
from caxton_nats.jetstream.connection import Connection
from caxton_nats.jetstream.topology import Difference, Options

topology = typer.Typer(help="The streams on a server, against the files in streams/.")

Platform = Annotated[str | None, typer.Option("--platform", help="Name of the platform.")]
Shards = Annotated[
    int | None, typer.Option("--shards", min=1, max=1024, help="Mailbox streams; fixed for good.")
]
QueueSize = Annotated[
    int | None,
    typer.Option("--queue-size", min=1, max=100_000, help="Messages one mailbox holds at most."),
]
Replicas = Annotated[
    int | None, typer.Option("--replicas", min=1, max=5, help="Copies of each stream.")
]


@topology.command(epilog="Example: caxton topology apply --queue-size 5000")
def apply(
    *,
    platform: Platform = None,
    shards: Shards = None,
    queue_size: QueueSize = None,
    replicas: Replicas = None,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """Make the server as the files say. Nothing is deleted."""
    chosen = _chosen(nats_url, platform, shards, queue_size, replicas)

    async def applied() -> int:
        async with app.operate(chosen) as (connection, settings):
            options = await options_for(connection, settings)
            done = await streams.apply(connection, options)
        rows = [
            (one.stream, "created" if one.kind == "missing" else "changed", ", ".join(one.changes))
            for one in done
        ]
        show(
            {
                "platform": options.platform,
                "created": [one.stream for one in done if one.kind == "missing"],
                "changed": [_document(one) for one in done if one.kind == "changed"],
            },
            table("stream", "done", "keys", rows=rows, empty="nothing to do"),
            as_json=as_json,
        )
        return Exit.OK

    return work(applied())


@topology.command(epilog="Example: caxton topology diff --queue-size 5000")
def diff(
    *,
    platform: Platform = None,
    shards: Shards = None,
    queue_size: QueueSize = None,
    replicas: Replicas = None,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """Show what differs, key by key, and change nothing."""
    chosen = _chosen(nats_url, platform, shards, queue_size, replicas)

    async def compared() -> int:
        async with app.operate(chosen) as (connection, settings):
            found = await streams.inspect(connection, await options_for(connection, settings))
        _show_differences(found, {}, as_json=as_json)
        return Exit.OK

    return work(compared())


@topology.command(epilog="Example: caxton topology check --monitoring-url http://127.0.0.1:8222")
def check(  # noqa: PLR0913 - one parameter per option
    *,
    monitoring_url: Annotated[
        str | None,
        typer.Option(
            "--monitoring-url", metavar="URL", help="HTTP monitoring: tells the durability."
        ),
    ] = None,
    platform: Platform = None,
    shards: Shards = None,
    queue_size: QueueSize = None,
    replicas: Replicas = None,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """Exit with 6 if anything differs, and tell what acknowledged messages survive."""
    chosen = _chosen(nats_url, platform, shards, queue_size, replicas)

    async def checked() -> int:
        async with app.operate(chosen) as (connection, settings):
            found = await streams.inspect(connection, await options_for(connection, settings))
            lasting: dict[str, Any] | None = None
            if await streams.discover(connection) is not None:
                lasting = await durability.describe(connection, monitoring_url)
            version = connection.server_version
        more = {"ok": not found, "server_version": version, "durability": lasting}
        _show_differences(found, more, as_json=as_json)
        return Exit.DIFFERS if found else Exit.OK

    return work(checked())


async def options_for(connection: Connection, settings: Settings) -> Options:
    """Return what was chosen, laid over what the deployment on this server has already."""
    chosen = app.topology_options(settings)
    had = await streams.agreed(connection)
    if had is None:
        return chosen
    given = settings.model_fields_set & set(Options.__struct_fields__)
    return msgspec.structs.replace(had, **{name: getattr(chosen, name) for name in given})


def _chosen(
    nats_url: str | None,
    platform: str | None,
    shards: int | None,
    queue_size: int | None,
    replicas: int | None,
) -> Settings:
    return settings(
        nats_url=nats_url,
        platform=platform,
        shards=shards,
        queue_size=queue_size,
        replicas=replicas,
    )


def _show_differences(found: list[Difference], more: dict[str, Any], *, as_json: bool) -> None:
    rows: list[tuple[str, str, str, str, str]] = []
    for one in found:
        if not one.changes:
            rows.append((one.stream, one.kind, "", "", ""))
        for key, (had, wanted) in one.changes.items():
            rows.append((one.stream, one.kind, key, json.dumps(had), json.dumps(wanted)))
    lines: list[Any] = ["no differences: the server is as the files say"]
    if rows:
        lines = [table("stream", "difference", "key", "server", "files", rows=rows)]
    if any(one.kind == "foreign" for one in found):
        lines.append("foreign: not made by caxton, and never changed by it")
    if "server_version" in more:
        lines.append(f"server: nats-server {more['server_version']}")
    if more.get("durability"):
        lines.append(f"durability: {durability.sentence(more['durability'])}")
    document = {**more, "differences": [_document(one) for one in found]}
    show(document, *lines, as_json=as_json)


def _document(difference: Difference) -> dict[str, Any]:
    changes = {
        key: {"server": had, "files": wanted} for key, (had, wanted) in difference.changes.items()
    }
    return {"stream": difference.stream, "kind": difference.kind, "changes": changes}
