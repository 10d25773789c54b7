"""The profiles that come with the engine, one's own, and what holds where a rail reaches several banks."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from settlement_engine.domain.decisions.resending import RailClass
from settlement_engine.domain.identifiers import references
from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.payment import Delivery, PaymentDetails, PaymentParty
from settlement_engine.domain.routing import missing_field
from settlement_engine.errors import Misconfigured
from settlement_engine.messages.charsets import character_sets
from settlement_engine.messages.envelope import opened
from settlement_engine.ports import PaymentReferences
from settlement_engine.rails.classification import Asked, Purpose, classify
from settlement_engine.rails.iso20022.connections import Connections, combined
from settlement_engine.rails.iso20022.dialect import Dialect
from settlement_engine.rails.iso20022.orders import read_terms
from settlement_engine.rails.iso20022.profile import (
    AmountLimit,
    read_profile,
    shipped_profile,
    shipped_profiles,
)
from settlement_engine.rails.transport.results import Response
from settlement_engine.simulator import answers
from settlement_engine.simulator.ledger import Payment
from tests.support.isorails import ACCOUNTS, US, connection, dialect, iso_rail, profile_of
from tests.unit.rails.builders import CALLER, HandClock, Heard, question, settlement

TODAY = date(2026, 11, 29)
NAMES = references(CALLER, "k", 1)
PROFILES = Path(__file__).parents[3] / "src/settlement_engine/rails/iso20022/profiles"
FOR_BANKS = [name for name in shipped_profiles() if not name.startswith("simulator_")]


@pytest.mark.parametrize("name", FOR_BANKS)
def test_what_comes_with_the_engine_is_no_certificate(name) -> None:
    """Nothing is promised in a bank's name: it is of class D, and *not found* proves nothing."""
    profile = shipped_profile(name)
    text = (PROFILES / f"{name}.toml").read_text("utf-8")
    assert text.startswith("# Profile, not certified.")
    assert (profile.rail_class, profile.is_not_found_definite) == ("D", False)
    assert profile.source
    assert profile.finality
    assert profile.published <= TODAY
    rules = profile.capabilities(TODAY)
    assert 0 < rules.answer_timeout_seconds < rules.validity_seconds
    assert {each.ask for each in rules.messages} - {None} == rules.asks


@pytest.mark.parametrize("name", ["swift", "sepa_sct", "sepa_inst", "fednow"])
def test_the_scripted_banks_profile_differs_only_in_what_may_be_relied_upon(name) -> None:
    shipped, simulated = shipped_profile(name), shipped_profile(f"simulator_{name}")
    differ = {
        field
        for field in shipped.__struct_fields__
        if getattr(shipped, field) != getattr(simulated, field)
    }
    relied_upon = {"source", "rail_class", "is_not_found_definite", "deduplicates_seconds"}
    assert differ <= relied_upon | {"not_found_after_seconds", "validity_seconds", "needs"}
    assert simulated.capabilities(TODAY).rail_class is RailClass.B


def own(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_profile_of_ones_own_says_only_what_is_different(tmp_path) -> None:
    profile = read_profile(
        own(tmp_path, 'like = "fednow"\nscheme = "Other"\nsettled_by = ["ACSC"]')
    )
    assert (profile.scheme, profile.settled_by, profile.currencies) == (
        "Other",
        ("ACSC",),
        ("USD",),
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('like = "mars"', "no profile mars"),
        ('like = "fednow"\nx = 1', "cannot be used"),
        ('like = "fednow"\ncustomer = ""', "no message that pays"),
        ('like = "fednow"\nsettled_by = ["YES"]', "settled_by"),
        ('like = "fednow"\nsettled_by = []', "settled_by"),
        ('like = "fednow"\ncharacters = "runes"', "runes"),
        ('like = "fednow"\ncharge_bearers = []', "no charge bearer"),
        ('like = "fednow"\nneeds = { pay_out = ["creditor.shoe_size"] }', "no payment has"),
        ('like = "fednow"\ncustomer = "pacs.009.001.08"', "no pacs.008"),
        (
            'like = "fednow"\n[[limits]]\ncurrency = "USD"\nsince = 2025-01-01\nmost = "1.001"',
            "limit 1.001 USD",
        ),
    ],
)
def test_a_profile_that_cannot_be_kept_is_refused(tmp_path, text, why) -> None:
    with pytest.raises(Misconfigured, match=why):
        read_profile(own(tmp_path, text))


