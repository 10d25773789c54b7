"""Refusals: the reasons why *we* say no, before money moves. They are data, not exceptions.

Listed in order of precedence: cheap and static ones first, the contended one last. The first that
applies is the answer. Amount grammar and scale, an unknown currency and the same bank on both sides are
refused at the edge already, with nothing written (``InvalidInstruction``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from settlement_engine.domain.money import Money


class RefusalCode(StrEnum):
    """Why we said no, in order of precedence. The names are stable: clients rely on them."""

    UNKNOWN_ACCOUNT = "UNKNOWN_ACCOUNT"
    INACTIVE_ACCOUNT = "INACTIVE_ACCOUNT"
    CURRENCY_MISMATCH = "CURRENCY_MISMATCH"
    NO_ROUTE = "NO_ROUTE"
    SETTLEMENT_WINDOW_CLOSED = "SETTLEMENT_WINDOW_CLOSED"
    COMPLIANCE_BLOCKED = "COMPLIANCE_BLOCKED"
    RISK_LIMIT_EXCEEDED = "RISK_LIMIT_EXCEEDED"
    ACCOUNT_FULL = "ACCOUNT_FULL"
    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    CANCELLED_BY_CALLER = "CANCELLED_BY_CALLER"
    RECALLED_OVERDUE = "RECALLED_OVERDUE"
    RAIL_REJECTED = "RAIL_REJECTED"
    ATTESTED_NOT_SETTLED = "ATTESTED_NOT_SETTLED"
    UNDELIVERED = "UNDELIVERED"
    DECLINED = "DECLINED"
    LAPSED = "LAPSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A no, with what the caller needs to understand it."""

    code: RefusalCode
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFacts:
    """What is known of the account that one side of the settlement needs.

    ``elsewhere`` names the currencies in which the bank does have such an account.
    """

    role: str  # "nostro" or "vostro"
    bank: str
    currency: str
    account_id: int | None
    is_active: bool = False
    elsewhere: tuple[str, ...] = ()

    def detail(self) -> dict[str, str]:
        """Describe the account for the caller."""
        return {"account": f"{self.role} of {self.bank} in {self.currency}"}


def refuse_accounts(source: AccountFacts, target: AccountFacts) -> Refusal | None:
    """Check both sides: known, active, in this currency."""
    sides = (source, target)
    for side in sides:
        if side.account_id is None and not side.elsewhere:
            return Refusal(code=RefusalCode.UNKNOWN_ACCOUNT, detail=side.detail())
    for side in sides:
        if side.account_id is not None and not side.is_active:
            return Refusal(code=RefusalCode.INACTIVE_ACCOUNT, detail=side.detail())
    for side in sides:
        if side.account_id is None:
            detail = {**side.detail(), "currencies": ", ".join(sorted(side.elsewhere))}
            return Refusal(code=RefusalCode.CURRENCY_MISMATCH, detail=detail)
    return None


def refuse_window(currency: str, next_opening: datetime | None) -> Refusal:
    """Say that the window is shut, and when it opens next; without any window it never does."""
    detail = {"currency": currency}
    if next_opening is not None:
        detail["next_opening"] = next_opening.isoformat()
    return Refusal(code=RefusalCode.SETTLEMENT_WINDOW_CLOSED, detail=detail)


def refuse_funds(required: Money, available: Money) -> Refusal:
    """Say what was asked for and what was there."""
    return Refusal(
        code=RefusalCode.INSUFFICIENT_FUNDS,
        detail={
            "required": str(required),
            "available": str(available),
            "currency": required.currency,
        },
    )
