"""``caxton config``: the settings of a process, and where each of them comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from caxton_nats.app import Configuration
from caxton_nats.cli.exits import Exit
from caxton_nats.cli.options import AsJson, NatsUrl, RouterChoice, configuration
from caxton_nats.cli.output import show as print_out
from caxton_nats.cli.output import table
from caxton_nats.config import Preset
from caxton_nats.jetstream.addresses import without_password

config = typer.Typer(help="The settings of a process, and where each of them comes from.")


@config.callback()
def noun() -> None:
    """The settings of a process, and where each of them comes from."""


@config.command(epilog="Example: caxton config show --preset production")
def show(
    *,
    preset: Annotated[
        Preset | None, typer.Option("--preset", help="As if this one were chosen.")
    ] = None,
    router: RouterChoice = None,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """Show each setting: its value, and which source has decided it. No server is needed."""
    found = configuration(preset=preset, router=router, nats_url=nats_url)
    values = shown(found)
    rows = [
        (
            name,
            "-" if one["value"] is None else one["value"],
            f"{one['source']} {one['where']}".strip(),
        )
        for name, one in values.items()
    ]
    print_out(
        {"file": str(found.file) if found.file else None, "settings": values},
        table("setting", "value", "from", rows=rows),
        as_json=as_json,
    )
    return Exit.OK


def shown(found: Configuration) -> dict[str, dict[str, object]]:
    """Return each setting as it is shown: value, source, and where in the source."""
    values = found.settings.model_dump()
    values["nats_url"] = without_password(found.settings.nats_url)
    kinds = {"code": "command line"}
    return {
        name: {
            "value": value,
            "source": kinds.get(found.sources[name].kind, found.sources[name].kind),
            "where": found.sources[name].where,
        }
        for name, value in values.items()
    }