# --- dated limits -----------------------------------------------------------------------------------


def test_a_limit_applies_from_its_day_on_without_a_restart() -> None:
    clock = HandClock()
    clock.instant = datetime(2025, 10, 31, 23, 0, tzinfo=UTC)
    rail = iso_rail(clock, name="realtime")
    assert rail.capabilities.amount_max_minor == {"USD": 1_000_000_00}
    assert rail.capabilities is rail.capabilities
    clock.advance(2 * 3_600)
    assert rail.capabilities.amount_max_minor == {"USD": 10_000_000_00}


def test_a_limit_may_end() -> None:
    limits = (
        AmountLimit(currency="USD", since=date(2025, 1, 1), most="5.00"),
        AmountLimit(currency="USD", since=date(2026, 1, 1)),
    )
    profile = profile_of("realtime", limits=limits)
    assert profile.capabilities(date(2024, 12, 31)).amount_max_minor == {}
    assert profile.capabilities(date(2025, 1, 1)).amount_max_minor == {"USD": 500}
    assert profile.capabilities(TODAY).amount_max_minor == {}
    assert profile.limits_change_on(date(2025, 6, 1)) == date(2026, 1, 1)
    assert profile.limits_change_on(TODAY) is None


# --- which status is final --------------------------------------------------------------------------


def status_report(status: str) -> bytes:
    unsaid = dict.fromkeys(set(Payment.__struct_fields__) - {"debited_minor"}, "")
    said: dict[str, Any] = {
        "id": 1,
        "uetr": str(NAMES.uetr),
        "message_name": "pacs.008.001.08",
        "message_id": NAMES.message_id,
        "end_to_end_id": NAMES.end_to_end_id,
        "currency": "EUR",
    }
    payment = Payment(**(unsaid | said))
    return answers.status_report("S1", 0, [answers.transaction_status(payment, status, "")])


@pytest.mark.parametrize(
    ("rail", "status", "event"),
    [
        ("sepa_sct", "ACSC", Event.SETTLED),
        ("sepa_sct", "ACCP", Event.ACKNOWLEDGED),
        ("sepa_inst", "ACCP", Event.SETTLED),
        ("sepa_inst", "ACSP", Event.ACKNOWLEDGED),
        ("sepa_inst", "RJCT", Event.REJECTED),
        ("realtime", "ACWP", Event.SETTLED),
        ("realtime", "ACTC", Event.ACKNOWLEDGED),
        ("swift", "ACSP", Event.ACKNOWLEDGED),
        ("swift", "ACWP", Event.ACKNOWLEDGED),
    ],
)
def test_only_what_the_profile_says_is_final(rail, status, event) -> None:
    names = PaymentReferences(
        uetr=NAMES.uetr, end_to_end_id=NAMES.end_to_end_id, message_id=NAMES.message_id
    )
    settled_by = frozenset(profile_of(rail).settled_by)
    asked = Asked(purpose=Purpose.SEND, payment=names, settled_by=settled_by)
    found = classify(asked, Response(status=200, body=status_report(status)))
    assert [each.event for each in found.reports] == [event]


async def test_an_unasked_report_is_final_by_the_profile_of_its_sender() -> None:
    rail = iso_rail(HandClock(), name="sepa_inst")
    stored: list[Any] = []

    async def receive(messages) -> None:
        stored.extend(messages)

    rail.listen(receive)
    await rail.take(status_report("ACCP"), {"bank"})
    assert [each.event for each in stored[0].reports] == [Event.SETTLED]


