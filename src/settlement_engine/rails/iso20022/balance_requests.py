"""A bank's answer to a request for a balance: the booked balance of an intraday report, also of one without entries.

Promises: the balance is of the currency that was asked for; a bank that says no, or nothing, is no error. Must never:
take a balance that is not booked, such as an available one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.balance_comparison import booked_balance
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.statements import is_statement_file, read_statements
from settlement_engine.ports import BalanceAnswer
from settlement_engine.rails.iso20022.statement_requests import answer_of
from settlement_engine.rails.transport.results import Response

if TYPE_CHECKING:
    from settlement_engine.ports import BalanceQuestion, Clock
    from settlement_engine.rails.iso20022.connections import Connections
    from settlement_engine.rails.iso20022.validation import MessageValidation
    from settlement_engine.rails.transport.results import ExchangeResult

PATH: Final = "/messages"
HEADERS: Final = {"content-type": "application/xml"}
REPORT_BYTES_MAX: Final = 1024 * 1024
"""The longest report of a balance that is read."""


class IsoBalances:
    """The part of a rail that is ``ports.BalanceSource``: a camt.060 is answered with a camt.052."""

    _connections: Connections
    _clock: Clock
    _validation: MessageValidation

    def gives_balances(self, bank: str, currency: str) -> bool:
        """Say whether the bank that keeps our account states its balance."""
        found = self._connections.of(bank, currency)
        return found is not None and found.states_balances

    async def balance(self, question: BalanceQuestion) -> BalanceAnswer:
        """Ask the bank that keeps the account."""
        bank = self._connections.of(question.bank, question.currency)
        if bank is None:
            return BalanceAnswer(reason="no bank of this rail keeps the account")
        try:
            body = bank.dialect.balance_request(question, self._clock.now())
            self._validation.check(body)
            result = await bank.transport.post(PATH, body, HEADERS, bytes_max=REPORT_BYTES_MAX)
            if isinstance(result, Response) and is_statement_file(result.body):
                self._validation.check(result.body)
        except MessageError as error:
            return BalanceAnswer(reason=str(error))
        return _balance_of(result, question.currency)


def _balance_of(result: ExchangeResult, currency: str) -> BalanceAnswer:
    answer = answer_of(result)
    if not answer.content:
        return BalanceAnswer(reason=answer.reason)
    for said in read_statements(answer.content).statements:
        found = booked_balance(said, said.source.value)
        if found is not None and said.account.currency == currency:
            return BalanceAnswer(minor=found.minor, as_of=found.as_of)
    return BalanceAnswer(reason="what it sent states no booked balance of the account")
