"""The windows in force: what is open is remembered until it shuts, and a rail's own windows narrow it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, time
from unittest.mock import AsyncMock, Mock, patch

from settlement_engine.domain.windows import EVERY_DAY, Window, window_opening_at
from settlement_engine.engine import window_calendar as module
from settlement_engine.engine.window_calendar import (
    OPEN_MAX,
    ROUND_THE_CLOCK,
    WindowCalendar,
    keep_window_calendar,
)
from settlement_engine.errors import Unavailable

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def window(opens: int, closes: int, currency: str = "EUR") -> Window:
    return Window(
        currency=currency, zone="UTC", opens=time(opens), closes=time(closes), weekdays=EVERY_DAY
    )


def known(*windows: Window, **by_rail: Window) -> WindowCalendar:
    rails = {name: (own,) for name, own in by_rail.items()}
    made = WindowCalendar(has_real_windows=True, by_rail=rails)
    made.replace(windows)
    return made


def test_without_real_windows_everything_is_open_round_the_clock() -> None:
    assert WindowCalendar(has_real_windows=False).window_opening("EUR", NOON) is ROUND_THE_CLOCK


def test_a_currency_without_a_window_is_shut() -> None:
    made = known(window(8, 18))
    assert made.window_opening("USD", NOON) is None
    assert made.next_opening("USD", NOON) is None


def test_what_is_open_is_looked_up_once_and_again_when_it_has_shut() -> None:
    made = known(window(8, 18))
    with patch.object(module, "window_opening_at", wraps=window_opening_at) as look:
        first = made.window_opening("EUR", NOON)
        assert made.window_opening("EUR", NOON.replace(hour=17)) is first
        assert look.call_count == 1
        assert made.window_opening("EUR", NOON.replace(hour=18)) is None
        assert made.window_opening("EUR", NOON.replace(day=6)) is not first


def test_windows_that_have_changed_count_at_once() -> None:
    made = known(window(8, 18))
    assert made.window_opening("EUR", NOON) is not None
    made.replace((window(14, 18),))
    assert made.window_opening("EUR", NOON) is None
    assert made.next_opening("EUR", NOON) == NOON.replace(hour=14)


def test_a_rails_own_windows_narrow_the_currencys() -> None:
    made = known(window(8, 18), night=window(20, 22), day=window(10, 20))
    both = made.window_opening("EUR", NOON, "day")
    assert both is not None
    assert (both.opens_at.hour, both.closes_at.hour) == (10, 18)
    assert made.window_opening("EUR", NOON, "night") is None
    assert made.next_opening("EUR", NOON.replace(hour=9), "day") == NOON.replace(hour=10)


def test_no_more_is_remembered_than_may_be() -> None:
    made = known(window(8, 18, currency=""))
    for number in range(OPEN_MAX + 5):
        assert made.window_opening("EUR", NOON, f"rail{number}") is not None
    assert len(made._open) <= OPEN_MAX


async def test_a_failed_reading_leaves_the_last_windows() -> None:
    made = known()
    read = AsyncMock(side_effect=[(window(8, 18),), Unavailable("lost"), asyncio.CancelledError])
    accounts = Mock(windows=read)
    task = asyncio.ensure_future(
        keep_window_calendar(Mock(windows_refresh_seconds=1.0), accounts, made)
    )
    await asyncio.wait([task])
    assert read.await_count == 3
    assert made.window_opening("EUR", NOON) is not None
