"""The sample banks' entries in the bank directory. Names and codes are real; the accounts are invented.

Promises: every bank has an IBAN on which it is paid in EUR, with its check digits; the others' accounts are
numbers, because their countries have no IBANs.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from settlement_engine.cli.acting import ACTOR
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, reach
from settlement_engine.proto import settlement_pb2 as wire

WHO: Final = "sample-data"
EURO_CORRESPONDENT: Final = "DEUTDEFF"
DOLLAR_CORRESPONDENT: Final = "CHASUS33"
COVERED: Final = frozenset({"HSBCGB2L"})
"""The banks to which customers' payments in USD go directly, and through the correspondent only their cover."""

EURO, DOLLAR = "EUR", "USD"


class SampleBank(NamedTuple):
    """A sample bank: ``ours`` is our account there, ``theirs`` the account on which it is paid in EUR."""

    code: str
    name: str
    country: str
    town: str
    lei: str
    clearing: tuple[str, str]
    ours: str
    theirs: str


SAMPLE_BANKS: Final = (
    SampleBank(
        *("DEUTDEFF", "Deutsche Bank AG", "DE", "Frankfurt am Main", "7LTWFZYICNSX8D621K86"),
        *(("DEBLZ", "50070010"), "DE56500700100123456600", "DE29500700100123456601"),
    ),
    SampleBank(
        *("CHASUS33", "JPMorgan Chase Bank, N.A.", "US", "New York", "7H6GLXDRUGQFU57RNE97"),
        *(("USABA", "021000021"), "CHASE-SETT-0001", "DE02500700100123456602"),
    ),
    SampleBank(
        *("BNPAFRPP", "BNP Paribas", "FR", "Paris", "R0MUWSFPU8MPRO8K5P83"),
        *(("", ""), "FR7630004008280001234560081", "FR7630004008280001234560178"),
    ),
    SampleBank(
        *("HSBCGB2L", "HSBC Bank plc", "GB", "London", "MP6I5ZYZBEU3UXPYFY54"),
        *(("GBDSC", "401276"), "GB43HBUK40127612345600", "GB16HBUK40127612345601"),
    ),
    SampleBank(
        *("EBILAEAD", "Emirates NBD Bank PJSC", "AE", "Dubai", ""),
        *(("", ""), "AE400260001234567890100", "AE130260001234567890101"),
    ),
    SampleBank(
        *("HDFCINBB", "HDFC Bank Limited", "IN", "Mumbai", "335800ZQ6I4E2JXENC50"),
        *(("INFSC", "HDFC0000001"), "HDFC-SETT-0001", "DE72500700100123456603"),
    ),
    SampleBank(
        *("UBSWCHZH", "UBS Switzerland AG", "CH", "Zurich", ""),
        *(("", ""), "CH2500230000123456700", "CH9500230000123456701"),
    ),
    SampleBank(
        *("SBZAZAJJ", "The Standard Bank of South Africa Limited", "ZA", "Johannesburg"),
        *("QFC8ZCW3Q5PRXU1XTM60", ("ZANCC", "051001"), "SBSA-SETT-0001"),
        "DE45500700100123456604",
    ),
)


def put_sample_banks(target: str) -> int:
    """Put the sample banks into the directory; return their number. Repeated, it writes nothing."""
    metadata = ((ACTOR, WHO),)
    with reach(EngineAddress(target=target)) as engine:
        for bank in SAMPLE_BANKS:
            request = wire.PutBankRequest(bank=entry_of(bank))
            engine.banks.PutBank(request, timeout=CALL_SECONDS, metadata=metadata)
    return len(SAMPLE_BANKS)


def entry_of(bank: SampleBank) -> wire.Bank:
    """Return a sample bank's entry."""
    entry = wire.Bank(
        code=bank.code,
        name=bank.name,
        lei=bank.lei,
        address=wire.PostalAddress(country=bank.country, town_name=bank.town),
        instructions=[_in_euros(bank), _in_dollars(bank)],
    )
    system, member_id = bank.clearing
    if system:
        entry.clearing_members.add(system=system, member_id=member_id)
    return entry


def _in_euros(bank: SampleBank) -> wire.StandingInstruction:
    found = wire.StandingInstruction(
        currency=EURO,
        our_account=_account(bank.ours),
        their_account=wire.PaymentAccount(iban=bank.theirs),
    )
    if bank.theirs[:2] != bank.country:
        found.correspondent = EURO_CORRESPONDENT
        found.method = wire.CORRESPONDENT_METHOD_SERIAL
    return found


def _in_dollars(bank: SampleBank) -> wire.StandingInstruction:
    found = wire.StandingInstruction(
        currency=DOLLAR,
        our_account=_account(bank.ours),
        their_account=wire.PaymentAccount(other_id=f"USD-{bank.code}"),
    )
    if bank.code != DOLLAR_CORRESPONDENT:
        found.correspondent = DOLLAR_CORRESPONDENT
        is_covered = bank.code in COVERED
        found.method = (
            wire.CORRESPONDENT_METHOD_COVER if is_covered else wire.CORRESPONDENT_METHOD_SERIAL
        )
    return found


def _account(number: str) -> wire.PaymentAccount:
    is_iban = number[:2].isalpha() and number[2:4].isdigit()
    return wire.PaymentAccount(iban=number) if is_iban else wire.PaymentAccount(other_id=number)
