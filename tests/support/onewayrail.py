"""Rails that can only send: a test double of class C (files) and one of class D (send once, never again).

Neither offers enquiries or recalls. The bank's ledger shows what was executed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from settlement_engine.domain.intent import PaymentTerms
from settlement_engine.domain.lifecycle import Ask, Event
from settlement_engine.ports import Answer, MessageType, RailCapabilities

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from settlement_engine.domain.decisions.resending import RailClass
    from settlement_engine.domain.identifiers import References
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.ports import Question
    from settlement_engine.ports.rails import Receive, Report

SEND_ONLY = frozenset({Ask.SEND})


class OneWayRail:
    """Accepts payments, and reports for each that it was settled or rejected, or nothing."""

    def __init__(self, name: str, rail_class: RailClass, debits: Counter[str]) -> None:
        self.name = name
        self.debits = debits
        self.receive: Receive | None = None
        self.capabilities = RailCapabilities(
            rail_class=rail_class,
            answer_timeout_seconds=0.05,
            is_not_found_definite=False,
            validity_seconds=3_600,
            deduplicates_seconds=0,
            asks=SEND_ONLY,
            messages=(MessageType(name="paper.payment", versions=("1",), ask=Ask.SEND),),
        )

    def prepare(self, settlement: Settlement, references: References) -> bytes:
        """Return the payment's bytes, with what the bank shall do with it."""
        payment_request = settlement.instruction
        content = {
            "end_to_end_id": references.end_to_end_id,
            "obligation": payment_request.obligation_id,
            "from": payment_request.from_bank,
            "to": payment_request.to_bank,
            "amount": str(payment_request.amount),
            "currency": payment_request.amount.currency,
            "simulate": payment_request.metadata.get("simulate", ""),
        }
        return json.dumps(content, sort_keys=True).encode()

    def read(self, payload: bytes) -> PaymentTerms | None:
        """Return what the bytes request."""
        try:
            said = json.loads(payload)
        except ValueError:
            return None
        return PaymentTerms(
            from_bank=said["from"],
            to_bank=said["to"],
            amount=said["amount"],
            currency=said["currency"],
        )

    async def send(self, questions: Sequence[Question], report: Report) -> None:
        """Execute what arrives, however often it arrives."""
        for question in questions:
            event = self._arrive(question.payload)
            if event is not None:
                named = question.settlement_id
                report([Answer(settlement_id=named, event=event, attempt=question.attempt)])

    def _arrive(self, payload: bytes) -> Event | None:
        try:
            said = json.loads(payload)
        except ValueError:
            return Event.REJECTED
        what = said["simulate"]
        if what in ("undelivered", "reject"):
            return Event.UNDELIVERED if what == "undelivered" else Event.REJECTED
        self.debits[said["obligation"]] += 1
        return Event.ACKNOWLEDGED if what == "settle" else None

    def listen(self, receive: Receive) -> None:
        """Set who stores the bank's messages."""
        self.receive = receive

    async def start(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Do nothing."""
