"""Percentiles: never below the true value, and at most one part in 128 above it."""

from __future__ import annotations

import random

import pytest

from settlement_lab.bench.histogram import PARTS, Histogram

HALF_OF_THE_LAST_PLACE = 2e-6


@pytest.mark.parametrize("percent", [1, 50, 90, 99, 99.9, 100])
@pytest.mark.parametrize("scale", [1e-5, 1e-3, 1.0, 100.0])
def test_a_percentile_is_the_true_value_or_slightly_more(percent, scale):
    chance = random.Random(int(percent * 10))
    durations = sorted(chance.expovariate(1 / scale) for _ in range(5_000))
    histogram = Histogram()
    for seconds in durations:
        histogram.add(seconds)
    place = max(round(len(durations) * percent / 100 + 0.4999) - 1, 0)
    true = durations[place]
    found = histogram.percentile_seconds(percent)
    assert found >= true - HALF_OF_THE_LAST_PLACE
    assert found <= true * (1 + 1 / PARTS) + HALF_OF_THE_LAST_PLACE


def test_percentiles_are_0_if_nothing_was_counted():
    assert Histogram().percentile_seconds(99) == 0


def test_the_greatest_value_is_exact():
    histogram = Histogram()
    for seconds in (0.1, 12.3456, 3.0):
        histogram.add(seconds)
    assert histogram.max_seconds == 12.3456
    assert histogram.percentile_seconds(100) == 12.3456


def test_merged_histograms_equal_one_histogram_of_all_values():
    whole, left, right = Histogram(), Histogram(), Histogram()
    for number in range(1, 1001):
        whole.add(number / 1000)
        (left if number % 3 else right).add(number / 1000)
    left.merge(right)
    assert left.count == 1000
    for percent in (1, 50, 99):
        assert left.percentile_seconds(percent) == whole.percentile_seconds(percent)
