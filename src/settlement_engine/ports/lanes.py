"""How much a rail takes at once, and when it is left alone: the limits of a lane, as data.

A lane is the way to one bank over one rail. Its limits are the rail's; each bank has a lane of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from settlement_engine.domain.backoff import Backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerLimits:
    """When sending to a bank that does not answer is stopped, and how soon it is tried again.

    It opens after ``failures_in_a_row`` sends without an answer (silent or undelivered), not one in between
    having been answered, or when of the last ``window`` sends at least ``failure_share`` were not. One send
    is then tried after each wait of ``rest``.
    """

    failures_in_a_row: int = 20
    window: int = 100
    failure_share: float = 0.8
    rest: Backoff = field(default_factory=lambda: Backoff(first_seconds=5, max_seconds=60))


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLimits:
    """The limits of each lane of a rail; None is no limit.

    ``concurrency_max`` bounds the payments that are being sent or recalled at the same time, so that the
    time-out of an answer never runs while a payment still waits for a connection; a rail that has as many
    connections to a bank says so here. ``rate_per_second_max`` bounds how many begin. Enquiries have a share
    of their own, as large unless it is given, so that a full queue of sends never starves them.
    ``queue_max`` bounds what waits for each kind of question: beyond it new payments wait before their funds
    are held, and what is locked rests.
    """

    concurrency_max: int | None = None
    rate_per_second_max: float | None = None
    enquiry_concurrency_max: int | None = None
    enquiry_rate_per_second_max: float | None = None
    queue_max: int = 5_000
    breaker: BreakerLimits = field(default_factory=BreakerLimits)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneReport:
    """How the lanes of a rail are: how many payments wait in them, and how many breakers are not closed."""

    waiting: int
    breakers_open: int
