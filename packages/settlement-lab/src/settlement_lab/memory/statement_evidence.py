"""What statements say about our payments, in memory (``ports.EvidenceStore``)."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.continuity import StatementOutcome
from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.statement_evidence import (
    EntryRow,
    MentionedPayment,
    StatementPart,
    Told,
    evidence_in,
    is_evidence,
    mentions_of,
)
from settlement_engine.domain.statements import Statement
from settlement_engine.ports import InboundMessage, MessageSource, OpenReport
from settlement_engine.ports.statement_evidence import (
    STATEMENTS_RAIL,
    Searched,
    message_of,
    report_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from settlement_engine.domain.settlement import Attempt
    from settlement_engine.domain.statement_evidence import (
        Mention,
        MentionKind,
        PaymentEvidence,
        PaymentNames,
    )
    from settlement_engine.domain.statements import Entry
    from settlement_lab.memory.records import KeptStatement, Records

HAS_MOVED: Final = frozenset({State.COMPLETED, State.RETURNED})


class MemoryEvidence:
    """See ``ports.EvidenceStore``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def search_next(self, rows_max: int) -> Searched | None:
        """Search the next rows of the oldest statement; see the port."""
        for kept in self._records.statements:
            if kept.is_kept and kept.result.id not in self._records.searched:
                outcome = StatementOutcome(kept.result.outcome)
                if is_evidence(outcome):
                    return self._search(self._part(kept, outcome, rows_max))
        return None

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

    def _search(self, part: StatementPart) -> Searched:
        mentions = mentions_of(part.rows)
        payments = self._payments(part.account_id, mentions)
        found = evidence_in(part, mentions, payments, self._told())
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
        for each in self._records.evidence:
            key = (each.payment.settlement_id, each.mention.kind, each.mention.amount_minor)
            counted[key] += int(each.is_counted)
        return [
            Told(settlement_id=key, kind=kind, amount_minor=minor, counted=count)
            for (key, kind, minor), count in counted.items()
        ]

    def _report(self, part: StatementPart, news: Sequence[PaymentEvidence]) -> None:
        """Store the message with its reports, as the inbound store does."""
        records = self._records
        reports = tuple(report_of(each) for each in news)
        message = InboundMessage(
            rail=STATEMENTS_RAIL,
            source=MessageSource.STATEMENT,
            content=message_of(part, news),
            reports=reports,
            sender_reference=f"statement {part.statement}",
        )
        key = (message.rail, message.sender, hashlib.sha256(message.content).digest())
        records.inbound_messages[key] = message
        for each, report in zip(news, reports, strict=True):
            number = len(records.inbound_reports) + 1
            records.message_of_report[number] = key
            records.inbound_reports[number] = OpenReport(
                id=number,
                rail=message.rail,
                report=report,
                received_at=records.clock.now(),
                settlement_id=each.payment.settlement_id,
                attempt=each.payment.attempt,
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
