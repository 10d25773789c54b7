"""The correspondent through which TO is paid, as the bank directory has it, in the orders of SWIFT."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from settlement_engine.domain.bank_directory import (
    BankChange,
    CorrespondentMethod,
    CorrespondentRoute,
    DirectoryFacts,
    ListedBank,
    StandingInstruction,
    cover_routes,
    serial_routes,
)
from settlement_engine.domain.identifiers import references
from settlement_engine.domain.payment import Delivery, PaymentAccount, PaymentDetails, PaymentParty
from settlement_engine.messages.envelope import opened
from settlement_engine.messages.parties import Agent, PartyAccount
from settlement_engine.rails.iso20022.orders import read_terms
from tests.support.isorails import dialect, paid_out, profile_of
from tests.unit.rails.builders import CALLER, settlement

NAMES = references(CALLER, "k", 1)
BETWEEN = "CITIUS33"
ELSEWHERE = "BNPAFRPP"
THEIRS = PaymentAccount(other_id="VOSTRO-77")
NAMED = PartyAccount(other_id="VOSTRO-77")
CUSTOMER = PaymentDetails(
    creditor=PaymentParty(name="Kestrel SA", account=PaymentAccount(other_id="1"))
)


def order(made: Any, correspondent: str = BETWEEN, rail: str = "swift") -> tuple[Any, bytes]:
    """Write the order, and return its only transfer."""
    writer = dialect(profile_of(rail))
    route = CorrespondentRoute(correspondent=correspondent, account=THEIRS)
    writer.know_correspondents(lambda bank, _: route if bank == made.instruction.to_bank else None)
    document = writer.order(made, NAMES)
    (one,) = opened(document).content.transfers
    return one, document


def test_a_customers_payment_goes_through_the_correspondent() -> None:
    made = paid_out(CUSTOMER)
    one, document = order(made)
    assert one.intermediary_agent == Agent(bic=BETWEEN)
    assert one.intermediary_agent_account is None
    assert one.creditor_agent_account == NAMED, "TO's account with the correspondent"
    terms = read_terms(document)
    assert terms is not None
    assert terms.to_bank == made.instruction.to_bank


def test_where_to_passes_the_payment_on_both_are_on_the_way_in_their_order() -> None:
    creditor = PaymentParty(
        name="Kestrel SA", account=PaymentAccount(other_id="1"), agent_bic=ELSEWHERE
    )
    made = paid_out(PaymentDetails(creditor=creditor))
    one, document = order(made)
    assert one.intermediary_agent == Agent(bic=BETWEEN)
    assert one.intermediary_agent_2 is not None
    assert one.intermediary_agent_2_account == NAMED
    assert one.creditor_agent == Agent(bic=ELSEWHERE)
    assert one.creditor_agent_account is None
    terms = read_terms(document)
    assert terms is not None
    assert terms.to_bank == made.instruction.to_bank


def test_a_transfer_between_institutions_pays_to_on_its_account_with_the_correspondent() -> None:
    made = paid_out()
    one, document = order(made)
    assert one.creditor_agent == Agent(bic=BETWEEN)
    assert one.creditor_account == NAMED
    terms = read_terms(document)
    assert terms is not None
    assert terms.to_bank == made.instruction.to_bank


@pytest.mark.parametrize("payment", ["said", None])
def test_where_from_is_the_correspondent_only_tos_account_is_named(payment: str | None) -> None:
    made = paid_out(CUSTOMER if payment else None)
    one, document = order(made, correspondent=made.instruction.from_bank)
    assert one.intermediary_agent is None
    named = one.creditor_agent_account if payment else one.creditor_account
    assert named == NAMED
    assert read_terms(document) is not None
    assert read_terms(document).to_bank == made.instruction.to_bank  # type: ignore[union-attr]


def test_our_own_money_and_schemes_without_correspondents_go_as_before() -> None:
    own = settlement("k")
    own = replace(own, instruction=replace(own.instruction, requested_delivery=Delivery.BOOK))
    for rail, made in (("swift", own), ("sepa_sct", paid_out()), ("realtime", paid_out(CUSTOMER))):
        plain = dialect(profile_of(rail)).order(made, NAMES)
        assert order(made, rail=rail)[1] == plain


def test_only_an_instruction_with_an_account_there_is_a_route_or_covers() -> None:
    def listed(method: CorrespondentMethod, account: PaymentAccount | None) -> ListedBank:
        one = StandingInstruction(
            currency="USD", correspondent=BETWEEN, method=method, their_account=account
        )
        return ListedBank(code="DEUTDEFF", name="D", instructions=(one,))

    route = CorrespondentRoute(correspondent=BETWEEN, account=THEIRS)
    assert serial_routes(listed(CorrespondentMethod.SERIAL, THEIRS)) == {"USD": route}
    assert serial_routes(listed(CorrespondentMethod.SERIAL, None)) == {}
    assert serial_routes(listed(CorrespondentMethod.COVER, THEIRS)) == {}
    assert cover_routes(listed(CorrespondentMethod.COVER, THEIRS)) == {"USD": route}
    assert cover_routes(listed(CorrespondentMethod.COVER, None)) == {}
    assert cover_routes(listed(CorrespondentMethod.SERIAL, THEIRS)) == {}


@pytest.mark.parametrize(("says", "asked"), [("routes", "serial_route"), ("covers", "cover_route")])
def test_the_facts_follow_the_directory(says: str, asked: str) -> None:
    facts = DirectoryFacts()
    route = CorrespondentRoute(correspondent=BETWEEN, account=THEIRS)
    change: Any = {"code": "DEUTDEFF", "rails": frozenset()}
    stated: Any = {says: {"USD": route}}
    look_up = getattr(facts, asked)
    facts.take(BankChange(position=1, is_withdrawn=False, **stated, **change))
    assert look_up("deutdeffxxx", "USD") == route
    assert look_up("DEUTDEFF", "EUR") is None
    assert [facts.serial_route("DEUTDEFF", "USD"), facts.cover_route("DEUTDEFF", "USD")].count(
        None
    ) == 1, "a serial route is no cover"
    facts.take(BankChange(position=2, is_withdrawn=False, **change))
    assert look_up("DEUTDEFF", "USD") is None
    facts.take(BankChange(position=3, is_withdrawn=False, **stated, **change))
    facts.take(BankChange(position=4, is_withdrawn=True, **change))
    assert look_up("DEUTDEFF", "USD") is None
