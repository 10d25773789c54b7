from __future__ import annotations

import msgspec
import pytest

from settlement_engine.messages.charsets import (
    CharacterSet,
    character_sets,
    fault_of_characters,
    fit,
    fitted,
)
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.pacs008 import CustomerTransfers
from settlement_engine.messages.parties import Address, Party
from tests.support.messages import Maker

SWIFT = character_sets()["swift_x"]
SEPA = character_sets()["sepa_latin"]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Müller & Söhne GmbH", "Mueller + Soehne GmbH"),
        ("Łódź", "Lodz"),
        ("Æther ŒUVRE", "AEther OEUVRE"),
        ("café", "cafe"),
        ("Plain, text.", "Plain, text."),
        ("5 €", "5 EUR"),
    ],
)
def test_a_text_is_written_by_the_rules_and_the_original_is_kept(text, written):
    found = fitted(text, SWIFT)
    assert (found.text, found.original) == (written, text)


@pytest.mark.parametrize("text", ["漢字", "Москва", "a\nb", "😀", "a\x00"])
def test_a_character_without_a_rule_is_an_error_and_no_question_mark(text):
    with pytest.raises(MessageError, match="is not carried, and no rule says how"):
        fitted(text, SWIFT)


@pytest.mark.parametrize("name", sorted(character_sets()))
def test_replacements_are_in_the_character_set_and_no_question_marks(name):
    characters = character_sets()[name]
    assert characters.source
    for each, written in characters.written_as.items():
        assert each not in characters.allowed
        assert written
        assert "?" not in written
        assert fault_of_characters(written, characters) == "" or name == "x", (each, written)


def test_the_usage_rules_are_configurable():
    own = CharacterSet(source="ours", allowed="abcdefgh", written_as={"漢": "abc"})
    assert fitted("漢a", own).text == "abca"


def message(name: str, **changes) -> CustomerTransfers:
    content = Maker(1).content("pacs.008.001.08")
    transfer = content.transfers[0]
    creditor = Party(name=name, address=Address(town_name="Köln", country="DE", lines=("Straße",)))
    plain = type(transfer)(
        end_to_end_id="E1",
        amount=transfer.amount,
        charge_bearer="SHAR",
        debtor=Party(name="A"),
        debtor_agent=type(transfer.debtor_agent)(bic="DEUTDEFF"),
        creditor_agent=type(transfer.debtor_agent)(bic="CHASUS33"),
        creditor=creditor,
        remittance_texts=("Rechnung", "für Äpfel"),
    )
    settlement = type(content.header.settlement)(method="INDA")
    header = type(content.header)(
        message_id="M1",
        created_at=content.header.created_at,
        transactions=1,
        settlement=settlement,
    )
    transfer = msgspec.structs.replace(plain, **changes)
    return CustomerTransfers(header=header, transfers=(transfer,))


def test_all_texts_of_a_message_are_rewritten_and_originals_kept():
    content, rewritten = fit(message("Jürgen"), SEPA)
    creditor = content.transfers[0].creditor
    assert (creditor.name, creditor.address.town_name) == ("Juergen", "Koeln")
    assert creditor.address.lines == ("Strasse",)
    assert content.transfers[0].remittance_texts == ("Rechnung", "fuer AEpfel")
    assert [(each.place, each.original) for each in rewritten] == [
        ("transfers[1].creditor.name", "Jürgen"),
        ("transfers[1].creditor.address.town_name", "Köln"),
        ("transfers[1].creditor.address.lines[1]", "Straße"),
        ("transfers[1].remittance_texts[2]", "für Äpfel"),
    ]


def test_a_message_that_fits_is_left_as_it_is():
    fits, _ = fit(message("Jürgen"), SEPA)
    again, rewritten = fit(fits, SEPA)
    assert again is fits
    assert rewritten == ()


def test_an_identifier_is_never_rewritten():
    with pytest.raises(MessageError) as caught:
        fit(message("A", end_to_end_id="Ä1"), SEPA)
    assert caught.value.place == "transfers[1].end_to_end_id"
