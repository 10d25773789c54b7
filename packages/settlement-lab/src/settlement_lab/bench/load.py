"""The ways in which callers bring their load: one call each, batches, a stream, or clearing's queue.

A closed loop keeps so many settlements in flight and sends the next when one has ended; an open loop
sends at its own times whatever happens, and a latency counts from the time at which the call was meant
to leave, so that a stalled engine cannot hide behind calls that were never made.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum, auto
from typing import TYPE_CHECKING, Final

from settlement_lab.bench.histogram import Histogram

if TYPE_CHECKING:
    from settlement_lab.bench.wishes import Spread


class Way(StrEnum):
    """How settlements come in."""

    UNARY = auto()  # ExecuteSettlement, an answer when it has ended
    BATCH = auto()  # SubmitSettlements, an answer when the batch is durable
    STREAM = auto()  # ExecuteSettlements, answers as they end
    CLEARING = auto()  # instructions from JetStream


BATCH_ITEMS: Final = 500
"""How many settlements a bulk caller sends in one call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One load. ``rate`` a second makes it an open loop; 0 is a closed one.

    ``probes`` callers execute one settlement after the other beside it and time each to its end.
    """

    name: str
    way: Way
    spread: Spread
    in_flight: int
    rate: float = 0.0
    batch_items: int = BATCH_ITEMS
    probes: int = 0

    @property
    def limit_batch(self) -> int:
        """How many settlements can share a commit under this load: the baseline's batch size."""
        return max(1, min(self.in_flight, BATCH_ITEMS))


@dataclass(slots=True)
class Tally:
    """What the callers saw. ``refused`` counts what the engine was too full for, ``ends`` are the probes'."""

    latencies: Histogram = field(default_factory=Histogram)
    ends: Histogram = field(default_factory=Histogram)
    accepted: int = 0
    refused: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    accepted_at: float = 0.0
