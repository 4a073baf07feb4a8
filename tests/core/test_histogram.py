"""The histogram: how far a quantile may be off, and that adding up loses nothing."""

from __future__ import annotations

from math import ceil

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_nats.core.histogram import LARGEST, Histogram, Latency, added, latency

DURATIONS = st.lists(st.integers(0, LARGEST), min_size=1, max_size=200)


def of(*durations: int) -> Histogram:
    histogram = Histogram()
    for duration in durations:
        histogram.record(duration)
    return histogram


@given(DURATIONS, st.floats(0, 1))
def test_quantiles_are_within_the_stated_bound(durations: list[int], share: float) -> None:
    """At most 1/32 away from the duration of that rank, and exact below 32 µs."""
    exact = sorted(durations)[max(0, ceil(share * len(durations)) - 1)]
    found = of(*durations).quantile(share)
    assert abs(found - exact) <= exact / 32
    assert exact >= 32 or found == exact


@given(DURATIONS, DURATIONS)
def test_adding_is_exact(some: list[int], others: list[int]) -> None:
    """Two histograms added are the histogram of all durations."""
    assert added(of(*some), of(*others)) == of(*some, *others)


@given(DURATIONS)
def test_it_travels_as_json(durations: list[int]) -> None:
    """What another process reads is what was recorded."""
    histogram = of(*durations)
    assert msgspec.json.decode(msgspec.json.encode(histogram), type=Histogram) == histogram


def test_nothing_measured() -> None:
    """Without durations everything is 0."""
    assert latency(Histogram()) == Latency()


def test_summary() -> None:
    """A thousand durations of 1..1000 µs have the quantiles that one expects."""
    found = latency(of(*range(1, 1001)))
    assert (found.count, found.mean) == (1000, 500.5)
    for quantile, exact in (
        (found.p50, 500),
        (found.p90, 900),
        (found.p99, 990),
        (found.p999, 999),
    ):
        assert quantile == pytest.approx(exact, rel=1 / 32)


def test_a_batch_counts_as_its_messages() -> None:
    """A duration that several messages took together counts for each of them."""
    histogram = Histogram()
    histogram.record(10, 99)
    histogram.record(1000)
    assert (histogram.count, histogram.sum) == (100, 1990)
    assert (histogram.quantile(0.99), histogram.quantile(1.0)) == (10, 1008)


@pytest.mark.parametrize(("duration", "counted"), [(-5, 0), (LARGEST * 10, LARGEST)])
def test_what_is_out_of_range_counts_at_the_edge(duration: int, counted: int) -> None:
    """A clock that was set back, or a day's duration, breaks nothing."""
    assert of(duration) == of(counted)
