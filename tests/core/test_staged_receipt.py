"""How far a message is, whoever says what in which order."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from typing import Any

import msgspec
import pytest

from caxton_nats.core.dead_letter import Origin
from caxton_nats.core.identifiers import MessageId
from caxton_nats.core.staged_receipt import ReceiptStage, StagedReceipt, advance
from tests.core.sample import ALICE, BOB, NOON

ACCEPTED, OFFERED, HANDLED, FAILED = ReceiptStage


def step(stage: ReceiptStage, attempt: int = 0, *, second: int = 0, **more: Any) -> StagedReceipt:
    return StagedReceipt(
        message_id=MessageId("m-1"),
        sender=ALICE,
        receiver=BOB,
        stage=stage,
        times={stage: NOON + timedelta(seconds=second)},
        attempt=attempt,
        **{"origin": Origin("S", 1), **more},
    )


def after(*steps: StagedReceipt) -> StagedReceipt:
    record = None
    for one in steps:
        record = advance(record, one)
    assert record is not None
    return record


def test_the_stages() -> None:
    """The four that a sender may ask for."""
    assert [str(one) for one in ReceiptStage] == ["accepted", "offered", "handled", "failed"]


def test_from_the_first_to_the_last() -> None:
    """Each stage keeps its time; the attempt is that of the last one."""
    record = after(step(ACCEPTED), step(OFFERED, 1, second=1), step(HANDLED, 1, second=2))
    assert (record.stage, record.attempt, record.is_final) == (HANDLED, 1, True)
    times = [moment - NOON for moment in record.times.values()]
    assert times == [timedelta(seconds=second) for second in (0, 1, 2)]


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("last", [HANDLED, FAILED])
def test_steps_may_overtake_each_other(order: tuple[int, ...], last: ReceiptStage) -> None:
    """In whatever order they are written down, the record is the same, and never set back."""
    steps = [step(ACCEPTED), step(OFFERED, 1, second=1), step(last, 1, second=2)]
    record = after(*(steps[at] for at in order))
    assert (record.stage, record.attempt) == (last, 1)
    assert record.times == after(*steps).times


def test_further_attempts() -> None:
    """A retry is offered again, under its number and time; an earlier one that comes late is not."""
    record = after(step(ACCEPTED), step(OFFERED, 1, second=1), step(OFFERED, 2, second=5))
    assert (record.stage, record.attempt) == (OFFERED, 2)
    assert record.times[OFFERED] == NOON + timedelta(seconds=5)
    assert advance(record, step(OFFERED, 1, second=1)) is record


def test_the_same_again_changes_nothing() -> None:
    """The very same record: there is nothing to write."""
    for steps in ([step(ACCEPTED)], [step(ACCEPTED), step(OFFERED, 1), step(FAILED, 1)]):
        record = after(*steps)
        for one in steps:
            assert advance(record, one) is record


def test_the_first_end_counts() -> None:
    """Handled, and buried after a crash before its settling: it was handled."""
    record = after(step(HANDLED, 1), step(FAILED, 2, error={"code": "AgentNotResponding"}))
    assert (record.stage, record.error) == (HANDLED, {})


def test_a_failure_says_why() -> None:
    """With the error and the id of the dead letter."""
    record = after(step(OFFERED, 1), step(FAILED, 1, error={"code": "Expired"}, dead_letter="S-1"))
    assert (record.error["code"], record.dead_letter) == ("Expired", "S-1")


def test_a_redriven_message_begins_anew() -> None:
    """Stored a second time, it is accepted again; what is said of the first copy counts no more."""
    again = Origin("S", 9)
    record = after(step(FAILED, 4, error={"code": "x"}), step(ACCEPTED, origin=again))
    assert (record.stage, record.attempt, record.error) == (ACCEPTED, 0, {})
    assert advance(record, step(FAILED, 4)) is record
    assert advance(record, step(HANDLED, 1, origin=again)).stage is HANDLED


def test_has_reached() -> None:
    """A stage includes those before it; failed is an end of its own."""
    handled, failed = after(step(HANDLED, 1)), after(step(OFFERED, 1), step(FAILED, 1))
    assert [handled.has_reached(stage) for stage in ReceiptStage] == [True, True, True, False]
    assert [failed.has_reached(stage) for stage in ReceiptStage] == [False, True, False, True]
    accepted = after(step(ACCEPTED))
    assert [accepted.has_reached(stage) for stage in ReceiptStage] == [True, False, False, False]


def test_record_as_json() -> None:
    """What `nats kv get` shows is readable, and read back the same."""
    record = after(step(ACCEPTED), step(OFFERED, 1, second=1))
    data = msgspec.json.encode(record)
    assert b'"stage":"offered"' in data
    assert b'"accepted":"2026-05-01T12:00:00Z"' in data
    assert msgspec.json.decode(data, type=StagedReceipt) == record
