"""The mock bank's book: final is final, shared by processes, alive after kill -9, and cheap."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from settlement_engine.errors import Misconfigured
from settlement_engine.rails.mock import MockRail
from settlement_engine.rails.mock_book import MockBook, Parcel
from settlement_engine.rails.scripts import NO_REASON, BookState, Fate
from tests.unit.rails.builders import HandClock, mock_settings, question

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
SETTLED = Fate(BookState.SETTLED, BookState.SETTLED, None, NO_REASON)
PENDING = Fate(BookState.ACKNOWLEDGED, BookState.SETTLED, 1_000, NO_REASON)
BATCH = 500
STATEMENTS_MAX = 8


@pytest.fixture
def book(tmp_path: Path) -> Iterator[MockBook]:
    made = MockBook(tmp_path / "book.db")
    made.open()
    yield made
    made.close()


def parcels(tmp_path: Path, keys: list[str], fate: Fate = SETTLED) -> list[Parcel]:
    rail = MockRail(mock_settings(tmp_path), HandClock())
    questions = [question(rail, key) for key in keys]
    return [Parcel(asked.references.end_to_end_id, asked.payload, "", fate) for asked in questions]


def test_a_batch_costs_a_handful_of_statements(book: MockBook, tmp_path: Path) -> None:
    statements: list[str] = []
    book._db.set_trace_callback(statements.append)
    book.receive(parcels(tmp_path, [f"k{n}" for n in range(BATCH)]), 0)
    assert 0 < len(statements) <= STATEMENTS_MAX
    statements.clear()
    book.receive(parcels(tmp_path, [f"k{n}" for n in range(BATCH)]), 0)
    assert 0 < len(statements) <= STATEMENTS_MAX


def test_a_reference_twice_in_one_batch_is_one_payment_received_twice(
    book: MockBook, tmp_path: Path
) -> None:
    (parcel,) = parcels(tmp_path, ["k"])
    book.receive([parcel, parcel], 0)
    book.receive([parcel, parcel, parcel], 0)
    (entry,) = book.ledger(0)
    assert (entry["times_received"], entry["times_debited"]) == (5, 1)


def test_the_first_receipt_decides(book: MockBook, tmp_path: Path) -> None:
    (pending,) = parcels(tmp_path, ["k"], PENDING)
    (settled,) = parcels(tmp_path, ["k"], SETTLED)
    book.receive([pending], 0)
    (entry,) = book.receive([settled], 1).values()
    assert entry.state is BookState.ACKNOWLEDGED


def test_the_file_itself_refuses_to_change_what_is_final(book: MockBook, tmp_path: Path) -> None:
    book.receive(parcels(tmp_path, ["k"]), 0)
    with pytest.raises(sqlite3.IntegrityError, match="final"):
        book._db.execute("UPDATE payments SET state = 'rejected'")
    with pytest.raises(sqlite3.IntegrityError, match="keeps every payment"):
        book._db.execute("DELETE FROM payments")


def test_a_debit_is_counted_where_it_is_made(book: MockBook, tmp_path: Path) -> None:
    (parcel,) = parcels(tmp_path, ["k"])
    book.receive([parcel], 0)
    book._debit([parcel.reference])
    (entry,) = book.ledger(0)
    assert entry["times_debited"] == 2, "a second debit would show"


def test_what_fails_half_way_leaves_nothing_and_the_book_goes_on(
    book: MockBook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_references: object) -> None:
        message = "the disk is full"
        raise sqlite3.OperationalError(message)

    book.receive(parcels(tmp_path, ["known"]), 0)
    both = parcels(tmp_path, ["known", "k"])
    with monkeypatch.context() as patch:
        patch.setattr(book, "_count_again", fail)
        with pytest.raises(sqlite3.OperationalError):
            book.receive(both, 0)
    assert len(list(book.ledger(0))) == 1
    book.receive(both, 0)
    assert [entry["times_received"] for entry in book.ledger(0)] == [2, 1]
    assert [entry["times_debited"] for entry in book.ledger(0)] == [1, 1]


def test_of_messages_among_which_one_is_known_the_others_are_entered_once(
    book: MockBook, tmp_path: Path
) -> None:
    (k, m) = parcels(tmp_path, ["k", "m"])
    book.receive([k], 0)
    book.receive([m, k, m], 0)
    found = {entry["reference"]: entry for entry in book.ledger(0)}
    assert [found[each.reference]["times_received"] for each in (k, m)] == [2, 2]
    assert [found[each.reference]["times_debited"] for each in (k, m)] == [1, 1]


def test_the_ledger_is_read_in_pages_without_gap_or_repeat(
    book: MockBook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("settlement_engine.rails.mock_book.PAGE_ROWS", 7)
    sent = parcels(tmp_path, [f"k{n}" for n in range(50)])
    book.receive(sent, 0)
    references = [entry["reference"] for entry in book.ledger(0)]
    assert sorted(references) == sorted(parcel.reference for parcel in sent)


def test_a_book_of_another_version_is_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "book.db"
    with sqlite3.connect(file) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(Misconfigured, match="version 99"):
        MockBook(file).open()


ANOTHER_ENGINE = """
import asyncio, sys
from pathlib import Path
from settlement_engine.rails.mock import MockRail
from tests.unit.rails.builders import HandClock, mock_settings, question

async def main():
    rail = MockRail(mock_settings(Path(sys.argv[1]), answer_timeout_seconds=30.0), HandClock())
    await rail.start()
    for batch in range(int(sys.argv[2])):
        questions = [question(rail, f"k{batch}-{n}", "settle") for n in range(50)]
        await rail.send(questions, lambda answers: None)
        print(batch, flush=True)
    await rail.stop()

asyncio.run(main())
"""


def start_another_engine(folder: Path, batches: int) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    return subprocess.Popen(
        [sys.executable, "-c", ANOTHER_ENGINE, str(folder), str(batches)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=ROOT,
    )


def test_engines_that_share_the_book_debit_once(tmp_path: Path) -> None:
    engines = [start_another_engine(tmp_path, 6) for _ in range(3)]
    for engine in engines:
        engine.communicate(timeout=60)
        assert engine.returncode == 0
    book = MockBook(mock_settings(tmp_path).book_file)
    book.open()
    entries = list(book.ledger(0))
    book.close()
    assert len(entries) == 300
    assert {(entry["times_received"], entry["times_debited"]) for entry in entries} == {(3, 1)}


@pytest.mark.kill
def test_what_was_answered_is_in_the_book_after_kill_9(tmp_path: Path) -> None:
    engine = start_another_engine(tmp_path, 10_000)
    assert engine.stdout is not None
    answered = [int(engine.stdout.readline()) for _ in range(5)]
    engine.send_signal(signal.SIGKILL)
    engine.communicate(timeout=60)
    book = MockBook(mock_settings(tmp_path).book_file)
    book.open()
    entries = {entry["obligation_id"]: entry for entry in book.ledger(0)}
    book.close()
    for batch in answered:
        for number in range(50):
            assert entries[f"OB-k{batch}-{number}"]["times_debited"] == 1
    assert len(entries) % 50 == 0, "a batch is received whole or not at all"
