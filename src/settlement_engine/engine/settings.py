"""The engine's settings: limits and waits, each with its unit. Values only; ``config`` reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from settlement_engine.domain.backoff import Backoff
from settlement_engine.domain.value_dates import ValueDateRange
from settlement_engine.ports import DoubtLimit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from settlement_engine.domain.windows import Window
    from settlement_engine.ports import BreakerLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """The settings that the engine gets once, at its start.

    ``open_max`` bounds the settlements in memory; beyond it intake answers Overloaded.
    ``backlog_max`` bounds those that wait for this engine and not for a rail: with more of them a new caller
    would wait too long, so intake answers Overloaded as well.
    ``batch_linger_seconds`` is the interval of the batch linger: under load a batch waits while items keep arriving.
    ``close_look_seconds`` is how soon an engine looks for its own lost settlements when it has a reason.
    ``sends_max`` bounds the transmissions of one attempt that are proved undelivered.
    ``is_queueing`` queues an instruction while its window is closed, instead of refusing it.
    ``windows_by_rail`` are the windows of rails that have their own: the currency's must be open as well.
    ``value_dates`` are the days for which instructions are accepted.
    ``needs_listed_banks`` accepts only settlements between banks of the bank directory.
    ``banks_refresh_seconds`` is how long an entry of the bank directory may be cached.
    ``recall`` is how often a bank is asked for the return of a completed payment, until it answers.
    ``inbound_poll_seconds`` is how soon an engine processes messages that another one has received.
    ``evidence_rows_max`` bounds the rows of a statement that are searched for our payments at once;
    ``evidence_poll_seconds`` is how soon an engine searches a statement that was imported.
    ``absent_after_days``: a completed payment that no statement has is an exception, once the closed statements reach
    so many days beyond its booking; ``absent_look_seconds`` is how often an engine looks for such.
    ``no_enquiry_due_seconds``: how long a payment of a rail without enquiries is parked at a time.
    ``full_lane`` is how long a payment waits, without a hold, while the queue of its bank's lane is full.
    ``gate_waiting_max`` bounds those that wait in memory for screening while the gate of a rail is closed.
    ``breakers_by_rail`` replaces the circuit breaker's limits of these rails.
    ``breaker_look_seconds`` is how soon an engine follows an operator's order that another engine has received.
    ``doubt_limits`` say after how long a payment without a final state becomes a case for a person.
    """

    open_max: int = 20_000
    backlog_max: int = 3_000
    intake_queue_max: int = 20_000
    intake_batch_max: int = 500
    move_batch_max: int = 500
    batch_linger_seconds: float = 0.002
    claim_batch_max: int = 2_000
    claim_interval_seconds: float = 0.2
    sweep_interval_seconds: float = 2.0
    look_interval_seconds: float = 5.0
    close_look_seconds: float = 0.5
    lease_seconds: float = 1.5
    heartbeat_seconds: float = 0.25
    screening_timeout_seconds: float = 10.0
    sends_max: int = 3
    resend: Backoff = field(default_factory=lambda: Backoff(first_seconds=1, max_seconds=60))
    enquiry: Backoff = field(default_factory=lambda: Backoff(first_seconds=1, max_seconds=60))
    screening: Backoff = field(default_factory=lambda: Backoff(first_seconds=1, max_seconds=60))
    full_lane: Backoff = field(default_factory=lambda: Backoff(first_seconds=5, max_seconds=60))
    gate_waiting_max: int = 5_000
    breakers_by_rail: Mapping[str, BreakerLimits] = field(default_factory=dict)
    breaker_look_seconds: float = 1.0
    is_queueing: bool = False
    value_dates: ValueDateRange = field(default_factory=ValueDateRange)
    needs_listed_banks: bool = False
    banks_refresh_seconds: float = 5.0
    has_real_windows: bool = True
    windows_by_rail: Mapping[str, Sequence[Window]] = field(default_factory=dict)
    windows_refresh_seconds: float = 30.0
    admission_timeout_seconds: float = 10.0
    retry_pause_seconds: float = 0.1
    broken_due_seconds: float = 30.0
    no_enquiry_due_seconds: float = 86_400.0
    inbound_batch_max: int = 500
    inbound_in_flight_max: int = 2_000
    inbound_poll_seconds: float = 0.5
    evidence_rows_max: int = 500
    evidence_poll_seconds: float = 1.0
    absent_after_days: int = 5
    absent_look_seconds: float = 60.0
    stream_page_max: int = 100
    stream_poll_seconds: float = 0.25
    watch_interval_seconds: float = 0.1
    watch_batch_max: int = 1_000
    drain_grace_seconds: float = 20.0
    recall_interval_seconds: float = 2.0
    recall: Backoff = field(default_factory=lambda: Backoff(first_seconds=10, max_seconds=3_600))
    case_interval_seconds: float = 2.0
    case_batch_max: int = 500
    resolve_pause_seconds: float = 10.0
    proposal_valid_seconds: float = 86_400.0
    doubt_limits: tuple[DoubtLimit, ...] = (
        DoubtLimit(rail="", in_doubt_seconds=300.0, overdue_seconds=3_600.0),
    )
