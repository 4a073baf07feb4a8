"""``caxton receipts``: how far a message is with each of its receivers."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import msgspec
import typer

from caxton_nats.cli.exits import Exit, of_batch
from caxton_nats.cli.options import AsJson, NatsUrl, RouterChoice, connected, work
from caxton_nats.cli.output import NotFound, show, table
from caxton_nats.core.identifiers import check_message_id
from caxton_nats.core.staged_receipt import ReceiptStage, StagedReceipt
from caxton_nats.engine.receipts import wait_for


def receipts(  # noqa: PLR0913 - one parameter per option
    sender: Annotated[str, typer.Argument(metavar="SENDER", help="Who sent it.")],
    message_id: Annotated[str, typer.Argument(metavar="MESSAGE_ID")],
    *,
    until: Annotated[
        ReceiptStage | None,
        typer.Option("--until", help="Wait until it is as far as this, or can go no further."),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, help="Seconds to wait with --until.")
    ] = 30.0,
    router: RouterChoice = None,
    nats_url: NatsUrl = None,
    as_json: AsJson = False,
) -> int:
    """Show how far a message is that was sent with --require-receipt."""

    async def shown() -> int:
        async with connected(nats_url, router) as platform:
            whose, wanted = platform.agent_id(sender), check_message_id(message_id)
            if until is None:
                found = await platform.door.receipts(whose, wanted)
            else:
                wait = timedelta(seconds=timeout)
                clock = platform.ports.clock
                found = await wait_for(platform.door, clock, whose, wanted, stage=until, wait=wait)
        if not found:
            raise NotFound(
                "nothing is on record for this message of this sender",
                field="message_id",
                value=message_id,
                hint="was it sent with --require-receipt, in the last seven days?",
            )
        rows = [
            (one.receiver, one.stage, one.times[one.stage], one.attempt, _why(one)) for one in found
        ]
        show(
            {"receipts": [_document(one) for one in found]},
            table("receiver", "stage", "since", "attempt", "why", rows=rows, right=("attempt",)),
            as_json=as_json,
        )
        failed = sum(one.stage is ReceiptStage.FAILED for one in found)
        return of_batch(len(found) - failed, failed) if until is not None else Exit.OK

    return work(shown())


def _why(one: StagedReceipt) -> str:
    return f"{one.error.get('reason', '')} (dead letter {one.dead_letter})" if one.error else ""


def _document(one: StagedReceipt) -> dict[str, object]:
    """Return every field: a record leaves out those that have their default."""
    names = one.__struct_fields__
    return {name: msgspec.to_builtins(getattr(one, name), str_keys=True) for name in names}
