"""Notices: what is announced though it is no move of a settlement, and what each says.

A notice numbers a fact that is appended anyway: a report with discrepancies, a step of an escalation, a step of a
recall, a proof. Notices have positions of their own, gapless within a system epoch like those of moves, so that the
moves stay the only outbox of the hot path. Promises: the same fact always has the same type, id and fields. Must
never: name an account's holder, or say more of a report than its sums; whoever wants more follows the link.
"""

from __future__ import annotations

import re
from datetime import date, datetime  # noqa: TC003 -- msgspec resolves the fields' types
from typing import TYPE_CHECKING, Final
from uuid import UUID  # noqa: TC003 -- msgspec resolves the fields' types

import msgspec

from settlement_engine.domain.announcement import POSITIONS_PER_EPOCH, system_epoch_of
from settlement_engine.domain.matching.breaks import BreakSeverity
from settlement_engine.domain.money import format_amount
from settlement_engine.domain.recalls import RecallState

if TYPE_CHECKING:
    from collections.abc import Mapping


class DiscrepancyReported(msgspec.Struct, frozen=True, kw_only=True):
    """The report of a run for one currency, in which some account is not balanced."""

    run_id: UUID
    currency: str
    started_for: str
    report_date: date | None
    total_accounts: int
    balanced_accounts: int
    discrepancy_accounts: int
    total_discrepancy_minor: str  # an integer of up to 38 digits
    outcomes: dict[str, int]  # accounts by what was found, such as "pending": there is no statement
    open_breaks: int


class BreakEscalated(msgspec.Struct, frozen=True, kw_only=True):
    """A step of the escalation table: an open break has reached a level."""

    break_id: int
    number: int  # of the event in the break's history
    level: int
    owner: str
    due_at: datetime
    account_id: int
    bank: str
    currency: str
    amount_minor: str  # an integer of up to 38 digits, with the sign of the bank's statement
    kind: str
    severity: int
    business_date: date


