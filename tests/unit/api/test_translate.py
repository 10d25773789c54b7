from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement_engine.api import grammar
from settlement_engine.api.clearing import read_instruction
from settlement_engine.api.grammar import one_actor
from settlement_engine.api.payment import payment_message
from settlement_engine.api.translate import to_instruction
from settlement_engine.domain.money import Money, book_exponents
from settlement_engine.domain.payment import Delivery
from settlement_engine.domain.settlement import Priority
from settlement_engine.errors import InvalidInstruction, NotAuthenticated
from settlement_engine.proto import settlement_pb2 as pb
from tests.support import iso4217

GOOD: dict[str, Any] = {
    "obligation_id": "OBL-1",
    "from_bank": "DEUTDEFF",
    "to_bank": "CHASUS33",
    "amount": "12.50",
    "currency": "EUR",
}


def fields(header_key: str = "", **change: Any) -> list[str]:
    """Return the names of the fields that are refused."""
    with pytest.raises(InvalidInstruction) as caught:
        to_instruction(pb.SettlementRequest(**GOOD | change), caller="me", header_key=header_key)
    return [field for field, _ in caught.value.violations]


def test_a_well_formed_request_becomes_an_instruction() -> None:
    more = {"settlement_date": 1_790_000_000, "priority": pb.URGENT, "metadata": {"simulate": "x"}}
    made = to_instruction(pb.SettlementRequest(**GOOD | more), caller="me")
    assert made.amount == Money(1250, "EUR")
    assert made.value_date == date(2026, 9, 21)
    assert made.priority is Priority.URGENT
    assert made.metadata == {"simulate": "x"}
    assert (made.caller, made.idempotency_key) == ("me", "OBL-1")


def test_a_date_of_zero_leaves_the_value_date_open() -> None:
    assert to_instruction(pb.SettlementRequest(**GOOD), caller="me").value_date is None


@pytest.mark.parametrize("to_bank", ["SBZAZAJJ", "sbzazajj", "SBZAZAJJXXX", "sbzazajjxxx"])
def test_a_bank_does_not_pay_itself_under_another_spelling(to_bank: str) -> None:
    assert fields(from_bank="SBZAZAJJ", to_bank=to_bank) == ["to_bank"]
    assert fields(from_bank=to_bank, to_bank="SbzaZajjXXX") == ["to_bank"]


def test_banks_are_kept_and_hashed_as_they_were_received() -> None:
    made = to_instruction(pb.SettlementRequest(**GOOD | {"from_bank": "deutdeffxxx"}), caller="me")
    assert made.from_bank == "deutdeffxxx"
    assert made.content()["from_bank"] == "deutdeffxxx"


@pytest.mark.parametrize("code", ["BANK0001", "bank0001", "1", "a.b-c_d"])
def test_a_bank_code_need_not_be_a_bic(code: str) -> None:
    made = to_instruction(pb.SettlementRequest(**GOOD | {"from_bank": code}), caller="me")
    assert made.from_bank == code


@pytest.mark.parametrize("code", ["....", "-", "_._"])
def test_punctuation_alone_is_no_bank_code(code: str) -> None:
    assert fields(from_bank=code) == ["from_bank"]
    assert fields(to_bank=code) == ["to_bank"]


@pytest.mark.parametrize(
    "amount",
    [
        "",
        "1.001",
        "-1",
        "0",
        "0.00",
        "1e3",
        "NaN",
        "٣",
        "1" * 40,
        "+1",
        " 1",
        "01",
        ".5",
        "1.",
        "1,0",
    ],
)
def test_an_invalid_amount_is_named(amount: str) -> None:
    assert fields(amount=amount) == ["amount"]


@pytest.mark.parametrize(("amount", "currency"), [("100.5", "JPY"), ("1.0005", "KWD")])
def test_a_digit_more_than_the_currency_has_is_never_rounded(amount: str, currency: str) -> None:
    assert fields(amount=amount, currency=currency) == ["amount"]


