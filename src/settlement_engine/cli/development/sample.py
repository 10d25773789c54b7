"""Sample data: eight banks in the directory, with accounts in seven currencies, through the public API.

Promises: a repetition changes nothing, because every call has an idempotency key, and the simulated bank books once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from settlement_engine.app.simulated_payment import book_funding
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, reach
from settlement_engine.cli.development.sample_banks import SAMPLE_BANKS, put_sample_banks
from settlement_engine.domain.money import exponent, format_amount
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BANKS: Final = tuple(bank.code for bank in SAMPLE_BANKS)
CURRENCIES: Final = ("EUR", "USD", "GBP", "AED", "INR", "JPY", "KWD")
FUNDED_UNITS: Final = 10_000_000
FUNDING_REFERENCE: Final = "SAMPLEFUNDING"


def open_sample_accounts(target: str) -> int:
    """Enter the banks, and open and fund all accounts; return the number of accounts."""
    put_sample_banks(target)
    opened = open_accounts(target, BANKS, CURRENCIES)
    fund_accounts(target, BANKS, CURRENCIES, FUNDED_UNITS)
    return opened


def book_sample_funding(simulator: str) -> None:
    """Have the simulated bank book what the accounts were funded with, as a bank does: once."""
    for bank in BANKS:
        for currency in CURRENCIES:
            amount = format_amount(FUNDED_UNITS * 10 ** exponent(currency), currency)
            book_funding(simulator, bank, currency, amount, FUNDING_REFERENCE)


def open_accounts(target: str, banks: Sequence[str], currencies: Sequence[str]) -> int:
    """Open a nostro and a vostro account for each bank and currency."""
    requests = [
        wire.OpenAccountRequest(
            kind=kind,
            bank=bank,
            currency=currency,
            idempotency_key=f"sample/{wire.AccountKind.Name(kind).lower()}/{bank}/{currency}",
        )
        for bank in banks
        for currency in currencies
        for kind in (wire.NOSTRO, wire.VOSTRO)
    ]
    with reach(EngineAddress(target=target)) as engine:
        _call_all(engine.accounts.OpenAccount, requests)
    return len(requests)


def fund_accounts(target: str, banks: Sequence[str], currencies: Sequence[str], units: int) -> None:
    """Record incoming funding of ``units`` whole units for each bank in each currency."""
    requests = [
        wire.FundAccountRequest(
            bank=bank,
            currency=currency,
            amount=format_amount(units * 10 ** exponent(currency), currency),
            reference=FUNDING_REFERENCE,
            idempotency_key=f"sample/fund/{bank}/{currency}",
        )
        for bank in banks
        for currency in currencies
    ]
    with reach(EngineAddress(target=target)) as engine:
        _call_all(engine.accounts.FundAccount, requests)


def _call_all(method: Any, requests: Iterable[object]) -> None:  # noqa: ANN401 -- a stub's method
    # All at once: the engine stores concurrent calls in one transaction.
    for answer in [method.future(request, timeout=CALL_SECONDS) for request in requests]:
        answer.result()
