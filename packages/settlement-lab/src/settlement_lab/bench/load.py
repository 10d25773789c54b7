"""The ways in which callers produce load: single calls, batches, a stream, or the clearing system's queue.

A closed loop keeps a number of settlements in flight and sends the next when one has ended. An open loop
sends at fixed times whatever happens, and a latency counts from the time at which the call was due: so a
stalled engine does not look faster because calls were never made.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum, auto
from typing import TYPE_CHECKING, Final

from settlement_lab.bench.histogram import Histogram

if TYPE_CHECKING:
    from settlement_lab.bench.workload import LoadSpread


class Way(StrEnum):
    """How settlements are submitted."""

    UNARY = auto()  # ExecuteSettlement: one response when it has ended
    BATCH = auto()  # SubmitSettlements: one response when the batch is durable
    STREAM = auto()  # ExecuteSettlements: responses as settlements end
    CLEARING = auto()  # instructions from JetStream


BATCH_ITEMS: Final = 500
"""How many settlements a bulk caller sends in one call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One load. ``rate`` per second makes it an open loop; 0 is a closed loop.

    ``probes`` callers run beside it: each executes one settlement after the other and times it to its
    end.
    """

    name: str
    way: Way
    spread: LoadSpread
    in_flight: int
    rate: float = 0.0
    batch_items: int = BATCH_ITEMS
    probes: int = 0

    @property
    def limit_batch(self) -> int:
        """How many settlements can share a commit under this load: the batch size of the baseline."""
        return max(1, min(self.in_flight, BATCH_ITEMS))


@dataclass(slots=True)
class Tally:
    """What the callers observed.

    ``refused`` counts refusals because of overload; ``ends`` are latencies to the end, from the probes.
    """

    latencies: Histogram = field(default_factory=Histogram)
    ends: Histogram = field(default_factory=Histogram)
    accepted: int = 0
    refused: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    accepted_at: float = 0.0
