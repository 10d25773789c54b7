"""What people read hides nothing: directions, zero-width and blank characters are refused or shown as codes."""

from __future__ import annotations

import json
import unicodedata

import msgspec
import pytest

from settlement_engine.api.grammar import check_words
from settlement_engine.cli import output
from settlement_engine.domain.readable import has_unseen, shown
from settlement_engine.evidence.explanation import as_text, explain
from settlement_engine.monitoring.redaction import printable
from tests.support.made_histories import dossier_of

HIDDEN = (
    "\u202e", "\u202a", "\u2066", "\u2069", "\u200b", "\u200d", "\u200e", "\u2060", "\ufeff",
    "\u00ad", "\u061c", "\u180e", "\u3164", "\u115f", "\u2800", "\u2028", "\x1b", "\x07", "\x7f",
    "\U000e0041",
)  # fmt: skip
SEEN = ("ada", "Zoë", "Ωmega", "数字", "اسم", "שם", "a b\u00a0c", "€ 5", "✓", "❤\ufe0f", "")


@pytest.mark.parametrize("letter", HIDDEN)
def test_what_is_hidden_is_refused_and_shown_as_its_code(letter):
    text = f"paid{letter}gpj.exe"
    assert has_unseen(text)
    assert not has_unseen(shown(text))
    assert shown(text).startswith("paid\\u")
    found: list[tuple[str, str]] = []
    check_words("reason", text, 100, found)
    assert [field for field, _ in found] == ["reason"]
    assert letter not in printable(text)


@pytest.mark.parametrize("text", SEEN)
def test_what_everybody_sees_stays(text):
    assert not has_unseen(text.replace("\n", ""))
    assert shown(text) == text
    found: list[tuple[str, str]] = []
    check_words("reason", text, 100, found)
    assert found == []


def test_every_character_that_turns_text_around_is_known():
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    marks = {"\u200e", "\u200f", "\u061c"}
    for number in range(0x110000):
        letter = chr(number)
        if unicodedata.bidirectional(letter) in turning or letter in marks:
            assert has_unseen(letter), hex(number)


def test_the_command_line_shows_the_code_and_json_stays_the_same(capsys):
    hidden = {"reason": "paid\u202egpj\U000e0041\x7f"}
    output.print_json(hidden)
    text = capsys.readouterr().out
    assert not has_unseen(text.replace("\n", ""))
    assert json.loads(text) == hidden
    output.say("a\u202eb")
    output.table(("NAME",), [("a\u202eb",)])
    told = capsys.readouterr().out
    assert not has_unseen(told.replace("\n", ""))
    assert told.count("a\\u202eb") == 2


async def test_an_explanation_shows_the_code():
    dossier = await dossier_of("completed_by_attestation")
    proposal = msgspec.structs.replace(dossier.proposals[0], reason="seen\u202eby\u200bada")
    told = as_text(explain(msgspec.structs.replace(dossier, proposals=(proposal,))))
    assert not has_unseen(told.replace("\n", ""))
    assert "seen\\u202eby\\u200bada" in told
