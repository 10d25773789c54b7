"""Statements on their way into the books: the content's hash, our accounts' numbers, and the days around."""

from __future__ import annotations

import hashlib
from datetime import date

import msgspec
import pytest

from settlement_engine.domain.bank_directory import ListedBank, StandingInstruction
from settlement_engine.domain.continuity import NEIGHBOUR_DAYS
from settlement_engine.domain.payment import PaymentAccount
from settlement_engine.domain.statement_chain import head_of
from settlement_engine.domain.statement_import import (
    AccountAtBank,
    AccountNames,
    accounts_to_ask,
    known_accounts,
    neighbour_days,
    wanted_numbers,
)
from settlement_engine.domain.statements import HASH_FORMAT, HASHED_AT_ONCE, Statement
from settlement_engine.messages.statements import read_statements
from tests.support.statement_files import chain, file_of


def statement(entries: int = 2) -> Statement:
    return read_statements(file_of(*chain("0001234567", 1, entries=entries))).statements[0]


@pytest.mark.parametrize("entries", [0, 1, HASHED_AT_ONCE, HASHED_AT_ONCE + 1])
@pytest.mark.parametrize("text", ["", '"entries":[]', 'a\\"entries":[]'])
def test_the_hash_is_that_of_the_whole_content(entries: int, text: str) -> None:
    """It is made in parts, and the same as before."""
    said = msgspec.structs.replace(statement(entries), id=text)
    content = msgspec.structs.replace(said, place="", message_id="")
    whole = hashlib.sha256(HASH_FORMAT + msgspec.json.encode(content)).hexdigest()
    assert said.content_hash() == whole


def test_the_directory_gives_numbers_to_our_only_account_in_a_currency() -> None:
    ours = PaymentAccount(iban="DE56500700100123456600", other_id="7")
    elsewhere = PaymentAccount(other_id="8")
    instructions = (
        StandingInstruction(currency="EUR", our_account=ours),
        StandingInstruction(currency="USD", our_account=elsewhere),
        StandingInstruction(currency="GBP"),
    )
    bank = ListedBank(code="BANK0001", name="A", bic="DEUTDEFF", instructions=instructions)
    one = AccountAtBank(id=1, bank="BANK0001", currency="EUR", number="111", listed=bank)
    [known] = known_accounts([one])
    assert known.identifiers == ("111", "DE56500700100123456600", "7")
    assert (known.key, known.servicer, known.currency) == ("1", "DEUTDEFF", "EUR")
    other = AccountAtBank(id=2, bank="bank0001", currency="EUR", number="222", listed=bank)
    assert [each.identifiers for each in known_accounts([one, other])] == [("111",), ("222",)]
    unlisted = AccountAtBank(id=3, bank="CHASUS33", currency="USD", number="3")
    assert known_accounts([unlisted])[0].servicer == "CHASUS33"


def test_a_settlement_account_is_named_as_its_agent_names_it() -> None:
    """The ledger keeps it under the rail's name; the agent and the number there are configured."""
    one = AccountAtBank(id=1, bank="sepa_sct", currency="EUR", number="control", is_at_agent=True)
    named = AccountNames(
        bank="sepa_sct",
        currency="",
        number="control",
        aliases=("DE02500105170137075030",),
        servicer="MARKDEFF",
    )
    [known] = known_accounts([one], [named])
    assert (known.key, known.servicer, known.currency) == ("1", "MARKDEFF", "EUR")
    assert known.identifiers == ("control", "DE02500105170137075030")
    [asked] = accounts_to_ask([one], [named])
    assert (asked.bank, asked.number) == ("MARKDEFF", "DE02500105170137075030")
    assert accounts_to_ask([one]) == [], "nobody can be asked for it"


def test_a_statement_is_asked_for_by_the_number_in_the_directory() -> None:
    ours = PaymentAccount(iban="DE56500700100123456600")
    instructions = (StandingInstruction(currency="EUR", our_account=ours),)
    bank = ListedBank(code="BANK0001", name="A", bic="DEUTDEFF", instructions=instructions)
    one = AccountAtBank(id=1, bank="BANK0001", currency="EUR", number="111", listed=bank)
    dollars = AccountAtBank(id=2, bank="BANK0001", currency="USD", number="222", listed=bank)
    asked = accounts_to_ask([one, dollars])
    assert [(each.bank, each.number) for each in asked] == [
        ("DEUTDEFF", "DE56500700100123456600"),
        ("DEUTDEFF", "222"),
    ]


def test_the_days_around_a_statement_stay_within_the_calendar() -> None:
    head = head_of(statement())
    first, last = neighbour_days(head)
    assert (head.begins - first).days == (last - head.ends).days == NEIGHBOUR_DAYS
    for day in (date.min, date.max):
        at_the_edge = msgspec.structs.replace(head, begins=day, ends=day)
        first, last = neighbour_days(at_the_edge)
        assert first <= day <= last


def test_configured_aliases_are_the_accounts_identifiers() -> None:
    named = AccountNames(
        bank="deutdeffxxx",
        currency="EUR",
        number="012 34",
        aliases=("50070010/01234EUR",),
        numbers_count_by_one=False,
    )
    assert wanted_numbers(["50070010/01234 eur"], [named]) == ["50070010/01234 eur", "012 34"]
    assert wanted_numbers(["1"], [named]) == ["1"]
    one = AccountAtBank(id=1, bank="DEUTDEFF", currency="EUR", number="01234")
    other = AccountAtBank(id=2, bank="DEUTDEFF", currency="USD", number="01234")
    [known, beside] = known_accounts([one, other], [named])
    assert known.identifiers == ("01234", "50070010/01234EUR")
    assert not known.numbers_count_by_one
    assert (beside.identifiers, beside.numbers_count_by_one) == (("01234",), True)
