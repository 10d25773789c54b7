"""Latencies in logarithmic buckets: any number of values in little memory, each within one percent.

As in HdrHistogram, each power of two is divided evenly, here into 128 parts. A percentile is at most
1/128 above the true value and never below it.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

PARTS_BITS: Final = 7
PARTS: Final = 1 << PARTS_BITS


class Histogram:
    """Counts durations in seconds."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.count = 0
        self.max_seconds = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """Count a duration ``times`` times."""
        self._counts[_bucket(int(seconds * 1e6))] += times
        self.count += times
        self.max_seconds = max(self.max_seconds, seconds)

    def merge(self, other: Histogram) -> None:
        """Add the counts of another histogram."""
        self._counts.update(other._counts)
        self.count += other.count
        self.max_seconds = max(self.max_seconds, other.max_seconds)

    def percentile_seconds(self, percent: float) -> float:
        """Return the duration that this percentage does not exceed; 0 if nothing was counted."""
        wanted = self.count * percent / 100
        seen = 0
        for bucket, times in sorted(self._counts.items()):
            seen += times
            if seen >= wanted:
                return min(_upper(bucket) / 1e6, self.max_seconds)
        return self.max_seconds


def _bucket(microseconds: int) -> int:
    """Find the bucket: exact below ``PARTS``, then ``PARTS`` buckets for each power of two."""
    shift = max(microseconds.bit_length() - PARTS_BITS - 1, 0)
    return (shift << PARTS_BITS) + (microseconds >> shift)


def _upper(bucket: int) -> int:
    """Return the greatest number of microseconds in the bucket."""
    if bucket < 2 * PARTS:
        return bucket
    shift = (bucket >> PARTS_BITS) - 1
    return ((bucket - (shift << PARTS_BITS) + 1) << shift) - 1
