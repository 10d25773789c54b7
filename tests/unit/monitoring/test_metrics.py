"""Metrics: the names of the specification, what is counted and when, and the cost of it."""

from __future__ import annotations

import re
import time
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from settlement_engine.domain.exceptions import LATE
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import (
    ENDS,
    PARTLY,
    TRANSITIONS,
    Event,
    State,
    transition_for,
)
from settlement_engine.domain.money import Money
from settlement_engine.domain.settlement import Instruction, Priority, Settlement
from settlement_engine.monitoring.families import LABEL_SETS_MAX
from settlement_engine.monitoring.metrics import (
    BALANCE_ACCOUNTS_MAX,
    BALANCES_SHOWN_MAX,
    FIRST_CURRENCIES,
    Metrics,
)
from settlement_engine.ports import Balance, Gauges, TransitionCommand
from settlement_engine.store.migrate import WINDOWS

if TYPE_CHECKING:
    from settlement_engine.ports import Meter

START = datetime(2026, 11, 25, tzinfo=UTC)
SPECIFIED = {
    "settlement_total": {"status"},
    "settlement_duration_seconds_count": set(),
    "settlement_amount_total": {"currency"},
    "reconciliation_discrepancies_total": set(),
    "reconciliation_balances_compared_total": {"outcome"},
    "reconciliation_discrepancy_amount": {"currency"},
    "atomic_operations_total": {"state"},
    "atomic_rollback_duration_seconds_count": set(),
    "nostro_balance": {"bank", "currency"},
    "vostro_balance": {"bank", "currency"},
}
ADDED = {
    "settlement_open": {"state"},
    "settlement_oldest_open_seconds": set(),
    "settlement_in_doubt": set(),
    "settlement_in_doubt_oldest_seconds": set(),
    "outbox_backlog": set(),
    "engine_batch_size_count": {"stage"},
    "engine_commit_seconds_count": {"stage"},
    "rail_answer_seconds_count": {"rail", "ask"},
    "rail_timeouts_total": {"rail", "ask"},
    "engine_invariant_warnings_total": {"kind"},
    "build_info": {"version"},
}


def step(
    state: State, event: Event, *, seconds: float = 3.0, amount: Money | None = None
) -> TransitionCommand:
    transition = transition_for(state, event)
    instruction = Instruction(
        caller="a-caller",
        idempotency_key="k",
        obligation_id="OB-1",
        from_bank="DEUTDEFF",
        to_bank="CHASUS33",
        amount=amount or Money(12_50, "EUR"),
        value_date=None,
        priority=Priority.NORMAL,
        metadata={},
    )
    settlement = Settlement(
        id=uuid4(),
        instruction=instruction,
        state=transition.state,
        seq=3,
        fencing_token=1,
        created_at=START,
        value_date=date(2026, 11, 25),
        ended_at=START + timedelta(seconds=seconds) if transition.state in ENDS else None,
    )
    return TransitionCommand(settlement=settlement, event=event, transition=transition)


class Measured:
    """A source of gauges that returns what it was given."""

    def __init__(
        self,
        *balances: Balance,
        open_by_state: dict[str, int] | None = None,
        left_out: int = 0,
    ) -> None:
        self.balances = balances
        self.left_out = left_out
        self.open_by_state = open_by_state or {}
        self.asked: list[int] = []

    async def gauges(self, accounts_max: int) -> Gauges:
        self.asked.append(accounts_max)
        return Gauges(
            open_by_state=self.open_by_state,
            oldest_open_seconds=61.5,
            oldest_in_doubt_seconds=7.25,
            without_next_action=0,
            outbox_backlog=42,
            balances=self.balances,
            accounts_left_out=self.left_out,
            discrepancies_minor={"EUR": 12_34},
        )


def balance(kind: AccountKind, bank: str, currency: str, minor: int) -> Balance:
    return Balance(kind=kind, bank=bank, currency=currency, posted_minor=minor)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("1.2.3")


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_the_engine_can_use_it_as_its_meter(metrics: Metrics) -> None:
    meter: Meter = metrics
    meter.moved([])


async def test_every_specified_metric_has_its_labels() -> None:
    metrics = Metrics("1.2.3", balance_accounts_max=10)
    metrics.moved([step(State.SENT, Event.SETTLED), step(State.SENT, Event.REJECTED)], 0.01)
    metrics.batch("move", 3, 0.01)
    metrics.rail_answered("mock", "send", 0.1, 3, 0)
    metrics.rail_answered("mock", "send", 0.1, 3, 1)
    metrics.invariant_warning("stale_step")
    metrics.reconciled(1)
    await metrics.refresh(
        Measured(
            balance(AccountKind.NOSTRO, "DEUTDEFF", "EUR", 5),
            balance(AccountKind.VOSTRO, "CHASUS33", "EUR", 6),
        )
    )
    found: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels.keys() - {"le"})
    for name, labels in (SPECIFIED | ADDED).items():
        assert found.get(name) == labels, name
    text = metrics.text().decode()
    assert 'settlement_total{status="completed"} 1.0' in text
    assert "_created" not in text


