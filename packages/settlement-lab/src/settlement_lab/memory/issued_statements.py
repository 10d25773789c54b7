"""Statements that we issue, in memory (``ports.IssuedStatementStore``)."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from settlement_engine.domain.issued_statements import (
    AccountBooking,
    IssuedFile,
    IssuedStatement,
    next_period,
    require_closing,
    require_entries,
    require_issuable,
)
from settlement_engine.domain.past_balances import BOOKING_SECONDS_MAX
from settlement_engine.errors import NotFound
from settlement_engine.ports import IssuedPart
from settlement_lab.memory.past_balances import balances_before

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from settlement_engine.domain.issued_statements import (
        IssuedFormat,
        StatementBuilder,
        StatementOrder,
    )
    from settlement_engine.domain.ledger import Transfer
    from settlement_engine.ports import IssuedFilter
    from settlement_lab.memory.records import Records


class MemoryIssuedStatements:
    """See ``ports.IssuedStatementStore``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def issue(self, order: StatementOrder, build: StatementBuilder) -> IssuedStatement:
        """Issue the statement of a booking date, or return it; see the port."""
        known = self._latest(order.account_id, order.booking_date)
        if known is not None and known.file(order.format) is not None:
            return replace(known, is_replay=True)
        issued, bookings = (
            self._begin(order)
            if known is None
            else (known, self._bookings(order.account_id, known.begins, known.ends))
        )
        content = build(issued, bookings)
        sha256 = hashlib.sha256(content).digest()
        file = IssuedFile(format=order.format, sha256=sha256, file_bytes=len(content))
        files = tuple(sorted((*issued.files, file), key=lambda each: each.format.value))
        made = replace(issued, files=files)
        self._records.issued_statements[issued.id] = made
        self._records.issued_files[issued.id, order.format] = content
        return made

    def _begin(self, order: StatementOrder) -> tuple[IssuedStatement, Sequence[AccountBooking]]:
        account = self._records.accounts.get(order.account_id)
        if account is None:
            raise NotFound(f"there is no account {order.account_id}", listed_by="accounts list")
        now = self._records.clock.now()
        require_issuable(order, account.kind, now - timedelta(seconds=BOOKING_SECONDS_MAX))
        last = self._latest(order.account_id)
        period = next_period(order, last, self._first_between(order, last))
        bookings = self._bookings(order.account_id, *period)
        require_entries(bookings, order)
        credits_minor = sum(each.amount_minor for each in bookings if each.is_credit)
        debits_minor = sum(each.amount_minor for each in bookings if not each.is_credit)
        opening = self._balance(account.id, period.begins) if last is None else last.closing_minor
        closing = opening + credits_minor - debits_minor
        require_closing(order, closing, self._balance(account.id, period.ends))
        issued = IssuedStatement(
            id=len(self._records.issued_statements) + 1,
            account=replace(account, debits_posted=0, credits_posted=0, held=0, credit_limit=0),
            number=1 if last is None else last.number + 1,
            booking_date=order.booking_date,
            begins=period.begins,
            ends=period.ends,
            opening_minor=opening,
            closing_minor=closing,
            credits_minor=credits_minor,
            debits_minor=debits_minor,
            entries=len(bookings),
            previous_date=None if last is None else last.booking_date,
            issued_by=order.who,
            issued_at=now,
        )
        return issued, bookings

    def _latest(self, account_id: int, day: date | None = None) -> IssuedStatement | None:
        for each in reversed(self._records.issued_statements.values()):
            if each.account.id == account_id and day in (None, each.booking_date):
                return each
        return None

    def _first_between(
        self, order: StatementOrder, last: IssuedStatement | None
    ) -> datetime | None:
        if last is None:
            return None
        found = self._on(order.account_id, last.ends, order.day.begins)
        return min((each.at for each in found if each.at), default=None)

    def _on(self, account_id: int, begins: datetime, ends: datetime) -> list[Transfer]:
        return [
            each
            for each in self._records.transfers.values()
            if account_id in (each.debit_id, each.credit_id)
            and each.at is not None
            and begins <= each.at < ends
        ]

    def _bookings(self, account_id: int, begins: datetime, ends: datetime) -> list[AccountBooking]:
        found = self._on(account_id, begins, ends)
        found.sort(key=lambda each: (each.at, each.group_id, each.posting, each.leg))
        return [self._booking(account_id, each) for each in found]

    def _booking(self, account_id: int, transfer: Transfer) -> AccountBooking:
        booking = AccountBooking(
            group_id=transfer.group_id,
            posting=transfer.posting,
            leg=transfer.leg,
            is_credit=transfer.credit_id == account_id,
            amount_minor=transfer.amount_minor,
            reference=transfer.reference,
        )
        history = self._records.histories.get(transfer.group_id)
        if history is None:
            return booking
        instruction, attempt = history.instruction, history.attempt
        said = instruction.payment.end_to_end_id if instruction.payment is not None else ""
        return replace(
            booking,
            value_date=history.value_date,
            from_bank=instruction.from_bank,
            to_bank=instruction.to_bank,
            obligation_id=instruction.obligation_id,
            end_to_end_id=said or (attempt.references.end_to_end_id if attempt else ""),
            uetr=str(attempt.references.uetr) if attempt else "",
        )

    def _balance(self, account_id: int, at: datetime) -> int:
        before = (each for each in self._records.transfers.values() if each.at and each.at < at)
        found = balances_before(before).get(account_id)
        return 0 if found is None else found.credits_posted - found.debits_posted

    async def issued(self, wanted: IssuedFilter) -> list[IssuedStatement]:
        """Return issued statements, the latest first."""
        found = [
            each
            for each in reversed(self._records.issued_statements.values())
            if wanted.account_id in (None, each.account.id)
            and (wanted.before_id is None or each.id < wanted.before_id)
        ]
        return found[: wanted.limit]

    async def issued_part(
        self, account_id: int, number: int, wanted: IssuedFormat, offset: int, bytes_max: int
    ) -> IssuedPart | None:
        """Return a part of the bytes of an issued statement."""
        for each in self._records.issued_statements.values():
            content = self._records.issued_files.get((each.id, wanted))
            if (each.account.id, each.number) == (account_id, number) and content is not None:
                return IssuedPart(
                    sha256=hashlib.sha256(content).digest(),
                    file_bytes=len(content),
                    content=content[offset : offset + bytes_max],
                )
        return None
