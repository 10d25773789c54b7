"""Metrics with labels, made cheap and bounded.

Promises: a child that was used before is found by one dictionary look-up, and no metric keeps more sets
of labels than its bound: what comes after is counted under ``other``, so that nobody's input can fill
the memory.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from threading import Lock
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from prometheus_client import CollectorRegistry

LABEL_SETS_MAX: Final = 200
OTHER: Final = "other"

M = TypeVar("M", Counter, Gauge, Histogram)


class Labelled(Generic[M]):
    """A metric with labels; called with their values it gives the child."""

    def __init__(self, metric: M, labels: int) -> None:
        self._metric: M = metric
        self._others = (OTHER,) * labels
        self._children: dict[tuple[str, ...], M] = {}

    def __call__(self, *values: str) -> M:
        """Return the child for these values, or ``other`` when there are too many."""
        child = self._children.get(values)
        if child is None:
            if len(self._children) >= LABEL_SETS_MAX:
                values = self._others
            child = self._children[values] = self._metric.labels(*values)
        return child


class Families:
    """Makes the metrics of one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, text: str, *labels: str) -> Labelled[Counter]:
        """Make a counter with labels."""
        return Labelled(Counter(name, text, labels, registry=self._registry), len(labels))

    def gauge(self, name: str, text: str, *labels: str) -> Labelled[Gauge]:
        """Make a gauge with labels."""
        return Labelled(Gauge(name, text, labels, registry=self._registry), len(labels))

    def histogram(
        self, name: str, text: str, buckets: Sequence[float], *labels: str
    ) -> Labelled[Histogram]:
        """Make a histogram with labels."""
        metric = Histogram(name, text, labels, registry=self._registry, buckets=buckets)
        return Labelled(metric, len(labels))

    def table(self, name: str, text: str, *labels: str) -> Table:
        """Make a gauge that is written as a whole."""
        return Table(Gauge(name, text, labels, registry=self._registry))


class Spread(Collector):
    """A histogram that takes a whole batch of observations at once, at a fraction of the price."""

    def __init__(
        self, name: str, text: str, buckets: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._text = text
        self._bounds = (*buckets, float("inf"))
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0
        self._lock = Lock()
        registry.register(self)

    def observe(self, values: Sequence[float]) -> None:
        """Take a batch in."""
        with self._lock:
            for value in values:
                self._counts[bisect_left(self._bounds, value)] += 1
            self._sum += sum(values)

    @override
    def collect(self) -> Iterator[HistogramMetricFamily]:
        with self._lock:
            counts, sum_ = list(accumulate(self._counts)), self._sum
        bounds = map(floatToGoString, self._bounds)
        buckets = list(zip(bounds, counts, strict=True))
        yield HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=sum_)


class Table:
    """A gauge whose sets of labels are replaced as a whole; who reads meanwhile misses none."""

    def __init__(self, metric: Gauge) -> None:
        self._metric = metric
        self._shown: set[tuple[str, ...]] = set()

    def show(self, values: Mapping[tuple[str, ...], float]) -> None:
        """Show exactly these."""
        for labels, value in values.items():
            self._metric.labels(*labels).set(value)
        for labels in self._shown - values.keys():
            self._metric.remove(*labels)
        self._shown = set(values)
