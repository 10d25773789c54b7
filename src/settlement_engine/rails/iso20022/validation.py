"""Messages with banks are validated against the schemas of ``[rails] xsd_dir``; without schemas all are valid.

Promises: a payment whose message would be invalid, with its header, is refused before anything is held or sent; any
other invalid message of ours does not leave; and what a bank sends counts only if it is valid. Must never: take an
invalid message for an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

from settlement_engine.domain.identifiers import references
from settlement_engine.domain.settlement import new_settlement
from settlement_engine.messages.errors import MessageError
from settlement_engine.rails.classification import Classified, classify, unasked
from settlement_engine.rails.iso20022.orders import read_order
from settlement_engine.rails.reports import Alarm
from settlement_engine.rails.transport.results import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.messages.envelope import Opened
    from settlement_engine.messages.schemas import MessageSchemas
    from settlement_engine.rails.classification import Asked
    from settlement_engine.rails.iso20022.dialect import Dialect
    from settlement_engine.rails.reports import Reports
    from settlement_engine.rails.transport.results import ExchangeResult

SAMPLE_REFERENCES: Final = references("a caller", "a key", 1)
"""References have the same form for all payments, so that those of no payment do for a trial."""


class MessageValidation:
    """Validates what one rail writes and hears."""

    def __init__(self, schemas: MessageSchemas | None) -> None:
        self._schemas = schemas

    def fault_of_order(self, dialect: Dialect, instruction: Instruction, now: datetime) -> str:
        """Say what is invalid about the document of a payment, with the field; empty when nothing is."""
        return self.fault_of(
            dialect,
            lambda settlement: (dialect.order(settlement, SAMPLE_REFERENCES),),
            instruction,
            now,
        )

    def fault_of(
        self,
        dialect: Dialect,
        documents: Callable[[Settlement], Sequence[bytes]],
        instruction: Instruction,
        now: datetime,
    ) -> str:
        """Say what is invalid about the documents that a payment would be sent as; see above."""
        if self._schemas is None:
            return ""
        settlement = new_settlement(UUID(int=0), instruction, now)
        try:
            for document in documents(settlement):
                order = read_order(document)
                self._schemas.check(dialect.sent(document, order, is_possible_duplicate=False))
        except MessageError as error:
            return f"payment: the message would be invalid: {error.reason}"
        return ""

    def check(self, body: bytes) -> None:
        """Validate a message that is to leave, or one that has come as an answer. Raises MessageError."""
        if self._schemas is not None:
            self._schemas.check(body)

    def unasked(self, body: bytes, settled_by: frozenset[str]) -> Reports:
        """Read what a bank sent unasked. Raises MessageError."""
        found = unasked(body, settled_by)
        self.check(body)
        return found

    def classify(self, asked: Asked, result: ExchangeResult, message: Opened | None) -> Classified:
        """Return what an exchange means; one with an invalid message means nothing, and raises an alarm."""
        if self._schemas is not None and message is not None and isinstance(result, Response):
            try:
                self._schemas.check(result.body)
            except MessageError:
                return Classified(alarms=(Alarm.INVALID_MESSAGE,))
        return classify(asked, result, message)
