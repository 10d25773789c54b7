"""The outbox of notices in memory (``ports.NoticeOutbox``): each fact is noticed by whoever records it."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING

from settlement_engine.domain.notices import (
    BreakEscalated,
    DayProved,
    DiscrepancyReported,
    NoticedFact,
    OutboxNotice,
    RecallStepped,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date
    from uuid import UUID

    from settlement_engine.domain.breaks.history import BreakEvent
    from settlement_engine.domain.proof import BalanceProof
    from settlement_engine.domain.recalls import RecallRequest
    from settlement_engine.domain.reconciliation import CurrencyReport, ReconciliationRun
    from settlement_lab.memory.reconciled import KeptBreak
    from settlement_lab.memory.records import Records


class MemoryNotices:
    """See ``ports.NoticeOutbox``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def read(self, after: int, limit: int) -> list[OutboxNotice]:
        """Return the notices after a position, oldest first."""
        notices = self._records.notices
        start = bisect_right(notices, after, key=attrgetter("position"))
        return notices[start : start + limit]

    async def head(self) -> int:
        """Return the last position."""
        return self._records.notice_head

    async def published(self) -> tuple[int, int]:
        """Return the last position that JetStream is known to hold, and its place in the stream."""
        return self._records.notices_published

    async def mark_published(self, position: int, sequence: int) -> None:
        """Record them; a lower position changes nothing."""
        if position >= self._records.notices_published[0]:
            self._records.notices_published = (position, sequence)


def notice(records: Records, fact: NoticedFact) -> None:
    """Give a fact the next position."""
    begun = 10**13 * (
        records.system_epochs[-1].opening.system_epoch if records.system_epochs else 0
    )
    records.notice_head = max(records.notice_head, begun) + 1
    made = OutboxNotice(position=records.notice_head, at=records.clock.now(), fact=fact)
    records.notices.append(made)


def notice_recall(records: Records, recall: RecallRequest) -> None:
    """Notice the last step of a recall."""
    notice(records, _recall_fact(records, recall, recall.seq))


def _recall_fact(records: Records, recall: RecallRequest, seq: int) -> RecallStepped:
    request, step = records.histories[recall.settlement_id].instruction, recall.steps[seq - 1]
    return RecallStepped(
        settlement_id=recall.settlement_id,
        seq=step.seq,
        state=step.state,
        obligation_id=request.obligation_id,
        from_bank=request.from_bank,
        to_bank=request.to_bank,
        amount_minor=request.amount.minor,
        currency=request.amount.currency,
        detail=dict(step.detail),
    )


def notice_escalation(records: Records, break_id: int, kept: KeptBreak, event: BreakEvent) -> None:
    """Notice a step of the escalation of a break."""
    account, found = records.accounts[kept.account_id], kept.found
    assert event.due_at is not None, "an escalation is due"
    fact = BreakEscalated(
        break_id=break_id,
        number=event.number,
        level=event.level,
        owner=event.owner,
        due_at=event.due_at,
        account_id=account.id,
        bank=account.bank,
        currency=found.currency,
        amount_minor=str(found.amount_minor),
        kind=found.kind,
        severity=found.severity,
        business_date=found.business_date,
    )
    notice(records, fact)


def notice_report(records: Records, run: ReconciliationRun, part: CurrencyReport) -> None:
    """Notice the report of a run for a currency, if there are discrepancies in it."""
    if not part.discrepancy_accounts:
        return
    days = [each.proof.booking_date for each in part.accounts if each.proof]
    fact = DiscrepancyReported(
        run_id=run.id,
        currency=part.currency,
        started_for=run.started_for.value,
        report_date=max(days, default=None),
        total_accounts=part.total_accounts,
        balanced_accounts=part.balanced_accounts,
        discrepancy_accounts=part.discrepancy_accounts,
        total_discrepancy_minor=str(part.total_discrepancy_minor),
        outcomes=dict(Counter(each.outcome.value for each in part.accounts)),
        open_breaks=sum(each.open_breaks for each in part.accounts),
    )
    notice(records, fact)


def notice_proofs(
    records: Records,
    place: tuple[int, UUID],
    fresh: Sequence[BalanceProof],
    known: Mapping[date, BalanceProof],
) -> None:
    """Notice those of an account's new proofs that are zero, or were; before they are kept.

    ``place`` is the account and the run, ``known`` the last proof of each day.
    """
    account_id, run_id = place
    account = records.accounts[account_id]
    count = sum(map(len, records.reconciled.proofs.values()))
    for number, proof in enumerate(fresh, start=count + 1):
        before = known.get(proof.booking_date)
        if not (proof.is_zero or (before is not None and before.is_zero)):
            continue
        fact = DayProved(
            proof_id=number,
            account_id=account.id,
            bank=account.bank,
            currency=account.currency,
            booking_date=proof.booking_date,
            run_id=run_id,
            is_zero=proof.is_zero,
            our_closing_minor=str(proof.our_closing_minor),
            their_closing_minor=str(proof.their_closing_minor),
            unmatched_ours=proof.unmatched_ours,
            unmatched_theirs=proof.unmatched_theirs,
        )
        notice(records, fact)


def recalls_without_notice(records: Records) -> Iterator[str]:
    """Yield the names of the recalls' steps that no notice tells of, as they stand."""
    told = [each.fact for each in records.notices if isinstance(each.fact, RecallStepped)]
    for recall in records.recalls.values():
        for step in recall.steps:
            if _recall_fact(records, recall, step.seq) not in told:
                yield f"recall {recall.settlement_id}/{step.seq}"
