"""Issued statements read back by our own reader: the figures are those that were issued, in both formats."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, cast
from uuid import UUID

import pytest

from settlement_engine.domain.issued_statements import (
    AccountBooking,
    IssuedFormat,
    IssuedStatement,
    StatementOrder,
    booking_reference,
)
from settlement_engine.domain.ledger import Account, AccountKind, Leg
from settlement_engine.domain.past_balances import BookingDay
from settlement_engine.domain.statements import BalanceType, EntryStatus
from settlement_engine.engine.statement_issuing import StatementIssuing
from settlement_engine.errors import WrongState
from settlement_engine.messages.camt053_building import CAMT053
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.schemas import Schema
from settlement_engine.messages.statements import read_statements
from tests.support.corpora import shared_folder

if TYPE_CHECKING:
    from settlement_engine.ports import IssuedStatementStore

DAY = date(2026, 1, 30)
CAMT, MT950 = IssuedFormat.CAMT053, IssuedFormat.MT950
BEGINS = datetime(2026, 1, 29, 23, tzinfo=UTC)
IBAN = "DE89370400440532013000"
OURS = "SETTGB2L"


class OneStatement:
    """A store that issues what a test has written down."""

    def __init__(self, issued: IssuedStatement, bookings: list[AccountBooking]) -> None:
        self.issued_one = issued
        self.bookings = bookings
        self.content = b""

    async def issue(self, order, build):
        self.content = build(self.issued_one, self.bookings)
        return self.issued_one


def booking(number: int, minor: int, **changes) -> AccountBooking:
    fields = {
        "group_id": UUID(int=(0x0190 << 112) + number),
        "posting": 1,
        "leg": Leg.OBLIGATION if minor > 0 else Leg.PAID_OUT,
        "is_credit": minor > 0,
        "amount_minor": abs(minor),
        "value_date": DAY,
        "from_bank": "DEUTDEFF",
        "to_bank": "CHASUS33",
        "obligation_id": f"OB-{number}",
        "end_to_end_id": f"E2E-{number}",
        "uetr": f"0123abcd-0123-4abc-8abc-{number:012x}",
    }
    return AccountBooking(**{**fields, **changes})


def statement(bookings, *, opening=1_000, currency="EUR", bank="CHASUS33", number=7, account=IBAN):
    credits_minor = sum(each.amount_minor for each in bookings if each.is_credit)
    debits_minor = sum(each.amount_minor for each in bookings if not each.is_credit)
    return IssuedStatement(
        id=1,
        account=Account(
            id=12,
            kind=AccountKind.VOSTRO,
            bank=bank,
            currency=currency,
            account_number=account,
        ),
        number=number,
        booking_date=DAY,
        begins=BEGINS,
        ends=BEGINS + timedelta(days=1),
        opening_minor=opening,
        closing_minor=opening + credits_minor - debits_minor,
        credits_minor=credits_minor,
        debits_minor=debits_minor,
        entries=len(bookings),
        previous_date=DAY - timedelta(days=1),
        issued_by="ada",
        issued_at=datetime(2026, 1, 31, 6, 30, 0, 123_456, tzinfo=UTC),
    )


async def issue(bookings, wanted, *, servicer=OURS, **facts) -> bytes:
    store = OneStatement(statement(bookings, **facts), list(bookings))
    order = StatementOrder(
        account_id=12,
        booking_date=DAY,
        day=BookingDay(BEGINS, BEGINS + timedelta(days=1)),
        format=wanted,
        who="ada",
    )
    await StatementIssuing(cast("IssuedStatementStore", store), servicer).issue(order)
    return store.content


def joined(content: bytes):
    """Read the pages of a statement: its entries, and what it opens and closes with."""
    read = read_statements(content, None)
    assert read.faults == ()
    entries = [entry for page in read.statements for entry in page.entries]
    return read.statements, entries


MIXED = [
    booking(1, 25_000),
    booking(2, -7_550),
    booking(1, -25_000, leg=Leg.OBLIGATION_RESTORED, posting=2),
    booking(2, 7_550, leg=Leg.PAID_OUT_RETURNED, posting=2),
    booking(3, 1, value_date=None, end_to_end_id=""),
]


@pytest.mark.parametrize("wanted", [CAMT, MT950])
async def test_a_statement_reads_back_with_the_same_figures(wanted):
    [page], entries = joined(await issue(MIXED, wanted))
    assert page.source.value.replace(".", "") in {"camt053", "MT950"}
    assert page.account.currency == "EUR"
    assert page.account.identifier == IBAN
    assert (page.sequence, page.id) == (7, "12-7")
    assert page.opening().minor == 1_000
    assert page.closing().minor == 1_001
    assert page.closing().date == DAY
    assert page.booked_minor() == 1
    assert [each.minor for each in entries] == [25_000, -7_550, -25_000, 7_550, 1]
    assert [each.is_reversal for each in entries] == [False, False, True, True, False]
    assert {each.status for each in entries} == {EntryStatus.BOOKED}
    assert {each.booking_date for each in entries} == {DAY}
    assert [each.references.servicer for each in entries] == [
        booking_reference(each) for each in MIXED
    ]


async def test_a_credit_of_ours_is_the_holders_credit():
    content = await issue([booking(1, 100)], CAMT)
    assert content.count(b"<CdtDbtInd>CRDT</CdtDbtInd>") == 3  # the entry and both balances
    assert b"<CdtDbtInd>DBIT</CdtDbtInd>" not in content
    assert b"C260130" in await issue([booking(1, 100)], MT950)


async def test_a_camt053_is_valid_against_its_schema():
    schema = Schema((shared_folder("iso20022-xsd") / f"{CAMT053}.xsd").read_bytes())
    for bookings in ([], MIXED):
        for bank in ("CHASUS33", "BANK0001"):
            for number in (IBAN, "vostro-BANK0001-EUR"):
                content = await issue(bookings, CAMT, bank=bank, account=number)
                schema.validate(content, CAMT053)


async def test_an_invalid_camt053_takes_no_number():
    def refuse(_content: bytes) -> None:
        raise MessageError("line 7", "This element is not expected.")

    store = OneStatement(statement([]), [])
    issuing = StatementIssuing(cast("IssuedStatementStore", store), OURS, refuse)
    order = StatementOrder(
        account_id=12,
        booking_date=DAY,
        day=BookingDay(BEGINS, BEGINS + timedelta(days=1)),
        format=CAMT,
        who="ada",
    )
    with pytest.raises(WrongState, match="cannot be written as camt") as caught:
        await issuing.issue(order)
    assert caught.value.why == "line 7 This element is not expected."


async def test_a_long_mt950_has_pages_that_lead_from_the_opening_to_the_closing_balance():
    chance = random.Random(5)
    bookings = [
        booking(n, chance.choice((1, -1)) * chance.randint(1, 10**9)) for n in range(1, 200)
    ]
    pages, entries = joined(await issue(bookings, MT950, opening=-5, number=99_999))
    assert len(pages) > 5
    assert [each.page for each in pages] == list(range(1, len(pages) + 1))
    assert {each.sequence for each in pages} == {99_999}
    assert [each.minor for each in entries] == [each.minor for each in bookings]
    assert pages[0].balance(BalanceType.OPENING).minor == -5
    assert pages[-1].balance(BalanceType.CLOSING).minor == -5 + sum(each.minor for each in bookings)
    for one, other in pairwise(pages):
        assert one.closing().minor == other.opening().minor
        assert one.opening().minor + one.booked_minor() == one.closing().minor


@pytest.mark.parametrize("wanted", [CAMT, MT950])
async def test_the_same_statement_is_the_same_bytes(wanted):
    assert await issue(MIXED, wanted) == await issue(MIXED, wanted)


@pytest.mark.parametrize(("currency", "minor"), [("JPY", 5), ("KWD", 1_234), ("EUR", 10**15)])
async def test_amounts_have_the_decimals_of_their_currency(currency, minor):
    _, entries = joined(await issue([booking(1, minor)], CAMT, currency=currency))
    assert [each.minor for each in entries] == [minor]


async def test_a_statement_without_entries_is_valid():
    for wanted in (CAMT, MT950):
        [page], entries = joined(await issue([], wanted, opening=-250))
        assert (page.opening().minor, page.closing().minor, entries) == (-250, -250, [])


async def test_a_value_date_that_no_field_can_carry_is_the_booking_date():
    far = booking(1, 100, value_date=DAY - timedelta(days=200))
    near = booking(2, 100, value_date=DAY - timedelta(days=20))
    for wanted in (CAMT, MT950):
        _, entries = joined(await issue([far, near], wanted))
        assert [each.value_date for each in entries] == [DAY, DAY - timedelta(days=20)]


@pytest.mark.parametrize(
    "facts", [{"servicer": ""}, {"bank": "BANK0001"}, {"currency": "EUR", "opening": 10**16}]
)
async def test_what_an_mt950_cannot_say_is_refused_with_its_place(facts):
    with pytest.raises(WrongState, match="cannot be written as MT950") as refused:
        await issue([booking(1, 100)], MT950, **facts)
    assert refused.value.why


def test_each_booking_has_its_own_reference():
    assert len({booking_reference(each) for each in MIXED}) == len(MIXED)
