"""Which dead letters an operator means."""

from __future__ import annotations

from datetime import timedelta

import pytest

from caxton_nats.core.dead_letter import Stage
from caxton_nats.core.failure import FailureReason
from caxton_nats.core.selection import EVERY, Selection
from tests.core.sample import ALICE, BOB, NOON
from tests.core.test_dead_letter import dead

SECOND = timedelta(seconds=1)
LETTER = dead(sender=ALICE, conversation_id="c")


@pytest.mark.parametrize(
    ("fits", "other"),
    [
        (Selection(agent=BOB), Selection(agent=ALICE)),
        (Selection(sender=ALICE), Selection(sender=BOB)),
        (Selection(reason=LETTER.reason), Selection(reason=FailureReason.QUEUE_FULL)),
        (Selection(stage=Stage.DELIVER), Selection(stage=Stage.ROUTE)),
        (Selection(conversation_id="c"), Selection(conversation_id="")),
        (Selection(died_before=NOON + SECOND), Selection(died_before=NOON)),
        (Selection(died_after=NOON - SECOND), Selection(died_after=NOON)),
        (Selection(agent=BOB, sender=ALICE), Selection(agent=BOB, sender=BOB)),
    ],
)
def test_each_condition(fits: Selection, other: Selection) -> None:
    """Every condition must hold."""
    assert EVERY.has(LETTER)
    assert fits.has(LETTER)
    assert not other.has(LETTER)
