"""The proof of what was issued and reported, in memory: ``sql/queries/proof_statements.sql``, by name."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from settlement_lab.memory.past_balances import balances_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date, datetime

    from settlement_engine.domain.issued_statements import IssuedStatement
    from settlement_engine.domain.regulatory_report import RegulatoryReport
    from settlement_lab.memory.records import Records

    Found = Iterator[tuple[object, object, object]]


def _issued_statements_follow_one_another(records: Records) -> Found:
    """Check that statements are numbered without a gap, and each begins where the one before ended."""
    last: dict[int, IssuedStatement] = {}
    for each in records.issued_statements.values():
        before = last.get(each.account.id)
        found = (each.number, each.previous_date, each.begins, each.opening_minor)
        expected: tuple[object, ...] = (1, None, each.begins, each.opening_minor)
        if before is not None:
            expected = (
                before.number + 1,
                before.booking_date,
                before.ends,
                before.closing_minor,
            )
        if expected != found:
            yield each.id, expected, found
        last[each.account.id] = each


def _issued_statements_follow_transfers(records: Records) -> Found:
    """Compare the figures of an issued statement with the account's transfers in its period."""
    for each in records.issued_statements.values():
        begins, ends = (_balance(records, each.account.id, at) for at in (each.begins, each.ends))
        entries = sum(
            each.account.id in (transfer.debit_id, transfer.credit_id)
            and transfer.at is not None
            and each.begins <= transfer.at < each.ends
            for transfer in records.transfers.values()
        )
        expected = (entries, begins, ends)
        found = (each.entries, each.opening_minor, each.closing_minor)
        if expected != found:
            yield each.id, expected, found


def _balance(records: Records, account_id: int, at: datetime) -> int:
    before = (each for each in records.transfers.values() if each.at and each.at < at)
    found = balances_before(before).get(account_id)
    return 0 if found is None else found.credits_posted - found.debits_posted


def _regulatory_reports_follow_one_another(records: Records) -> Found:
    """Check that versions are numbered without a gap, and each knows more than the one before."""
    last: dict[tuple[str, date], RegulatoryReport] = {}
    for each in records.regulatory_reports:
        before = last.get((each.template, each.booking_date))
        number = 1 if before is None else before.version + 1
        if each.version != number or (before is not None and each.as_of <= before.as_of):
            yield each.id, number, each.version
        last[each.template, each.booking_date] = each


def issued_files_list_their_transfers(_records: Records) -> Found:
    """Check nothing: the bytes of issued statements are here what a test has made."""
    yield from ()


def regulatory_reports_are_as_made(_records: Records) -> Found:
    """Check nothing: the bytes of reports are here what a test has made."""
    yield from ()


CHECKS: Final[MappingProxyType[str, Callable[[Records], Found]]] = MappingProxyType(
    {
        "issued_statements_follow_one_another": _issued_statements_follow_one_another,
        "issued_statements_follow_transfers": _issued_statements_follow_transfers,
        "regulatory_reports_follow_one_another": _regulatory_reports_follow_one_another,
    }
)