# --- orders -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rail", ["sepa_sct", "sepa_inst", "realtime"])
def test_a_rail_of_customers_payments_pays_ourselves(rail) -> None:
    profile = profile_of(rail)
    document = dialect(profile).order(settlement("k"), NAMES)
    message = opened(document)
    assert message.definition == profile.customer
    (one,) = message.content.transfers
    assert one.debtor == one.creditor
    assert one.debtor.name == US.name
    assert one.debtor_account.iban == ACCOUNTS.debited
    assert one.creditor_account.iban == ACCOUNTS.settlement_account
    assert (one.debtor_agent.bic, one.creditor_agent.bic) == ("DEUTDEFF", ACCOUNTS.settlement_agent)
    assert one.charge_bearer == profile.charge_bearers[0]
    assert one.transaction_id == NAMES.end_to_end_id
    terms = read_terms(document)
    assert terms is not None
    assert (terms.from_bank, terms.to_bank, terms.references) == ("DEUTDEFF", "", NAMES)


@pytest.mark.parametrize("name", ["sepa_sct", "sepa_inst", "fednow"])
def test_our_own_money_is_not_moved_from_an_account_that_nobody_has_named(name) -> None:
    nameless = msgspec.structs.replace(ACCOUNTS, debited="")
    own = settlement("k").instruction
    assert own.delivery is Delivery.BOOK
    fault = dialect(shipped_profile(name), nameless).fault_of(own)
    assert fault.partition(":")[0] == "our_account"
    assert dialect(shipped_profile(name)).fault_of(own) == ""
    assert dialect(shipped_profile("swift"), nameless).fault_of(own) == ""


def test_uaefts_needs_a_purpose() -> None:
    """The central bank asks for it: without one the request is refused with the field's name."""
    rules = shipped_profile("uaefts").capabilities(TODAY)
    unsaid = replace(
        settlement("k").instruction,
        payment=PaymentDetails(creditor=PaymentParty(name="Amal")),
        requested_delivery=Delivery.PAY_OUT,
    )
    assert missing_field(rules, unsaid) == "payment.purpose"
    said = replace(unsaid, payment=PaymentDetails(purpose="SALA"))
    assert missing_field(rules, said) == ""
    own = replace(unsaid, payment=None, requested_delivery=Delivery.BOOK)
    assert missing_field(rules, own) == ""


def test_an_instant_credit_transfer_is_marked_as_one_and_says_when_it_was_accepted() -> None:
    (plain,) = opened(
        dialect(profile_of("sepa_sct")).order(settlement("k"), NAMES)
    ).content.transfers
    (instant,) = opened(
        dialect(profile_of("sepa_inst")).order(settlement("k"), NAMES)
    ).content.transfers
    assert [level.code for level in plain.payment_type.service_levels] == ["SEPA"]
    assert (plain.payment_type.local_instrument, plain.accepted_at) == (None, None)
    assert instant.payment_type.local_instrument == "INST"
    assert instant.accepted_at == settlement("k").created_at


def test_a_text_is_written_with_the_schemes_characters() -> None:
    us = msgspec.structs.replace(US, name="Ährenbank & Söhne")
    profile = profile_of("sepa_sct")
    (one,) = opened(Dialect(us, profile, ACCOUNTS).order(settlement("k"), NAMES)).content.transfers
    assert set(one.debtor.name) <= set(character_sets()["sepa_latin"].allowed)


# --- several banks ----------------------------------------------------------------------------------


