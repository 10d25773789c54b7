"""Built statements read back as the same values, camt.053 is valid against its schema, and what does not fit is refused."""

from __future__ import annotations

import random
from datetime import date, timedelta
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from settlement_engine.domain.statements import (
    BalanceType,
    Entry,
    EntryDetail,
    EntryStatus,
    Source,
    Statement,
    StatementAccount,
    StatementBalance,
    StatementReferences,
    details_differ,
)
from settlement_engine.messages.camt053_building import (
    CAMT053,
    StatementHolder,
    build_camt053,
    camt053_parts,
)
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.mt_building import MESSAGE_CHARACTERS_MAX, build_mt
from settlement_engine.messages.schemas import Schema
from settlement_engine.messages.statements import read_statements
from tests.support.corpora import shared_folder

DAY = date(2026, 11, 27)
EXAMPLES = settings(max_examples=60, deadline=None)
IBAN = StatementAccount("DE89370400440532013000", "IBAN", "EUR", "DEUTDEFF")
UETR = "0123abcd-0123-4abc-8abc-0123456789ab"


def balances(opening, closing, currency="EUR"):
    return (
        StatementBalance(BalanceType.OPENING, opening, currency, DAY),
        StatementBalance(BalanceType.CLOSING, closing, currency, DAY),
    )


def entry(number, minor, currency="EUR", **more):
    values = {
        "status": EntryStatus.BOOKED,
        "booking_date": DAY,
        "value_date": DAY,
        "is_reversal": False,
        "references": StatementReferences(servicer=f"BANK{number}"),
        "code": "NTRF",
        "text": "",
    }
    return Entry(number=number, minor=minor, currency=currency, **{**values, **more})


def statement(*entries, source=Source.CAMT053, account=IBAN, opening=10_000, **more):
    closing = opening + sum(each.minor for each in entries if each.status is EntryStatus.BOOKED)
    values = {
        "sequence": 7,
        "created": "2026-11-27T22:00:00+01:00",
        "version": CAMT053,
        "message_id": "M1",
        "balances": balances(opening, closing, account.currency),
    }
    return Statement(source=source, account=account, id="S1", entries=entries, **{**values, **more})


class Chance:
    """Makes statements by a seed: every field is sometimes empty and sometimes as long as it may be."""

    def __init__(self, seed):
        self.chance = random.Random(seed)

    def text(self, most, letters="aB9 &<>\"'/äß漢€"):
        if self.chance.random() < 0.4:
            return ""
        made = "".join(self.chance.choice(letters) for _ in range(self.chance.choice((1, 9, most))))
        return made.strip()

    def references(self, *, is_entrys):
        own = {"servicer": self.text(35)}
        if is_entrys:
            return StatementReferences(**own, entry=self.text(35))
        return StatementReferences(
            **own,
            end_to_end=self.text(35),
            instruction=self.text(35),
            transaction=self.text(35),
            uetr=self.chance.choice((UETR, "")),
            message=self.text(35),
            payment_information=self.text(35),
            clearing=self.text(35),
        )

    def details(self):
        count = self.chance.choice((0, 0, 1, 2, 3))
        return tuple(
            EntryDetail(
                references=self.references(is_entrys=False),
                minor=self.chance.choice((None, self.minor())),
                text="\n".join(filter(None, (self.text(140), self.text(140)))),
                charges_minor=self.chance.choice((0, 250, -250)),
            )
            for _ in range(count)
        )

    def minor(self):
        return self.chance.choice((1, -1)) * self.chance.randrange(1, 10**15)

    def entry(self, number, currency):
        minor, details = self.minor(), self.details()
        own = self.references(is_entrys=True)
        text = self.text(500)
        if len(details) == 1:
            inner = details[0]
            servicer = own.servicer or inner.references.servicer
            own = msgspec.structs.replace(inner.references, servicer=servicer, entry=own.entry)
            text = "\n".join(part for part in (text, inner.text) if part)
        return entry(
            number,
            minor,
            currency,
            status=self.chance.choice(list(EntryStatus)),
            booking_date=self.chance.choice((None, DAY)),
            value_date=self.chance.choice((None, DAY + timedelta(days=1))),
            is_reversal=self.chance.random() < 0.2,
            references=own,
            code=self.chance.choice(("", "NTRF", "PMNT/RCDT/ESCT")),
            text=text,
            details=details,
            details_differ=details_differ(minor, details),
        )

    def statement(self):
        currency = self.chance.choice(("EUR", "JPY", "KWD"))
        scheme = self.chance.choice(("IBAN", "OTHER"))
        number = IBAN.identifier if scheme == "IBAN" else "NOSTRO-1"
        account = StatementAccount(
            number, scheme, currency, self.chance.choice(("", "DEUTDEFF", "DEUTDEFFXXX"))
        )
        entries = tuple(
            self.entry(at, currency) for at in range(1, self.chance.choice((1, 3, 230)))
        )
        page = self.chance.choice((None, 1, 3))
        return statement(
            *entries,
            account=account,
            opening=self.minor(),
            page=page,
            is_last_page=None if page is None else self.chance.random() < 0.5,
            begins=self.chance.choice((None, DAY)),
            ends=DAY,
            text=self.text(500),
        )


