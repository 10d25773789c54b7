"""Requests for statements (camt.060): which statement a message asks for, and the bank's answer.

Promises: the answer is the statement itself (camt.053), or the balance now (camt.052 without entries), or an admi.002
that says why there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.messages.camt052_building import build_camt052
from settlement_engine.messages.errors import MessageError
from settlement_engine.simulator import answers
from settlement_engine.simulator.statement_issuing import (
    NoStatement,
    StatementFormat,
    StatementWanted,
    written,
)

if TYPE_CHECKING:
    from settlement_engine.messages.camt060 import ReportRequest
    from settlement_engine.simulator.balances import BalanceTeller
    from settlement_engine.simulator.scenarios import ScenarioScript
    from settlement_engine.simulator.statement_issuing import StatementIssuer

STATEMENT_NAME: Final = "camt.053"
BALANCE_NAME: Final = "camt.052"
UNKNOWN: Final = "NOOR"


def answer_request(
    request: ReportRequest,
    sources: tuple[StatementIssuer, BalanceTeller],
    script: ScenarioScript,
    now_ms: int,
) -> tuple[bytes, bool]:
    """Return the answer, and whether it is the statement, or the balance."""
    issuer, teller = sources
    try:
        if _is_for_balance(request):
            return build_camt052(teller.report(_wanted(request), script, now_ms)), True
        statement = issuer.statement(_wanted(request), script, now_ms)
        return written(statement, StatementFormat.CAMT053), True
    except (NoStatement, MessageError) as error:
        body = answers.message_reject(request.message_id, UNKNOWN, str(error), now_ms)
        return body, False


def _is_for_balance(request: ReportRequest) -> bool:
    return all(each.message_name.startswith(BALANCE_NAME) for each in request.reports)


def _wanted(request: ReportRequest) -> StatementWanted:
    if len(request.reports) != 1:
        raise NoStatement("one statement is asked for at a time")
    asked = request.reports[0]
    if not asked.message_name.startswith((STATEMENT_NAME, BALANCE_NAME)):
        raise NoStatement(f"{asked.message_name} is not given out")
    bank, account, day = asked.servicer, asked.account, asked.from_date
    if bank is None or account is None or day is None:
        raise NoStatement("name the account, its bank and the day")
    if asked.to_date not in (None, day):
        raise NoStatement("one day is asked for at a time")
    return StatementWanted(
        bank=bank.bic or bank.other_id or bank.name or "",
        number=account.iban or account.other_id or "",
        currency=account.currency,
        day=day,
    )
