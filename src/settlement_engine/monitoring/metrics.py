"""Prometheus metrics: the names of the specification, and what operators need to detect problems early.

Promises: counting costs microseconds a batch, because sums are built in Python first. Label values come from
bounded sets. The engine's time and the rails' time are measured separately. Amounts and balances are in **minor
units** and indicative: Prometheus keeps floats, which are exact up to 2**53. The ledger is authoritative.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from settlement_engine.domain.exceptions import LATE, SEVERITY, CaseKind
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import ENDS, PARTLY, Do, State
from settlement_engine.domain.recalls import OPEN_RECALLS
from settlement_engine.domain.stuck import StuckReason
from settlement_engine.monitoring.break_metrics import BreakMetrics
from settlement_engine.monitoring.families import OTHER, BatchHistogram, Families
from settlement_engine.monitoring.statement_metrics import StatementMetrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from settlement_engine.ports import Balance, GaugeSource, LaneReport, TransitionCommand

# fmt: off
SECONDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200,
)
COMMIT_SECONDS: Final = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.5, 2, 5)
SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
# fmt: on

BALANCE_ACCOUNTS_MAX: Final = 10_000
"""The balances of at most so many accounts are read."""

BALANCES_SHOWN_MAX: Final = 1_000
"""At most so many banks and currencies have a series of their own; the others are summed as ``other``."""

FIRST_CURRENCIES: Final = ("AED", "EUR", "GBP", "INR", "USD")
"""Currencies with a settlement window in a new database. Others get a series with their first settlement."""

OPEN_STATES: Final = tuple(state for state in State if state not in ENDS)


class Metrics:
    """All metrics of one process, in a registry of its own; the engine's Meter."""

    def __init__(self, version: str, *, balance_accounts_max: int = BALANCE_ACCOUNTS_MAX) -> None:
        """Register all metrics. At most ``balance_accounts_max`` balances are read; 0 reads none.

        All series exist from the start, at zero: a missing series raises no alert.
        """
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._balance_accounts_max = balance_accounts_max
        families = Families(self.registry)
        self._register_ends(families)
        self._register_reconciliation(families)
        self._register_engine(families)
        self._register_rails(families)
        self._register_open_work(families)
        self._register_messages()
        self._register_balances(families)
        families.gauge(
            "build_info", "Always 1; the label has the version of the engine.", "version"
        )(version).set(1)
        ProcessCollector(registry=self.registry)

    def _register_ends(self, families: Families) -> None:
        self._ended = families.counter(
            "settlement_total", "Settlements that reached a final state, by status.", "status"
        )
        for state in ENDS:
            self._ended(state.value)
        self._duration = BatchHistogram(
            "settlement_duration_seconds",
            "Time from acceptance to the final state, including the rail's response time.",
            SECONDS,
            self.registry,
        )
        self._amount = families.counter(
            "settlement_amount_total",
            "Completed amounts in minor units. Approximate: the ledger has the exact sums.",
            "currency",
        )
        for currency in FIRST_CURRENCIES:
            self._amount(currency)
        operations = families.counter(
            "atomic_operations_total", "Holds that were posted or released.", "state"
        )
        self._operations = {
            Do.POST: operations("committed"),
            Do.RELEASE: operations("rolled_back"),
        }
        self._rollback = BatchHistogram(
            "atomic_rollback_duration_seconds",
            "Time from the decision to roll back until the released funds are committed.",
            SECONDS,
            self.registry,
        )

    def _register_reconciliation(self, families: Families) -> None:
        self._discrepancies = Counter(
            "reconciliation_discrepancies_total",
            "Differences between the books and the banks' statements.",
            registry=self.registry,
        )
        self._discrepancy_amount = families.table(
            "reconciliation_discrepancy_amount",
            "Sum of the accounts' differences by their last proofs, in minor units. Approximate.",
            "currency",
        )
        self._show_discrepancies({})
        self.statements = StatementMetrics(families)
        self.compared = self.statements.compared
        self.breaks = BreakMetrics(families)

    def _register_engine(self, families: Families) -> None:
        self._batch_size = families.histogram(
            "engine_batch_size", "Settlements in one group commit.", SIZES, "stage"
        )
        self._commit = families.histogram(
            "engine_commit_seconds", "Duration of one group commit.", COMMIT_SECONDS, "stage"
        )
        self._invariant_warnings = families.counter(
            "engine_invariant_warnings_total",
            "Violated expectations that the engine handled, by kind.",
            "kind",
        )

    def _register_rails(self, families: Families) -> None:
        self._rail_seconds = families.histogram(
            "rail_answer_seconds",
            "Time until a rail has answered all questions of a batch.",
            SECONDS,
            "rail",
            "ask",
        )
        self._rail_answers = families.counter(
            "rail_answers_total", "Questions to a rail that were answered.", "rail", "ask"
        )
        self._rail_timeouts = families.counter(
            "rail_timeouts_total",
            "Questions to a rail that were not answered before the time-out.",
            "rail",
            "ask",
        )
        self._rail_alarms = families.counter(
            "rail_alarms_total",
            "Responses and messages of banks that prove nothing, and that a person should look at.",
            "rail",
            "alarm",
        )

        self._lane_waiting = families.gauge(
            "rail_lane_waiting", "Questions that wait in the queues of a rail's lanes.", "rail"
        )
        self._breakers_open = families.gauge(
            "rail_breakers_open",
            "Banks whose circuit breaker is open, so that nothing is sent to them.",
            "rail",
        )
        self._rail_stops = families.gauge(
            "rail_stops", "Orders of operators that stop sending to a bank or over a rail.", "rail"
        )

    def _register_open_work(self, families: Families) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, registry=self.registry)

        self._open = families.gauge("settlement_open", "Open settlements.", "state")
        self._oldest_open = gauge(
            "settlement_oldest_open_seconds", "Age of the oldest open settlement."
        )
        self._in_doubt = gauge(
            "settlement_in_doubt", "Settlements whose result at the rail is unknown."
        )
        self._oldest_in_doubt = gauge(
            "settlement_in_doubt_oldest_seconds",
            "Time since the oldest settlement in doubt became so.",
        )
        self._without_next_action = gauge(
            "settlement_without_next_action", "Open settlements without a next action; must be 0."
        )
        self._cases = families.gauge(
            "exceptions_open", "Open exceptions that need a person.", "kind", "severity"
        )
        self._oldest_cases = families.gauge(
            "exceptions_oldest_seconds", "Age of the oldest open exception.", "kind", "severity"
        )
        self._recalls = families.gauge(
            "recalls_open", "Recalls for which something is waited for.", "state"
        )
        self._stuck = families.gauge(
            "settlement_stuck", "Stuck settlements by reason; must be 0.", "reason"
        )
        for reason in StuckReason:
            self._stuck(reason.value).set(0)
        self._measured_at = gauge(
            "settlement_gauges_timestamp_seconds",
            "Unix time of the last measurement of the gauges.",
        )

    def _register_messages(self) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, registry=self.registry)

        self._backlog = gauge(
            "outbox_backlog", "Moves and notices that JetStream has not stored yet."
        )
        self._outbox_refused = gauge(
            "outbox_refused_seconds",
            "Time for which JetStream has refused announcements; 0 while it stores them.",
        )
        self._dead_letters = gauge("dead_letters_open", "Open dead letters that need a person.")
        self._oldest_dead_letter = gauge(
            "dead_letters_oldest_seconds", "Age of the oldest open dead letter."
        )
        self._inbound = gauge(
            "inbound_reports_open",
            "Inbound messages of rails that are stored and not processed yet.",
        )
        self._oldest_inbound = gauge(
            "inbound_reports_oldest_seconds",
            "Age of the oldest inbound message that is not processed yet.",
        )

    def _register_balances(self, families: Families) -> None:
        self._balances = {
            AccountKind.NOSTRO: families.table(
                "nostro_balance",
                "Posted balance of our accounts at the bank, in minor units. Approximate.",
                "bank",
                "currency",
            ),
            AccountKind.VOSTRO: families.table(
                "vostro_balance",
                "Posted balance of the bank's accounts with us, in minor units. Approximate.",
                "bank",
                "currency",
            ),
        }
        self._left_out = Gauge(
            "balance_accounts_left_out",
            "Accounts whose balances are not published, because of the limit on accounts.",
            registry=self.registry,
        )
        if self._balance_accounts_max:
            self._show_balances(())

    # --- what the engine counts as it works -----------------------------------------------------

    def moved(
        self, steps: Sequence[TransitionCommand], commit_seconds: float | None = None
    ) -> None:
        """Count applied transitions; ``commit_seconds`` is the duration of their shared commit."""
        ended: Tally[State] = Tally()
        done: Tally[Do] = Tally()
        amounts: Tally[str] = Tally()
        lasted: list[float] = []
        for command in steps:
            transition = command.transition
            if command.event in LATE or transition.state not in ENDS:
                continue  # still open, or a report about a settlement that had ended before
            settlement = command.settlement
            if transition.do is not None:
                done[transition.do] += 1
            if command.event in PARTLY:
                continue  # it had ended before, and does not end again
            ended[transition.state] += 1
            if transition.state is State.COMPLETED:
                amount = settlement.instruction.amount
                amounts[amount.currency] += amount.minor
            if settlement.ended_at is not None and transition.state is not State.RETURNED:
                lasted.append((settlement.ended_at - settlement.created_at).total_seconds())
        self._duration.observe(lasted)
        self._count_ends(ended, amounts)
        self._count_operations(done, commit_seconds)

    def _count_ends(self, ended: Mapping[State, int], amounts: Mapping[str, int]) -> None:
        for state, count in ended.items():
            self._ended(state.value).inc(count)
        for currency, minor in amounts.items():
            self._amount(currency).inc(minor)

    def _count_operations(self, done: Mapping[Do, int], commit_seconds: float | None) -> None:
        for do, operation in self._operations.items():
            operation.inc(done.get(do, 0))
        if commit_seconds is not None:
            self._rollback.observe([commit_seconds] * done.get(Do.RELEASE, 0))

    def rail_answered(
        self, rail: str, ask: str, seconds: float, answered: int, silent: int
    ) -> None:
        """Record how a batch of requests went; with a timeout in it, its duration says nothing."""
        if answered and not silent:
            self._rail_seconds(rail, ask).observe(seconds)
        if answered:
            self._rail_answers(rail, ask).inc(answered)
        if silent:
            self._rail_timeouts(rail, ask).inc(silent)

    def rail_alarm(self, rail: str, alarm: str) -> None:
        """Count what a bank said that a person should look at; ``alarm`` is one of a fixed list."""
        self._rail_alarms(rail, alarm).inc()

    def lanes(self, reports: Mapping[str, LaneReport]) -> None:
        """Show the state of each rail's lanes."""
        for rail, report in reports.items():
            self._lane_waiting(rail).set(report.waiting)
            self._breakers_open(rail).set(report.breakers_open)
            self._rail_stops(rail).set(report.stops)

    def batch(self, stage: str, size: int, seconds: float) -> None:
        """Record one group commit."""
        self._batch_size(stage).observe(size)
        self._commit(stage).observe(seconds)

    def invariant_warning(self, kind: str, count: int = 1) -> None:
        """Count violations of expectations that did not stop the work."""
        self._invariant_warnings(kind).inc(count)

    def reconciled(self, differences: int) -> None:
        """Count the differences of one reconciliation run."""
        self._discrepancies.inc(differences)

    # --- what is measured periodically ----------------------------------------------------------

    async def refresh(self, source: GaugeSource) -> None:
        """Measure what cannot be counted on the way. Raises what the source raises."""
        gauges = await source.gauges(self._balance_accounts_max)
        for state in OPEN_STATES:
            self._open(state.value).set(gauges.open_by_state.get(state, 0))
        self._in_doubt.set(gauges.open_by_state.get(State.IN_DOUBT, 0))
        self._oldest_open.set(gauges.oldest_open_seconds)
        self._oldest_in_doubt.set(gauges.oldest_in_doubt_seconds)
        self._without_next_action.set(gauges.without_next_action)
        for kind in CaseKind:
            labels = (kind.value, SEVERITY[kind].value)
            self._cases(*labels).set(gauges.open_cases.get(kind, 0))
            self._oldest_cases(*labels).set(gauges.oldest_cases_seconds.get(kind, 0.0))
        for recall in OPEN_RECALLS:
            self._recalls(recall.value).set(gauges.open_recalls.get(recall, 0))
        self._show_discrepancies(gauges.discrepancies_minor)
        self._backlog.set(gauges.outbox_backlog)
        self._dead_letters.set(gauges.open_dead_letters)
        self._oldest_dead_letter.set(gauges.oldest_dead_letter_seconds)
        self._inbound.set(gauges.open_inbound_reports)
        self._oldest_inbound.set(gauges.oldest_inbound_report_seconds)
        if self._balance_accounts_max:
            self._show_balances(gauges.balances)
            self._left_out.set(gauges.accounts_left_out)
        self._measured_at.set(time.time())

    def show_refused(self, seconds: float) -> None:
        """Show how long JetStream has answered without storing anything, in seconds."""
        self._outbox_refused.set(seconds)

    def show_stuck(self, counts: Mapping[StuckReason, int]) -> None:
        """Show how many settlements are stuck, by reason."""
        for reason in StuckReason:
            self._stuck(reason.value).set(counts.get(reason, 0))

    def _show_discrepancies(self, amounts_minor: Mapping[str, int]) -> None:
        sums = dict.fromkeys(FIRST_CURRENCIES, 0) | dict(amounts_minor)
        self._discrepancy_amount.show({(code,): sum_ for code, sum_ in sums.items()})

    def _show_balances(self, balances: Sequence[Balance]) -> None:
        for kind, table in self._balances.items():
            sums: dict[tuple[str, ...], int] = {(OTHER, code): 0 for code in FIRST_CURRENCIES}
            left = BALANCES_SHOWN_MAX
            for each in balances:
                if each.kind is kind:
                    bank = each.bank if left > 0 else OTHER
                    labels = (bank, each.currency)
                    sums[labels] = sums.get(labels, 0) + each.posted_minor
                    left -= 1
            table.show(sums)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format. Takes milliseconds: call it in a thread."""
        return generate_latest(self.registry)
