"""What a payment says: which details are valid, how they are stored, and how a settlement is delivered."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement_engine.domain.payment import (
    PAYMENT_BYTES_MAX,
    Delivery,
    PaymentAccount,
    PaymentDetails,
    PaymentParty,
    PostalAddress,
    delivery_of,
    payment_content,
    read_payment,
    text_at,
    write_payment,
)
from settlement_engine.domain.payment_checks import (
    ADDRESS_CHARACTERS_MAX,
    ADDRESS_LINE_CHARACTERS_MAX,
    ADDRESS_LINES_MAX,
    CHARGE_BEARERS,
    faults_of_payment,
    warnings_of_payment,
)

IBAN = "DE89370400440532013000"
CARD = "4111 1111 1111 1111"
ADDRESS = PostalAddress(street_name="Main Street", town_name="Frankfurt", country="DE")
PAYMENT = PaymentDetails(
    debtor=PaymentParty(name="Ada Ltd", lei="213800KUD8LAJWSQ9D15", address=ADDRESS),
    creditor=PaymentParty(
        name="Zoë & Söhne", account=PaymentAccount(iban=IBAN, type="CACC"), agent_bic="DEUTDEFF"
    ),
    remittance="invoice 4711",
    purpose="TRAD",
    charge_bearer="SHAR",
    end_to_end_id="A/1-2",
)


def fields(payment: PaymentDetails) -> list[str]:
    return [field for field, _ in faults_of_payment(payment)]


def creditor(**said: object) -> PaymentDetails:
    return PaymentDetails(creditor=PaymentParty(**said))  # type: ignore[arg-type]


def test_a_payment_with_every_kind_of_field_is_valid():
    assert faults_of_payment(PAYMENT) == []
    assert faults_of_payment(PaymentDetails(creditor_reference="RF18539007547034")) == []
    assert faults_of_payment(creditor(name="Ada", account=PaymentAccount(other_id="12-3 4"))) == []


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"account": PaymentAccount(iban="DE89370400440532013001")}, "account.iban"),
        ({"account": PaymentAccount(iban=IBAN, other_id="1")}, "account"),
        ({"account": PaymentAccount(type="CACC")}, "account"),
        ({"account": PaymentAccount(other_id="1  2")}, "account.other_id"),
        ({"account": PaymentAccount(other_id="1" * 35)}, "account.other_id"),
        ({"account": PaymentAccount(iban=IBAN, type="current")}, "account.type"),
        ({"lei": "213800KUD8LAJWSQ9D16"}, "lei"),
        ({"lei": "2138 00KUD8LAJWSQ9D15"}, "lei"),
        ({"agent_bic": "DEUTDEF"}, "agent_bic"),
        ({"name": "a" * 141}, "name"),
        ({"name": "gpj\u202eexe"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a\uffff"}, "name"),
        ({"name": " a"}, "name"),
        ({"name": CARD}, "name"),
        ({"address": PostalAddress(country="DE")}, "address.town_name"),
        ({"address": PostalAddress(town_name="Bonn")}, "address.country"),
        ({"address": PostalAddress(town_name="Bonn", country="de")}, "address.country"),
        ({"address": PostalAddress(town_name="Bonn", country="XX")}, "address.country"),
        ({"address": PostalAddress(town_name="Bonn", country="DEU")}, "address.country"),
        ({"address": PostalAddress(lines=("1 Main Street",))}, "address.town_name"),
    ],
)
def test_a_fault_names_the_field_of_the_party(said, field):
    assert f"payment.creditor.{field}" in fields(creditor(**said))
    assert f"payment.debtor.{field}" in fields(PaymentDetails(debtor=PaymentParty(**said)))


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"remittance": "a" * 141}, "payment.remittance"),
        ({"remittance": f"card {CARD}"}, "payment.remittance"),
        ({"remittance": "a", "creditor_reference": "RF18539007547034"}, "payment.remittance"),
        ({"creditor_reference": "RF19539007547034"}, "payment.creditor_reference"),
        ({"creditor_reference": "4711"}, "payment.creditor_reference"),
        ({"purpose": "TRA"}, "payment.purpose"),
        ({"purpose": "trad"}, "payment.purpose"),
        ({"charge_bearer": "OUR"}, "payment.charge_bearer"),
        ({"end_to_end_id": "a" * 36}, "payment.end_to_end_id"),
        ({"end_to_end_id": "/a"}, "payment.end_to_end_id"),
        ({"end_to_end_id": "a//b"}, "payment.end_to_end_id"),
        ({"end_to_end_id": "a "}, "payment.end_to_end_id"),
        ({"end_to_end_id": "ä"}, "payment.end_to_end_id"),
        ({"end_to_end_id": CARD}, "payment.end_to_end_id"),
        ({"debtor": PaymentParty()}, "payment.debtor"),
        ({}, "payment"),
    ],
)
def test_a_fault_names_the_field_of_the_payment(said, field):
    assert fields(PaymentDetails(**said)) == [field]


@pytest.mark.parametrize(("field", "most"), list(ADDRESS_CHARACTERS_MAX.items()))
def test_an_address_has_the_lengths_of_iso_20022(field, most):
    said = {"town_name": "Bonn", "country": "DE"}
    longest = PostalAddress(**said | {field: "a" * most})
    longer = PostalAddress(**said | {field: "a" * (most + 1)})
    assert fields(creditor(name="Ada", address=longest)) == []
    assert fields(creditor(name="Ada", address=longer)) == [f"payment.creditor.address.{field}"]


def test_an_address_has_two_lines_at_most_beside_town_and_country():
    address = msgspec.structs.replace(ADDRESS, lines=("a", "b"))
    assert fields(creditor(name="Ada", address=address)) == []
    for lines, field in [
        (("a", "b", "c"), "lines"),
        (("a", ""), "lines[1]"),
        (("a" * 71,), "lines[0]"),
    ]:
        wrong = msgspec.structs.replace(ADDRESS, lines=lines)
        assert fields(creditor(name="Ada", address=wrong)) == [f"payment.creditor.address.{field}"]


@pytest.mark.parametrize("said", [{"remittance": CARD}, {"end_to_end_id": CARD}])
def test_a_fault_does_not_repeat_what_was_said(said):
    [(_, description)] = faults_of_payment(PaymentDetails(**said))
    assert "4111" not in description


def test_an_account_number_that_passes_as_a_card_is_accepted_with_a_warning():
    payment = creditor(name="Ada", account=PaymentAccount(other_id="4111111111111111"))
    assert faults_of_payment(payment) == []
    [(field, text)] = warnings_of_payment(payment)
    assert field == "payment.creditor.account.other_id"
    assert "4111" not in text


def test_a_bic_in_no_directory_is_accepted_with_a_warning():
    payment = creditor(name="Ada", agent_bic="CHASUS33")
    assert faults_of_payment(payment) == []
    assert [field for field, _ in warnings_of_payment(payment)] == ["payment.creditor.agent_bic"]
    assert warnings_of_payment(PAYMENT) == []


@pytest.mark.parametrize(
    ("requested", "payment", "delivery"),
    [
        (None, None, Delivery.BOOK),
        (None, PAYMENT, Delivery.PAY_OUT),
        (Delivery.BOOK, PAYMENT, Delivery.BOOK),
        (Delivery.PAY_OUT, None, Delivery.PAY_OUT),
    ],
)
def test_who_says_whom_to_pay_is_paid_out_by_default(requested, payment, delivery):
    assert delivery_of(requested, payment) is delivery


def test_the_stored_form_leaves_out_what_says_nothing():
    assert write_payment(PaymentDetails(purpose="TRAD")) == (
        '{"version":1,"payment":{"purpose":"TRAD"}}'
    )
    assert payment_content(creditor(account=PaymentAccount(iban=IBAN))) == {
        "creditor": {"account": {"iban": IBAN}}
    }


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "[]",
        '{"version":1}',
        '{"version":2,"payment":{}}',
        '{"version":1,"payment":{"purpos":"TRAD"}}',
        '{"version":1,"payment":{"purpose":7}}',
        '{"version":1,"payment":{"remittance":"' + "a" * PAYMENT_BYTES_MAX + '"}}',
    ],
)
def test_what_was_not_written_here_is_not_read(stored):
    with pytest.raises(ValueError, match="payment details"):
        read_payment(stored)


def test_a_field_is_found_by_its_path():
    assert text_at(PAYMENT, "creditor.account.iban") == IBAN
    assert text_at(PAYMENT, "debtor.account.iban") == ""
    assert text_at(PAYMENT, "purpose") == "TRAD"
    assert text_at(None, "creditor.name") == ""


# --- any payment ------------------------------------------------------------------------------------


def texts(most: int) -> st.SearchStrategy[str]:
    return st.one_of(
        st.just(""), st.text("aZ9 é数€😀\"'\\<&", max_size=most), st.text(max_size=most)
    )


ADDRESSES = st.builds(
    PostalAddress,
    **{field: texts(most) for field, most in ADDRESS_CHARACTERS_MAX.items()},
    country=st.sampled_from(["", "DE", "AE"]),
    lines=st.lists(texts(ADDRESS_LINE_CHARACTERS_MAX), max_size=ADDRESS_LINES_MAX).map(tuple),
)
PARTIES = st.builds(
    PaymentParty,
    name=texts(140),
    account=st.none() | st.builds(PaymentAccount, iban=st.sampled_from(["", IBAN])),
    lei=st.sampled_from(["", "213800KUD8LAJWSQ9D15"]),
    address=st.none() | ADDRESSES,
    agent_bic=st.sampled_from(["", "DEUTDEFF"]),
)
PAYMENTS = st.builds(
    PaymentDetails,
    debtor=st.none() | PARTIES,
    creditor=st.none() | PARTIES,
    remittance=texts(140),
    purpose=st.sampled_from(["", "TRAD"]),
    charge_bearer=st.sampled_from(["", *CHARGE_BEARERS]),
    end_to_end_id=texts(35),
)


@given(PAYMENTS)
def test_what_is_valid_is_read_as_it_was_written(payment):
    if faults_of_payment(payment):
        return
    stored = write_payment(payment)
    assert read_payment(stored) == payment
    assert read_payment(json.dumps(json.loads(stored), indent=1)) == payment  # as the store has it
    assert write_payment(read_payment(stored)) == stored


@given(PAYMENTS, PAYMENTS)
def test_two_payments_have_one_stored_form_only_if_they_say_the_same(one, other):
    assert (write_payment(one) == write_payment(other)) is (one == other)


def test_the_longest_payment_fits_the_bound():
    long = {field: "💶" * most for field, most in ADDRESS_CHARACTERS_MAX.items()}
    address = PostalAddress(**long, country="DE", lines=("💶" * 70,) * ADDRESS_LINES_MAX)
    party = PaymentParty(
        name="💶" * 140,
        account=PaymentAccount(iban=IBAN),
        lei="213800KUD8LAJWSQ9D15",
        address=address,
    )
    payment = PaymentDetails(
        debtor=party, creditor=party, remittance="💶" * 140, end_to_end_id="a" * 35
    )
    assert faults_of_payment(payment) == []
    assert len(write_payment(payment).encode()) < PAYMENT_BYTES_MAX // 2
    assert read_payment(write_payment(payment)) == payment
