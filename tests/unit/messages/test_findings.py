"""A received message is read and its oddities are reported; a message to be sent must not have them."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest

from settlement_engine.messages.envelope import built, opened
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.findings import (
    FINDINGS_MAX,
    check_before_sending,
    findings,
    odd_about,
    usage_rules,
)
from settlement_engine.messages.pacs002 import StatusReportMessage, TransactionStatus
from settlement_engine.messages.pacs004 import ReturnedTransaction
from settlement_engine.messages.parties import Address, Agent, Party, PartyAccount
from settlement_engine.messages.plain import plain
from settlement_engine.messages.recognition import recognised
from settlement_engine.messages.references import Reason
from settlement_engine.messages.remittance import StructuredRemittance
from tests.support.messages import Maker
from tests.unit.messages.test_statuses import HEADER

SWIFT = usage_rules()["swift"]
AFTER, BEFORE = date(2026, 11, 14), date(2026, 11, 13)


def report(*transactions: TransactionStatus) -> StatusReportMessage:
    return StatusReportMessage(header=HEADER, transactions=transactions)


@pytest.mark.parametrize(
    ("value", "place", "is_fault"),
    [
        (Agent(bic="DEUTXXFF"), "bic", True),
        (Agent(bic="CHASUS33"), "bic", False),
        (Party(bic="CHASUS33"), "bic", False),
        (Agent(lei="213800KUD8LAJWSQ9D16"), "lei", True),
        (StructuredRemittance(reference="RF19539007547034"), "reference", True),
        (PartyAccount(iban="DE89370400440532013001"), "iban", True),
    ],
)
def test_identifiers_are_checked(value, place, is_fault):
    (found,) = findings(value)
    assert (found.place, found.is_fault) == (place, is_fault)


def test_valid_identifiers_have_no_findings():
    references = ("RF18539007547034", "2026/11", None)
    remittance = tuple(StructuredRemittance(reference=each) for each in references)
    right = (Agent(bic="DEUTDEFF"), PartyAccount(iban="DE89370400440532013000"), *remittance)
    assert findings(right) == []


def test_an_unknown_status_is_a_fault_and_an_unknown_reason_a_warning():
    odd = TransactionStatus(status="ZZZZ", reasons=(Reason(code="ZZ99"),))
    found = findings(report(odd, TransactionStatus(status="ACSC")))
    assert [(each.place, each.is_fault) for each in found] == [
        ("transactions[1].status", True),
        ("transactions[1].reasons[1].code", False),
    ]


def test_an_unknown_return_code_is_still_a_return():
    content = Maker(1).content("pacs.004.001.09")
    back = ReturnedTransaction(amount=_any_amount(), reasons=(Reason(code="ZZ99"),))
    content = msgspec.structs.replace(content, group=None, returns=(back,))
    message = opened(built("pacs.004.001.09", content))
    assert message.content.returns == (back,)
    assert [each.text[:4] for each in odd_about(message)].count("ZZ99") == 1


def _any_amount():
    return Maker(1).content("pacs.009.001.08").transfers[0].amount


def test_an_address_names_town_and_country_from_the_day_on_that_it_must():
    bare = Party(name="A", address=Address(lines=("Somewhere 1",)))
    assert findings(bare, SWIFT, BEFORE) == []
    places = [each.place for each in findings(bare, SWIFT, AFTER)]
    assert places == ["address.town_name", "address.country"]
    with pytest.raises(MessageError, match="addresses name town and country"):
        check_before_sending(bare, SWIFT, AFTER)


def test_a_hybrid_address_and_no_address_are_in_order():
    hybrid = Party(address=Address(lines=("Street 1",), town_name="Bonn", country="DE"))
    check_before_sending((hybrid, Party(name="A")), SWIFT, AFTER)


def test_a_fault_prevents_sending_and_a_warning_does_not():
    check_before_sending(Agent(bic="CHASUS33"), SWIFT, AFTER)
    with pytest.raises(MessageError, match="is not a BIC"):
        check_before_sending(Agent(bic="DEUTXXFF"), SWIFT, AFTER)


def test_characters_outside_a_rails_set_prevent_sending():
    with pytest.raises(MessageError) as caught:
        check_before_sending(Party(name="漢"), SWIFT, AFTER)
    assert caught.value.place == "name"


def test_a_header_for_another_message_is_reported():
    head = msgspec.structs.replace(Maker(1).head("02"), definition="pacs.004.001.09")
    message = opened(built("pacs.002.001.10", report(), head))
    assert odd_about(message)[0].place == "head.definition"


def test_a_summarys_length_is_limited():
    assert len(findings((Agent(bic="DEUTXXFF"),) * (FINDINGS_MAX * 2))) == FINDINGS_MAX


def test_a_recognised_message_is_described_completely():
    payment = TransactionStatus(uetr="0123abcd-0123-4abc-8abc-0123456789ab", status="RJCT")
    rejected = msgspec.structs.replace(payment, reasons=(Reason(code="AC04", texts=("closed",)),))
    found = recognised(built("pacs.002.001.10", report(rejected)))
    assert (found.kind, found.version) == ("pacs.002", "10")
    (said,) = found.says
    assert said.startswith("payment 0123abcd-0123-4abc-8abc-0123456789ab: RJCT (rejected): AC04")
    assert said.endswith("closed")
    assert plain(found.content)["transactions"][0]["reasons"] == [
        {"code": "AC04", "texts": ["closed"]}
    ]


@pytest.mark.parametrize("data", [b"", b"\x00\x01", b"hello", b"{}"])
def test_bytes_of_no_format_are_refused(data):
    with pytest.raises(MessageError) as caught:
        recognised(data)
    assert caught.value.place == "byte 1"


@pytest.mark.parametrize("definition", ["pacs.008.001.08", "camt.029.001.09", "camt.056.001.08"])
def test_every_kind_of_message_has_a_summary(definition):
    for seed in range(20):
        content = Maker(seed).content(definition)
        assert isinstance(plain(content), dict)
        recognised(built(definition, content))
