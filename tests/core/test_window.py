"""How many deliveries a mailbox has in hand."""

from __future__ import annotations

from datetime import timedelta

from caxton_nats.core.window import LEAST, MANY_BYTES, Window
from tests.core.sample import NOON


def at_work(window: Window, rate: int, seconds: float = 1.0) -> None:
    """Settle so many in a second, in small portions."""
    for step in range(int(seconds * 100)):
        window.settled(rate // 100, NOON + timedelta(seconds=step / 100))


def test_it_goes_by_what_is_settled() -> None:
    """A tenth of a second of work, a floor for slow handlers, a bound for fast ones."""
    sizes = []
    for rate in (0, 100, 2_000, 100_000):
        window = Window(512)
        window.came(100)
        for _ in range(200):
            window.came(100)
        at_work(window, rate)
        sizes.append(window.size)
    assert sizes[:2] == [LEAST, LEAST]
    assert 190 <= sizes[2] <= 250
    assert sizes[3] == 512


def test_it_begins_and_ends_small() -> None:
    """Nothing is known at first; and what was fast may become slow."""
    window = Window(512)
    assert window.size == LEAST
    for _ in range(200):
        window.came(100)
    at_work(window, 100_000)
    window.settled(1, NOON + timedelta(seconds=10))
    assert window.size == LEAST


def test_large_messages() -> None:
    """They are bounded by their bytes, as soon as one of them has come; small ones free it again."""
    window = Window(512)
    for _ in range(200):
        window.came(100)
    at_work(window, 100_000)
    window.came(1_000_000)
    assert window.size == LEAST
    window.came(MANY_BYTES // 200)
    for _ in range(30):
        window.came(MANY_BYTES // 200)
    assert 190 <= window.size <= 200


def test_a_small_bound_holds() -> None:
    """What a deployment asks for is never exceeded."""
    assert Window(3).size == 3
