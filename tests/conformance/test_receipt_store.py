"""What every `ReceiptStore` promises."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.errors import RevisionConflict
from caxton_nats.core.identifiers import AgentId, MessageId
from caxton_nats.core.staged_receipt import ReceiptStage, StagedReceipt
from tests.conformance.adapters import Adapter, named

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
ALICE, BOB = named("alice"), named("bob")
M1 = MessageId("m-1")


def record(**fields: Any) -> StagedReceipt:
    made = StagedReceipt(
        message_id=M1,
        sender=ALICE,
        receiver=BOB,
        stage=ReceiptStage.OFFERED,
        times={ReceiptStage.ACCEPTED: NOON, ReceiptStage.OFFERED: NOON},
        attempt=1,
        error={"code": "x", "limit": 1},
        origin=Origin("CAXTON_MAILBOX_0", 7),
    )
    return msgspec.structs.replace(made, **fields)


async def test_save_and_load(adapter: Adapter) -> None:
    """What was saved is loaded whole, under the revision that `save` returned; before, nothing."""
    assert await adapter.receipts.load(ALICE, M1, BOB) is None
    revision = await adapter.receipts.save(record(), revision=None)
    assert await adapter.receipts.load(ALICE, M1, BOB) == (record(), revision)


async def test_one_of_two_writers_wins(adapter: Adapter) -> None:
    """The other one learns of it, at the first write as at any later one."""
    first = await adapter.receipts.save(record(), revision=None)
    with pytest.raises(RevisionConflict):
        await adapter.receipts.save(record(), revision=None)
    await adapter.receipts.save(record(attempt=2), revision=first)
    with pytest.raises(RevisionConflict):
        await adapter.receipts.save(record(attempt=3), revision=first)
    loaded = await adapter.receipts.load(ALICE, M1, BOB)
    assert loaded is not None
    assert loaded[0].attempt == 2


async def test_all_receivers_of_a_message(adapter: Adapter) -> None:
    """Those of one message of one sender, by name; of anything else, nothing."""
    records = [record(receiver=named(name)) for name in ("carol", "bob", "a.b", "ä")]
    others = [record(message_id=MessageId("m-2")), record(sender=named("m-1"))]
    for one in (*records, *others):
        await adapter.receipts.save(one, revision=None)
    found = await adapter.receipts.list(ALICE, M1)
    assert found == sorted(records, key=lambda one: one.receiver)
    assert await adapter.receipts.list(ALICE, MessageId("m-3")) == []
    assert await adapter.receipts.list(BOB, M1) == []


@pytest.mark.parametrize("odd", ["a.b", "*", ">", "a.>", "$JS", "x" * 128, "=", "a=2Eb", "~!/"])
async def test_awkward_ids(adapter: Adapter, odd: str) -> None:
    """Every id and name that is allowed has records of its own: a wildcard finds nothing else."""
    await adapter.receipts.save(record(), revision=None)
    one = record(message_id=MessageId(odd), receiver=named(odd))
    await adapter.receipts.save(one, revision=None)
    assert await adapter.receipts.list(ALICE, MessageId(odd)) == [one]
    assert await adapter.receipts.list(named(odd), M1) == []


async def test_agents_of_other_platforms(adapter: Adapter) -> None:
    """Alice of this platform and alice of another are two senders."""
    there = AgentId("alice@there")
    await adapter.receipts.save(record(sender=there), revision=None)
    assert await adapter.receipts.list(ALICE, M1) == []
    assert await adapter.receipts.list(there, M1) == [record(sender=there)]


async def test_names_as_long_as_they_can_be(adapter: Adapter) -> None:
    """Sender, receiver and message id at their limits fit into what a server takes."""
    long, other = named("世" * 255), named("世" * 254 + "界")
    one = record(sender=long, receiver=other, message_id=MessageId("~" * 128))
    await adapter.receipts.save(one, revision=None)
    assert await adapter.receipts.list(long, one.message_id) == [one]
    assert await adapter.receipts.list(other, one.message_id) == []
