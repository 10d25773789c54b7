"""Our account at FROM in an order: the configured one, else that of the bank directory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from settlement_engine.domain.bank_directory import BankChange, DirectoryFacts
from settlement_engine.domain.identifiers import references
from settlement_engine.domain.payment import Delivery
from settlement_engine.messages.envelope import opened
from settlement_engine.rails.iso20022.orders import read_terms
from settlement_engine.rails.iso20022.parties import OurAccounts
from tests.support.isorails import ACCOUNTS, dialect, iso_rail, paid_out, profile_of
from tests.unit.rails.builders import CALLER, HandClock, settlement

NAMES = references(CALLER, "k", 1)
UNNAMED = OurAccounts()
IBAN, NEXT_IBAN = "DE56500700100123456600", "DE02500105170137075030"
ALL_RAILS = ["swift", "sepa_sct", "sepa_inst", "realtime"]


def booked() -> Any:
    made = settlement("k")
    return replace(made, instruction=replace(made.instruction, requested_delivery=Delivery.BOOK))


def named(document: bytes) -> str:
    (one,) = opened(document).content.transfers
    found = one.debtor_account
    return "" if found is None else found.iban or found.other_id


@pytest.mark.parametrize("rail", ALL_RAILS)
def test_the_directorys_account_is_named_where_the_configuration_leaves_it_out(rail: str) -> None:
    asked = []

    def our_account(bank: str, currency: str) -> str:
        asked.append((bank, currency))
        return IBAN

    writer = dialect(profile_of(rail), UNNAMED)
    assert named(writer.order(booked(), NAMES)) == ""
    writer.know_accounts(our_account)
    for made in (booked(), paid_out()):
        assert named(writer.order(made, NAMES)) == IBAN
        assert writer.fault_of(made.instruction) == ""
    instruction = booked().instruction
    assert set(asked) == {(instruction.from_bank, instruction.amount.currency)}


def test_the_configured_account_wins() -> None:
    writer = dialect(profile_of("sepa_sct"), ACCOUNTS)
    writer.know_accounts(lambda _bank, _currency: IBAN)
    assert named(writer.order(booked(), NAMES)) == ACCOUNTS.debited


@pytest.mark.parametrize("found", ["", "CHASE-SETT-0001", IBAN[:-1] + "1"])
def test_where_neither_has_one_that_the_scheme_can_name_the_refusal_names_the_field(
    found: str,
) -> None:
    writer = dialect(profile_of("sepa_sct"), UNNAMED)
    writer.know_accounts(lambda _bank, _currency: found)
    fault = writer.fault_of(booked().instruction)
    assert fault.startswith("our_account: ")
    assert "neither the configuration nor the bank directory" in fault
    assert dialect(profile_of("swift"), UNNAMED).fault_of(booked().instruction) == ""


def test_a_change_of_the_directory_changes_no_bytes_that_were_made_before() -> None:
    facts = DirectoryFacts()
    rail = iso_rail(HandClock(), name="sepa_sct")
    for each in rail._connections.all:
        each.dialect._orders._accounts = UNNAMED
    rail.know_accounts(facts.our_account)
    made = booked()
    instruction = made.instruction

    def put(position: int, number: str) -> None:
        facts.take(
            BankChange(
                position=position,
                code=instruction.from_bank,
                rails=frozenset(),
                is_withdrawn=False,
                accounts={instruction.amount.currency: number},
            )
        )

    put(1, IBAN)
    before = rail.prepare(made, NAMES)
    assert rail.prepare(made, NAMES) == before
    put(2, NEXT_IBAN)
    assert named(rail.prepare(made, NAMES)) == NEXT_IBAN, "what has no send intent yet"
    # What has one is sent as it was stored, and read from there.
    assert named(before) == IBAN
    assert read_terms(before) == read_terms(rail.prepare(made, NAMES))
