"""What statements say about our payments, in memory (``ports.EvidenceStore``)."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

from settlement_engine.domain.closed_differences import NO_RULES, rules_of
from settlement_engine.domain.continuity import StatementOutcome
from settlement_engine.domain.ledger import Leg
from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.mention_counts import evidence_in
from settlement_engine.domain.statement_evidence import (
    EntryRow,
    EntrySays,
    MentionedPayment,
    MentionKind,
    StatementPart,
    Told,
    is_evidence,
    mentions_of,
)
from settlement_engine.domain.statements import END_OF_DAY, Statement
from settlement_engine.ports import InboundMessage, MessageSource, OpenReport
from settlement_engine.ports.statement_evidence import (
    STATEMENTS_RAIL,
    AbsentPayment,
    Searched,
    absence_of,
    message_of,
    report_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import date

    from settlement_engine.domain.matching.values import Rules
    from settlement_engine.domain.settlement import Attempt
    from settlement_engine.domain.statement_evidence import (
        Mention,
        PaymentEvidence,
        PaymentNames,
    )
    from settlement_engine.domain.statements import Entry
    from settlement_engine.ports import StatusReport
    from settlement_lab.memory.records import KeptStatement, Records

HAS_MOVED: Final = frozenset({State.COMPLETED, State.RETURNED})


class MemoryEvidence:
    """See ``ports.EvidenceStore``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def search_next(self, rows_max: int, rules: Rules = NO_RULES) -> Searched | None:
        """Search the next rows of the oldest statement; see the port."""
        passed = self._records.searched | self._records.set_aside.statements
        for kept in self._records.statements:
            if kept.is_kept and kept.result.id not in passed:
                outcome = StatementOutcome(kept.result.outcome)
                if is_evidence(outcome):
                    return self._search(self._part(kept, outcome, rows_max), rules)
        return None

    async def search_unread(self, rules: Rules = NO_RULES) -> Searched | None:
        """Try a row again that could not be read: there is none, for nothing is written here."""
        del rules
        return None

    async def unread_count(self) -> int:
        """Count what could not be read: nothing."""
        return 0

    async def tell_absent(self, days: int, most: int) -> int:
        """Tell of completed payments that closed statements lack; see the port."""
        absent = list(itertools.islice(self._absent(days), most))
        for each in absent:
            content, report = absence_of(each)
            self.store(content, [(each.settlement_id, each.attempt, report)], "")
        return len(absent)

    async def undecided_accounts(self, account_ids: Collection[int]) -> set[int]:
        """Return those accounts about which something is not decided; see the port."""
        records = self._records
        found = {
            kept.result.account_id
            for kept in records.statements
            if kept.is_kept
            and kept.result.id not in records.searched | records.set_aside.statements
            if is_evidence(StatementOutcome(kept.result.outcome))
        }
        for number, each in records.inbound_reports.items():
            settlement = records.histories.get(each.settlement_id) if each.settlement_id else None
            is_ours = each.rail == STATEMENTS_RAIL and number not in records.closed_reports
            if is_ours and settlement is not None and settlement.attempt is not None:
                found.add(settlement.attempt.route.source_id)
        return {each for each in account_ids if each in found}

    def _absent(self, days: int) -> Iterator[AbsentPayment]:
        records = self._records
        told = {
            each.settlement_id
            for each in records.inbound_reports.values()
            if each.report.entry is not None and each.report.entry.says is EntrySays.ABSENT
        }
        debited = {
            each.payment.settlement_id
            for each in records.evidence
            if each.mention.kind is MentionKind.DEBIT
            if each.found.statement not in records.set_aside.statements
        }
        for (account_id, name), ours in records.reconciled.ours.items():
            closed = self._closed(account_id)
            settlement = records.histories.get(UUID(name.partition("/")[0]))
            if closed is None or settlement is None or settlement.attempt is None:
                continue
            begins, last_day, statement = closed
            is_due = begins <= ours.booked_on <= last_day - timedelta(days=days)
            is_cash = name == f"{settlement.id}/1/{int(Leg.CASH)}"
            is_own = settlement.attempt.route.source_id == account_id
            is_known = settlement.id in told or settlement.id in debited
            is_completed = settlement.state is State.COMPLETED
            if is_due and is_cash and is_own and is_completed and not is_known:
                yield AbsentPayment(settlement.id, settlement.attempt.number, statement)

    def _closed(self, account_id: int) -> tuple[date, date, int] | None:
        """Return the first and the last day that the statements prove, with the last statement; None without."""
        proofs = self._records.reconciled.proofs.get(account_id, [])
        last = max(proofs, key=lambda each: each.booking_date, default=None)
        if last is None:
            return None
        last = [each for each in proofs if each.booking_date == last.booking_date][-1]
        kept = [
            each.result
            for each in self._records.statements
            if each.is_kept and each.result.account_id == account_id and each.result.day is not None
            if each.result.source in END_OF_DAY
            and each.result.id not in self._records.set_aside.statements
        ]
        closing = [each.id for each in kept if each.day == last.booking_date]
        if last.held_back_by or not closing:
            return None
        first = min(each.begins or each.day or last.booking_date for each in kept)
        return first, last.booking_date, max(closing)

    def _part(self, kept: KeptStatement, outcome: StatementOutcome, rows_max: int) -> StatementPart:
        said, account_id = kept.said, kept.result.account_id
        assert isinstance(said, Statement), "what is kept is a statement"
        assert account_id is not None, "what is kept has an account"
        after = self._records.search_places.get(kept.result.id, (0, 0))
        rows = [
            row
            for entry in said.entries
            for row in _rows(entry)
            if (row.entry.number, row.number) > after
        ]
        return StatementPart(
            statement=kept.result.id,
            account_id=account_id,
            source=said.source,
            outcome=outcome,
            file_sha256=kept.result.file_sha256.hex(),
            rows=tuple(rows[:rows_max]),
            is_last=len(rows) < rows_max,
        )

    def _search(self, part: StatementPart, rules: Rules) -> Searched:
        mentions = mentions_of(part.rows)
        payments = self._payments(part.account_id, mentions)
        account = self._records.accounts[part.account_id]
        own = rules_of(rules, account.bank, account.currency)
        found = evidence_in(part, mentions, payments, self._told(), own)
        news = [each for each in found if each.is_news]
        self._records.evidence += found
        if news:
            self._report(part, news)
        if part.is_last:
            self._records.searched.add(part.statement)
        else:
            self._records.search_places[part.statement] = part.place()
        return Searched(rows=len(part.rows), found=len(found), news=len(news))

    def _payments(
        self, account_id: int, mentions: Sequence[Mention]
    ) -> dict[int, MentionedPayment]:
        found = {}
        for place, mention in enumerate(mentions):
            named = [
                settlement
                for settlement in self._records.histories.values()
                if settlement.attempt is not None
                and settlement.attempt.route.source_id == account_id
                and _is_named(settlement.id, settlement.attempt, mention.names)
            ]
            if len(named) == 1:
                [settlement] = named
                amount = settlement.instruction.amount
                assert settlement.attempt is not None
                found[place] = MentionedPayment(
                    settlement_id=settlement.id,
                    attempt=settlement.attempt.number,
                    amount_minor=amount.minor,
                    currency=amount.currency,
                    has_moved=settlement.state in HAS_MOVED,
                )
        return found

    def _told(self) -> list[Told]:
        counted: Counter[tuple[UUID, MentionKind, int]] = Counter()
        aside: Counter[tuple[UUID, MentionKind, int]] = Counter()
        for each in self._records.evidence:
            key = (each.payment.settlement_id, each.mention.kind, each.mention.amount_minor)
            is_set_aside = each.found.statement in self._records.set_aside.statements
            (aside if is_set_aside else counted)[key] += int(each.is_counted)
        return [
            Told(
                settlement_id=key[0],
                kind=key[1],
                amount_minor=key[2],
                counted=counted[key],
                set_aside=aside[key],
                is_told=key in counted,
            )
            for key in counted.keys() | aside.keys()
        ]

    def _report(self, part: StatementPart, news: Sequence[PaymentEvidence]) -> None:
        """Store the message with its reports, as the inbound store does."""
        told = [
            (each.payment.settlement_id, each.payment.attempt, report_of(each)) for each in news
        ]
        self.store(message_of(part, news), told, f"statement {part.statement}")

    def store(
        self, content: bytes, told: Sequence[tuple[UUID, int, StatusReport]], reference: str
    ) -> None:
        """Store a message with its reports, whose settlements are known; once."""
        records = self._records
        message = InboundMessage(
            rail=STATEMENTS_RAIL,
            source=MessageSource.STATEMENT,
            content=content,
            reports=tuple(report for _, _, report in told),
            sender_reference=reference,
        )
        key = (message.rail, message.sender, hashlib.sha256(message.content).digest())
        if key in records.inbound_messages:
            return
        records.inbound_messages[key] = message
        for settlement_id, attempt, report in told:
            number = len(records.inbound_reports) + 1
            records.message_of_report[number] = key
            records.inbound_reports[number] = OpenReport(
                id=number,
                rail=message.rail,
                report=report,
                received_at=records.clock.now(),
                settlement_id=settlement_id,
                attempt=attempt,
            )


def _rows(entry: Entry) -> list[EntryRow]:
    if not entry.details:
        return [EntryRow(entry=entry)]
    is_only = len(entry.details) == 1
    return [
        EntryRow(entry=entry, number=number, detail=detail, is_only=is_only)
        for number, detail in enumerate(entry.details, start=1)
    ]


def _is_named(settlement_id: UUID, attempt: Attempt, names: PaymentNames) -> bool:
    own = attempt.references
    return (
        own.uetr in names.uetrs
        or own.end_to_end_id in names.end_to_end_ids
        or settlement_id in names.instruction_ids
        or (bool(attempt.trace) and attempt.trace in names.traces)
        or (not names.is_indexed and own.message_id in names.message_ids)
    )
