"""A histogram of durations whose copies of several processes can be added up exactly."""

from __future__ import annotations

from collections import Counter
from math import ceil

import msgspec

LARGEST = 2**32 - 1
"""Microseconds (71 minutes) above which durations are no longer told apart."""
_EXACT_BITS = 5


class Histogram(msgspec.Struct):
    """How often which duration was met, in whole microseconds.

    Buckets grow with the value, sixteen for each power of two: a `quantile` is at most 1/32 (3.2 %)
    away from the duration that has this rank, and exact below 32 µs. Adding up is exact.
    """

    buckets: dict[int, int] = {}
    count: int = 0
    sum: int = 0
    """Microseconds."""

    def record(self, duration: int, times: int = 1) -> None:
        """Count a duration, of as many messages as took it together."""
        duration = min(max(duration, 0), LARGEST)
        bucket = _bucket(duration)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + times
        self.count += times
        self.sum += duration * times

    def quantile(self, share: float) -> int:
        """Return the duration that this share (0..1) of all did not exceed; 0 if there is none."""
        rank = max(1, ceil(share * self.count))
        for bucket in sorted(self.buckets):
            rank -= self.buckets[bucket]
            if rank <= 0:
                return _middle(bucket)
        return 0


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """What a histogram comes to; durations in microseconds."""

    count: int = 0
    mean: float = 0.0
    p50: int = 0
    p90: int = 0
    p99: int = 0
    p999: int = 0


def latency(histogram: Histogram) -> Latency:
    """Return what a histogram comes to."""
    return Latency(
        count=histogram.count,
        mean=histogram.sum / histogram.count if histogram.count else 0.0,
        p50=histogram.quantile(0.5),
        p90=histogram.quantile(0.9),
        p99=histogram.quantile(0.99),
        p999=histogram.quantile(0.999),
    )


def added(one: Histogram, other: Histogram) -> Histogram:
    """Return the histogram of all durations of both."""
    buckets = dict(Counter(one.buckets) + Counter(other.buckets))
    return Histogram(buckets, one.count + other.count, one.sum + other.sum)


def _bucket(duration: int) -> int:
    shift = max(0, duration.bit_length() - _EXACT_BITS)
    return (shift << (_EXACT_BITS - 1)) + (duration >> shift)


def _middle(bucket: int) -> int:
    half = 1 << (_EXACT_BITS - 1)
    shift = max(0, bucket // half - 1)
    return ((bucket - shift * half) << shift) + ((1 << shift) >> 1)
