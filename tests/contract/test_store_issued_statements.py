"""Statements that we issue: numbers without a gap, each beginning where the one before ended, made once."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from settlement_engine.domain.issued_statements import IssuedFormat, StatementOrder
from settlement_engine.domain.ledger import AccountKind, Leg
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.past_balances import BookingDay
from settlement_engine.errors import NotFound, WrongState
from settlement_engine.ports import IssuedFilter
from settlement_engine.store import issued_statements as in_postgres
from settlement_lab.memory import issued_statements as in_memory
from tests.support.histories import ALL_TRANSFERS, spec

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY = date(2026, 1, 30)
ONE = timedelta(days=1)
INSTANT = timedelta(microseconds=1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
CAMT, MT950 = IssuedFormat.CAMT053, IssuedFormat.MT950


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    """What has been booked is complete: no other transaction is in progress in these tests."""
    monkeypatch.setattr(in_postgres, "BOOKING_SECONDS_MAX", 0.0)
    monkeypatch.setattr(in_memory, "BOOKING_SECONDS_MAX", 0.0)


def told(issued, bookings):
    """Make bytes that say everything."""
    facts = replace(issued, id=0, files=(), is_replay=False)
    return repr((facts, bookings)).encode()


def order(account, begins, ends, day=DAY, **changes):
    fields = {
        "account_id": account.id,
        "booking_date": day,
        "day": BookingDay(begins, ends),
        "format": CAMT,
        "who": "ada",
    }
    return StatementOrder(**{**fields, **changes})


async def vostro(scene):
    accounts = await scene.stores.accounts.accounts_of([(AccountKind.VOSTRO, scene.target_bank)])
    return accounts[0]


async def last_booking(scene):
    return max(each.at for each in await scene.stores.accounts.transfers(ALL_TRANSFERS))


async def days(scene):
    """Book on two days; return the account, and the instants at which the days begin and end."""
    account = await vostro(scene)
    settled = await scene.bring(State.COMPLETED)
    await scene.bring(State.COMPLETED)
    first = await last_booking(scene) + INSTANT
    await scene.move(settled, Event.RETURNED)
    second = await last_booking(scene) + INSTANT
    return account, (first - timedelta(hours=1), first, second)


async def test_a_statement_has_the_bookings_of_its_day_as_the_holder_sees_them(scene):
    account, (zero, first, second) = await days(scene)
    seen = []

    def keep(issued, bookings):
        seen.append(bookings)
        return told(issued, bookings)

    one = await scene.stores.issued.issue(order(account, zero, first), keep)
    two = await scene.stores.issued.issue(order(account, first, second, DAY + ONE), keep)
    assert (one.number, one.opening_minor, one.closing_minor, one.entries) == (1, 0, 200, 2)
    assert (two.number, two.opening_minor, two.closing_minor, two.entries) == (2, 200, 100, 1)
    assert (one.credits_minor, one.debits_minor) == (200, 0)
    assert (two.credits_minor, two.debits_minor) == (0, 100)
    assert (one.begins, one.ends, two.begins, two.ends) == (zero, first, first, second)
    assert (one.previous_date, two.previous_date) == (None, DAY)
    assert [each.minor for each in seen[0]] == [100, 100]
    [back] = seen[1]
    assert (back.minor, back.leg, back.posting) == (-100, Leg.OBLIGATION_RESTORED, 2)
    assert back.group_id == seen[0][0].group_id
    for each in (*seen[0], back):
        assert "" not in (each.uetr, each.end_to_end_id, each.obligation_id, each.value_date or "")
        assert (each.from_bank, each.to_bank) == (scene.source_bank, scene.target_bank)
    assert (one.account.id, one.account.currency, one.issued_by) == (account.id, "EUR", "ada")


async def test_the_same_day_again_is_the_same_statement_and_nothing_is_made_again(scene):
    account, (zero, first, _) = await days(scene)
    made = await scene.stores.issued.issue(order(account, zero, first), told)
    assert not made.is_replay

    def never(issued, bookings):
        raise AssertionError("made again")

    again = order(account, zero + timedelta(minutes=1), first, who="bob")
    assert await scene.stores.issued.issue(again, never) == replace(made, is_replay=True)


async def test_another_format_has_the_same_number_and_figures(scene):
    account, (zero, first, second) = await days(scene)
    one = await scene.stores.issued.issue(order(account, zero, first), told)
    await scene.stores.issued.issue(order(account, first, second, DAY + ONE), told)
    other = await scene.stores.issued.issue(order(account, zero, first, format=MT950), told)
    assert replace(other, files=one.files) == one
    assert [each.format for each in other.files] == [MT950, CAMT]
    assert {each.sha256 for each in other.files} == {one.files[0].sha256}


async def test_the_bytes_are_kept_and_read_in_parts(scene):
    account, (zero, first, _) = await days(scene)
    content = bytes(range(256)) * 10
    made = await scene.stores.issued.issue(order(account, zero, first), lambda *_: content)
    assert made.file(CAMT).sha256 == hashlib.sha256(content).digest()
    assert made.file(CAMT).file_bytes == len(content)
    issued_part = scene.stores.issued.issued_part
    read = [await issued_part(account.id, 1, CAMT, at, 1_000) for at in (0, 1_000, 2_000, 3_000)]
    assert b"".join(each.content for each in read) == content
    assert {(each.sha256, each.file_bytes) for each in read} == {(made.file(CAMT).sha256, 2_560)}
    assert await issued_part(account.id, 1, MT950, 0, 10) is None
    assert await issued_part(account.id, 2, CAMT, 0, 10) is None


async def test_a_day_without_bookings_may_be_issued_or_left_out(scene):
    account, (zero, first, second) = await days(scene)
    before = order(account, zero - timedelta(hours=2), zero - timedelta(hours=1), DAY - 2 * ONE)
    empty = await scene.stores.issued.issue(before, told)
    assert (empty.entries, empty.opening_minor, empty.closing_minor) == (0, 0, 0)
    one = await scene.stores.issued.issue(order(account, zero, first), told)
    assert (one.number, one.begins, one.entries) == (2, empty.ends, 2)
    two = await scene.stores.issued.issue(order(account, first, second, DAY + ONE), told)
    assert (two.number, two.opening_minor) == (3, one.closing_minor)


async def test_a_day_with_bookings_may_not_be_left_out(scene):
    account, (zero, first, second) = await days(scene)
    early = order(account, zero - timedelta(hours=2), zero, DAY - ONE)
    await scene.stores.issued.issue(early, told)
    with pytest.raises(WrongState, match="earlier booking date"):
        await scene.stores.issued.issue(order(account, first, second, DAY + ONE), told)
    assert len(await scene.stores.issued.issued(IssuedFilter(limit=9, account_id=account.id))) == 1


async def test_a_day_before_the_last_statement_is_refused(scene):
    account, (zero, first, _) = await days(scene)
    await scene.stores.issued.issue(order(account, zero, first), told)
    earlier = order(account, zero - timedelta(hours=2), zero, DAY - ONE)
    with pytest.raises(WrongState, match="continue after 2026-01-30"):
        await scene.stores.issued.issue(earlier, told)


async def test_a_first_statement_opens_with_the_balance_of_before(scene):
    account, (_, first, second) = await days(scene)
    made = await scene.stores.issued.issue(order(account, first, second), told)
    assert (made.number, made.opening_minor, made.closing_minor, made.entries) == (1, 200, 100, 1)


async def test_a_day_that_is_not_over_is_refused(scene):
    account, (zero, _, _) = await days(scene)
    with pytest.raises(WrongState, match="is not over"):
        await scene.stores.issued.issue(order(account, zero, datetime.now(UTC) + ONE), told)


async def test_only_the_holder_of_a_vostro_account_gets_a_statement(scene):
    nostro = await scene.stores.accounts.open_account(
        spec(AccountKind.NOSTRO, scene.target_bank, account_number="statement")
    )
    with pytest.raises(WrongState, match="vostro account only"):
        await scene.stores.issued.issue(order(nostro, LONG_AGO, LONG_AGO + ONE), told)
    unknown = replace(nostro, id=10**9)
    with pytest.raises(NotFound):
        await scene.stores.issued.issue(order(unknown, LONG_AGO, LONG_AGO + ONE), told)


async def test_what_cannot_be_made_takes_no_number(scene):
    account, (zero, first, _) = await days(scene)

    def fail(issued, bookings):
        raise WrongState("it cannot be written")

    with pytest.raises(WrongState, match="cannot be written"):
        await scene.stores.issued.issue(order(account, zero, first), fail)
    assert await scene.stores.issued.issued(IssuedFilter(limit=9, account_id=account.id)) == []
    assert (await scene.stores.issued.issue(order(account, zero, first), told)).number == 1


async def test_two_engines_issue_one_statement(scene):
    account, (zero, first, _) = await days(scene)
    sides = [scene.stores.beside() for _ in range(3)]
    made = await asyncio.gather(
        *(each.issued.issue(order(account, zero, first), told) for each in sides)
    )
    assert len({each.id for each in made}) == 1
    assert sorted(each.is_replay for each in made) == [False, True, True]


async def test_statements_are_listed_latest_first_in_pages(scene):
    account, (zero, first, second) = await days(scene)
    one = await scene.stores.issued.issue(order(account, zero, first), told)
    two = await scene.stores.issued.issue(order(account, first, second, DAY + ONE), told)
    issued = scene.stores.issued.issued
    assert await issued(IssuedFilter(limit=9, account_id=account.id)) == [two, one]
    assert await issued(IssuedFilter(limit=1, account_id=account.id)) == [two]
    assert await issued(IssuedFilter(limit=9, account_id=account.id, before_id=two.id)) == [one]
    assert (await issued(IssuedFilter(limit=1)))[0] == two
