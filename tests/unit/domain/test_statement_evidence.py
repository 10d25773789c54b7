"""What entries of statements say about our payments: names, mentions, and how often a booking was told."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

import pytest

from settlement_engine.domain.closed_differences import NO_RULES
from settlement_engine.domain.continuity import StatementOutcome
from settlement_engine.domain.identifiers import references
from settlement_engine.domain.matching.values import Charge, Rules, Tolerance
from settlement_engine.domain.mention_counts import MentionCounts
from settlement_engine.domain.statement_evidence import (
    EntryEvidence,
    EntryRow,
    EntrySays,
    Mention,
    MentionedPayment,
    MentionKind,
    Told,
    is_counted,
    is_evidence,
    mentions_of,
)
from settlement_engine.domain.statements import (
    Entry,
    EntryDetail,
    EntryStatus,
    Source,
    StatementReferences,
)

NAMES = references("caller", "key", 1)
OURS = StatementReferences(end_to_end=NAMES.end_to_end_id)
ID = UUID(int=9)
DAY = date(2026, 1, 5)
Y, OUT = EntrySays, StatementOutcome


def entry(minor: int = -100, **fields) -> Entry:
    given: dict[str, Any] = {
        "number": 1,
        "minor": minor,
        "currency": "EUR",
        "status": EntryStatus.BOOKED,
        "booking_date": DAY,
        "value_date": DAY,
        "is_reversal": False,
        "references": OURS,
        "code": "PMNT/ICDT",
        "text": "",
    }
    return Entry(**(given | fields))


def detail(minor: int | None, **fields) -> EntryDetail:
    return EntryDetail(**{"references": OURS, "minor": minor, **fields})


def mention(said: Entry, found: EntryDetail | None = None, **fields) -> Mention | None:
    number = 1 if found is not None else 0
    row = EntryRow(entry=said, detail=found, **{"number": number, **fields})
    mentions = mentions_of([row])
    return mentions[0] if mentions else None


# --- names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "found",
    [
        OURS,
        StatementReferences(uetr=str(NAMES.uetr)),
        StatementReferences(transaction=NAMES.end_to_end_id),
        StatementReferences(message=NAMES.message_id),
        StatementReferences(instruction=ID.hex),
        StatementReferences(customer="091000010000001"),
    ],
)
def test_a_reference_of_ours_is_known_by_its_form(found):
    said = mention(entry(references=found))
    assert said is not None
    assert said.names


@pytest.mark.parametrize(
    "written",
    [
        f"/EREF/{NAMES.end_to_end_id}\n/UETR/{NAMES.uetr}\nRETURN AC04",
        f"EREF+{NAMES.end_to_end_id}",
        f"166?00CREDIT?20EREF+{NAMES.end_to_end_id}?30BANK",
        f"/EREF/{NAMES.end_to_end_id[:20]}\n{NAMES.end_to_end_id[20:]}",
        f"({NAMES.uetr}),",
    ],
)
def test_a_code_word_before_a_reference_in_the_text_does_not_hide_it(written):
    said = mention(entry(references=StatementReferences(), text=written))
    assert said is not None
    assert NAMES.end_to_end_id in said.names.end_to_end_ids or said.names.uetrs == (NAMES.uetr,)


def test_what_others_call_a_payment_is_no_name():
    others = StatementReferences(
        end_to_end="INVOICE-7", customer="NONREF", servicer=NAMES.end_to_end_id
    )
    assert mention(entry(references=others)) is None


def test_a_reference_is_found_in_the_text_as_well():
    text = f"PAYMENT {NAMES.end_to_end_id} THANK YOU"
    said = mention(entry(references=StatementReferences(), text=text))
    assert said is not None
    assert said.names.end_to_end_ids == (NAMES.end_to_end_id,)


def test_a_message_alone_is_looked_up_only_without_a_better_name():
    by_message = mention(entry(references=StatementReferences(message=NAMES.message_id)))
    assert by_message is not None
    assert not by_message.names.is_indexed


# --- mentions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [each for each in EntryStatus if each is not EntryStatus.BOOKED])
def test_only_a_booked_entry_says_anything(status):
    assert mention(entry(status=status)) is None


@pytest.mark.parametrize(
    ("minor", "is_reversal", "kind"),
    [
        (-100, False, MentionKind.DEBIT),
        (100, False, MentionKind.CREDIT),
        (100, True, MentionKind.REVERSAL),  # of our debit
        (-100, True, MentionKind.REVERSAL),  # of a return
    ],
)
def test_the_side_of_an_entry(minor, is_reversal, kind):
    said = mention(entry(minor, is_reversal=is_reversal))
    assert said is not None
    assert (said.kind, said.amount_minor) == (kind, 100)


def test_the_only_detail_gives_names_and_charges_and_the_entry_its_amount():
    plain = entry(-100, references=StatementReferences())
    said = mention(plain, detail(-70))
    assert said is not None
    assert (said.minor, said.charges_minor) == (-100, 0)
    with_charges = mention(entry(-105), detail(-100, charges_minor=5))
    assert with_charges is not None
    assert (with_charges.minor, with_charges.charges_minor) == (-100, 5)
    back = mention(entry(95), detail(95, charges_minor=5))
    assert back is not None
    assert (back.minor, back.charges_minor) == (95, 5)


def test_each_payment_of_a_batch_is_a_mention_unless_the_details_differ():
    batch = entry(-300, references=StatementReferences())
    said = mention(batch, detail(-100), number=2, is_only=False)
    assert said is not None
    assert (said.detail, said.minor) == (2, -100)
    assert mention(batch, detail(None), number=2, is_only=False) is None
    differing = entry(-300, details_differ=True)
    assert mention(differing, detail(-100), number=2, is_only=False) is None


# --- what is evidence ---------------------------------------------------------------------------------


def test_a_statement_that_does_not_balance_is_no_evidence():
    assert {each for each in OUT if is_evidence(each)} == {
        *(OUT.IMPORTED, OUT.GAP, OUT.OUT_OF_ORDER, OUT.INCOMPLETE),
        *(OUT.OVERLAP, OUT.REISSUED),
    }


def test_only_end_of_day_statements_in_the_chain_are_counted():
    counted = {each for each in OUT if is_counted(Source.CAMT053, each)}
    assert counted == {OUT.IMPORTED, OUT.GAP, OUT.OUT_OF_ORDER, OUT.INCOMPLETE}
    sources = {each for each in Source if is_counted(each, OUT.IMPORTED)}
    assert sources == {Source.CAMT053, Source.MT940, Source.MT950, Source.CSV}


# --- what a mention says ------------------------------------------------------------------------------


def payment(**fields) -> MentionedPayment:
    given: dict[str, Any] = {
        "settlement_id": ID,
        "attempt": 1,
        "amount_minor": 100,
        "currency": "EUR",
        "has_moved": False,
    }
    return MentionedPayment(**(given | fields))


def told(kind: MentionKind = MentionKind.DEBIT, amount_minor: int = 100, counted: int = 1) -> Told:
    return Told(settlement_id=ID, kind=kind, amount_minor=amount_minor, counted=counted)


def says(
    *entries: Entry, before=(), counts=True, has_moved=False, rules=NO_RULES
) -> list[tuple[EntrySays, bool]]:
    counting = MentionCounts(rules, before)
    found = []
    for each in entries:
        said = mention(each)
        assert said is not None
        evidence = counting.evidence(said, payment(has_moved=has_moved), 17, counts=counts)
        found.append((evidence.found.says, evidence.is_news))
    return found


def test_the_debits_of_one_payment_are_counted_within_a_statement():
    three = (entry(number=1), entry(number=2), entry(number=3))
    assert says(*three) == [(Y.DEBIT, True), (Y.SECOND_DEBIT, True), (Y.FURTHER_DEBIT, True)]


def test_and_over_statements():
    assert says(entry(), before=[told()]) == [(Y.SECOND_DEBIT, True)]
    assert says(entry(), before=[told(counted=2)]) == [(Y.FURTHER_DEBIT, True)]
    assert says(entry(-99), before=[told()]) == [(Y.FURTHER_DEBIT, True)]


def test_another_amount_or_currency_is_no_debit_of_it():
    assert says(entry(-99)) == [(Y.OTHER_AMOUNT, True)]
    assert says(entry(-100, currency="USD")) == [(Y.OTHER_AMOUNT, True)]


def test_a_notification_and_the_statement_tell_one_booking():
    """What is not counted before is no first debit; and a statement that was read first covers the notification."""
    assert says(entry(), before=[told(counted=0)]) == [(Y.DEBIT, False)]
    assert says(entry(), entry(number=2), before=[told(counted=0)]) == [
        (Y.DEBIT, False),
        (Y.SECOND_DEBIT, True),
    ]
    assert says(entry(), before=[told()], counts=False) == [(Y.DEBIT, False)]
    assert says(entry(), entry(number=2), counts=False) == [(Y.DEBIT, True), (Y.DEBIT, False)]


def test_the_debit_of_what_has_completed_is_no_news_but_a_second_one_is():
    two = (entry(number=1), entry(number=2))
    assert says(*two, has_moved=True) == [(Y.DEBIT, False), (Y.SECOND_DEBIT, True)]
    assert says(entry(-99), has_moved=True) == [(Y.OTHER_AMOUNT, True)]


def test_returns_are_counted_by_their_amount():
    counting = MentionCounts(NO_RULES)
    nth = []
    for number, minor in enumerate((40, 40, 20), start=1):
        said = mention(entry(minor, number=number))
        assert said is not None
        evidence = counting.evidence(said, payment(has_moved=True), 17, counts=True)
        assert (evidence.found.says, evidence.is_news) == (Y.RETURN, True)
        nth.append(evidence.found.nth)
    assert nth == [1, 2, 1]
    assert says(entry(40), before=[told(MentionKind.CREDIT, 40, 0)]) == [(Y.RETURN, False)]


def test_a_reversal_is_not_a_return():
    assert says(entry(100, is_reversal=True)) == [(Y.REVERSAL, True)]


def test_an_entry_is_named_in_the_history():
    found = EntryEvidence(says=Y.DEBIT, statement=17, entry=3, detail=2, booking_date=DAY)
    assert found.words() == {
        "statement": "17",
        "statement_entry": "3",
        "statement_detail": "2",
        "statement_says": "debit",
        "booking_date": "2026-01-05",
    }
    assert EntryEvidence(says=Y.ABSENT, statement=17).words() == {
        "statement": "17",
        "statement_says": "absent",
    }
    assert found.reference == "statement entry 17/3/2"


# --- differences that the rules of matching close --------------------------------------------------------

UNTIL = date(2026, 1, 31)
RULES = Rules(
    version="test",
    charges=(Charge("EUR", 15, "fees control", valid_until=UNTIL),),
    tolerances=(Tolerance("EUR", 2, "fx rounding"),),
)


def evidence(said: Entry, found: EntryDetail | None = None, *, rules=RULES, before=(), **fields):
    named = mention(said, found, **fields)
    assert named is not None
    return MentionCounts(rules, before).evidence(named, payment(), 17, counts=True).found


@pytest.mark.parametrize(
    ("minor", "closed_by"),
    [(-98, "tolerance"), (-102, "tolerance"), (-115, "charges-by-tariff")],
)
def test_a_debit_within_the_rules_is_the_payments(minor, closed_by):
    found = evidence(entry(minor))
    assert (found.says, found.closed_by) == (Y.DEBIT, closed_by)
    assert found.rules_version == "matching/3/test"
    assert found.words()["statement_closed_by"] == closed_by
    assert found.words()["statement_rules"] == "matching/3/test"


@pytest.mark.parametrize("minor", [-97, -103, -85, -114, -116, -117])
def test_a_debit_beyond_the_rules_is_another_amount(minor):
    found = evidence(entry(minor))
    assert (found.says, found.closed_by, found.rules_version) == (Y.OTHER_AMOUNT, "", "")


def test_the_tariff_of_the_entrys_day_counts_and_currencies_have_their_own():
    assert evidence(entry(-115, value_date=date(2026, 2, 1))).says is Y.OTHER_AMOUNT
    assert evidence(entry(-115, value_date=None)).says is Y.DEBIT  # booked on a day of the tariff
    assert evidence(entry(-101, currency="USD")).says is Y.OTHER_AMOUNT
    no_cents = Rules(version="1", tolerances=(Tolerance("JPY", 2, "fx rounding"),))
    assert evidence(entry(-101), rules=no_cents).says is Y.OTHER_AMOUNT


def test_a_difference_of_which_the_account_is_a_question_is_a_persons():
    both = Rules(
        version="1",
        charges=(Charge("EUR", 15, "fees control"), Charge("EUR", 15, "fees other")),
    )
    assert evidence(entry(-115), rules=both).says is Y.OTHER_AMOUNT


def test_what_the_whole_entry_has_moved_is_compared_as_matching_does():
    """Its charges are stated beside the payment: the entry differs by more than the tolerance."""
    stated = evidence(entry(-106), detail(-101, charges_minor=5))
    assert stated.says is Y.OTHER_AMOUNT
    inside = evidence(entry(-115), detail(-115, charges_minor=15))
    assert (inside.says, inside.closed_by) == (Y.DEBIT, "charges-by-tariff")
    exact = evidence(entry(-105), detail(-100, charges_minor=5))
    assert (exact.says, exact.closed_by) == (Y.DEBIT, "")


def test_a_payment_inside_a_batch_has_no_difference_that_matching_closes():
    batch = entry(-302, references=StatementReferences())
    found = evidence(batch, detail(-101), number=2, is_only=False)
    assert found.says is Y.OTHER_AMOUNT


def test_a_second_debit_stays_a_second_debit():
    first = [told(amount_minor=101)]
    assert evidence(entry(-101), before=first).says is Y.SECOND_DEBIT
    assert evidence(entry(-100), before=first).says is Y.SECOND_DEBIT
    assert evidence(entry(-101), before=first).closed_by == "tolerance"
    assert evidence(entry(-103), before=first).says is Y.FURTHER_DEBIT
    assert evidence(entry(-15), before=first).says is Y.FURTHER_DEBIT  # its charge, booked alone
    assert evidence(entry(-101), before=[told(counted=2)]).says is Y.FURTHER_DEBIT


def test_credits_and_reversals_have_no_rule():
    assert evidence(entry(101)).says is Y.RETURN
    assert evidence(entry(101, is_reversal=True)).says is Y.REVERSAL
    assert evidence(entry(101)).closed_by == ""


def test_a_debit_within_the_rules_of_what_has_completed_is_no_news():
    assert says(entry(-101), has_moved=True, rules=RULES) == [(Y.DEBIT, False)]
    assert says(entry(-101), rules=RULES) == [(Y.DEBIT, True)]
    assert says(entry(-101), has_moved=True) == [(Y.OTHER_AMOUNT, True)]
