"""Writes the payments and covers of one family of rails, from the configuration and the bank directory. Pure.

Promises: a payment is covered only where the bank directory says so, and both banks take messages from us. Must never:
write a cover that is not one of the payment's bytes.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from settlement_engine.domain.bank_codes import is_same_bank
from settlement_engine.domain.covers import Cover, cover_message_id
from settlement_engine.domain.payment import Delivery
from settlement_engine.messages.errors import MessageError
from settlement_engine.rails.iso20022.covers import cover_of, payer_of, repaired_cover
from settlement_engine.rails.iso20022.orders import read_order
from settlement_engine.rails.iso20022.validation import SAMPLE_REFERENCES, MessageValidation

if TYPE_CHECKING:
    from collections.abc import Callable

    from settlement_engine.domain.bank_directory import CorrespondentRoute
    from settlement_engine.domain.identifiers import References
    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.messages.schemas import MessageSchemas
    from settlement_engine.ports import Clock, Question
    from settlement_engine.rails.iso20022.connections import BankConnection, Connections


class CoverWriter:
    """Knows which banks are covered, and how."""

    def __init__(
        self, connections: Connections, clock: Clock, schemas: MessageSchemas | None
    ) -> None:
        self._connections = connections
        self._clock = clock
        self._validation = MessageValidation(schemas)
        self._route: Callable[[str, str], CorrespondentRoute | None] = _none_known

    def know_covers(self, route: Callable[[str, str], CorrespondentRoute | None]) -> None:
        """Set the look-up of how a bank is covered, by bank and currency."""
        self._route = route

    def fault_of(self, instruction: Instruction, of_orders: Callable[[Instruction], str]) -> str:
        """Say why a payment is no cover payment, or what it cannot carry; ``of_orders`` says it of all orders."""
        payer = self._connections.of(instruction.from_bank, instruction.amount.currency)
        if payer is None:
            return ""
        fault = self._not_covered(payer, instruction) or of_orders(instruction)
        return fault or self._validation.fault_of(
            payer.dialect,
            lambda settlement: self._documents(payer, settlement),
            instruction,
            self._clock.now(),
        )

    def _not_covered(self, payer: BankConnection, instruction: Instruction) -> str:
        """Say why a payment goes to FROM alone; empty when it is covered."""
        if instruction.delivery is not Delivery.PAY_OUT or instruction.payment is None:
            return "payment: only a customer's payment is covered"
        if not payer.covers or not payer.profile.cover_service:
            return "from_bank: its connection sends no cover payments"
        return self._not_reached(instruction)

    def _not_reached(self, instruction: Instruction) -> str:
        """Say why TO cannot be paid by a cover; empty when it can."""
        currency = instruction.amount.currency
        if is_same_bank(instruction.from_bank, instruction.to_bank):
            return "to_bank: FROM keeps the account itself"
        if self._route(instruction.to_bank, currency) is None:
            return f"to_bank: the bank directory does not say that it is covered in {currency}"
        if self._connections.of(instruction.to_bank, currency) is None:
            return f"to_bank: no connection takes payments for it in {currency}"
        return ""

    def _documents(self, payer: BankConnection, settlement: Settlement) -> tuple[bytes, bytes]:
        payment = self.payment(settlement, SAMPLE_REFERENCES)
        message_id = cover_message_id(SAMPLE_REFERENCES.message_id, 1)
        return payment, cover_of(payer.profile, payment, message_id)

    def payment(self, settlement: Settlement, references: References) -> bytes:
        """Build the customer's payment for TO."""
        instruction = settlement.instruction
        currency = instruction.amount.currency
        payer = self._connections.of(instruction.from_bank, currency)
        route = self._route(instruction.to_bank, currency)
        assert payer is not None, "a payment is routed only where somebody takes it"
        assert route is not None, "a payment is covered only where the directory says how"
        return payer.dialect.payment(settlement, references, route)

    def repaired(self, question: Question, failed: Cover, who: str, reason: str) -> Cover:
        """Build the next cover of a payment, from what the bank directory says now. Raises MessageError."""
        payment = read_order(question.payload)
        payer = self._payer(question)
        route = self._route(payment.bank, payment.transfer.amount.currency)
        if payer is None or route is None:
            raise MessageError("to_bank", "neither a connection nor the bank directory covers it")
        number, now = failed.number + 1, self._clock.now()
        message_id = cover_message_id(question.references.message_id, number)
        content = repaired_cover(payer.profile, question.payload, message_id, route, now)
        return self._new(number, message_id, content, who, reason)

    def first(self, question: Question) -> Cover | None:
        """Build the first cover of a payment; None for bytes that are no payment of ours."""
        payer = self._payer(question)
        message_id = cover_message_id(question.references.message_id, 1)
        try:
            content = cover_of(payer.profile, question.payload, message_id) if payer else b""
        except MessageError:
            content = b""
        return self._new(1, message_id, content) if content else None

    def _new(
        self, number: int, message_id: str, content: bytes, who: str = "", reason: str = ""
    ) -> Cover:
        now = self._clock.now()
        rules = self._connections.capabilities(now.date())
        return Cover(
            number=number,
            message_id=message_id,
            content=content,
            recorded_at=now,
            valid_until=now + timedelta(seconds=rules.validity_seconds),
            ordered_by=who,
            reason=reason,
        )

    def _payer(self, question: Question) -> BankConnection | None:
        try:
            payment = read_order(question.payload)
        except MessageError:
            return None
        return self._connections.of(payer_of(payment), payment.transfer.amount.currency)


def _none_known(_bank: str, _currency: str) -> CorrespondentRoute | None:
    return None