class RecallStepped(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a recall after completion: it was requested, answered, or is overdue."""

    settlement_id: UUID
    seq: int
    state: RecallState
    obligation_id: str
    from_bank: str
    to_bank: str
    amount_minor: int
    currency: str
    detail: dict[str, str]


class DayProved(msgspec.Struct, frozen=True, kw_only=True):
    """The proof of an account's booking day: zero, or zero no more."""

    proof_id: int
    account_id: int
    bank: str
    currency: str
    booking_date: date
    run_id: UUID
    is_zero: bool
    our_closing_minor: str  # an integer of up to 38 digits
    their_closing_minor: str
    unmatched_ours: int
    unmatched_theirs: int


NoticedFact = DiscrepancyReported | BreakEscalated | RecallStepped | DayProved


class OutboxNotice(msgspec.Struct, frozen=True, kw_only=True):
    """A fact with its position among the notices, and the time at which it got that."""

    position: int
    at: datetime
    fact: NoticedFact


DISCREPANCY: Final = "settlement.reconciliation.discrepancy"
RECONCILED: Final = "settlement.reconciliation.reconciled"
REOPENED_DAY: Final = "settlement.reconciliation.reopened"
ESCALATED: Final = "settlement.break.escalated"
RECALLS: Final = {state: f"settlement.recall.{state.value}" for state in RecallState}

NOTICE_TYPES: Final = (DISCREPANCY, RECONCILED, REOPENED_DAY, ESCALATED, *RECALLS.values())
"""All types. Each has a word more than the type of a move, which tells the two apart in the stream."""


def notice_type(fact: NoticedFact) -> str:
    """Return the type under which a fact is announced."""
    match fact:
        case DiscrepancyReported():
            return DISCREPANCY
        case BreakEscalated():
            return ESCALATED
        case RecallStepped():
            return RECALLS[fact.state]
        case DayProved():
            return RECONCILED if fact.is_zero else REOPENED_DAY


def notice_id(notice: OutboxNotice) -> str:
    """Return the unique id of a notice: that of its fact, and of the system epoch but the first."""
    name = _fact_id(notice.fact)
    if notice.position < POSITIONS_PER_EPOCH:
        return name
    return f"{name}.{system_epoch_of(notice.position)}"


def _fact_id(fact: NoticedFact) -> str:
    match fact:
        case DiscrepancyReported():
            return f"discrepancy.{fact.run_id}.{fact.currency}"
        case BreakEscalated():
            return f"escalation.{fact.break_id}.{fact.number}"
        case RecallStepped():
            return f"recall.{fact.settlement_id}.{fact.seq}"
        case DayProved():
            return f"proof.{fact.proof_id}"


_NOTICE_ID: Final = re.compile(
    r"(discrepancy|escalation|recall|proof)\.[0-9A-Za-z.-]{1,64}", re.ASCII
)


def is_notice_id(name: str) -> bool:
    """Say whether a notice may have this id."""
    return _NOTICE_ID.fullmatch(name) is not None


def notice_subject(fact: NoticedFact) -> str:
    """Return what a notice is about: a settlement's id, or a name of ours."""
    match fact:
        case DiscrepancyReported():
            return f"report/{fact.run_id}"
        case BreakEscalated():
            return f"break/{fact.break_id}"
        case RecallStepped():
            return str(fact.settlement_id)
        case DayProved():
            return f"account/{fact.account_id}"


def notice_fields(fact: NoticedFact) -> Mapping[str, object]:
    """Return what a notice says of its fact. Fields are added at the end, and only to new types of notices."""
    match fact:
        case DiscrepancyReported():
            return _discrepancy(fact)
        case BreakEscalated():
            return _escalation(fact)
        case RecallStepped():
            return _recall(fact)
        case DayProved():
            return _proof(fact)


def _discrepancy(fact: DiscrepancyReported) -> Mapping[str, object]:
    total = format_amount(int(fact.total_discrepancy_minor), fact.currency)
    return {
        "report_id": str(fact.run_id),
        "currency": fact.currency,
        "started_for": fact.started_for,
        "report_date": fact.report_date,
        "total_accounts": fact.total_accounts,
        "balanced_accounts": fact.balanced_accounts,
        "discrepancy_accounts": fact.discrepancy_accounts,
        "total_discrepancy": total,
        "outcomes": dict(sorted(fact.outcomes.items())),
        "open_breaks": fact.open_breaks,
        **_link("settlement.ReconciliationService/GetReport", reportId=str(fact.run_id)),
    }


def _escalation(fact: BreakEscalated) -> Mapping[str, object]:
    return {
        "break_id": str(fact.break_id),
        "level": fact.level,
        "owner": fact.owner,
        "due_at": fact.due_at,
        "account_id": str(fact.account_id),
        "bank": fact.bank,
        "currency": fact.currency,
        "amount": format_amount(int(fact.amount_minor), fact.currency),
        "kind": fact.kind,
        "severity": BreakSeverity(fact.severity).name,
        "business_date": fact.business_date,
        **_link("settlement.ReconciliationService/GetBreak", id=str(fact.break_id)),
    }


def _recall(fact: RecallStepped) -> Mapping[str, object]:
    return {
        "settlement_id": str(fact.settlement_id),
        "step": fact.seq,
        "state": fact.state.name,
        "obligation_id": fact.obligation_id,
        "from_bank": fact.from_bank,
        "to_bank": fact.to_bank,
        "amount": format_amount(fact.amount_minor, fact.currency),
        "currency": fact.currency,
        "detail": dict(sorted(fact.detail.items())),
        **_link(
            "settlement.SettlementService/GetSettlementStatus", settlementId=str(fact.settlement_id)
        ),
    }


def _proof(fact: DayProved) -> Mapping[str, object]:
    return {
        "account_id": str(fact.account_id),
        "bank": fact.bank,
        "currency": fact.currency,
        "booking_date": fact.booking_date,
        "report_id": str(fact.run_id),
        "our_closing": format_amount(int(fact.our_closing_minor), fact.currency),
        "their_closing": format_amount(int(fact.their_closing_minor), fact.currency),
        "unmatched_postings": fact.unmatched_ours,
        "unmatched_entries": fact.unmatched_theirs,
        **_link(
            "settlement.ReconciliationService/ListProofs",
            date=fact.booking_date.isoformat(),
            accountId=str(fact.account_id),
        ),
    }


def _link(call: str, **request: str) -> Mapping[str, object]:
    """Return where there is more: a path of the JSON gateway, and the request to send there."""
    return {"link": f"/{call}", "link_request": request}
