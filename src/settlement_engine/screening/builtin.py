"""The built-in screening: clears what no configured list names and no limit stops.

Promises: compliance is checked before risk, a batch has one report, and the same settlement always gets the
same answer. A refusal names the list that blocked, never its entries. It must never wait for another system.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.money import MoneyError, parse_amount
from settlement_engine.domain.preconditions import Refusal, RefusalCode
from settlement_engine.ports import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from settlement_engine.domain.money import Money
    from settlement_engine.domain.settlement import Instruction, Settlement


REVIEW: Final = "REVIEW"
"""The reason code of a parked settlement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreeningRules:
    """What is blocked or parked. ``largest`` is the largest amount per currency, as a decimal text.

    It is parsed when needed, because the database knows how many decimals a currency has. A currency
    without a largest amount has no limit. Settlements of ``review_banks``, and amounts from ``review_from``
    on, are parked until two people have decided. A bank is matched under every spelling of its code, also where
    the payment names it as the bank of its debtor or creditor.
    """

    blocked_obligations: frozenset[str] = frozenset()
    blocked_banks: frozenset[str] = frozenset()
    largest: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    review_banks: frozenset[str] = frozenset()
    review_from: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        """Normalise the bank codes once, as those of every instruction are."""
        for name in ("blocked_banks", "review_banks"):
            folded = frozenset(map(folded_bank, getattr(self, name)))
            object.__setattr__(self, name, folded)

    def refuse(self, instruction: Instruction) -> Refusal | None:
        """Return why the instruction is refused, or None."""
        if instruction.obligation_id in self.blocked_obligations:
            return _blocked("blocked_obligations")
        if self.blocked_banks and not self.blocked_banks.isdisjoint(_sides(instruction)):
            return _blocked("blocked_banks")
        amount = instruction.amount
        text = self.largest.get(amount.currency)
        if (
            text is not None
            and amount.minor > (largest := parse_amount(text, amount.currency)).minor
        ):
            return _too_large(amount, largest)
        return None

    def review(self, instruction: Instruction) -> str:
        """Return why two people must review it first; empty when they need not."""
        if self.review_banks and not self.review_banks.isdisjoint(_sides(instruction)):
            return "one of its banks is in screening.review_banks"
        currency = instruction.amount.currency
        text = self.review_from.get(currency)
        if text is None:
            return ""
        least = parse_amount(text, currency)
        is_large = instruction.amount.minor >= least.minor
        return f"amounts from {least} {currency} on are reviewed" if is_large else ""

    def unknown_currencies(self) -> list[str]:
        """List the currencies whose amounts neither ISO 4217 nor the database can interpret."""
        amounts = [*self.largest.items(), *self.review_from.items()]
        return [code for code, text in amounts if not _is_amount(text, code)]


def _sides(instruction: Instruction) -> tuple[str, ...]:
    """Return the banks of both sides, and those that the payment names as its parties' own."""
    sides = folded_bank(instruction.from_bank), folded_bank(instruction.to_bank)
    payment = instruction.payment
    if payment is None:
        return sides
    parties = (payment.debtor, payment.creditor)
    return *sides, *(folded_bank(each.agent_bic) for each in parties if each is not None)


def _is_amount(text: str, currency: str) -> bool:
    try:
        parse_amount(text, currency)
    except MoneyError:
        return False
    return True


def _blocked(name: str) -> Refusal:
    return Refusal(code=RefusalCode.COMPLIANCE_BLOCKED, detail={"list": name})


def _too_large(amount: Money, limit: Money) -> Refusal:
    detail = {"limit": str(limit), "amount": str(amount), "currency": amount.currency}
    return Refusal(code=RefusalCode.RISK_LIMIT_EXCEEDED, detail=detail)


class BuiltinScreening:
    """A Screening that depends on no other system."""

    def __init__(self, rules: ScreeningRules) -> None:
        self._rules = rules

    async def screen(
        self, settlements: Sequence[Settlement], report: Callable[[Sequence[Answer]], None]
    ) -> None:
        """Answer a batch in one report."""
        report([self._answer(settlement) for settlement in settlements])

    def _answer(self, settlement: Settlement) -> Answer:
        refusal = self._rules.refuse(settlement.instruction)
        reason = self._rules.review(settlement.instruction) if refusal is None else ""
        if reason:
            return Answer(settlement_id=settlement.id, event=Event.PARKED, code=REVIEW, text=reason)
        if refusal is None:
            return Answer(settlement_id=settlement.id, event=Event.CLEARED)
        return Answer(
            settlement_id=settlement.id,
            event=Event.REFUSED,
            code=refusal.code,
            refusal=refusal,
        )
