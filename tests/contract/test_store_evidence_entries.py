"""A dossier names the entries of statements, its files verify, and a changed entry is found out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from settlement_engine.domain.closed_differences import ROUNDING_ACCOUNT
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.matching.values import Rules, Tolerance
from settlement_engine.domain.statement_evidence import EntryEvidence, EntrySays
from settlement_engine.evidence import bundle, verification
from settlement_engine.evidence.explanation_history import tell_move
from tests.contract.test_store_statement_evidence import opened, searched
from tests.support.booked import booking, take

if TYPE_CHECKING:
    from settlement_engine.evidence.dossier import Dossier

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERSION = "1.0"
TITLE = "moves that stand on statements say what the entries say"


def faults(dossier: Dossier) -> list[str]:
    """Verify the files of a dossier; return the faults of the entries."""
    found = verification.verify(bundle.write(dossier, VERSION), VERSION)
    [check] = [each for each in found.checks if each.title == TITLE]
    return list(check.faults)


RULES = Rules(version="test", tolerances=(Tolerance("EUR", 2, ROUNDING_ACCOUNT),))


async def completed_by_a_statement(stores, minor: int = -100) -> Dossier:
    """End a doubt by an entry, as the engine records it."""
    scene, bank = await opened(stores)
    doubted = await scene.bring(State.IN_DOUBT)
    await take(stores.statements, bank.statement(booking(doubted, minor, text="PAID")))
    await searched(stores, rules=RULES)
    reports = await stores.inbound.open_reports(scene.engine_id, 1_000)
    [told] = [each.report for each in reports if each.settlement_id == doubted.id]
    assert told.entry is not None
    detail = {**told.stated.words(), **told.entry.words()}
    await scene.move(doubted, Event.SETTLED, detail=detail)
    found: Dossier | None = await stores.archive.dossier(doubted.id)
    assert found is not None
    return found


async def test_the_entry_is_named_with_its_statement_and_verifies(stores):
    dossier = await completed_by_a_statement(stores)
    [entry] = dossier.entries
    assert (entry.says, entry.told_minor, entry.amount_minor) == ("debit", 100, -100)
    assert (entry.status, entry.source, entry.text) == ("BOOKED", "camt.053", "PAID")
    assert entry.bank_statement_id.startswith("STMT-")
    assert len(entry.content_sha256) == len(entry.file_sha256) == 64
    assert dossier.attempts[0].end_to_end_id in entry.references
    files = bundle.write(dossier, VERSION)
    assert bundle.ENTRIES in files
    assert bundle.read(files) == dossier
    assert faults(dossier) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"status": "PENDING"}, "is not booked"),
        ({"account_id": 1_000_000}, "from which nothing was sent"),
        ({"references": ()}, "names no payment"),
        ({"told_minor": 99}, "another amount"),
        ({"says": "other_amount"}, "another amount"),
        ({"says": "second_debit"}, "says"),
        ({"says": "nonsense"}, "nothing that an entry can say"),
        ({"amount_minor": 100}, "against its sign"),
        ({"is_reversal": True}, "reversal mark"),
        ({"entry": 7}, "not here"),
    ],
)
async def test_a_changed_entry_is_found_out(stores, change, fault):
    dossier = await completed_by_a_statement(stores)
    entry = msgspec.structs.replace(dossier.entries[0], **change)
    found = faults(msgspec.structs.replace(dossier, entries=(entry,)))
    assert any(fault in each for each in found), found


async def test_a_debit_within_the_rules_is_told_with_its_rule_and_verifies(stores):
    dossier = await completed_by_a_statement(stores, -102)
    [entry] = dossier.entries
    assert (entry.says, entry.told_minor, entry.closed_by) == ("debit", 102, "tolerance")
    assert dossier.moves[-1].detail["statement_rules"] == RULES.full_version
    assert bundle.read(bundle.write(dossier, VERSION)) == dossier
    assert faults(dossier) == []
    assert "within the tolerance" in tell_move(dossier.moves[-1])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"closed_by": ""}, "a debit of the amount that was sent, and is not"),
        ({"closed_by": "charges-by-tariff", "amount_minor": -98}, "and is not"),
        ({"closed_by": "charges-by-tariff"}, "another rule than its entry"),
        ({"closed_by": "person"}, "and is not"),
        ({"amount_minor": -150}, "and is not"),  # half of what was sent
        ({"currency": "USD"}, "and is not"),
        ({"told_minor": 100}, "has none to close"),
        ({"says": "other_amount"}, "has none to close"),
    ],
)
async def test_a_rule_that_cannot_close_the_difference_is_found_out(stores, change, fault):
    dossier = await completed_by_a_statement(stores, -102)
    entry = msgspec.structs.replace(dossier.entries[0], **change)
    found = faults(msgspec.structs.replace(dossier, entries=(entry,)))
    assert any(fault in each for each in found), found


async def test_a_move_without_its_entry_is_found_out(stores):
    dossier = await completed_by_a_statement(stores)
    assert "not here" in faults(msgspec.structs.replace(dossier, entries=()))[0]
    twice = msgspec.structs.replace(dossier, entries=dossier.entries * 2)
    assert "listed twice" in faults(twice)[0]


async def test_a_settlement_without_statements_has_no_such_file(stores):
    scene, _ = await opened(stores)
    completed = await scene.bring(State.COMPLETED)
    dossier = await stores.archive.dossier(completed.id)
    assert dossier is not None
    assert bundle.ENTRIES not in bundle.write(dossier, VERSION)
    assert faults(dossier) == []
    assert (
        EntryEvidence(says=EntrySays.ABSENT, statement=1)
        .words()
        .keys()
        .isdisjoint({"statement_entry"})
    )