def test_a_withdrawn_currency_keeps_its_decimals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the store knows whether the request is a replay or new."""
    iso4217.list_has_it(monkeypatch)
    book_exponents({iso4217.LEAVING: 2})
    iso4217.list_loses_it(monkeypatch)
    request = pb.SettlementRequest(**GOOD | {"amount": "12.50", "currency": iso4217.LEAVING})
    assert to_instruction(request, caller="me").amount == Money(1250, iso4217.LEAVING)
    found: grammar.Found = []
    grammar.check_filter("", iso4217.LEAVING, found)
    assert found == []


def test_three_decimals_of_a_dinar_are_kept() -> None:
    request = pb.SettlementRequest(**GOOD | {"amount": "1.005", "currency": "KWD"})
    assert to_instruction(request, caller="me").amount.minor == 1005


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"obligation_id": ""}, "obligation_id"),
        ({"obligation_id": "-x"}, "obligation_id"),
        ({"obligation_id": "x" * 65}, "obligation_id"),
        ({"obligation_id": "a\nb"}, "obligation_id"),
        ({"obligation_id": "a\n"}, "obligation_id"),
        ({"from_bank": ""}, "from_bank"),
        ({"to_bank": "x" * 21}, "to_bank"),
        ({"to_bank": "DEUTDEFF"}, "to_bank"),
        ({"currency": "zzz"}, "currency"),
        ({"currency": "ZZZ"}, "currency"),
        ({"currency": ""}, "currency"),
        ({"priority": 9}, "priority"),
        ({"priority": -1}, "priority"),
        ({"settlement_date": -1}, "settlement_date"),
        ({"settlement_date": 253_402_300_800}, "settlement_date"),
        ({"metadata": {f"k{n}": "" for n in range(33)}}, "metadata"),
        ({"metadata": {"a b": ""}}, "metadata"),
        ({"metadata": {"k": "x" * 513}}, "metadata.k"),
        ({"metadata": {"k": "a\x00b"}}, "metadata.k"),
        ({"metadata": {"card": "4111 1111 1111 1111"}}, "metadata.card"),
        ({"idempotency_key": "x" * 129}, "idempotency_key"),
        ({"idempotency_key": "schlüssel"}, "idempotency_key"),
        ({"idempotency_key": " x"}, "idempotency_key"),
    ],
)
def test_an_invalid_field_is_named(change: dict[str, Any], field: str) -> None:
    assert fields(**change) == [field]


def test_all_faulty_fields_are_named_at_once() -> None:
    found = fields(obligation_id="", from_bank="", amount="x", priority=7)
    assert found == ["obligation_id", "from_bank", "amount", "priority"]


def test_a_description_never_repeats_what_the_caller_sent() -> None:
    with pytest.raises(InvalidInstruction) as caught:
        to_instruction(pb.SettlementRequest(**GOOD | {"amount": "secret"}), caller="me")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "header", "key"),
    [("", "", "OBL-1"), ("a", "", "a"), ("", "b", "b"), ("c", "c", "c")],
)
def test_the_key_is_the_field_then_the_header_then_the_obligation(
    field: str, header: str, key: str
) -> None:
    request = pb.SettlementRequest(**GOOD, idempotency_key=field)
    assert to_instruction(request, caller="me", header_key=header).idempotency_key == key


def test_a_field_and_a_header_that_differ_are_refused() -> None:
    assert fields(header_key="b", idempotency_key="a") == ["idempotency_key"]


CARD = "4111111111111111"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"obligation_id": CARD}, "obligation_id"),
        ({"obligation_id": "OBL-" + CARD}, "obligation_id"),
        ({"obligation_id": CARD + "2"}, "obligation_id"),
        ({"obligation_id": "4111-1111-1111-1111"}, "obligation_id"),
        ({"idempotency_key": CARD}, "idempotency_key"),
        ({"idempotency_key": "key 4111 1111 1111 1111"}, "idempotency_key"),
        ({"from_bank": CARD}, "from_bank"),
        ({"to_bank": CARD}, "to_bank"),
        ({"metadata": {CARD: "x"}}, "metadata"),
        ({"metadata": {"k": CARD}}, "metadata.k"),
        ({"metadata": {"remittance": "\uff14" + "\uff11" * 15}}, "metadata.remittance"),
    ],
)
def test_a_card_number_is_refused_in_every_text(change: dict[str, Any], field: str) -> None:
    assert fields(**change) == [field]
    with pytest.raises(InvalidInstruction) as caught:
        to_instruction(pb.SettlementRequest(**GOOD | change), caller="me")
    assert CARD not in str(caught.value)


def test_a_card_number_as_the_header_s_key_is_refused() -> None:
    assert fields(header_key=CARD) == ["idempotency_key"]


def test_a_card_number_names_no_person() -> None:
    with pytest.raises(NotAuthenticated) as caught:
        one_actor([CARD])
    assert CARD not in str(caught.value)


def test_a_card_number_from_clearing_is_refused() -> None:
    with pytest.raises(InvalidInstruction) as caught:
        read_instruction(
            b'{"obligationId":"4111111111111111","fromBank":"A","toBank":"B","amount":"1.00",'
            b'"currency":"EUR"}'
        )
    assert caught.value.violations[0][0] == "obligation_id"


@pytest.mark.parametrize(
    "moment", ["20261128160000", "20261128", "20261128160000123", "28112026160000"]
)
def test_a_date_is_no_card_number(moment: str) -> None:
    more = {"obligation_id": moment, "idempotency_key": moment, "metadata": {"k": moment}}
    made = to_instruction(pb.SettlementRequest(**GOOD | more), caller="me")
    assert made.obligation_id == moment


def test_clearing_uses_the_same_json_as_the_gateway() -> None:
    made = read_instruction(
        b'{"obligationId":"OBL-9","fromBank":"A","toBank":"B","amount":"1.00","currency":"EUR"}'
    )
    assert (made.caller, made.obligation_id) == ("clearing", "OBL-9")
    with pytest.raises(InvalidInstruction) as caught:
        read_instruction(b'{"obligationId":"OBL-9","frmBank":"A"}')
    assert caught.value.violations[0][0] == "frmBank"


texts = st.text(max_size=80)


@given(
    st.builds(
        pb.SettlementRequest,
        obligation_id=texts,
        from_bank=texts,
        to_bank=texts,
        amount=texts,
        currency=st.sampled_from(["EUR", "JPY", "KWD", "eur", ""]),
        settlement_date=st.integers(-(2**63), 2**63 - 1),
        priority=st.integers(-3, 5),
        metadata=st.dictionaries(texts, texts, max_size=3),
        idempotency_key=texts,
    )
)
def test_any_request_becomes_an_instruction_or_is_refused(request: pb.SettlementRequest) -> None:
    try:
        made = to_instruction(request, caller="me")
    except InvalidInstruction:
        pass
    else:
        assert made.amount.minor > 0
        assert made.from_bank != made.to_bank


# --- what a payment says ----------------------------------------------------------------------------

CREDITOR: dict[str, Any] = {
    "name": "Zoë & Söhne",
    "account": {"iban": "DE89370400440532013000", "type": "CACC"},
    "lei": "213800KUD8LAJWSQ9D15",
    "address": {
        "street_name": "Main Street",
        "building_number": "1",
        "building_name": "Tower",
        "floor": "2",
        "post_box": "3",
        "room": "4",
        "post_code": "60311",
        "town_name": "Frankfurt",
        "district_name": "Mitte",
        "country_sub_division": "HE",
        "country": "DE",
        "lines": ["a", "b"],
    },
    "agent_bic": "DEUTDEFF",
}
PAYMENT: dict[str, Any] = {
    "debtor": {"name": "Ada", "account": {"other_id": "12-34"}},
    "creditor": CREDITOR,
    "remittance": "invoice 4711",
    "purpose": "TRAD",
    "charge_bearer": "SHAR",
    "end_to_end_id": "A-1",
}


def test_every_field_of_a_payment_is_read_and_written_again() -> None:
    message = pb.PaymentDetails(**PAYMENT)
    request = pb.SettlementRequest(**GOOD, payment=message)
    made = to_instruction(request, caller="me")
    assert made.payment is not None
    assert payment_message(made.payment) == message
    set_fields = {field.name for field, _ in message.creditor.address.ListFields()}
    assert set_fields == set(pb.PostalAddress.DESCRIPTOR.fields_by_name)
    assert made.delivery is Delivery.PAY_OUT


def test_a_creditor_reference_is_read_and_written_again() -> None:
    message = pb.PaymentDetails(creditor_reference="RF18539007547034")
    made = to_instruction(pb.SettlementRequest(**GOOD, payment=message), caller="me")
    assert made.payment is not None
    assert payment_message(made.payment) == message


def test_json_and_protobuf_give_the_same_instruction() -> None:
    compensates = "0193A5C2-7d1e-7b3a-9f00-1c2d3e4f5a6b"
    more = {"payment": PAYMENT, "rail": "swift", "delivery": "DELIVERY_BOOK"}
    more["compensates"] = compensates
    by_json = read_instruction(json.dumps(GOOD | more).encode(), caller="me")
    message = pb.SettlementRequest(
        **GOOD,
        payment=pb.PaymentDetails(**PAYMENT),
        rail="swift",
        delivery=pb.DELIVERY_BOOK,
        compensates=compensates.lower(),
    )
    assert by_json == to_instruction(message, caller="me")
    assert by_json.requested_delivery is Delivery.BOOK
    assert by_json.rail == "swift"
    assert str(by_json.compensates) == compensates.lower()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"payment": pb.PaymentDetails()}, "payment"),
        ({"payment": pb.PaymentDetails(purpose="x")}, "payment.purpose"),
        (
            {"payment": pb.PaymentDetails(creditor=pb.PaymentParty(account=pb.PaymentAccount()))},
            "payment.creditor.account",
        ),
        ({"rail": "SWIFT"}, "rail"),
        ({"rail": "4" * 33}, "rail"),
        ({"delivery": 3}, "delivery"),
        ({"compensates": "7"}, "compensates"),
    ],
)
def test_a_fault_of_a_payment_names_its_field(change: dict[str, Any], field: str) -> None:
    assert fields(**change) == [field]


def test_an_unknown_field_of_a_payment_is_refused_by_its_name() -> None:
    body = GOOD | {"payment": {"creditor": {"nam": "Ada"}}}
    with pytest.raises(InvalidInstruction) as caught:
        read_instruction(json.dumps(body).encode(), caller="me")
    assert [field for field, _ in caught.value.violations] == ["payment.creditor.nam"]


def test_a_plain_request_has_no_payment_and_is_booked() -> None:
    made = to_instruction(pb.SettlementRequest(**GOOD), caller="me")
    assert (made.payment, made.rail, made.requested_delivery) == (None, "", None)
    assert made.compensates is None
    assert made.delivery is Delivery.BOOK
