"""The two messages of a cover payment: what each says, that both are valid, and when a payment is none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from settlement_engine.domain.bank_directory import (
    CorrespondentMethod,
    CorrespondentRoute,
    ListedBank,
    StandingInstruction,
    cover_routes,
)
from settlement_engine.domain.covers import Cover, CoverRefusal, cover_message_id
from settlement_engine.domain.identifiers import references
from settlement_engine.domain.intent import terms_faults
from settlement_engine.domain.payment import PaymentAccount, PaymentDetails, PaymentParty
from settlement_engine.messages.envelope import opened
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.parties import Agent, PartyAccount
from settlement_engine.messages.schemas import MessageSchemas
from settlement_engine.rails.iso20022.connections import Connections
from settlement_engine.rails.iso20022.cover_rail import CoverPaymentRail
from settlement_engine.rails.iso20022.covers import cover_of, payer_of
from settlement_engine.rails.iso20022.orders import read_order, read_terms
from tests.support.corpora import shared_folder
from tests.support.isorails import ACCOUNTS, connection, iso_rail, paid_out, profile_of
from tests.unit.rails.builders import CALLER, HandClock, question, settlement

if TYPE_CHECKING:
    from settlement_engine.domain.settlement import Settlement

NAMES = references(CALLER, "k", 1)
BETWEEN = "CITIUS33"
THEIRS = PaymentAccount(other_id="VOSTRO-77")
NAMED = PartyAccount(other_id="VOSTRO-77")
PAYMENT = PaymentDetails(
    debtor=PaymentParty(name="Ada Ltd", account=PaymentAccount(other_id="7")),
    creditor=PaymentParty(name="Kestrel SA", account=PaymentAccount(other_id="1")),
    remittance="Invoice 7",
    end_to_end_id="THEIRS-1",
)
SIGNED = profile_of("swift")


def rail(
    correspondent: str | None = BETWEEN,
    schemas: MessageSchemas | None = None,
    *,
    covers: bool = True,
    banks: tuple[str, ...] = (),
    **profile: Any,
) -> CoverPaymentRail:
    reached = replace(connection(profile_of("swift", **profile), banks=banks), covers=covers)
    made = CoverPaymentRail("swift", Connections([reached]), HandClock(), schemas=schemas)
    route = CorrespondentRoute(correspondent=correspondent or "", account=THEIRS)
    made.know_covers(lambda bank, _: route if correspondent and bank == "CHASUS33" else None)
    return made


def payment() -> tuple[Settlement, bytes]:
    made = paid_out(PAYMENT)
    return made, rail().prepare(made, NAMES)


def cover(document: bytes, number: int = 1) -> Any:
    return opened(cover_of(SIGNED, document, cover_message_id(NAMES.message_id, number))).content


def test_the_payment_goes_to_to_and_says_how_it_is_covered() -> None:
    made, document = payment()
    order = read_order(document)
    settled = order.header.settlement
    assert (order.bank, order.is_covered, order.is_cover) == ("CHASUS33", True, False)
    assert payer_of(order) == made.instruction.from_bank
    assert settled.instructing_reimbursement_account == PartyAccount(iban=ACCOUNTS.debited)
    assert settled.instructed_reimbursement_agent == Agent(bic=BETWEEN)
    assert settled.instructed_reimbursement_account == NAMED
    one = order.transfer
    assert one.intermediary_agent is None, "TO is the receiver of the message itself"
    assert (one.end_to_end_id, one.transaction_id) == ("THEIRS-1", NAMES.end_to_end_id)


def test_what_the_payment_asks_for_is_read_back_from_its_bytes() -> None:
    made, document = payment()
    assert terms_faults(made.instruction, NAMES, read_terms(document)) == []


def test_the_cover_is_the_payments_with_its_own_message_id_and_the_same_uetr() -> None:
    made, document = payment()
    content = cover(document)
    (one,) = content.transfers
    assert content.header.message_id == cover_message_id(NAMES.message_id, 1) != NAMES.message_id
    assert content.header.instructed_agent == Agent(bic=made.instruction.from_bank)
    assert (one.uetr, one.amount) == (str(NAMES.uetr), made.instruction.amount)
    assert one.end_to_end_id == NAMES.end_to_end_id
    assert one.debtor_account == PartyAccount(iban=ACCOUNTS.debited)
    assert (one.creditor, one.creditor_agent) == (Agent(bic="CHASUS33"), Agent(bic=BETWEEN))
    assert one.creditor_account == NAMED
    covered = one.covers
    assert (covered.debtor.name, covered.creditor.name) == ("Ada Ltd", "Kestrel SA")
    assert covered.remittance_texts == ("Invoice 7",)


def test_the_first_cover_is_always_the_same() -> None:
    _, document = payment()
    message_id = cover_message_id(NAMES.message_id, 1)
    assert cover_of(SIGNED, document, message_id) == cover_of(SIGNED, document, message_id)


def test_where_from_keeps_tos_account_no_correspondent_is_named() -> None:
    made = paid_out(PAYMENT)
    document = rail(made.instruction.from_bank).prepare(made, NAMES)
    (one,) = cover(document).transfers
    assert (one.creditor_agent, one.creditor_account) == (None, NAMED)


def test_a_repair_goes_to_the_correspondent_of_today() -> None:
    _, document = payment()
    asked = question(iso_rail(HandClock()), "k")
    asked = msgspec.structs.replace(asked, payload=document, references=NAMES)
    first = rail()._writer.first(asked)
    assert first is not None
    failed = msgspec.structs.replace(first, refusal=CoverRefusal(code="AM04"))
    repaired: Cover = rail("SCBLUS33").repair(asked, failed, "ada", "funded")
    content = opened(repaired.content).content
    (one,) = content.transfers
    assert (repaired.number, repaired.ordered_by, repaired.reason) == (2, "ada", "funded")
    assert content.header.message_id == repaired.message_id != first.message_id
    assert one.creditor_agent == Agent(bic="SCBLUS33")
    assert one.uetr == str(NAMES.uetr)
    with pytest.raises(MessageError):
        rail(None).repair(asked, failed, "ada", "funded")


def test_an_ordinary_order_has_no_cover() -> None:
    document = connection(SIGNED).dialect.order(paid_out(PAYMENT), NAMES)
    with pytest.raises(MessageError, match="no payment that is covered"):
        cover_of(SIGNED, document, "C")


def test_both_messages_are_valid_against_the_schemas() -> None:
    folder = shared_folder("iso20022-xsd")
    schemas = MessageSchemas({each.stem: each.read_bytes() for each in folder.glob("*.xsd")})
    made, document = payment()
    assert rail(schemas=schemas).fault_of(made.instruction) == ""
    dialect = connection(SIGNED).dialect
    content = cover_of(SIGNED, document, cover_message_id(NAMES.message_id, 1))
    for each, service in ((document, "swift.cbprplus.02"), (content, "swift.cbprplus.cov.02")):
        message = dialect.sent(each, read_order(each), is_possible_duplicate=True)
        schemas.check(message)
        assert service.encode() in message


def test_who_is_not_covered_is_paid_through_from() -> None:
    made = paid_out(PAYMENT)
    wanted = made.instruction
    assert rail().fault_of(wanted) == ""
    assert "only a customer's payment" in rail().fault_of(settlement("k").instruction)
    assert "only a customer's payment" in rail().fault_of(paid_out().instruction)
    assert "does not say" in rail(None).fault_of(wanted)
    assert "sends no cover" in rail(covers=False).fault_of(wanted)
    assert "sends no cover" in rail(cover_service="").fault_of(wanted)
    assert "no connection" in rail(banks=(wanted.from_bank,)).fault_of(wanted)
    same = replace(wanted, to_bank=wanted.from_bank)
    assert "keeps the account" in rail().fault_of(same)


def test_the_directory_says_who_is_covered() -> None:
    covered = StandingInstruction(
        currency="USD",
        correspondent=BETWEEN,
        their_account=THEIRS,
        method=CorrespondentMethod.COVER,
    )
    listed = ListedBank(
        code="HSBCGB2L",
        name="HSBC",
        instructions=(
            covered,
            StandingInstruction(currency="EUR", method=CorrespondentMethod.COVER),
            StandingInstruction(
                currency="GBP", their_account=THEIRS, method=CorrespondentMethod.SERIAL
            ),
        ),
    )
    assert cover_routes(listed) == {
        "USD": CorrespondentRoute(correspondent=BETWEEN, account=THEIRS)
    }


def test_it_is_listed_as_the_rail_whose_banks_it_reaches() -> None:
    made = rail()
    assert (made.name, made.capabilities.listed_as) == ("swift_cover", "swift")
