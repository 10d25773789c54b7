"""Metrics with labels, fast and bounded.

Promises: a child in use is found by one dictionary lookup; no metric keeps more label sets than its limit.
Further ones are counted under ``other``, so that no input can exhaust the memory.
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
    """A metric with labels; calling it with label values returns the child."""

    def __init__(self, metric: M, labels: int) -> None:
        self._metric: M = metric
        self._others = (OTHER,) * labels
        self._children: dict[tuple[str, ...], M] = {}

    def __call__(self, *values: str) -> M:
        """Return the child for these values, or ``other`` when the limit is reached."""
        child = self._children.get(values)
        if child is None:
            if len(self._children) >= LABEL_SETS_MAX:
                values = self._others
            child = self._metric.labels(*values) if values else self._metric
            self._children[values] = child
        return child


class Families:
    """Creates the metrics of one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, text: str, *labels: str) -> Labelled[Counter]:
        """Create a counter with labels."""
        return Labelled(Counter(name, text, labels, registry=self._registry), len(labels))

    def gauge(self, name: str, text: str, *labels: str) -> Labelled[Gauge]:
        """Create a gauge with labels."""
        return Labelled(Gauge(name, text, labels, registry=self._registry), len(labels))

    def histogram(
        self, name: str, text: str, buckets: Sequence[float], *labels: str
    ) -> Labelled[Histogram]:
        """Create a histogram with labels."""
        metric = Histogram(name, text, labels, registry=self._registry, buckets=buckets)
        return Labelled(metric, len(labels))

    def table(self, name: str, text: str, *labels: str) -> ReplacedGauge:
        """Create a gauge whose values are replaced as a whole."""
        return ReplacedGauge(Gauge(name, text, labels, registry=self._registry))


class BatchHistogram(Collector):
    """A histogram that takes a batch of observations at once, at a fraction of the cost."""

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
        """Add a batch of observations."""
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


class ReplacedGauge:
    """A gauge whose label sets are replaced as a whole; a concurrent reader sees all of them.

    Only what has changed is set, because a table may have a thousand values and is shown every few seconds.
    """

    def __init__(self, metric: Gauge) -> None:
        self._metric = metric
        self._shown: dict[tuple[str, ...], float] = {}
        self._children: dict[tuple[str, ...], Gauge] = {}

    def show(self, values: Mapping[tuple[str, ...], float]) -> None:
        """Replace all values by these."""
        for labels, value in values.items():
            if self._shown.get(labels) != value:
                self._child(labels).set(value)
        for labels in self._shown.keys() - values.keys():
            self._metric.remove(*labels)
            del self._children[labels]
        self._shown = dict(values)

    def _child(self, labels: tuple[str, ...]) -> Gauge:
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._metric.labels(*labels)
        return child
