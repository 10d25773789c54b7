"""Requests for account statements and balances (camt.060), and what a bank's answer to one is: bytes, or why not.

Promises: the answer's bytes are returned unchanged, and only if they begin like statements; a bank that says no, or
nothing, is no error. Must never: read what a statement says.
"""

from __future__ import annotations

import hashlib
from datetime import UTC
from typing import TYPE_CHECKING, Final

from msgspec import structs

from settlement_engine.messages.camt060 import ReportAsked, ReportRequest
from settlement_engine.messages.envelope import built, opened
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.statements import is_statement_file
from settlement_engine.ports import StatementAnswer
from settlement_engine.rails.iso20022.parties import account, agent
from settlement_engine.rails.transport.results import Response

if TYPE_CHECKING:
    from datetime import date, datetime

    from settlement_engine.messages.parties import Agent
    from settlement_engine.ports import BalanceQuestion, StatementQuestion
    from settlement_engine.rails.transport.results import ExchangeResult

REQUEST: Final = "camt.060.001.05"
WANTED: Final = "camt.053.001.08"
BALANCE_WANTED: Final = "camt.052.001.08"
STATEMENT_BYTES_MAX: Final = 64 * 1024 * 1024
"""The longest answer that is read."""

REASON_CHARACTERS_MAX: Final = 300
OK: Final = 200
ID_CHARACTERS: Final = 31


def request_of(question: StatementQuestion, us: Agent, now: datetime) -> bytes:
    """Write the request. Raises MessageError for an account that no message can name."""
    return _request(WANTED, question, question.day, us, now)


def balance_request_of(question: BalanceQuestion, us: Agent, now: datetime) -> bytes:
    """Write the request for a balance: an intraday report. Raises MessageError."""
    return _request(BALANCE_WANTED, question, now.astimezone(UTC).date(), us, now)


def _request(
    wanted: str, question: StatementQuestion | BalanceQuestion, day: date, us: Agent, now: datetime
) -> bytes:
    named = account(question.account_number)
    key = f"{question.bank} {question.account_number} {question.currency} {day} {now}"
    asked = ReportAsked(
        message_name=wanted,
        account=None if named is None else structs.replace(named, currency=question.currency),
        owner_institution=us,
        servicer=agent(question.bank),
        from_date=day,
        to_date=day,
        from_time="00:00:00Z",
        query="ALLL",
    )
    content = ReportRequest(
        message_id=f"S{hashlib.sha256(key.encode()).hexdigest()[:ID_CHARACTERS]}",
        created_at=now,
        sender_institution=us,
        reports=(asked,),
    )
    return built(REQUEST, content)


def answer_of(result: ExchangeResult) -> StatementAnswer:
    """Say what a bank has answered."""
    if not isinstance(result, Response):
        return StatementAnswer(reason=result.why[:REASON_CHARACTERS_MAX], was_reached=False)
    if result.status == OK and is_statement_file(result.body):
        return StatementAnswer(content=result.body)
    said = _said(result.body) or "what it sent is no statement"
    return StatementAnswer(reason=f"status {result.status}: {said}"[:REASON_CHARACTERS_MAX])


def _said(body: bytes) -> str:
    """Read the reason of an admi.002; empty for anything else."""
    try:
        message = opened(body)
    except MessageError:
        return ""
    if message.kind != "admi.002":
        return ""
    return message.content.description or message.content.reason or ""
