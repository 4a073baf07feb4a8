"""``caxton protocols``: FIPA's interaction protocols as caxton knows them. Needs no server."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from caxton_nats.cli.exits import Exit
from caxton_nats.cli.options import AsJson, noun
from caxton_nats.cli.output import show, table
from caxton_nats.core.diagram import mermaid
from caxton_nats.core.errors import InvalidEnvelope
from caxton_nats.core.interaction import MACHINES, Machine, machine_of

protocols = noun("Interaction protocols: which act may follow which.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="As fipa-contract-net.")]


@protocols.command("list", epilog="Example: caxton protocols")
def list_protocols(*, as_json: AsJson = False) -> int:
    """List the protocols whose order of acts is watched over."""
    tables = [machine.protocol for machine in MACHINES.values()]
    rows = [(one.name, one.specification, sorted(one.final)) for one in tables]
    document = [{"name": one.name, "specification": one.specification} for one in tables]
    titles = ("protocol", "specification", "ends")
    show({"protocols": document}, table(*titles, rows=rows), as_json=as_json)
    return Exit.OK


@protocols.command("show", epilog="Example: caxton protocols show fipa-request")
def show_protocol(
    name: Name,
    *,
    diagram: Annotated[
        bool, typer.Option("--mermaid", help="Print a state diagram in Mermaid's language.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Show a protocol's table: state, act, who sends it, and the state after it."""
    found = _machine(name)
    if diagram:
        typer.echo(mermaid(found))
        return Exit.OK
    rows = [(row.state, row.act, row.role, row.guard, row.next) for row in found.protocol.rows]
    document = {
        "name": found.protocol.name,
        "specification": found.protocol.specification,
        "final": sorted(found.final),
        "rows": [msgspec.to_builtins(row._asdict()) for row in found.rows],
    }
    show(document, table("state", "act", "from", "which", "next", rows=rows), as_json=as_json)
    return Exit.OK


def _machine(name: str) -> Machine:
    found = machine_of(name)
    if found is None:
        raise InvalidEnvelope(
            "is no interaction protocol that caxton knows",
            field="protocol",
            value=ascii(name[:60]),
            hint="one of: " + ", ".join(MACHINES),
        )
    return found
