"""``prove --items``: whether the items add up to the proof, and what follows if they do not."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import msgspec
import pytest

from settlement_engine.app import database
from settlement_engine.app.database import ProofWithItems
from settlement_engine.cli.failures import ExitCode
from settlement_engine.domain.open_items import ItemPart, ItemPlace, OpenItem, ProofAsOf
from settlement_engine.domain.proof import BalanceProof

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

DAY, LATER = date(2026, 1, 31), date(2026, 2, 2)
OURS = "0199c2d4-6f0e-7c1a-9d51-1f2a33445566"
PROOF = BalanceProof(
    booking_date=DAY,
    our_closing_minor=1_000,
    unmatched_theirs_minor=-7,
    unmatched_ours_minor=-100,
    opening_difference_minor=0,
    difference_minor=0,
    their_closing_minor=1_093,
    unmatched_theirs=1,
    unmatched_ours=1,
)
THEIRS = OpenItem(
    place=ItemPlace(ItemPart.THEIRS_OPEN, DAY, (4, 1)),
    name="4/1",
    minor=-7,
    currency="EUR",
    booked_on=DAY,
    value_date=None,
    references=(),
    text="what is this",
)
LATE = OpenItem(
    place=ItemPlace(ItemPart.OURS_MATCHED, LATER, (OURS, 1, 2), 1, 12),
    name=f"{OURS}/1/2",
    minor=-100,
    currency="EUR",
    booked_on=DAY,
    value_date=DAY,
    references=("E-1",),
    match_id=12,
    matched_by="person",
    matched_on=LATER,
    matched_at=datetime(2026, 2, 3, 9, 30, tzinfo=UTC),
)


@dataclass
class Books:
    """What the database answers, and what it was asked."""

    found: ProofWithItems
    asked: list[tuple[object, ...]] = field(default_factory=list)


@pytest.fixture
def books(monkeypatch: pytest.MonkeyPatch) -> Books:
    as_of = ProofAsOf(currency="EUR", proof=PROOF, begins=DAY, is_current=True)
    made = Books(ProofWithItems(3, as_of, (THEIRS, LATE), has_more=False))

    async def answered(_url: str, *asked: object) -> list[ProofWithItems]:
        made.asked.append(asked)
        return [made.found]

    monkeypatch.setattr(database, "proofs_with_items", answered)
    monkeypatch.setenv("SETTLEMENT_DATABASE__URL", "postgresql://nobody@localhost/none")
    return made


def test_items_are_printed_and_add_up(command: Run, books: Books) -> None:
    said = command("prove", "--date", "2026-01-31", "--account", "3", "--items", "--limit", "7")
    assert said.code == ExitCode.OK, said
    assert books.asked == [(DAY, 3, 7)]
    assert "1 open entry of -0.07 EUR, 1 open posting of -1.00 EUR" in said.out
    assert "the items add up to the proof" in said.out
    [theirs] = [line for line in said.out.splitlines() if "4/1" in line]
    assert "what is this" in theirs
    [ours] = [line for line in said.out.splitlines() if OURS in line]
    assert "E-1" in ours
    assert "2026-02-02" in ours


def test_items_have_the_names_of_the_call_in_json(command: Run, books: Books) -> None:
    said = command("prove", "--account", "3", "--items", "--json")
    assert books.asked == [(None, 3, 1_000)]
    [proof] = json.loads(said.out)["proofs"]
    assert (proof["accountId"], proof["unmatchedOurs"]) == ("3", "-1.00")
    assert (proof["addsUp"], proof["isCurrent"], proof["hasMore"]) == (True, True, False)
    theirs, ours = proof["items"]
    assert theirs == {
        "side": "theirs",
        "name": "4/1",
        "amount": "-0.07",
        "currency": "EUR",
        "bookingDate": "2026-01-31",
        "references": [],
        "text": "what is this",
    }
    assert (ours["matchId"], ours["matchedBy"], ours["matchedOn"]) == ("12", "person", "2026-02-02")
    assert ours["matchedTime"] == "2026-02-03T09:30:00Z"


def test_items_that_are_not_those_of_the_proof_are_wrong(command: Run, books: Books) -> None:
    books.found = books.found._replace(items=(THEIRS,))
    said = command("prove", "--account", "3", "--items")
    assert said.code == ExitCode.UNBALANCED
    assert "something else: 1 open entry of -0.07 EUR, 0 open postings of 0.00 EUR" in said.out


def test_what_has_changed_since_the_proof_is_no_difference(command: Run, books: Books) -> None:
    as_of = msgspec.structs.replace(books.found.as_of, is_current=False)
    books.found = books.found._replace(items=(THEIRS,), as_of=as_of)
    said = command("prove", "--account", "3", "--items")
    assert said.code == ExitCode.OK
    assert "the books have changed since the proof" in said.out
    [proof] = json.loads(command("prove", "--account", "3", "--items", "--json").out)["proofs"]
    assert (proof["addsUp"], proof["isCurrent"]) == (False, False)


def test_a_list_that_is_cut_off_is_not_added_up(command: Run, books: Books) -> None:
    books.found = books.found._replace(items=(THEIRS,), has_more=True)
    said = command("prove", "--account", "3", "--items", "--limit", "1")
    assert said.code == ExitCode.OK
    assert "1 shown, and there are more" in said.out
    [proof] = json.loads(command("prove", "--account", "3", "--items", "--json").out)["proofs"]
    assert proof["addsUp"] is None


def test_items_are_those_of_a_proof(command: Run, books: Books) -> None:
    assert command("prove", "--items").code == ExitCode.USAGE
    assert books.asked == []