@EXAMPLES
@given(seed=st.integers(0, 2**32))
def test_a_built_camt053_reads_back_as_the_same_statement(seed):
    made = Chance(seed).statement()
    file = read_statements(build_camt053(made, StatementHolder("We & Co", "CHASUS33")))
    assert file.faults == ()
    (found,) = file.statements
    wanted = made if made.begins is not None else msgspec.structs.replace(made, ends=None)
    assert msgspec.structs.replace(found, place="", text=found.text.rstrip("\n")) == wanted


def test_a_built_camt053_is_valid_against_the_schema():
    schema = Schema((shared_folder("iso20022-xsd") / f"{CAMT053}.xsd").read_bytes())
    for seed in range(60):
        data = build_camt053(Chance(seed).statement(), StatementHolder("We & Co", "CHASUS33"))
        schema.validate(data, CAMT053)


def test_a_camt053_is_made_in_parts_of_entries_that_need_not_be_held():
    made = statement(*(entry(at, 100) for at in range(1, 1_001)))
    empty = msgspec.structs.replace(made, entries=())
    parts = list(camt053_parts(empty, iter(made.entries)))
    assert len(parts) == 7
    assert b"".join(parts) == build_camt053(made)


def test_references_of_an_entry_without_payments_are_those_of_its_only_payment():
    references = StatementReferences(end_to_end="E2E", uetr=UETR, servicer="BANK1")
    made = statement(entry(1, 100, references=references))
    (found,) = read_statements(build_camt053(made)).statements
    assert found.entries[0].references == references


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"id": ""}, "Stmt/Id"),
        ({"id": "x" * 36}, "Stmt/Id/Id"),
        ({"created": ""}, "GrpHdr"),
        ({"created": "yesterday"}, "GrpHdr/CreDtTm"),
        ({"balances": ()}, "Bal"),
        ({"account": StatementAccount("", "OTHER", "EUR")}, "Acct/Id"),
        ({"account": StatementAccount("1", "OTHER", "EUR", "NO BIC")}, "Acct/Svcr/BICFI"),
        ({"text": "\x01"}, "Stmt/AddtlStmtInf"),
        ({"entries": (entry(1, 10**18),)}, "Ntry[1]"),
        ({"entries": (entry(1, 1, text="x" * 501),)}, "Ntry[1]/AddtlNtryInf"),
    ],
)
def test_what_a_camt053_cannot_say_is_refused_with_its_place(change, place):
    with pytest.raises(MessageError) as refused:
        build_camt053(msgspec.structs.replace(statement(), **change))
    assert refused.value.place == place


# --- MT ---------------------------------------------------------------------------------------------


def mt_statement(*entries, source=Source.MT940, **more):
    return statement(
        *entries, source=source, **{"created": "", "version": "", "message_id": "", **more}
    )


