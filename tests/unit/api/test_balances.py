"""ListBalances: instants, booking dates, pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.past_balances import BOOKING_SECONDS_MAX, booking_date, booking_day
from settlement_engine.proto import settlement_pb2 as pb
from tests.support.histories import funding, spec
from tests.unit.api.test_grpc import failed, violations

HOUR = timedelta(hours=1)


async def funded(edge) -> None:
    """Open two accounts in the stores and fund one, and let the fake engine list them."""
    accounts = edge.world.stores.accounts
    for bank in ("ALFA", "BETA"):
        opened = await accounts.open_account(spec(AccountKind.NOSTRO, bank))
        edge.world.accounts_known[opened.id] = opened
    await accounts.fund(funding(12_345, bank="ALFA"))


def request(**fields) -> pb.ListBalancesRequest:
    later = fields.pop("at", None)
    made = pb.ListBalancesRequest(**fields)
    if later is not None:
        made.as_of_time.FromDatetime(later)
    return made


async def test_the_default_is_the_latest_instant_that_is_final(edge) -> None:
    await funded(edge)
    before = datetime.now(UTC)
    answer = await edge.accounts.ListBalances(request())
    at = answer.as_of_time.ToDatetime(UTC)
    assert answer.is_final
    assert timedelta(0) <= at + timedelta(seconds=BOOKING_SECONDS_MAX) - before < HOUR
    assert [each.posted for each in answer.balances] == ["0.00", "0.00"]


async def test_a_later_instant_has_the_booking_and_is_not_final(edge) -> None:
    await funded(edge)
    answer = await edge.accounts.ListBalances(request(at=datetime.now(UTC) + HOUR))
    assert not answer.is_final
    [alfa, beta] = answer.balances
    assert (alfa.posted, alfa.debits, alfa.credits) == ("123.45", "123.45", "0.00")
    assert (beta.posted, beta.currency) == ("0.00", "EUR")


async def test_one_account_by_a_booking_date(edge) -> None:
    await funded(edge)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date()
    answer = await edge.accounts.ListBalances(
        request(account_id="1", as_of_date=tomorrow.isoformat())
    )
    assert [each.posted for each in answer.balances] == ["123.45"]
    assert answer.as_of_time.ToDatetime(UTC).date() == tomorrow + timedelta(days=1)
    past = await edge.accounts.ListBalances(request(account_id="1", as_of_date="2020-02-29"))
    assert ([each.posted for each in past.balances], past.is_final) == (["0.00"], True)


async def test_the_following_pages_are_as_of_the_same_instant(edge) -> None:
    await funded(edge)
    first = await edge.accounts.ListBalances(request(page_size=1))
    second = await edge.accounts.ListBalances(
        request(page_size=1, page_token=first.next_page_token)
    )
    assert [each.account_id for each in (*first.balances, *second.balances)] == ["1", "2"]
    assert second.as_of_time == first.as_of_time
    assert second.next_page_token == ""


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("as_of_date", {"as_of_date": "2026-02-30"}),
        ("as_of_date", {"as_of_date": "9999-12-31"}),
        ("as_of_date", {"as_of_date": "2026-01-31", "as_of": 1}),
        ("as_of", {"as_of": -1}),
        ("as_of_time", {"at": datetime(1969, 1, 1, tzinfo=UTC)}),
        ("account_id", {"account_id": "x"}),
        ("kind", {"kind": 99}),
        ("bank", {"bank": "?"}),
        ("page_token", {"page_token": "x"}),
    ],
)
async def test_what_cannot_be_read_names_its_field(edge, field, fields) -> None:
    error = await failed(edge.accounts.ListBalances(request(**fields)))
    assert field in violations(error)


async def test_an_unknown_account_is_not_found(edge) -> None:
    error = await failed(edge.accounts.ListBalances(request(account_id="99")))
    assert "no account 99" in error.details()


async def test_a_booking_date_is_a_day_of_the_zone(make_edge) -> None:
    edge = await make_edge(zone="America/New_York")
    answer = await edge.accounts.ListBalances(request(as_of_date="2026-03-08"))
    assert answer.as_of_time.ToDatetime(UTC) == datetime(2026, 3, 9, 4, tzinfo=UTC)


def test_no_instant_is_of_two_booking_dates_or_of_none() -> None:
    """Over both changes of the clock: the dates follow one another without a gap."""
    from zoneinfo import ZoneInfo

    for name in ("Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"):
        zone = ZoneInfo(name)
        day = datetime(2026, 1, 1, tzinfo=UTC).date()
        for _ in range(400):
            here, following = booking_day(day, zone), booking_day(day + timedelta(days=1), zone)
            assert here.ends == following.begins > here.begins
            assert booking_date(here.begins, zone) == day
            assert booking_date(here.ends - timedelta(microseconds=1), zone) == day
            day += timedelta(days=1)
