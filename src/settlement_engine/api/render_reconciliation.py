"""Reports, proofs and breaks as messages of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.api.render import timestamp
from settlement_engine.domain.money import format_amount
from settlement_engine.domain.reconciliation import AccountOutcome
from settlement_engine.messages.amounts import decimals_of
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from settlement_engine.domain.balance_comparison import BalanceComparison
    from settlement_engine.domain.breaks.history import BreakEvent
    from settlement_engine.domain.open_items import OpenItem
    from settlement_engine.domain.proof import BalanceProof
    from settlement_engine.domain.reconciliation import (
        AccountResult,
        CurrencyReport,
        ReconciliationBreak,
        ReconciliationReport,
    )

_STATUS: Final = {
    AccountOutcome.BALANCED: pb.RECONCILIATION_STATUS_BALANCED,
    AccountOutcome.IDENTIFIED: pb.RECONCILIATION_STATUS_IDENTIFIED,
    AccountOutcome.UNRESOLVED: pb.RECONCILIATION_STATUS_UNRESOLVED,
    AccountOutcome.COMPARED: pb.RECONCILIATION_STATUS_COMPARED,
    AccountOutcome.PENDING: pb.RECONCILIATION_STATUS_PENDING,
    AccountOutcome.FAILED: pb.RECONCILIATION_STATUS_UNRESOLVED,
}


def to_report(report: ReconciliationReport) -> pb.ReconcileResponse:
    """Render the report of a run."""
    run = report.run
    accounts = [each for part in report.parts for each in part.accounts]
    days = [each.proof.booking_date for each in accounts if each.proof is not None]
    day = run.business_date or max(days, default=None)
    return pb.ReconcileResponse(
        report_id=str(run.id),
        business_date=day.isoformat() if day is not None else "",
        total_accounts=sum(part.total_accounts for part in report.parts),
        balanced_accounts=sum(part.balanced_accounts for part in report.parts),
        discrepancy_accounts=sum(part.discrepancy_accounts for part in report.parts),
        accounts=[_account(each) for each in sorted(accounts, key=lambda each: each.account_id)],
        totals=[_total(part) for part in report.parts],
        created_time=timestamp(report.ended_at) if report.ended_at is not None else None,
        started_for=run.started_for.value,
        started_by=run.who,
        started_time=timestamp(report.started_at),
        rules_version=run.rules_version,
    )


def _total(part: CurrencyReport) -> pb.CurrencyDiscrepancy:
    return pb.CurrencyDiscrepancy(
        currency=part.currency,
        total_discrepancy=amount(part.total_discrepancy_minor, part.currency),
        total_accounts=part.total_accounts,
        balanced_accounts=part.balanced_accounts,
        discrepancy_accounts=part.discrepancy_accounts,
        closed_differences=part.closed_differences,
        closed_amount=amount(part.closed_minor, part.currency),
        compared_accounts=part.compared_accounts,
    )


def _account(result: AccountResult) -> pb.AccountReconciliation:
    found = pb.AccountReconciliation(
        account_id=str(result.account_id),
        bank=result.bank,
        currency=result.currency,
        status=_STATUS[result.outcome],
        reason=result.reason,
        open_breaks=result.open_breaks,
        closed_differences=result.closed_differences,
        closed_amount=amount(result.closed_minor, result.currency),
    )
    proof = result.proof
    if proof is not None:
        found.internal_balance = amount(proof.our_closing_minor, result.currency)
        found.external_balance = amount(proof.their_closing_minor, result.currency)
        found.discrepancy = amount(result.discrepancy_minor, result.currency)
        found.proof.CopyFrom(to_proof(result.account_id, result.currency, proof))
    if result.comparison is not None:
        found.internal_balance = amount(result.comparison.our_minor, result.currency)
        found.external_balance = amount(result.comparison.their_minor, result.currency)
        found.discrepancy = amount(result.discrepancy_minor, result.currency)
        found.comparison.CopyFrom(_comparison(result.currency, result.comparison))
    return found


def _comparison(currency: str, found: BalanceComparison) -> pb.BalanceComparison:
    return pb.BalanceComparison(
        as_of_time=timestamp(found.as_of),
        our_balance=amount(found.our_minor, currency),
        their_balance=amount(found.their_minor, currency),
        difference=amount(found.difference_minor, currency),
        source=found.source,
    )


def to_proof(account_id: int, currency: str, proof: BalanceProof) -> pb.BalanceProof:
    """Render the proof of an account."""
    return pb.BalanceProof(
        account_id=str(account_id),
        currency=currency,
        booking_date=proof.booking_date.isoformat(),
        our_closing=amount(proof.our_closing_minor, currency),
        unmatched_theirs=amount(proof.unmatched_theirs_minor, currency),
        unmatched_ours=amount(proof.unmatched_ours_minor, currency),
        opening_difference=amount(proof.opening_difference_minor, currency),
        difference=amount(proof.difference_minor, currency),
        their_closing=amount(proof.their_closing_minor, currency),
        unmatched_entries=proof.unmatched_theirs,
        unmatched_postings=proof.unmatched_ours,
        held_back_by=proof.held_back_by,
        is_zero=proof.is_zero,
    )


def to_open_item(item: OpenItem) -> pb.OpenItem:
    """Render an item that was open at the end of a day."""
    return pb.OpenItem(
        side=item.side.value,
        name=item.name,
        amount=amount(item.minor, item.currency),
        currency=item.currency,
        booking_date=item.booked_on.isoformat(),
        value_date=item.value_date.isoformat() if item.value_date is not None else "",
        references=item.references,
        text=item.text,
        match_id=str(item.match_id) if item.match_id is not None else "",
        matched_by=item.matched_by,
        matched_on=item.matched_on.isoformat() if item.matched_on is not None else "",
        matched_time=timestamp(item.matched_at) if item.matched_at is not None else None,
    )


def to_break(found: ReconciliationBreak) -> pb.ReconciliationBreak:
    """Render a break, with its events if they were read."""
    return pb.ReconciliationBreak(
        id=str(found.id),
        account_id=str(found.account_id),
        bank=found.bank,
        kind=pb.BreakKind.Value(f"BREAK_KIND_{found.kind}"),
        severity=pb.BreakSeverity.ValueType(found.severity),
        amount=amount(found.amount_minor, found.currency),
        currency=found.currency,
        business_date=found.business_date.isoformat(),
        reason=found.reason,
        is_open=found.is_open,
        owner=found.owner,
        opened_time=timestamp(found.opened_at),
        our_postings=found.ours,
        their_entries=found.theirs,
        events=[_event(each) for each in found.events],
    )


def _event(event: BreakEvent) -> pb.BreakEvent:
    return pb.BreakEvent(
        number=event.number,
        kind=event.kind.value,
        time=timestamp(event.at),
        who=event.who,
        text=event.text,
        owner=event.owner,
        level=event.level,
        due_time=timestamp(event.due_at) if event.due_at is not None else None,
    )


def amount(minor: int, currency: str) -> str:
    """Write a signed amount. Old statements have currencies that are withdrawn."""
    return format_amount(minor, currency, decimals_of(currency))