@pytest.mark.parametrize("source", [Source.MT940, Source.MT950])
@EXAMPLES
@given(seed=st.integers(0, 2**32))
def test_a_built_mt_reads_back_with_the_same_amounts_dates_and_references(source, seed):
    chance = random.Random(seed)
    entries = tuple(
        entry(
            at,
            chance.choice((1, -1)) * chance.randrange(1, 10**9),
            booking_date=DAY + timedelta(days=chance.choice((0, 1, 60))),
            is_reversal=chance.random() < 0.3,
            references=StatementReferences(customer=f"OURS{at}", servicer=f"BANK{at}"),
        )
        for at in range(1, chance.choice((1, 3, 100)))
    )
    opening = chance.choice((1, -1)) * chance.randrange(10**9)
    made = mt_statement(*entries, source=source, opening=opening)
    file = read_statements(build_mt(made, "CHASUS33"))
    assert file.faults == ()
    pages = file.statements
    assert [page.page for page in pages] == list(range(1, len(pages) + 1))
    assert [page.is_last_page for page in pages] == [False] * (len(pages) - 1) + [True]
    assert {(page.source, page.account, page.sequence) for page in pages} == {(source, IBAN, 7)}
    found = [each for page in pages for each in page.entries]
    assert [msgspec.structs.replace(each, number=at) for at, each in enumerate(found, 1)] == list(
        entries
    )
    assert pages[0].opening() == made.opening()
    assert pages[-1].closing() == made.closing()
    for page, following in pairwise(pages):
        before, after = page.closing(), following.opening()
        assert before is not None
        assert after is not None
        assert before.minor == after.minor


def test_each_mt_message_has_the_length_that_swift_allows():
    entries = (entry(at, 100, text="äß " + "x" * 120) for at in range(1, 301))
    messages = build_mt(mt_statement(*entries)).decode().split("\r\n-\r\n")[:-1]
    assert len(messages) > 10
    assert max(map(len, messages)) <= MESSAGE_CHARACTERS_MAX
    for line in "\r\n".join(messages).split("\r\n"):
        assert len(line) <= 65 + len(":86:")


def test_a_reference_too_long_for_field_61_is_in_field_86_with_its_code_word():
    references = StatementReferences(end_to_end="E" * 35, uetr=UETR, servicer="BANK1")
    data = build_mt(mt_statement(entry(1, -500, references=references, text="-invoice 7")))
    assert b":61:2611271127D5,00NTRFNONREF//BANK1\r\n" in data
    assert b":86:/EREF/" + b"E" * 35 + b"\r\n/UETR/" + UETR.encode() in data
    (found,) = read_statements(data).statements
    assert "\n-invoice 7" not in found.entries[0].text
    assert "invoice 7" in found.entries[0].text


def test_a_currency_without_decimals_has_its_comma():
    yen = StatementAccount("NOSTRO-1", "MT", "JPY")
    data = build_mt(mt_statement(entry(1, 500, "JPY"), account=yen))
    assert b":61:2611271127C500,NTRF" in data
    assert read_statements(data).statements[0].entries[0].minor == 500


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"id": "x" * 17}, "field 20"),
        ({"id": "a_b"}, "field 20"),
        ({"source": Source.CAMT053}, "type"),
        ({"source": Source.MT950}, "header"),
        ({"balances": ()}, "field 60"),
        ({"account": StatementAccount("x" * 36, "MT", "EUR")}, "field 25"),
        ({"entries": (entry(1, 10**14),)}, "entry 1"),
        ({"entries": (entry(1, 1, status=EntryStatus.PENDING),)}, "entry 1"),
        ({"entries": (entry(1, 1, booking_date=date(2026, 1, 1)),)}, "entry 1"),
        ({"entries": (entry(1, 1, booking_date=None, value_date=None),)}, "entry 1"),
        (
            {"entries": (entry(1, 1, references=StatementReferences(servicer="x" * 17)),)},
            "entry 1",
        ),
    ],
)
def test_what_an_mt_cannot_say_is_refused_with_its_place(change, place):
    with pytest.raises(MessageError) as refused:
        build_mt(msgspec.structs.replace(mt_statement(), **change))
    assert refused.value.place == place
