"""What a caller says about a payment, in the messages of each rail; and what a scheme cannot carry of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from settlement_engine.domain.identifiers import references
from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.payment import (
    Delivery,
    PaymentAccount,
    PaymentDetails,
    PaymentParty,
    PostalAddress,
)
from settlement_engine.domain.routing import RailOffer, RouteReason, choose_route
from settlement_engine.domain.windows import WindowOpening
from settlement_engine.engine.router import Router
from settlement_engine.messages.envelope import opened
from settlement_engine.messages.schemas import Schema, schema_names
from settlement_engine.rails.iso20022.orders import read_order, read_terms
from settlement_engine.rails.iso20022.profile import shipped_profile, shipped_profiles
from settlement_engine.rails.transport.http import HttpSettings
from settlement_engine.simulator.scenarios import ScenarioScript
from tests.support.corpora import shared_folder
from tests.support.isorails import (
    ACCOUNTS,
    US,
    agreed_profile,
    connection,
    dialect,
    iso_rail,
    paid_out,
    profile_of,
)
from tests.support.scriptedbank import ScriptedBank
from tests.unit.rails.builders import CALLER, START, HandClock, Heard, question, settlement

NAMES = references(CALLER, "k", 1)
DEBTOR = PaymentParty(
    name="Müller GmbH",
    account=PaymentAccount(iban="DE02500105170137075030"),
    lei="5493001KJTIIGC8Y1R12",
    address=PostalAddress(street_name="Zeil", town_name="Frankfurt", country="DE"),
)
CREDITOR = PaymentParty(name="Jane Doe", account=PaymentAccount(iban="FR1420041010050500013M02606"))
PAYMENT = PaymentDetails(
    debtor=DEBTOR,
    creditor=CREDITOR,
    remittance="Invoice 4711",
    purpose="SUPP",
    end_to_end_id="THEIRS-1",
)
ALL_RAILS = ["swift", "sepa_sct", "sepa_inst", "realtime"]


def order_of(rail: str, payment: PaymentDetails | None = PAYMENT) -> Any:
    (one,) = opened(dialect(profile_of(rail)).order(paid_out(payment), NAMES)).content.transfers
    return one


@pytest.mark.parametrize("rail", ALL_RAILS)
def test_a_customer_is_paid_by_a_customers_transfer(rail) -> None:
    one = order_of(rail)
    assert one.debtor.lei == DEBTOR.lei
    assert (one.debtor.address.town_name, one.debtor.address.country) == ("Frankfurt", "DE")
    assert one.debtor_account.iban == "DE02500105170137075030"
    assert (one.debtor_agent.bic, one.creditor_agent.bic) == ("DEUTDEFF", "CHASUS33")
    assert (one.creditor.name, one.creditor_account.iban) == (
        "Jane Doe",
        "FR1420041010050500013M02606",
    )
    assert (one.remittance_texts, one.purpose) == (("Invoice 4711",), "SUPP")
    assert (one.end_to_end_id, one.transaction_id) == ("THEIRS-1", NAMES.end_to_end_id)
    assert one.uetr == str(NAMES.uetr)


@pytest.mark.parametrize("rail", ALL_RAILS)
def test_what_was_ordered_is_read_back_with_our_references(rail) -> None:
    terms = read_terms(dialect(profile_of(rail)).order(paid_out(PAYMENT), NAMES))
    assert terms is not None
    assert (terms.from_bank, terms.to_bank) == ("DEUTDEFF", "CHASUS33")
    assert terms.references == NAMES


def test_umlauts_are_written_as_the_schemes_rules_say() -> None:
    assert order_of("realtime").debtor.name == "Müller GmbH"
    assert order_of("sepa_sct").debtor.name == "Mueller GmbH"


def test_without_a_debtor_we_pay_from_our_account() -> None:
    one = order_of("sepa_sct", msgspec.structs.replace(PAYMENT, debtor=None))
    assert one.debtor.name == US.name
    assert one.debtor_account.iban == ACCOUNTS.debited


def test_another_bank_of_the_creditor_is_paid_through_to() -> None:
    creditor = msgspec.structs.replace(CREDITOR, agent_bic="BNPAFRPP")
    payment = msgspec.structs.replace(PAYMENT, creditor=creditor)
    one = order_of("swift", payment)
    assert (one.intermediary_agent.bic, one.creditor_agent.bic) == ("CHASUS33", "BNPAFRPP")
    terms = read_terms(dialect(profile_of()).order(paid_out(payment), NAMES))
    assert terms is not None
    assert terms.to_bank == "CHASUS33"
    same = msgspec.structs.replace(CREDITOR, agent_bic="CHASUS33XXX")
    assert (
        order_of("swift", msgspec.structs.replace(PAYMENT, creditor=same)).intermediary_agent
        is None
    )


def test_a_creditors_reference_is_structured() -> None:
    payment = msgspec.structs.replace(PAYMENT, remittance="", creditor_reference="RF18539007547034")
    one = order_of("sepa_inst", payment)
    (structured,) = one.structured_remittance
    assert (structured.reference_type, structured.reference) == ("SCOR", "RF18539007547034")
    assert one.remittance_texts == ()


def test_the_callers_charge_bearer_goes_before_the_usual_one() -> None:
    assert order_of("swift").charge_bearer == "SHAR"
    payment = msgspec.structs.replace(PAYMENT, charge_bearer="DEBT")
    assert order_of("swift", payment).charge_bearer == "DEBT"


def test_a_bank_is_itself_paid_where_nobody_else_is_named() -> None:
    one = order_of("realtime", None)
    assert (one.creditor.bic, one.creditor_agent.bic) == ("CHASUS33", "CHASUS33")
    assert one.creditor_account is None
    assert one.debtor.name == US.name


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rail", "changes", "fault"),
    [
        ("sepa_sct", {"charge_bearer": "DEBT"}, "payment.charge_bearer: SEPA Credit Transfer"),
        ("swift", {"charge_bearer": "SLEV"}, "payment.charge_bearer: SWIFT CBPR+"),
        ("sepa_inst", {"remittance": "Счёт 1 日本"}, "payment.remittance: the character"),
        (
            "sepa_sct",
            {"creditor": PaymentParty(name="日本", account=CREDITOR.account)},
            "payment.creditor.name: the character",
        ),
        (
            "sepa_sct",
            {"debtor": PaymentParty(name="X", account=PaymentAccount(other_id="123"))},
            "payment.debtor.account: SEPA Credit Transfer carries IBANs only",
        ),
    ],
)
def test_what_a_scheme_cannot_carry_is_said_with_its_field(rail, changes, fault) -> None:
    payment = msgspec.structs.replace(PAYMENT, **changes)
    made = iso_rail(HandClock(), name=rail)
    instruction = paid_out(payment).instruction
    currency = {"sepa_sct": "EUR", "sepa_inst": "EUR", "swift": "EUR"}[rail]
    assert instruction.amount.currency == currency
    assert made.fault_of(instruction).startswith(fault)
    assert made.fault_of(paid_out(PAYMENT).instruction) == ""
    assert made.fault_of(paid_out(None).instruction) == ""


class Open:
    """A calendar whose windows are always open."""

    def window_opening(self, *_: object) -> WindowOpening:
        return WindowOpening(opens_at=START, closes_at=START)


def test_it_is_refused_with_the_field_or_goes_over_another_rail() -> None:
    sepa, swift = iso_rail(HandClock(), name="sepa_sct"), iso_rail(HandClock())
    made = paid_out(msgspec.structs.replace(PAYMENT, charge_bearer="SHAR"))
    calendar: Any = Open()
    alone = Router({"sepa_sct": sepa}, calendar).route(made, START)
    assert (alone.rail, alone.field) == ("", "payment.charge_bearer")
    assert [each.reason for each in alone.rejected] == [RouteReason.FIELD_NOT_CARRIED]
    assert Router({"sepa_sct": sepa}, calendar).possible(made) == ()
    both = Router({"sepa_sct": sepa, "swift": swift}, calendar)
    assert both.route(made, START).rail == "swift"
    assert both.possible(made) == ("swift",)


@pytest.mark.parametrize(
    ("rail", "field"),
    [("sepa_sct", "payment.creditor.name"), ("realtime", "payment.creditor.name")],
)
def test_what_a_scheme_needs_and_the_request_lacks_is_named(rail, field) -> None:
    rules = iso_rail(
        HandClock(), connection(profile_of(rail, currencies=())), name=rail
    ).capabilities
    offer = RailOffer(name=rail, rules=rules, window_opening=Open().window_opening())
    route = choose_route(paid_out(None).instruction, [offer])
    assert (route.rail, route.field) == ("", field)
    assert Delivery.BOOK not in rules.needs


# --- over the wire ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rail", ALL_RAILS)
async def test_the_bank_speaks_of_the_payment_by_the_callers_reference(rail, tmp_path) -> None:
    """The caller's end-to-end id is the one in the messages; a status under it is a status of our payment."""
    bank = ScriptedBank(tmp_path, ScenarioScript(default="accept_then_settle"))
    await bank.open()
    reached = connection(
        agreed_profile(rail, currencies=()), HttpSettings(endpoint=f"{bank.endpoint}/{rail}")
    )
    made = iso_rail(HandClock(), reached, name=rail)
    await made.start()
    payload = made.prepare(paid_out(PAYMENT), NAMES)
    asked = msgspec.structs.replace(question(made, "k"), payload=payload)
    sent, found = Heard(), Heard()
    await made.send([asked], sent)
    await bank.service.advance(1_000)
    await made.enquire([asked], found)
    assert sent.events == [Event.ACKNOWLEDGED]
    assert found.events == [Event.SETTLED]
    (line,) = await bank.ledger()
    assert (line.rail, line.end_to_end_id, line.uetr) == (rail, "THEIRS-1", str(NAMES.uetr))
    assert line.to_bank == "CHASUS33"
    await made.stop()
    await bank.close()


# --- schemas ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [each for each in shipped_profiles() if "simulator" not in each])
@pytest.mark.parametrize("payment", [None, PAYMENT], ids=["bank", "payment"])
@pytest.mark.parametrize("is_booked", [True, False], ids=["booked", "paid-out"])
def test_all_that_leaves_is_valid_against_its_schema(name, payment, is_booked) -> None:
    folder = shared_folder("iso20022-xsd")
    writes = dialect(shipped_profile(name))
    made = settlement("k") if is_booked else paid_out(payment)
    document = writes.order(made, NAMES)
    order = read_order(document)
    for message in (
        writes.sent(document, order, is_possible_duplicate=True),
        writes.enquiry(order, NAMES, "Q1", START),
        writes.recall(order, NAMES, "R1", START),
    ):
        for each in schema_names(message):
            Schema((folder / f"{each}.xsd").read_bytes()).validate(message, each)
