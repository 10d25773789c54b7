"""Dossiers in memory (``ports.Archive``): the same records as from PostgreSQL."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from settlement_engine.domain.proposals import Decision
from settlement_engine.domain.statements import Statement
from settlement_engine.evidence import dossier as shapes
from settlement_engine.evidence import dossier_recording as recording
from settlement_lab.memory.messages import listed_messages
from settlement_lab.memory.records import NOBODY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from settlement_engine.domain.settlement import Attempt, Settlement
    from settlement_engine.domain.statement_evidence import PaymentEvidence
    from settlement_lab.memory.records import Filed, Records


class MemoryArchive:
    """See ``ports.Archive``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def dossier(self, settlement_id: UUID) -> shapes.Dossier | None:
        """Copy everything about a settlement; None if it does not exist."""
        records = self._records
        if settlement_id not in records.histories:
            return None
        settlement = records.copy(settlement_id)
        parked = records.open.get(settlement_id)
        attempts = [settlement.attempt] if settlement.attempt else []
        transfers = [each for (key, *_), each in records.transfers.items() if key == settlement_id]
        hold = self._hold(settlement_id)
        named = recording.account_ids(attempts, transfers, hold.account_id if hold else None)
        own = self._proposals(settlement_id)
        filed = sorted(own[-shapes.PROPOSALS_MAX :], key=lambda each: each.proposal.id)
        owner = parked.engine_id if parked else NOBODY
        messages, contents = self._messages(settlement_id, attempts)
        return shapes.Dossier(
            taken_at=recording.instant(records.clock.now()),
            instruction=recording.record_instruction(settlement),
            standing=recording.record_standing(settlement, owner, len(own)),
            moves=tuple(recording.record_move(moved) for moved in records.moves_of[settlement_id]),
            answers=self._answers(settlement_id),
            attempts=tuple(
                recording.record_attempt(each, hashlib.sha256(each.payload).hexdigest())
                for each in attempts
            ),
            payloads={each.number: each.payload for each in attempts},
            hold=hold,
            transfers=recording.record_transfers(transfers),
            accounts=recording.record_accounts(
                account for key, account in records.accounts.items() if key in named
            ),
            exceptions=self._exceptions(settlement_id),
            proposals=tuple(recording.record_proposal(each.proposal) for each in filed),
            papers={each.proposal.id: each.evidence for each in filed},
            messages=messages,
            contents=contents,
            recall=recording.record_recall(records.recalls.get(settlement_id)),
            compensations=self._compensations(settlement),
            entries=self._entries(settlement_id),
        )

    def _entries(self, settlement_id: UUID) -> tuple[shapes.EntryRecord, ...]:
        own = [
            each for each in self._records.evidence if each.payment.settlement_id == settlement_id
        ]
        own.sort(key=lambda each: (each.found.statement, each.found.entry, each.found.detail))
        return tuple(self._entry(each) for each in own[-shapes.ENTRIES_MAX :])

    def _entry(self, evidence: PaymentEvidence) -> shapes.EntryRecord:
        found = evidence.found
        kept = next(each for each in self._records.statements if each.result.id == found.statement)
        said = kept.said
        assert isinstance(said, Statement), "what was searched is a statement"
        assert kept.result.account_id is not None, "what was searched has an account"
        entry = next(each for each in said.entries if each.number == found.entry)
        details = entry.details[found.detail - 1 : found.detail] if found.detail else ()
        return shapes.EntryRecord(
            statement=found.statement,
            entry=found.entry,
            detail=found.detail,
            says=found.says.value,
            told_minor=evidence.mention.amount_minor,
            closed_by=found.closed_by,
            account_id=kept.result.account_id,
            bank_statement_id=said.id,
            source=said.source.value,
            content_sha256=said.content_hash(),
            file_sha256=kept.result.file_sha256.hex(),
            booking_date=entry.booking_date,
            amount_minor=entry.minor,
            currency=entry.currency,
            status=entry.status.value,
            is_reversal=entry.is_reversal,
            references=recording.references_in(
                [*(each.references for each in details), entry.references]
            ),
            text=recording.text_of(entry.text, *(each.text for each in details)),
        )

    def _compensations(self, settlement: Settlement) -> shapes.CompensationsRecord:
        compensates = settlement.instruction.compensates
        compensated = self._records.copy(compensates) if compensates is not None else None
        return recording.record_compensations(settlement, compensated)

    def _proposals(self, settlement_id: UUID) -> list[Filed]:
        own = [
            each
            for each in self._records.resolutions.values()
            if each.proposal.settlement_id == settlement_id
        ]
        own.sort(key=lambda each: (each.proposal.decision is Decision.APPROVED, each.proposal.id))
        return own

    def _messages(
        self, settlement_id: UUID, attempts: Sequence[Attempt]
    ) -> tuple[shapes.MessagesRecord, dict[int, bytes]]:
        listed = listed_messages(self._records, settlement_id)
        latest = listed[-shapes.MESSAGES_MAX :]
        total_bytes = 0
        copied: list[recording.CopiedMessage] = []
        for number, each in enumerate(reversed(latest), start=1):
            total_bytes += len(each.content)
            fits = number <= shapes.MESSAGE_FILES_MAX
            fits = fits and total_bytes <= shapes.MESSAGE_FILES_BYTES_MAX
            fits = fits and len(each.content) == each.size_bytes
            copied.append(
                recording.CopiedMessage(
                    direction=each.direction,
                    attempt=each.attempt,
                    rail=each.rail,
                    type=each.type,
                    message_id=each.message_id,
                    response_status=each.response_status,
                    sha256=each.sha256,
                    at=each.at,
                    size_bytes=each.size_bytes,
                    content=each.content if fits else None,
                )
            )
        is_whole = len(latest) == len(listed)
        return recording.record_messages(reversed(copied), attempts, is_whole=is_whole)

    def _hold(self, settlement_id: UUID) -> shapes.HoldRecord | None:
        lock = self._records.locks.get(settlement_id)
        if lock is None:
            return None
        return shapes.HoldRecord(
            account_id=lock.account_id,
            amount_minor=lock.amount_minor,
            currency=lock.currency,
            locked_at=recording.instant(lock.locked_at),
            resolved_at=recording.instant(lock.resolved_at) if lock.resolved_at else None,
            outcome=lock.outcome,
        )

    def _answers(self, settlement_id: UUID) -> shapes.AnswersRecord:
        own = self._records.answers_of(settlement_id)
        latest = sorted(own[-shapes.ANSWERS_MAX :], key=lambda each: (each.at, each.last_at))
        return shapes.AnswersRecord(
            total=sum(each.times for each in own),
            latest=tuple(
                shapes.AnswerRecord(
                    at=recording.instant(each.at),
                    state=each.state,
                    event=each.event,
                    attempt=each.attempt,
                    asked=each.asked,
                    times=each.times,
                    last_at=recording.instant(each.last_at),
                )
                for each in latest
            ),
        )

    def _exceptions(self, settlement_id: UUID) -> tuple[shapes.ExceptionRecord, ...]:
        own = [each for each in self._records.cases.values() if each.settlement_id == settlement_id]
        return tuple(recording.record_exception(each) for each in own[-shapes.EXCEPTIONS_MAX :])
