"""Same-day ACH: who asks for it, who is refused and why, and which dates a batch has at each hour of the day."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec
import pytest

from settlement_engine.domain.identifiers import references
from settlement_engine.domain.money import Money
from settlement_engine.domain.settlement import Priority
from settlement_engine.errors import Misconfigured
from settlement_engine.messages.nacha.reading import read_file
from settlement_engine.rails.ach.closing import NumberedOrder, content_of
from settlement_engine.rails.ach.orders import read_order, write_order
from settlement_engine.rails.ach.profile import read_profile, shipped_profile
from settlement_engine.rails.ach.same_day import (
    BEFORE_WINDOW_SECONDS,
    TOO_LATE_SECONDS,
    BatchDate,
    SameDayRules,
    Timing,
    date_of,
    seconds_to_closing,
    timing_of,
)
from tests.support.achrails import party
from tests.unit.rails.builders import CALLER, settlement

if TYPE_CHECKING:
    from pathlib import Path

    from settlement_engine.domain.settlement import Settlement

NEW_YORK = ZoneInfo("America/New_York")
WEDNESDAY = date(2026, 11, 25)
THURSDAY, FRIDAY, MONDAY = (WEDNESDAY + timedelta(days=days) for days in (1, 2, 5))
LIMIT_CENTS = 1_000_000_00


def rules() -> SameDayRules:
    found = shipped_profile("nacha").same_day
    assert found is not None
    return found


def at(clock: str, day: date = WEDNESDAY) -> datetime:
    return datetime.combine(day, datetime.strptime(clock, "%H:%M").time(), NEW_YORK)  # noqa: DTZ007


def paid(cents: int = 12_50, priority: Priority = Priority.URGENT) -> Settlement:
    found = settlement("k")
    changed = replace(found.instruction, amount=Money(cents, "USD"), priority=priority)
    return replace(found, instruction=changed)


# --- who is settled on the same day -------------------------------------------------------------------


def test_the_limit_stands_as_dated_data_with_its_source() -> None:
    assert (rules().amount_cents_max, rules().since) == (LIMIT_CENTS, date(2022, 3, 18))
    assert "Nacha" in rules().source


@pytest.mark.parametrize("priority", [Priority.NORMAL, Priority.HIGH])
def test_only_an_urgent_payment_asks_for_it(priority: Priority) -> None:
    assert timing_of(paid(priority=priority).instruction, rules()) == Timing()
    assert timing_of(paid().instruction, rules()) == Timing(is_same_day=True)


def test_above_the_limit_it_is_sent_for_the_next_day_and_says_why() -> None:
    assert timing_of(paid(LIMIT_CENTS).instruction, rules()).is_same_day
    refused = timing_of(paid(LIMIT_CENTS + 1).instruction, rules())
    assert not refused.is_same_day
    assert refused.refused == "same-day settlement is limited to 1,000,000.00 since 2022-03-18"


def test_a_profile_without_it_says_so() -> None:
    assert timing_of(paid().instruction, None).refused == "the profile has no same-day settlement"


def test_the_recorded_bytes_say_how_it_is_sent_and_others_have_the_bytes_that_they_had() -> None:
    names = references(CALLER, "k", 1)
    ordinary = paid(priority=Priority.NORMAL)
    assert write_order(ordinary, names, party(), rules()) == write_order(ordinary, names, party())
    order = read_order(write_order(paid(), names, party(), rules()))
    assert order is not None
    assert (order.same_day, order.same_day_refused) == (True, "")
    order = read_order(write_order(paid(), names, party()))
    assert order is not None
    assert (order.same_day, order.same_day_refused) == (
        False,
        "the profile has no same-day settlement",
    )


# --- dates --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clock", "day", "expected"),
    [
        ("00:01", WEDNESDAY, BatchDate(WEDNESDAY, "SD1300")),
        ("10:30", WEDNESDAY, BatchDate(WEDNESDAY, "SD1300")),
        ("10:31", WEDNESDAY, BatchDate(WEDNESDAY, "SD1700")),
        ("16:45", WEDNESDAY, BatchDate(WEDNESDAY, "SD1800")),
        ("16:46", WEDNESDAY, BatchDate(THURSDAY)),
        ("16:46", FRIDAY, BatchDate(MONDAY)),
        ("09:00", FRIDAY + timedelta(days=1), BatchDate(MONDAY)),
    ],
)
def test_a_same_day_batch_names_the_settlement_of_its_window(
    clock: str, day: date, expected: BatchDate
) -> None:
    assert date_of(day, at(clock, day), rules(), is_same_day=True) == expected


def test_the_windows_are_those_of_their_own_zone() -> None:
    in_chicago = at("10:29").astimezone(ZoneInfo("America/Chicago"))
    assert date_of(WEDNESDAY, in_chicago, rules(), is_same_day=True).descriptive == "SD1300"


def test_any_other_batch_is_for_the_next_day_or_later() -> None:
    """Today's date alone would ask the operator for today's settlement."""
    early = at("09:00")
    assert date_of(WEDNESDAY, early, rules(), is_same_day=False) == BatchDate(THURSDAY)
    assert date_of(MONDAY, early, rules(), is_same_day=False) == BatchDate(MONDAY)
    assert date_of(MONDAY, early, rules(), is_same_day=True) == BatchDate(MONDAY)
    assert date_of(WEDNESDAY, early, None, is_same_day=False) == BatchDate(WEDNESDAY)


def test_without_windows_a_file_is_settled_at_any_time_and_names_none() -> None:
    without = msgspec.structs.replace(rules(), windows=())
    assert date_of(FRIDAY, at("23:00", FRIDAY), without, is_same_day=True) == BatchDate(FRIDAY)
    saturday = FRIDAY + timedelta(days=1)
    assert date_of(saturday, at("09:00", saturday), without, is_same_day=True) == BatchDate(MONDAY)
    assert seconds_to_closing(at("09:00"), without) is None


def test_a_file_is_closed_a_minute_before_its_window() -> None:
    assert seconds_to_closing(at("10:00"), rules()) == 1_800 - BEFORE_WINDOW_SECONDS
    assert seconds_to_closing(at("10:29"), rules()) == 0
    late = at("10:29") + timedelta(seconds=BEFORE_WINDOW_SECONDS - TOO_LATE_SECONDS)
    assert seconds_to_closing(late - timedelta(seconds=1), rules()) == 0
    assert seconds_to_closing(late, rules()) is None, "one file for each payment, otherwise"
    assert seconds_to_closing(at("17:00"), rules()) is None


def test_a_file_carries_the_dates() -> None:
    names = references(CALLER, "k", 1)
    order = read_order(write_order(paid(), names, party(), rules()))
    assert order is not None
    data = content_of([NumberedOrder(order, "091000010000001")], party(), "A", at("09:30"), rules())
    [batch] = read_file(data).batches
    assert (batch.descriptive_date.strip(), batch.effective_date) == ("SD1300", WEDNESDAY)


# --- profiles -----------------------------------------------------------------------------------------

SAME_DAY = """
[same_day]
since = 2022-03-18
source = "our bank's agreement"
amount_cents_max = 5000000
zone = "America/New_York"
windows = [{ closes = 09:00:00, settles = 13:00:00 }, { closes = 13:00:00, settles = 17:00:00 }]
"""


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('zone = "America/New_York"', 'zone = "America/Nowhere"', "same_day.zone"),
        ("closes = 13:00:00", "closes = 09:00:00", "same_day.windows"),
        ("settles = 13:00:00", "settles = 08:00:00", "same_day.windows"),
        ("amount_cents_max = 5000000", "amount_cents_max = 5000000\nweekdays = []", "weekdays"),
        ("amount_cents_max = 5000000", "amount_cents_max = 0", "same_day"),
        ("amount_cents_max = 5000000", "amount_cents_max = 5000000\nweekdays = [8]", "same_day"),
    ],
)
def test_a_profile_of_ones_own_is_checked(tmp_path: Path, old: str, new: str, fault: str) -> None:
    ordinary = """
scheme = "ACH through our bank"
published = 2026-01-01
source = "agreement"
finality = "the advice"
rail_class = "D"
acknowledged_seconds = 7200
validity_seconds = 86400
amount_cents_max = 9999999999
items_max = 100
"""
    path = tmp_path / "own.toml"
    path.write_text(ordinary + SAME_DAY)
    found = read_profile(path).same_day
    assert found is not None
    assert found.windows[1].settles.hour == 17
    path.write_text(ordinary + SAME_DAY.replace(old, new))
    with pytest.raises(Misconfigured) as refused:
        read_profile(path)
    assert fault in f"{refused.value.what} {refused.value.why}"
