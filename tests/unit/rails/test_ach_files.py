"""What the rail ach writes and reads: orders, files and their modifiers, and the operator's reports."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement_engine.domain.identifiers import references
from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.money import Money
from settlement_engine.domain.payment import PaymentAccount, PaymentDetails, PaymentParty
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.nacha.model import FILE_ID_MODIFIERS
from settlement_engine.messages.nacha.reading import read_file
from settlement_engine.rails.ach.closing import (
    SPREAD_MODIFIERS,
    NumberedOrder,
    content_of,
    file_name,
    free_modifier,
    modifier_in,
    wait_seconds,
)
from settlement_engine.rails.ach.orders import (
    addenda_of,
    fault_of,
    read_order,
    read_terms,
    write_order,
)
from settlement_engine.rails.ach.reports import AchAlarm, read_inbox_file
from settlement_engine.simulator.ach_files import original_of, return_file
from tests.support.achrails import ODFI, party
from tests.unit.rails.builders import CALLER, settlement

CREATED = datetime(2026, 11, 25, 9, 30, tzinfo=ZoneInfo("America/New_York"))
PARTY = party()


def dollars(key: str, minor: int = 12_50):
    made = settlement(key)
    return replace(made, instruction=replace(made.instruction, amount=Money(minor, "USD")))


def item(key: str, sequence: int, minor: int = 12_50, day: date | None = None) -> NumberedOrder:
    paid = dollars(key, minor)
    if day is not None:
        paid = replace(paid, value_date=day)
    order = read_order(write_order(paid, references(CALLER, key, 1), PARTY))
    assert order is not None
    return NumberedOrder(order, f"{PARTY.institution}{sequence:07d}")


def replaced_creditor(**changes: Any) -> PaymentParty:
    creditor = PaymentParty(name="Ada", account=PaymentAccount(other_id="77-1"))
    return msgspec.structs.replace(creditor, **changes)


# --- orders -------------------------------------------------------------------------------------------


def test_an_order_says_what_was_asked_for_and_names_the_payment() -> None:
    names = references(CALLER, "k", 1)
    payload = write_order(dollars("k"), names, PARTY)
    assert payload == write_order(dollars("k"), names, PARTY)
    terms = read_terms(payload)
    assert terms is not None
    assert (terms.from_bank, terms.to_bank, terms.amount) == ("DEUTDEFF", "", "12.50")
    assert (terms.currency, terms.references) == ("USD", names)
    assert read_terms(b"\xff{}") is None
    assert read_terms(b"{}") is None


PAID = PaymentDetails(
    creditor=PaymentParty(name="Ada", account=PaymentAccount(other_id="77-1")),
    remittance="invoice 4711",
    end_to_end_id="A-1",
)
PAYS_OUT = party(routing_numbers={"CHASUS33": "021000021"})


def paid_out(payment: PaymentDetails = PAID, to_bank: str = "CHASUS33"):
    made = dollars("k")
    instruction = replace(made.instruction, payment=payment, to_bank=to_bank)
    return replace(made, instruction=instruction)


def test_a_payment_that_is_paid_out_names_its_creditor_and_what_it_is_told() -> None:
    names = references(CALLER, "k", 1)
    payload = write_order(paid_out(to_bank="chasus33XXX"), names, PAYS_OUT)
    terms = read_terms(payload)
    assert terms is not None
    assert terms.to_bank == "chasus33XXX"
    order = read_order(payload)
    assert order is not None
    entry = order.entry("091000010000001")
    assert (entry.receiver, entry.account, entry.name) == ("021000021", "77-1", "Ada")
    assert entry.identification == "A-1"
    assert entry.remittance == (f"{names.end_to_end_id} invoice 4711",)
    file = read_file(content_of([NumberedOrder(order, "091000010000001")], PAYS_OUT, "A", CREATED))
    assert file.batches[0].entries[0].remittance == entry.remittance


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"remittance": "x" * 45}, "payment.remittance"),
        ({"remittance": "Grüße"}, "payment.remittance"),
        ({"creditor_reference": "RF" + "1" * 43}, "payment.creditor_reference"),
        ({"end_to_end_id": "x" * 16}, "payment.end_to_end_id"),
        ({"creditor": replaced_creditor(name="A" * 23)}, "payment.creditor.name"),
        ({"creditor": replaced_creditor(name="Zoë")}, "payment.creditor.name"),
        (
            {"creditor": replaced_creditor(account=PaymentAccount(other_id="1" * 18))},
            "payment.creditor.account.other_id",
        ),
        (
            {"creditor": replaced_creditor(agent_bic="BNPAFRPP")},
            "payment.creditor.agent_bic",
        ),
    ],
)
def test_what_an_entry_cannot_carry_is_named(changes: dict[str, Any], field: str) -> None:
    assert fault_of(paid_out().instruction, PAYS_OUT) == ""
    payment = msgspec.structs.replace(PAID, **changes)
    assert fault_of(paid_out(payment).instruction, PAYS_OUT).startswith(f"{field}: ")


LONG = "invoice 4711 of October, less the credit note 17; " + "and more of it " * 5
BOTH = ("CCD", "CTX")


def test_what_one_addenda_cannot_hold_goes_into_an_entry_with_several() -> None:
    told = LONG.strip()
    names = references(CALLER, "k", 1)
    long = read_order(
        write_order(paid_out(msgspec.structs.replace(PAID, remittance=told)), names, PAYS_OUT)
    )
    short = read_order(write_order(paid_out(), names, PAYS_OUT))
    assert long is not None
    assert short is not None
    assert (short.entry_class, long.entry_class) == ("CCD", "CTX")
    items = [NumberedOrder(long, "091000010000001"), NumberedOrder(short, "091000010000002")]
    file = read_file(content_of(items, PAYS_OUT, "A", CREATED))
    assert [each.entry_class for each in file.batches] == ["CCD", "CTX"]
    [entry] = file.batches[1].entries
    assert len(entry.remittance) > 1
    assert " ".join(entry.remittance) == f"{names.end_to_end_id} {told}"
    assert (entry.name.strip(), entry.identification.strip()) == ("Ada", "A-1")
    assert entry.amount_cents == 12_50


@given(st.lists(st.text("xyz,-", min_size=1, max_size=140), min_size=1, max_size=20))
def test_addenda_are_the_text_again_and_none_is_too_long(words: list[str]) -> None:
    found = addenda_of(" ".join(words))
    assert all(0 < len(each) <= 80 for each in found)
    if all(len(word) <= 80 for word in words):
        assert " ".join(found) == " ".join(words)
    assert "".join(found).replace(" ", "") == "".join(words)


def test_several_blanks_between_two_addenda_are_one() -> None:
    assert addenda_of("x" * 80 + "   y") == ("x" * 80, "y")
    assert addenda_of("a  b") == ("a  b",)


@pytest.mark.parametrize(
    ("changes", "classes", "field"),
    [
        ({"remittance": "x" * 140}, BOTH, ""),
        ({"remittance": "x" * 45}, ("CCD",), "payment.remittance"),
        ({"remittance": "x" * 141}, BOTH, "payment.remittance"),
        ({"creditor": replaced_creditor(name="A" * 17)}, BOTH, ""),
        (
            {"creditor": replaced_creditor(name="A" * 17), "remittance": "x" * 45},
            BOTH,
            "payment.creditor.name",
        ),
    ],
)
def test_more_addenda_leave_fewer_columns_for_the_name(changes, classes, field: str) -> None:
    payment = msgspec.structs.replace(PAID, **changes)
    assert fault_of(paid_out(payment).instruction, PAYS_OUT, classes).partition(":")[0] == field


def test_a_bank_without_a_routing_number_is_not_paid_out_to() -> None:
    found = fault_of(paid_out(to_bank="BNPAFRPP").instruction, PAYS_OUT)
    assert found.startswith("to_bank: ")
    assert fault_of(dollars("k").instruction, PARTY) == "", "our own money needs none"


# --- files --------------------------------------------------------------------------------------------


def test_a_file_has_each_payment_with_its_trace_and_our_reference() -> None:
    items = [item("b", 2, 7_00), item("a", 1)]
    data = content_of(items, PARTY, "A", CREATED)
    assert data == content_of(list(reversed(items)), PARTY, "A", CREATED)
    file = read_file(data)
    header = file.header
    assert (header.destination.strip(), header.origin.strip()) == (ODFI, "1234567890")
    assert (header.created_on, header.created_at, header.modifier) == (
        CREATED.date(),
        "0930",
        "A",
    )
    [batch] = file.batches
    assert (batch.entry_class, batch.institution) == ("CCD", PARTY.institution)
    assert [each.trace_number for each in batch.entries] == sorted(each.trace for each in items)
    assert [each.amount_cents for each in batch.entries] == [12_50, 7_00]
    assert batch.entries[0].remittance == (references(CALLER, "a", 1).end_to_end_id,)
    assert (batch.entries[0].receiver, batch.entries[0].account) == (PARTY.receiver, PARTY.account)


def test_each_effective_date_is_a_batch_and_none_is_before_the_file() -> None:
    late = CREATED.date() + timedelta(days=2)
    past = CREATED.date() - timedelta(days=9)
    items = [item("a", 1, day=late), item("b", 2, day=past), item("c", 3, day=CREATED.date())]
    file = read_file(content_of(items, PARTY, "B", CREATED))
    found = [(each.effective_date, len(each.entries)) for each in file.batches]
    assert found == [(CREATED.date(), 2), (late, 1)]


def test_what_no_record_can_hold_is_refused_with_its_field() -> None:
    with pytest.raises(MessageError, match="name"):
        content_of([item("a", 1)], replace(PARTY, company_name="Zürich"), "A", CREATED)


# --- modifiers ----------------------------------------------------------------------------------------


def test_each_file_of_a_day_has_a_modifier_of_its_own_and_there_is_an_end() -> None:
    used: set[str] = set()
    for expected in FILE_ID_MODIFIERS:
        found = free_modifier(used)
        assert found == expected
        used.add(expected)
    assert free_modifier(used) is None
    assert wait_seconds(used, CREATED, CREATED) == 14.5 * 3600  # until midnight, where the day ends


def test_the_last_modifiers_are_spread_over_the_rest_of_the_day() -> None:
    plenty = FILE_ID_MODIFIERS[: -SPREAD_MODIFIERS - 1]
    assert wait_seconds(plenty, CREATED, CREATED) == 0
    few = FILE_ID_MODIFIERS[:-SPREAD_MODIFIERS]
    part = 14.5 * 3600 / SPREAD_MODIFIERS
    assert wait_seconds(few, CREATED, CREATED) == part
    assert wait_seconds(few, CREATED, CREATED - timedelta(seconds=part)) == 0
    assert wait_seconds(few, CREATED, None) == 0


def test_a_file_is_found_by_its_name() -> None:
    day = CREATED.date()
    name = file_name(PARTY, day, "Q")
    assert name == "1234567890-091000019-20261125-Q.ach"
    assert modifier_in(name, PARTY, day) == "Q"
    assert modifier_in(name, PARTY, day + timedelta(days=1)) is None
    assert modifier_in(name, replace(PARTY, origin="9"), day) is None
    assert modifier_in("", PARTY, day) is None


# --- reports ------------------------------------------------------------------------------------------


def report(kind: str, status: str, *items: dict[str, object], sha256: str = "ab" * 32) -> bytes:
    said = {"kind": kind, "sha256": sha256, "status": status, "reason": "r", "items": items}
    return json.dumps(said).encode()


def test_an_acknowledgement_is_no_settlement() -> None:
    items: list[dict[str, object]] = [
        {"trace": "1", "status": "accepted", "amount_cents": 5},
        {"trace": "2", "status": "rejected", "code": "R03"},
        {"trace": "3", "status": "settled", "amount_cents": 5},
        {"trace": "4", "status": "who knows"},
    ]
    found = read_inbox_file(report("acknowledgement", "partly accepted", *items))
    said = [(each.references.trace, each.event, each.code) for each in found.reports]
    assert said == [("1", Event.ACKNOWLEDGED, ""), ("2", Event.REJECTED, "R03")]
    assert found.alarms == (AchAlarm.UNKNOWN_STATUS,)
    assert found.reports[0].stated.minor is None
    assert found.whole is None


def test_a_settlement_advice_states_its_amount() -> None:
    item = {"trace": "1", "status": "settled", "amount_cents": 12_50}
    [said] = read_inbox_file(report("settlement", "settled", item)).reports
    assert (said.event, said.confirmation) == (Event.SETTLED, "1")
    assert (said.stated.minor, said.stated.currency) == (12_50, "USD")


@pytest.mark.parametrize(
    ("kind", "status", "event"),
    [
        ("acknowledgement", "accepted", Event.ACKNOWLEDGED),
        ("acknowledgement", "rejected", Event.REJECTED),
        ("settlement", "settled", None),  # which amounts were settled is said by entry
        ("acknowledgement", "settled", None),
        ("other", "accepted", None),
    ],
)
def test_a_report_without_entries_is_about_the_whole_file(kind, status, event) -> None:
    found = read_inbox_file(report(kind, status))
    assert found.whole is event
    assert found.sha256 == (bytes.fromhex("ab" * 32) if event else b"")
    assert found.reports == ()
    assert bool(found.alarms) is (event is None)
    without_file = read_inbox_file(report(kind, status, sha256="a file"))
    assert (without_file.whole, without_file.alarms) == (None, (AchAlarm.UNKNOWN_STATUS,))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b"101 091000019",
        b"{\xff",
        b'{"kind":' + b"[" * 200_000,
    ],
)
def test_what_cannot_be_read_says_nothing(content: bytes) -> None:
    found = read_inbox_file(content)
    assert (found.reports, found.whole) == ((), None)
    assert found.alarms == (AchAlarm.UNREADABLE_FILE,)


def test_a_return_names_our_entry_its_amount_and_its_own_trace() -> None:
    file = read_file(content_of([item("a", 1)], PARTY, "A", CREATED))
    batch = file.batches[0]
    entry = batch.entries[0]
    original = original_of(file.header, batch, entry)

    class Returned:
        id = 7
        trace = entry.trace_number
        amount_minor = entry.amount_cents

    now_ms = int(datetime(2026, 11, 27, tzinfo=UTC).timestamp() * 1000)
    returned: Any = Returned()
    [said] = read_inbox_file(return_file(returned, original, "R03", now_ms)).reports
    assert (said.event, said.code) == (Event.RETURNED, "R03")
    assert said.references.trace == entry.trace_number
    assert (said.stated.minor, said.stated.currency) == (12_50, "USD")
    assert said.stated.reference.startswith(PARTY.receiver[:8])


def test_entries_that_answer_no_credit_of_ours_are_alarms() -> None:
    found = read_inbox_file(content_of([item("a", 1)], PARTY, "A", CREATED))
    assert (found.reports, found.alarms) == ((), (AchAlarm.UNEXPECTED_ENTRY,))
