"""Statements and their entries as messages of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from settlement_engine.api.render import timestamp
from settlement_engine.domain.money import format_amount
from settlement_engine.domain.proposals import Decision
from settlement_engine.messages.amounts import decimals_of
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from datetime import date

    from settlement_engine.domain.chain_problems import ChainPlace, ChainProblem
    from settlement_engine.domain.statement_decisions import StatementProposal
    from settlement_engine.domain.statement_import import ImportedStatement
    from settlement_engine.domain.statements import Entry, EntryDetail, StatementReferences
    from settlement_engine.ports import AccountProblem, FetchedAccount


_DECIDED: Final = {
    Decision.APPROVED: pb.PROPOSAL_STATUS_APPLIED,
    Decision.DECLINED: pb.PROPOSAL_STATUS_DECLINED,
}


def to_statement(one: ImportedStatement) -> pb.Statement:
    """Render a statement with its outcome."""
    return pb.Statement(
        number=one.id,
        outcome=pb.StatementOutcome.Value(f"STATEMENT_OUTCOME_{one.outcome}"),
        reason=one.reason,
        file_name=one.file_name,
        file_sha256=one.file_sha256.hex(),
        place=one.place,
        account_id=str(one.account_id) if one.account_id is not None else "",
        account=one.identifier,
        servicer=one.servicer,
        source=one.source,
        id=one.bank_statement_id,
        sequence=one.sequence,
        page=one.page,
        created=one.created,
        begin_date=_day(one.begins),
        date=_day(one.day),
        currency=one.currency,
        opening=_amount(one.opening_minor, one.currency),
        closing=_amount(one.closing_minor, one.currency),
        entries=one.entries,
        imported_by=one.who,
        imported_time=timestamp(one.at) if one.at is not None else None,
        is_set_aside=one.is_set_aside,
    )


def to_proposal(one: StatementProposal) -> pb.StatementProposal:
    """Render a proposal about statements with its status."""
    status = _DECIDED.get(one.decision, pb.PROPOSAL_STATUS_OPEN)
    if one.decision is Decision.OPEN and one.has_expired:
        status = pb.PROPOSAL_STATUS_EXPIRED
    return pb.StatementProposal(
        id=str(one.id or ""),
        account_id=str(one.account_id),
        change=pb.StatementChange.Value(f"STATEMENT_CHANGE_{one.change.value}"),
        numbers=one.statement_ids,
        reason=one.reason,
        proposed_by=one.proposed_by,
        content_sha256=one.content_sha256.hex(),
        proposed_time=timestamp(one.proposed_at),
        expires_time=timestamp(one.expires_at),
        status=status,
        decided_by=one.decided_by,
        decided_time=timestamp(one.decided_at) if one.decided_at is not None else None,
        role=one.role,
    )


def to_fetched(one: FetchedAccount) -> pb.FetchedAccount:
    """Render what has become of a question for a statement."""
    return pb.FetchedAccount(
        account_id=str(one.account_id),
        bank=one.bank,
        account_number=one.account_number,
        currency=one.currency,
        rail=one.rail,
        outcome=pb.FetchOutcome.Value(f"FETCH_OUTCOME_{one.outcome.value}"),
        reason=one.reason,
        statements=[to_statement(each) for each in one.statements],
    )


def to_problem(one: AccountProblem) -> pb.StatementProblem:
    """Render a problem with the account that it is of."""
    return pb.StatementProblem(
        account_id=str(one.account.id),
        bank=one.account.bank,
        account_number=one.account.number,
        currency=one.account.currency,
        **_problem(one.problem),
    )


def to_place(place: ChainPlace) -> pb.StatementPlace:
    """Render a statement's place in the chain of its account."""
    problem = place.problem
    return pb.StatementPlace(
        position=place.number,
        of=place.of,
        number_before=place.before_id,
        number_after=place.after_id,
        problem=None if problem is None else pb.StatementProblem(**_problem(problem)),
    )


def _problem(problem: ChainProblem) -> dict[str, Any]:
    return {
        "kind": pb.StatementProblemKind.Value(f"STATEMENT_PROBLEM_KIND_{problem.kind.value}"),
        "reason": problem.reason,
        "first_date": problem.first_day.isoformat(),
        "last_date": problem.last_day.isoformat(),
        "number": problem.statement_id,
    }


def to_entry(entry: Entry) -> pb.StatementEntry:
    """Render an entry with its details."""
    return pb.StatementEntry(
        number=entry.number,
        amount=_amount(entry.minor, entry.currency),
        currency=entry.currency,
        status=entry.status.value,
        booking_date=_day(entry.booking_date),
        value_date=_day(entry.value_date),
        is_reversal=entry.is_reversal,
        code=entry.code,
        text=entry.text,
        references=_references(entry.references),
        details=[_detail(each, entry.currency) for each in entry.details],
        details_differ=entry.details_differ,
    )


def _detail(detail: EntryDetail, currency: str) -> pb.StatementEntryDetail:
    return pb.StatementEntryDetail(
        amount=_amount(detail.minor, currency),
        charges=_amount(detail.charges_minor, currency),
        text=detail.text,
        references=_references(detail.references),
    )


def _references(said: StatementReferences) -> pb.StatementReferences:
    return pb.StatementReferences(
        end_to_end_id=said.end_to_end,
        instruction_id=said.instruction,
        transaction_id=said.transaction,
        uetr=said.uetr,
        message_id=said.message,
        payment_information_id=said.payment_information,
        customer=said.customer,
        servicer=said.servicer,
        clearing=said.clearing,
        entry=said.entry,
    )


def _amount(minor: int | None, currency: str) -> str:
    """Write a signed amount. Old statements have currencies that are withdrawn."""
    return "" if minor is None else format_amount(minor, currency, decimals_of(currency))


def _day(day: date | None) -> str:
    return day.isoformat() if day is not None else ""
