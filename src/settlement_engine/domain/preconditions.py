"""Refusals: the reasons why *we* refuse a settlement before money moves. They are data, not exceptions.

They are listed in order of precedence: static and cheap checks first, the check of funds last. The first that
applies is reported. A malformed amount, an unknown currency and the same bank on both sides are refused by the
API already, and nothing is written (``InvalidInstruction``). Must never: depend on anything but its arguments.
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
    """Why we refused, in order of precedence. The names are stable: clients rely on them."""

    UNKNOWN_ACCOUNT = "UNKNOWN_ACCOUNT"
    INACTIVE_ACCOUNT = "INACTIVE_ACCOUNT"
    CURRENCY_MISMATCH = "CURRENCY_MISMATCH"
    NO_ROUTE = "NO_ROUTE"
    SETTLEMENT_WINDOW_CLOSED = "SETTLEMENT_WINDOW_CLOSED"
    COMPLIANCE_BLOCKED = "COMPLIANCE_BLOCKED"
    RISK_LIMIT_EXCEEDED = "RISK_LIMIT_EXCEEDED"
    NOT_COMPENSABLE = "NOT_COMPENSABLE"
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
    """A refusal, with the details that the caller needs to understand it."""

    code: RefusalCode
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFacts:
    """What is known about the account that one side of the settlement needs.

    ``elsewhere`` lists the currencies in which the bank has such an account.
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
    """Check that the accounts of both sides exist, are active and have this currency."""
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
    """Refuse because the window is closed; the detail says when it opens next, if it ever does."""
    detail = {"currency": currency}
    if next_opening is not None:
        detail["next_opening"] = next_opening.isoformat()
    return Refusal(code=RefusalCode.SETTLEMENT_WINDOW_CLOSED, detail=detail)


def refuse_funds(required: Money, available: Money) -> Refusal:
    """Refuse because of missing funds; the detail has the required and the available amount."""
    return Refusal(
        code=RefusalCode.INSUFFICIENT_FUNDS,
        detail={
            "required": str(required),
            "available": str(available),
            "currency": required.currency,
        },
    )