def test_the_most_careful_profile_decides_for_all_banks() -> None:
    agreed = profile_of(
        rail_class="B",
        is_not_found_definite=True,
        deduplicates_seconds=900,
        not_found_after_seconds=60,
        concurrency_max=4,
    )
    other = profile_of("sepa_inst", rail_class="C", deduplicates_seconds=60)
    rules = Connections(
        [
            connection(agreed, name="a", banks=("DEUTDEFF",), answer_seconds=30),
            connection(other, name="b", banks=("BNPAFRPP",), answer_seconds=10),
        ]
    ).capabilities(TODAY)
    assert (rules.rail_class, rules.is_not_found_definite) == (RailClass.C, False)
    assert (rules.deduplicates_seconds, rules.not_found_after_seconds) == (60, 60)
    assert (rules.validity_seconds, rules.answer_timeout_seconds) == (60, 30)
    assert (rules.lane.concurrency_max, rules.currencies) == (4, None)
    assert rules.scope == frozenset({"DEUTDEFF/*", "BNPAFRPP/EUR"})
    assert {each.name for each in rules.messages} >= {"pacs.008.001", "pacs.009.001"}


@pytest.mark.parametrize("name", shipped_profiles())
def test_what_two_banks_have_in_common_holds_for_their_rail(name) -> None:
    """Whatever a profile states: a field that nobody combines would be lost where a rail has two banks."""
    profile = shipped_profile(name)
    changes = {
        "recall_within_days": 7,
        "recall_answer_days": 3,
        "recall_answer_banking_days": 5,
        "enquiry_first_seconds": 2,
    }
    stated = msgspec.structs.replace(profile, enquiry_max_seconds=9, **changes)
    one, two = (connection(stated, name=bank, banks=(bank,)).rules(TODAY) for bank in ("A", "B"))
    both = combined([one, two])
    assert both.banks == frozenset({"A", "B"})
    assert replace(both, banks=one.banks, scope=None, messages=()) == replace(one, messages=())
    kinds = {(each.name, each.ask): set(each.versions) for each in one.messages}
    assert {(each.name, each.ask): set(each.versions) for each in both.messages} == kinds


def test_an_order_goes_to_the_bank_that_keeps_our_account() -> None:
    found = Connections(
        [
            connection(profile_of(), name="a", banks=("DEUTDEFF",)),
            connection(profile_of(), name="b", banks=("CHASUS33",), currencies=("USD",)),
        ]
    )
    named = {
        (bank, currency): one.name if (one := found.of(bank, currency)) else None
        for bank in ("deutdeffxxx", "CHASUS33", "BNPAFRPP")
        for currency in ("EUR", "USD")
    }
    assert named == {
        ("deutdeffxxx", "EUR"): "a",
        ("deutdeffxxx", "USD"): "a",
        ("CHASUS33", "EUR"): None,
        ("CHASUS33", "USD"): "b",
        ("BNPAFRPP", "EUR"): None,
        ("BNPAFRPP", "USD"): None,
    }


async def test_a_bank_that_left_the_configuration_is_sent_nothing() -> None:
    """What was never transmitted is undelivered; an enquiry to nobody says nothing."""
    before = iso_rail(HandClock())
    asked = question(before, "k")
    after = iso_rail(HandClock(), connection(profile_of(), banks=("CHASUS33",)))
    for way, events in (("send", [Event.UNDELIVERED]), ("enquire", []), ("recall", [])):
        heard = Heard()
        await getattr(after, way)([asked], heard)
        assert heard.events == events


async def test_a_bank_is_heard_about_its_own_payments_only() -> None:
    stored: list[Any] = []

    async def receive(messages) -> None:
        stored.extend(messages)

    two = (
        connection(profile_of(), name="a", banks=("DEUTDEFF",)),
        connection(profile_of(), name="b", banks=("CHASUS33",), currencies=("USD",)),
    )
    rail = iso_rail(HandClock(), *two)
    rail.listen(receive)
    for senders in ({"a"}, {"b"}, {"a", "b"}):
        await rail.take(status_report("ACSC"), senders)
    alone = iso_rail(HandClock())
    alone.listen(receive)
    await alone.take(status_report("ACSC"), {"bank"})
    scopes = [sorted(each.scope) for each in stored]
    assert scopes == [
        ["DEUTDEFF/*"],
        ["CHASUS33/USD"],
        ["CHASUS33/USD", "DEUTDEFF/*"],
        [],
    ], json.dumps(scopes)
