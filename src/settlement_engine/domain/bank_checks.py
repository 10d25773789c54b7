"""Which entries of the bank directory are valid: forms, bounds, check digits, and what belongs together.

Promises: every fault names its field, and never repeats the text. A BIC that is in no list here is a warning, as is
an account number with a card's form: no freely available list of BICs is complete.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.bank_codes import fault_of_bank
from settlement_engine.domain.bank_directory import (
    CLEARING_MEMBERS_MAX,
    RAILS_MAX,
    STANDING_INSTRUCTIONS_MAX,
    CorrespondentMethod,
)
from settlement_engine.domain.card_numbers import has_card_number
from settlement_engine.domain.check_digits import (
    fault_of_bic,
    fault_of_lei,
    fault_of_routing_number,
    warning_of_bic,
)
from settlement_engine.domain.money import MoneyError, exponent
from settlement_engine.domain.payment_checks import (
    NAME_CHARACTERS_MAX,
    fault_of_text,
    faults_of_account,
    faults_of_address,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settlement_engine.domain.bank_directory import (
        ClearingMember,
        ListedBank,
        StandingInstruction,
    )
    from settlement_engine.domain.payment import PaymentAccount

MEMBER_ID_CHARACTERS_MAX: Final = 35

US_ROUTING: Final = "USABA"
"""The clearing system whose member ids have a check digit that we know."""

_CLEARING_SYSTEM: Final = re.compile(r"[A-Z]{5}", re.ASCII)
_RAIL: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_REQUIRED: Final = "is required"


def bic_of_code(code: str) -> str:
    """Return the BIC that a folded code is; empty when it is none."""
    return "" if fault_of_bic(code) else code


def faults_of_bank(bank: ListedBank) -> list[tuple[str, str]]:
    """Return all faults of a folded entry as pairs of field and description; empty when it is valid."""
    return list(_faults(bank))


def _faults(bank: ListedBank) -> Iterator[tuple[str, str]]:
    if fault := _fault_of_code(bank.code):
        yield "code", fault
    if fault := fault_of_text(bank.name, NAME_CHARACTERS_MAX) if bank.name else _REQUIRED:
        yield "name", fault
    if bank.bic and (fault := fault_of_bic(bank.bic)):
        yield "bic", fault
    elif bank.bic and bic_of_code(bank.code) not in {"", bank.bic}:
        yield "bic", "is not the bank's code, which is a BIC itself"
    if bank.lei and (fault := fault_of_lei(bank.lei)):
        yield "lei", fault
    if bank.address is not None:
        yield from faults_of_address(bank.address)
    yield from _faults_of_members(bank.clearing_members)
    yield from _faults_of_instructions(bank)
    yield from _faults_of_rails(bank.rails)


def _fault_of_code(code: str) -> str:
    if not code:
        return _REQUIRED
    is_card = has_card_number(code)
    return fault_of_bank(code) or ("looks like a card number" if is_card else "")


def _faults_of_members(members: tuple[ClearingMember, ...]) -> Iterator[tuple[str, str]]:
    name = "clearing_members"
    if len(members) > CLEARING_MEMBERS_MAX:
        yield name, f"has more than {CLEARING_MEMBERS_MAX} items"
        return
    for number, member in enumerate(members):
        if _CLEARING_SYSTEM.fullmatch(member.system) is None:
            text = "must be a code of the external list of clearing systems, such as USABA"
            yield f"{name}[{number}].system", text
        if fault := _fault_of_member_id(member):
            yield f"{name}[{number}].member_id", fault
    if len({each.system for each in members}) < len(members):
        yield name, "names a clearing system twice"


def _fault_of_member_id(member: ClearingMember) -> str:
    if not member.member_id:
        return _REQUIRED
    if member.system == US_ROUTING:
        return fault_of_routing_number(member.member_id)
    return fault_of_text(member.member_id, MEMBER_ID_CHARACTERS_MAX)


def _faults_of_instructions(bank: ListedBank) -> Iterator[tuple[str, str]]:
    name = "instructions"
    if len(bank.instructions) > STANDING_INSTRUCTIONS_MAX:
        yield name, f"has more than {STANDING_INSTRUCTIONS_MAX} items"
        return
    for number, each in enumerate(bank.instructions):
        for field, fault in _faults_of_instruction(bank.code, each):
            yield f"{name}[{number}].{field}", fault
    if len({each.currency for each in bank.instructions}) < len(bank.instructions):
        yield name, "names a currency twice"


def _faults_of_instruction(code: str, each: StandingInstruction) -> Iterator[tuple[str, str]]:
    try:
        exponent(each.currency)
    except MoneyError as error:
        yield "currency", str(error) if each.currency else _REQUIRED
    for name, account in _accounts(each):
        for field, fault in faults_of_account(account):
            yield field.replace("account", name, 1), fault
    if each.correspondent and (fault := _fault_of_code(each.correspondent)):
        yield "correspondent", fault
    elif each.correspondent == code:
        yield "correspondent", "is the bank itself: leave it empty"
    if bool(each.correspondent) != (each.method is not CorrespondentMethod.NONE):
        yield "method", "is given with a correspondent, and only with one"


def _accounts(each: StandingInstruction) -> Iterator[tuple[str, PaymentAccount]]:
    for name, account in (
        ("our_account", each.our_account),
        ("their_account", each.their_account),
    ):
        if account is not None:
            yield name, account


def _faults_of_rails(rails: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if len(rails) > RAILS_MAX:
        yield "rails", f"has more than {RAILS_MAX} items"
    elif any(_RAIL.fullmatch(rail) is None for rail in rails):
        yield "rails", "must be names of 1 to 64 of A-Z, a-z, 0-9, underscore and hyphen"
    elif len(set(rails)) < len(rails):
        yield "rails", "names a rail twice"


def warnings_of_bank(bank: ListedBank) -> list[str]:
    """Return what a person should look at, as sentences without the identifiers themselves."""
    warnings = []
    if bank.bic and (text := warning_of_bic(bank.bic)):
        warnings.append(f"bic {text}")
    for each in bank.instructions:
        for name, account in _accounts(each):
            if has_card_number(account.other_id):
                text = "looks like a card number; if it is one, write another version without it"
                warnings.append(f"{name} in {each.currency} {text}")
    return warnings
