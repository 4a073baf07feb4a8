"""retry: how much of the handlers' time retries may have."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from caxton_nats.core.pacing import SHARE, Pacing
from tests.core.sample import NOON

SECOND = timedelta(seconds=1)


def test_a_single_retry_keeps_its_delay() -> None:
    """Where there is room, the policy's delay holds to the microsecond."""
    odd = timedelta(seconds=1.234567)
    assert Pacing(16).book(NOON, odd, timedelta(seconds=30)) == odd


def test_what_takes_no_time_is_not_paced() -> None:
    """Handlers that fail at once leave room for everybody."""
    pacing = Pacing(1)
    delays = {pacing.book(NOON, SECOND, timedelta()) for _ in range(1000)}
    assert delays == {SECOND}


def test_a_storm_is_spread() -> None:
    """A hundred attempts of a second each, on four places, take two of these for fifty seconds."""
    pacing = Pacing(4)
    delays = [pacing.book(NOON, SECOND, SECOND) for _ in range(100)]
    assert delays == sorted(delays)
    assert delays[0] == SECOND
    assert timedelta(seconds=49) < delays[-1] < timedelta(seconds=51)


def test_room_comes_back_with_time() -> None:
    """What was booked is over some day."""
    pacing = Pacing(1)
    for _ in range(10):
        pacing.book(NOON, SECOND, SECOND)
    assert pacing.book(NOON, SECOND, SECOND) > timedelta(seconds=20)
    assert pacing.book(NOON + timedelta(seconds=60), SECOND, SECOND) == SECOND


@given(
    st.lists(
        st.tuples(st.floats(0, 30), st.floats(0, 60), st.floats(0, 20)), min_size=1, max_size=60
    ),
    st.integers(1, 20),
)
def test_no_delay_is_shortened(wishes: list[tuple[float, float, float]], places: int) -> None:
    """Whatever was booked before, nothing comes sooner than was wanted."""
    pacing, now = Pacing(places), NOON
    for passed, delay, work in wishes:
        now += timedelta(seconds=passed)
        wanted = timedelta(seconds=delay)
        assert pacing.book(now, wanted, timedelta(seconds=work)) >= wanted


@given(st.integers(1, 8), st.floats(0.01, 3), st.integers(1, 200))
def test_the_share_is_kept(places: int, work: float, number: int) -> None:
    """However many fail at once, their attempts never take more than the share, but for one."""
    pacing = Pacing(places)
    begins = [
        pacing.book(NOON, SECOND, timedelta(seconds=work)).total_seconds() for _ in range(number)
    ]
    for at in begins:
        taken = work * sum(other < at for other in begins)
        # A slot is a quarter of a second, and what is begun in it may be longer.
        assert taken <= places * SHARE * (at - 1 + 0.25) + work + 1e-6