def test_each_transition_to_a_final_state_is_counted_once(metrics: Metrics) -> None:
    ending = dict.fromkeys(ENDS, 0)
    for state, rows in TRANSITIONS.items():
        for event, transition in rows.items():
            metrics.moved([step(state, event)])
            if transition.state in ENDS and event not in LATE | PARTLY:
                ending[transition.state] += 1
    for state, count in ending.items():
        assert value(metrics, "settlement_total", status=state.value) == count, state
    histories = sum(count for state, count in ending.items() if state is not State.RETURNED)
    assert value(metrics, "settlement_duration_seconds_count") == histories


def test_a_batch_is_summed_up(metrics: Metrics) -> None:
    metrics.moved(
        [
            step(State.SENT, Event.SETTLED, seconds=3, amount=Money(1_00, "EUR")),
            step(State.LOCKED, Event.SETTLED, seconds=4, amount=Money(2_50, "EUR")),
            step(State.SENT, Event.SETTLED, seconds=5, amount=Money(7, "JPY")),
            step(State.LOCKED, Event.REJECTED, seconds=6, amount=Money(99_99, "EUR")),
            step(State.VALIDATING, Event.REFUSED, seconds=7),
            step(State.VALIDATING, Event.CLEARED),
        ],
        0.02,
    )
    assert value(metrics, "settlement_total", status="completed") == 3
    assert value(metrics, "settlement_total", status="rolled_back") == 1
    assert value(metrics, "settlement_total", status="failed") == 1
    assert value(metrics, "settlement_amount_total", currency="EUR") == 3_50
    assert value(metrics, "settlement_amount_total", currency="JPY") == 7
    assert value(metrics, "settlement_duration_seconds_sum") == 25
    assert value(metrics, "atomic_operations_total", state="committed") == 3
    assert value(metrics, "atomic_operations_total", state="rolled_back") == 1
    assert value(metrics, "atomic_rollback_duration_seconds_count") == 1
    assert value(metrics, "atomic_rollback_duration_seconds_sum") == 0.02


def test_a_duration_equal_to_a_buckets_limit_is_in_that_bucket(metrics: Metrics) -> None:
    histories = [step(State.SENT, Event.SETTLED, seconds=s) for s in (0.0, 0.005, 0.0051, 1.0, 9e6)]
    metrics.moved(histories)
    counts = {
        bound: value(metrics, "settlement_duration_seconds_bucket", le=bound)
        for bound in ("0.001", "0.005", "0.01", "1.0", "7200.0", "+Inf")
    }
    assert counts == {"0.001": 1, "0.005": 2, "0.01": 3, "1.0": 4, "7200.0": 4, "+Inf": 5}


def test_a_return_counts_neither_as_an_end_nor_as_an_operation(metrics: Metrics) -> None:
    metrics.moved([step(State.COMPLETED, Event.RETURNED)], 0.1)
    assert value(metrics, "settlement_total", status="returned") == 1
    assert value(metrics, "settlement_duration_seconds_count") == 0
    assert value(metrics, "atomic_operations_total", state="rolled_back") == 0
    assert value(metrics, "settlement_amount_total", currency="EUR") == 0


def test_rail_time_excludes_the_engine_and_timeouts(metrics: Metrics) -> None:
    metrics.rail_answered("mock", "send", 0.5, 10, 0)
    metrics.rail_answered("mock", "send", 300.0, 9, 1)
    metrics.rail_answered("mock", "enquire", 300.0, 0, 4)
    labels = {"rail": "mock", "ask": "send"}
    assert value(metrics, "rail_answer_seconds_count", **labels) == 1
    assert value(metrics, "rail_answer_seconds_sum", **labels) == 0.5
    assert value(metrics, "rail_answers_total", **labels) == 19
    assert value(metrics, "rail_timeouts_total", **labels) == 1
    assert value(metrics, "rail_timeouts_total", rail="mock", ask="enquire") == 4
    assert value(metrics, "rail_answer_seconds_count", rail="mock", ask="enquire") is None


def test_group_commits_and_invariant_warnings_are_counted(metrics: Metrics) -> None:
    metrics.batch("intake", 200, 0.004)
    metrics.batch("intake", 100, 0.001)
    metrics.invariant_warning("stale_step", 3)
    assert value(metrics, "engine_batch_size_sum", stage="intake") == 300
    assert value(metrics, "engine_commit_seconds_count", stage="intake") == 2
    assert value(metrics, "engine_invariant_warnings_total", kind="stale_step") == 3


def test_the_number_of_label_sets_is_limited(metrics: Metrics) -> None:
    kinds = LABEL_SETS_MAX + 50
    for number in range(kinds):
        metrics.invariant_warning(f"kind-{number}")
    shown = metrics.text().decode().count("engine_invariant_warnings_total{")
    assert shown == LABEL_SETS_MAX + 1
    assert value(metrics, "engine_invariant_warnings_total", kind="other") == 50


