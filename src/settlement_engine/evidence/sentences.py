"""Refusals and next actions as sentences for people, and how times and numbers are written in them.

Promises: every refusal code and every open state has a sentence. Must never decide anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from settlement_engine.domain.lifecycle import QUESTION, Ask, State
from settlement_engine.domain.preconditions import RefusalCode
from settlement_engine.domain.routing import FIELD_OF_RAIL, RouteReason, read_rejected

if TYPE_CHECKING:
    from datetime import datetime

Detail: TypeAlias = Mapping[str, str]


def _words(detail: Detail) -> str:
    """Quote the other side's reason: ``AC04 (closed account)``."""
    code, text = detail.get("code", ""), detail.get("text", "")
    return f"{code} ({text})" if code and text else code or text


def _said(sentence: str) -> Callable[[Detail], str]:
    def tell(detail: Detail) -> str:
        words = _words(detail)
        return f"{sentence}: {words}" if words else sentence

    return tell


def _funds(detail: Detail) -> str:
    required, available = detail.get("required", "?"), detail.get("available", "?")
    return f"required {required}, available {available} {detail.get('currency', '')}".rstrip()


def _mismatch(detail: Detail) -> str:
    only = detail.get("currencies", "")
    return f"there is no {_account(detail)}" + (f", only in {only}" if only else "")


def _account(detail: Detail) -> str:
    return detail.get("account", "account")


def _no_route(detail: Detail) -> str:
    rejected = read_rejected(detail)
    if detail.get("field") == FIELD_OF_RAIL and rejected:
        return f"rail {rejected[0].rail} does not carry this payment: {rejected[0].text}"
    if all(each.reason is RouteReason.CURRENCY_NOT_CARRIED for each in rejected):
        return f"no rail carries {detail.get('currency', 'it')}"
    why = "; ".join(f"{each.rail}: {each.text}" for each in rejected)
    return f"no rail carries this payment in {detail.get('currency', 'its currency')} ({why})"


def _not_compensable(detail: Detail) -> str:
    compensated = f"settlement {detail.get('compensates', '')}"
    if why := detail.get("why"):
        return f"{compensated} cannot be compensated: {why}"
    currency = detail.get("currency", "")
    return (
        f"{detail.get('required', '')} {currency} is more than what is left to compensate of"
        f" {compensated}: {detail.get('left', '')} {currency}"
    )


def _window(detail: Detail) -> str:
    currency, opening = detail.get("currency", "the currency"), detail.get("next_opening", "")
    if opening:
        return f"the settlement window of {currency} is closed; it opens at {opening}"
    return f"the settlement window of {currency} is closed, and its next opening is not known"


_REFUSALS: Final[Mapping[str, Callable[[Detail], str]]] = {
    RefusalCode.UNKNOWN_ACCOUNT: lambda detail: f"there is no {_account(detail)}",
    RefusalCode.INACTIVE_ACCOUNT: lambda detail: f"the {_account(detail)} is not active",
    RefusalCode.CURRENCY_MISMATCH: _mismatch,
    RefusalCode.NO_ROUTE: _no_route,
    RefusalCode.SETTLEMENT_WINDOW_CLOSED: _window,
    RefusalCode.COMPLIANCE_BLOCKED: _said("blocked by compliance"),
    RefusalCode.RISK_LIMIT_EXCEEDED: _said("risk limit exceeded"),
    RefusalCode.NOT_COMPENSABLE: _not_compensable,
    RefusalCode.ACCOUNT_FULL: lambda detail: (
        f"an account in {detail.get('currency', 'this currency')} has reached its maximum turnover"
    ),
    RefusalCode.INSUFFICIENT_FUNDS: _funds,
    RefusalCode.CANCELLED_BY_CALLER: _said("cancelled by the caller"),
    RefusalCode.RECALLED_OVERDUE: _said(
        "the rail exceeded its time limit, and gave the payment back when it was recalled"
    ),
    RefusalCode.RAIL_REJECTED: _said("rejected by rail"),
    RefusalCode.ATTESTED_NOT_SETTLED: _said("two people attested that the money did not move"),
    RefusalCode.UNDELIVERED: _said("never transmitted: the rail could not be reached"),
    RefusalCode.DECLINED: _said("two people declined it"),
    RefusalCode.LAPSED: _said("it waited longer than allowed"),
}

_QUESTIONS: Final[Mapping[Ask, str]] = {
    Ask.SCREEN: "compliance and risk are asked",
    Ask.SEND: "it is sent to the rail",
    Ask.ENQUIRE: "the rail is asked for the status",
    Ask.RECALL: "the rail is asked to give the payment back",
}

_WAITS: Final[Mapping[State, str]] = {
    State.HELD: "two people release or decline it",
    State.QUEUED: "it continues when its window opens or liquidity arrives",
}


def refusal_sentence(code: str, detail: Detail) -> str:
    """Say why it was refused; empty when it was not."""
    tell = _REFUSALS.get(code)
    if tell is not None:
        return tell(detail)
    return ", ".join(f"{name} {text}" for name, text in detail.items())


AWAITED: Final = "the bank's own message or a statement is awaited: the rail takes no enquiries"


def next_action(state: State, *, takes_enquiries: bool = True) -> str:
    """Say what happens next in a state; empty after the end."""
    ask = QUESTION.get(state)
    if ask is Ask.ENQUIRE and not takes_enquiries:
        return AWAITED
    return _QUESTIONS[ask] if ask is not None else _WAITS.get(state, "")


def clock(at: datetime) -> str:
    """Write an instant for a person: to the millisecond, in UTC."""
    return at.strftime("%Y-%m-%d %H:%M:%S.") + f"{at.microsecond // 1000:03d} UTC"


def counted(number: int, noun: str) -> str:
    """Write a number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def as_sentence(text: str) -> str:
    """Begin with a capital letter and end with a full stop."""
    return f"{text[0].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")
