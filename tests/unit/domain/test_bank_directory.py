"""Entries of the bank directory: one spelling, what belongs together, and what an engine makes of changes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from settlement_engine.domain.bank_checks import faults_of_bank
from settlement_engine.domain.bank_directory import (
    CLEARING_MEMBERS_MAX,
    RAILS_MAX,
    STANDING_INSTRUCTIONS_MAX,
    BankChange,
    ClearingMember,
    CorrespondentMethod,
    DirectoryFacts,
    ListedBank,
    StandingInstruction,
    folded,
    unlisted_field,
)
from settlement_engine.domain.payment import PaymentAccount, PostalAddress

GOOD = ListedBank(
    code="DEUTDEFF",
    bic="DEUTDEFF",
    name="Deutsche Bank AG",
    address=PostalAddress(country="DE", town_name="Frankfurt am Main"),
    clearing_members=(ClearingMember(system="DEBLZ", member_id="50070010"),),
    instructions=(
        StandingInstruction(
            currency="USD",
            our_account=PaymentAccount(other_id="1"),
            correspondent="CHASUS33",
            method=CorrespondentMethod.COVER,
        ),
        StandingInstruction(
            currency="EUR", our_account=PaymentAccount(iban="DE56500700100123456600")
        ),
    ),
    rails=("swift", "ach"),
)


def changed(**fields: object) -> ListedBank:
    return msgspec.structs.replace(GOOD, **fields)


def members(count: int) -> tuple[ClearingMember, ...]:
    return tuple(ClearingMember(system=f"AAAA{chr(65 + n)}", member_id="1") for n in range(count))


def instruction(**fields: Any) -> tuple[StandingInstruction, ...]:
    return (StandingInstruction(**({"currency": "EUR"} | fields)),)


def test_two_spellings_of_an_entry_are_the_same_entry():
    again = changed(
        code="deutdeffxxx",
        bic="DEUTDEFFXXX",
        rails=("ach", "swift"),
        instructions=(
            GOOD.instructions[1],
            msgspec.structs.replace(GOOD.instructions[0], correspondent="chasus33XXX"),
        ),
    )
    assert folded(again) == folded(GOOD)
    assert [each.currency for each in folded(again).instructions] == ["EUR", "USD"]


def test_a_good_entry_and_the_barest_one_have_no_fault():
    assert faults_of_bank(GOOD) == []
    assert faults_of_bank(ListedBank(code="BANK0001", name="A bank")) == []
    assert faults_of_bank(ListedBank(code="BANK0001", name="A bank", bic="DEUTDEFF")) == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"address": PostalAddress(country="de", town_name="Frankfurt")}, "address.country"),
        ({"address": PostalAddress(town_name="Frankfurt")}, "address.country"),
        ({"address": PostalAddress(country="DE", street_name="Taunusanlage")}, "address.town_name"),
        ({"bic": "CHASUS33"}, "bic"),
        ({"clearing_members": members(CLEARING_MEMBERS_MAX + 1)}, "clearing_members"),
        ({"clearing_members": members(1) * 2}, "clearing_members"),
        (
            {"clearing_members": (ClearingMember(system="ABA", member_id="1"),)},
            "clearing_members[0].system",
        ),
        (
            {"clearing_members": (ClearingMember(system="USABA", member_id=" "),)},
            "clearing_members[0].member_id",
        ),
        ({"instructions": instruction() * (STANDING_INSTRUCTIONS_MAX + 1)}, "instructions"),
        ({"instructions": instruction() * 2}, "instructions"),
        (
            {
                "instructions": instruction(
                    our_account=PaymentAccount(iban="DE56500700100123456600", other_id="b")
                )
            },
            "instructions[0].our_account",
        ),
        (
            {
                "instructions": instruction(
                    their_account=PaymentAccount(iban="DE56500700100123456600", other_id="b")
                )
            },
            "instructions[0].their_account",
        ),
        (
            {
                "instructions": instruction(
                    correspondent="DEUTDEFF", method=CorrespondentMethod.SERIAL
                )
            },
            "instructions[0].correspondent",
        ),
        ({"instructions": instruction(correspondent="CHASUS33")}, "instructions[0].method"),
        ({"instructions": instruction(method=CorrespondentMethod.COVER)}, "instructions[0].method"),
        ({"rails": tuple(f"r{n}" for n in range(RAILS_MAX + 1))}, "rails"),
        ({"rails": ("swift", "swift")}, "rails"),
        ({"rails": ("a rail",)}, "rails"),
    ],
)
def test_a_faulty_entry_names_its_field(fields, field):
    assert [name for name, _ in faults_of_bank(changed(**fields))] == [field]


def change(position: int, code: str, *rails: str, is_withdrawn: bool = False) -> BankChange:
    return BankChange(
        position=position, code=code, rails=frozenset(rails), is_withdrawn=is_withdrawn
    )


def test_facts_follow_the_changes_in_their_order():
    facts = DirectoryFacts()
    for each in (
        change(3, "DEUTDEFF", "swift"),
        change(4, "CHASUS33"),
        change(9, "CHASUS33", is_withdrawn=True),
    ):
        facts.take(each)
    assert facts.position == 9
    assert facts.rails == {"DEUTDEFF": {"swift"}}
    assert facts.stands("deutdeffXXX")
    assert not facts.stands("CHASUS33")
    with pytest.raises(AssertionError):
        facts.take(change(9, "BNPAFRPP"))
    facts.take(change(10, "CHASUS33"))
    assert facts.stands("CHASUS33")


def test_the_first_bank_outside_of_the_directory_is_named():
    facts = DirectoryFacts()
    facts.take(change(1, "DEUTDEFF"))
    assert unlisted_field(facts, "DEUTDEFF", "deutdeff") == ""
    assert unlisted_field(facts, "DEUTDEFF", "CHASUS33") == "to_bank"
    assert unlisted_field(facts, "CHASUS33", "BNPAFRPP") == "from_bank"


def test_our_accounts_follow_the_changes_by_bank_and_currency():
    facts = DirectoryFacts()
    assert facts.our_account("DEUTDEFF", "EUR") == ""
    facts.take(msgspec.structs.replace(change(1, "DEUTDEFF"), accounts={"EUR": "1", "USD": "2"}))
    assert facts.our_account("deutdeffXXX", "EUR") == "1"
    assert facts.our_account("DEUTDEFF", "USD") == "2"
    assert facts.our_account("DEUTDEFF", "JPY") == facts.our_account("CHASUS33", "EUR") == ""
    facts.take(msgspec.structs.replace(change(2, "DEUTDEFF"), accounts={"EUR": "3"}))
    assert (facts.our_account("DEUTDEFF", "EUR"), facts.our_account("DEUTDEFF", "USD")) == ("3", "")
    facts.take(change(3, "DEUTDEFF", is_withdrawn=True))
    assert facts.our_account("DEUTDEFF", "EUR") == ""
    assert facts.accounts == {}