async def test_gauges_show_every_open_state_also_when_nothing_is_there(metrics: Metrics) -> None:
    await metrics.refresh(Measured(open_by_state={State.IN_DOUBT: 3, State.SENT: 2}))
    assert value(metrics, "settlement_open", state="sent") == 2
    assert value(metrics, "settlement_open", state="locked") == 0
    assert value(metrics, "settlement_open", state="completed") is None
    assert value(metrics, "settlement_in_doubt") == 3
    assert value(metrics, "settlement_in_doubt_oldest_seconds") == 7.25
    assert value(metrics, "settlement_oldest_open_seconds") == 61.5
    assert value(metrics, "outbox_backlog") == 42
    await metrics.refresh(Measured())
    assert value(metrics, "settlement_in_doubt") == 0
    measured_at = value(metrics, "settlement_gauges_timestamp_seconds")
    assert measured_at is not None
    assert abs(measured_at - time.time()) < 60


def test_each_name_of_the_specification_has_a_series_from_the_start(metrics: Metrics) -> None:
    text = metrics.text().decode()
    for name, labels in SPECIFIED.items():
        found = [line for line in text.splitlines() if re.match(rf"{name}(\{{| )", line)]
        assert found, name
        assert all(float(line.rpartition(" ")[2]) == 0 for line in found), found
        for label in labels:
            assert f'{label}="' in found[0]
    for name in ("settlement_amount_total", "reconciliation_discrepancy_amount"):
        assert value(metrics, name, currency="EUR") == 0
    assert value(metrics, "nostro_balance", bank="other", currency="EUR") == 0


def test_the_first_currencies_are_those_of_a_new_databases_windows() -> None:
    assert sorted(FIRST_CURRENCIES) == sorted({currency for currency, *_ in WINDOWS})


async def test_balances_are_shown_unless_disabled(metrics: Metrics) -> None:
    source = Measured(balance(AccountKind.NOSTRO, "DEUTDEFF", "EUR", 5))
    await metrics.refresh(source)
    assert source.asked == [BALANCE_ACCOUNTS_MAX]
    assert value(metrics, "nostro_balance", bank="DEUTDEFF", currency="EUR") == 5
    off = Metrics("1.2.3", balance_accounts_max=0)
    await off.refresh(source)
    assert source.asked[-1] == 0
    assert value(off, "nostro_balance", bank="DEUTDEFF", currency="EUR") is None
    assert value(off, "nostro_balance", bank="other", currency="EUR") is None


async def test_balances_have_a_series_per_bank_and_currency_and_vanish_with_it() -> None:
    metrics = Metrics("1.2.3", balance_accounts_max=10)
    await metrics.refresh(
        Measured(
            balance(AccountKind.NOSTRO, "DEUTDEFF", "EUR", 11),
            balance(AccountKind.NOSTRO, "DEUTDEFF", "JPY", -3),
            balance(AccountKind.VOSTRO, "DEUTDEFF", "EUR", 7),
            left_out=3,
        )
    )
    assert value(metrics, "nostro_balance", bank="DEUTDEFF", currency="EUR") == 11
    assert value(metrics, "nostro_balance", bank="DEUTDEFF", currency="JPY") == -3
    assert value(metrics, "vostro_balance", bank="DEUTDEFF", currency="EUR") == 7
    assert value(metrics, "balance_accounts_left_out") == 3
    await metrics.refresh(Measured(balance(AccountKind.VOSTRO, "DEUTDEFF", "EUR", 9)))
    assert value(metrics, "nostro_balance", bank="DEUTDEFF", currency="EUR") is None
    assert value(metrics, "vostro_balance", bank="DEUTDEFF", currency="EUR") == 9
    assert value(metrics, "balance_accounts_left_out") == 0


async def test_beyond_their_bound_balances_are_one_series_per_currency(metrics: Metrics) -> None:
    many = BALANCES_SHOWN_MAX + 50
    balances = [balance(AccountKind.NOSTRO, f"B{n}", "EUR", 2) for n in range(many)]
    balances.append(balance(AccountKind.VOSTRO, "B1", "EUR", 7))
    balances.append(balance(AccountKind.NOSTRO, "LAST", "USD", 5))
    await metrics.refresh(Measured(*balances))
    text = metrics.text().decode()
    shown = [line for line in text.splitlines() if line.startswith("nostro_balance{")]
    assert len(shown) == BALANCES_SHOWN_MAX + len(FIRST_CURRENCIES)
    assert value(metrics, "nostro_balance", bank="other", currency="EUR") == 100
    assert value(metrics, "nostro_balance", bank="other", currency="USD") == 5
    assert value(metrics, "nostro_balance", bank="B0", currency="EUR") == 2
    assert value(metrics, "vostro_balance", bank="B1", currency="EUR") == 7


async def test_a_failing_source_raises_and_leaves_the_gauges(metrics: Metrics) -> None:
    class Away:
        async def gauges(self, accounts_max: int) -> Gauges:
            raise ConnectionError(accounts_max)

    await metrics.refresh(Measured(open_by_state={State.SENT: 2}))
    with pytest.raises(ConnectionError):
        await metrics.refresh(Away())
    assert value(metrics, "settlement_open", state="sent") == 2


def test_build_info_shows_the_version(metrics: Metrics) -> None:
    assert value(metrics, "build_info", version="1.2.3") == 1
