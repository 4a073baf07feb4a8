"""Whether messages are stored one by one or in groups."""

from __future__ import annotations

import pytest

from caxton_nats.core.grouping import LEAST, SLOW, WORTH, Grouping


def told(single: float, grouped: float | None = None) -> Grouping:
    """Return what has been told how long a message takes either way."""
    grouping = Grouping()
    grouping.measured(100, 100 * single, grouped=False)
    if grouped is not None:
        grouping.measured(100, 100 * grouped, grouped=True)
    return grouping


def test_nothing_is_known_at_first() -> None:
    """A few messages are stored one by one, to learn how long that takes."""
    grouping = Grouping()
    assert not grouping.wanted(1000)
    assert 0 < grouping.sample(1000) < 200
    grouping.measured(100, 1.0, grouped=False)
    assert grouping.sample(1000) == 0


@pytest.mark.parametrize(
    ("single", "grouped", "wanted"),
    [
        (SLOW / 2, None, False),
        (SLOW * 2, None, True),
        (SLOW * 2, SLOW, True),
        (SLOW * 2, SLOW * 3, False),
    ],
    ids=["no syncs", "to be tried", "groups are faster", "groups are slower"],
)
def test_the_faster_way(single: float, grouped: float | None, *, wanted: bool) -> None:
    """Groups are tried where messages take long, and kept if they are faster."""
    assert told(single, grouped).wanted(1000) is wanted


def test_a_few_are_no_group() -> None:
    """They would wait for nothing, and say nothing of how long a message takes."""
    grouping = told(SLOW * 10, SLOW)
    assert not grouping.wanted(LEAST - 1)
    grouping.measured(1, 0.0, grouped=False)
    assert grouping.wanted(1000)


def test_what_is_worth_a_group() -> None:
    """Streams with few messages are none, however many there are; places keep their order."""
    few, many = WORTH - 1, WORTH
    streams = ["few"] * few + ["many", "more"] * many
    groups = Grouping().groups(streams)
    assert groups == [
        list(range(few, few + 2 * many, 2)),
        list(range(few + 1, few + 2 * many, 2)),
    ]


def test_the_slower_way_is_tried_again() -> None:
    """Servers change: once in a hundred batches, and not more often."""
    grouping = told(SLOW * 10, SLOW)
    assert [grouping.wanted(1000) for _ in range(300)].count(False) == 3


def test_what_the_server_refuses() -> None:
    """It is not tried again."""
    grouping = told(SLOW * 10)
    grouping.impossible()
    assert not grouping.wanted(1000)
