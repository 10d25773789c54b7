"""The limits of a lane, as data: how much is sent to a bank at once, and when its circuit breaker opens.

A lane is the queue to one bank over one rail. The limits belong to the rail; each bank has a lane of its own, so
that one slow bank never delays another. Must never: decide about a payment.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from settlement_engine.domain.backoff import Backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerLimits:
    """When the circuit breaker of a lane opens, and how soon one send is tried again.

    It opens after ``failures_in_a_row`` consecutive sends without a response (timed out or never transmitted),
    or when at least the share ``failure_share`` of the last ``window`` sends had none. Then it is half-open for
    one send after each wait of ``rest``. With ``reject_share`` it also opens when at least that share of the last
    ``window`` sends was rejected. With ``slow_seconds`` an answer that takes longer counts as none.
    ``refuses_while_open``: while it is open new payments are refused if no other rail takes them; otherwise
    they wait.
    """

    failures_in_a_row: int = 20
    window: int = 100
    failure_share: float = 0.8
    rest: Backoff = field(default_factory=lambda: Backoff(first_seconds=5, max_seconds=60))
    reject_share: float | None = None
    slow_seconds: float | None = None
    refuses_while_open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLimits:
    """The limits of each lane of a rail; None is no limit.

    ``concurrency_max`` limits the payments that are sent or recalled at the same time: usually the number of
    connections to a bank, so that no response time-out runs while a payment waits for a connection.
    ``rate_per_second_max`` limits how many calls begin. Enquiries have a limit of their own, equal unless it
    is given, so that a full queue of sends never delays them. ``queue_max`` limits how many payments wait for
    each kind of question: above it, new payments wait before their funds are held, and locked ones are parked
    until due.
    """

    concurrency_max: int | None = None
    rate_per_second_max: float | None = None
    enquiry_concurrency_max: int | None = None
    enquiry_rate_per_second_max: float | None = None
    queue_max: int = 5_000
    breaker: BreakerLimits = field(default_factory=BreakerLimits)

    @property
    def is_none(self) -> bool:
        """Say whether nothing is limited, and the breaker counts only sends without an answer."""
        return (
            self.concurrency_max is None
            and self.rate_per_second_max is None
            and self.enquiry_concurrency_max is None
            and self.enquiry_rate_per_second_max is None
            and self.breaker.reject_share is None
            and self.breaker.slow_seconds is None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneReport:
    """The state of a rail's lanes: how many payments wait in them, and how many breakers are not closed.

    ``stops`` is how many orders of people stop sending: to a bank, or to all of them.
    """

    waiting: int
    breakers_open: int
    stops: int = 0
