"""Reads and writes an entry of the bank directory: from the message to a ``ListedBank``, and back.

Promises: all faults are returned, each with the path of its field; the checks are those of
``domain/bank_checks.py``.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from settlement_engine.api.render import timestamp
from settlement_engine.domain.bank_checks import bic_of_code, faults_of_bank
from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.bank_directory import (
    ClearingMember,
    CorrespondentMethod,
    ListedBank,
    StandingInstruction,
    folded,
)
from settlement_engine.domain.payment import PaymentAccount, PostalAddress
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from settlement_engine.api.grammar import Found
    from settlement_engine.domain.bank_directory import BankVersion

FIELD: Final = "bank"
"""The name of the entry in the request; the paths of its fields begin with it."""

METHODS: Final[Mapping[int, CorrespondentMethod]] = MappingProxyType(
    {
        pb.CORRESPONDENT_METHOD_UNSPECIFIED: CorrespondentMethod.NONE,
        pb.CORRESPONDENT_METHOD_SERIAL: CorrespondentMethod.SERIAL,
        pb.CORRESPONDENT_METHOD_COVER: CorrespondentMethod.COVER,
    }
)
_METHOD_NUMBERS: Final = {
    method: pb.CorrespondentMethod.ValueType(number) for number, method in METHODS.items()
}


def read_bank(message: pb.Bank, found: Found) -> ListedBank:
    """Read an entry, folded; every fault is noted under the path of its field."""
    code = folded_bank(message.code)
    bank = ListedBank(
        code=code,
        name=message.name,
        bic=message.bic or bic_of_code(code),
        address=_address(message.address) if message.HasField("address") else None,
        lei=message.lei,
        clearing_members=tuple(
            ClearingMember(system=each.system, member_id=each.member_id)
            for each in message.clearing_members
        ),
        instructions=tuple(_read_instruction(each) for each in message.instructions),
        rails=tuple(message.rails),
        is_withdrawn=message.is_withdrawn,
    )
    bank = folded(bank)
    found += ((f"{FIELD}.{field}", text) for field, text in faults_of_bank(bank))
    for number, each in enumerate(message.instructions):
        if each.method not in METHODS:
            found.append((f"{FIELD}.instructions[{number}].method", "is a number of no method"))
    return bank


def _address(message: pb.PostalAddress) -> PostalAddress:
    texts = {name: getattr(message, name) for name in PostalAddress.__struct_fields__}
    return PostalAddress(**{**texts, "lines": tuple(message.lines)})


def _read_instruction(each: pb.StandingInstruction) -> StandingInstruction:
    return StandingInstruction(
        currency=each.currency,
        our_account=_account(each.our_account) if each.HasField("our_account") else None,
        their_account=_account(each.their_account) if each.HasField("their_account") else None,
        correspondent=each.correspondent,
        method=METHODS.get(each.method, CorrespondentMethod.NONE),
    )


def _account(message: pb.PaymentAccount) -> PaymentAccount:
    return PaymentAccount(iban=message.iban, other_id=message.other_id, type=message.type)


def to_message(found: BankVersion) -> pb.Bank:
    """Convert a version of an entry to its message."""
    bank = found.bank
    answer = pb.Bank(
        code=bank.code,
        bic=bank.bic,
        name=bank.name,
        lei=bank.lei,
        clearing_members=[
            pb.ClearingMember(system=each.system, member_id=each.member_id)
            for each in bank.clearing_members
        ],
        instructions=[_instruction(each) for each in bank.instructions],
        rails=bank.rails,
        is_withdrawn=bank.is_withdrawn,
        version=found.version,
        changed_by=found.changed_by,
    )
    if bank.address is not None:
        texts = {name: getattr(bank.address, name) for name in bank.address.__struct_fields__}
        answer.address.CopyFrom(pb.PostalAddress(**texts))
    answer.changed_time.CopyFrom(timestamp(found.changed_at))
    return answer


def _instruction(each: StandingInstruction) -> pb.StandingInstruction:
    answer = pb.StandingInstruction(
        currency=each.currency,
        correspondent=each.correspondent,
        method=_METHOD_NUMBERS[each.method],
    )
    for field, account in (
        (answer.our_account, each.our_account),
        (answer.their_account, each.their_account),
    ):
        if account is not None:
            field.CopyFrom(
                pb.PaymentAccount(iban=account.iban, other_id=account.other_id, type=account.type)
            )
    return answer
