"""The mock bank's own ledger, in a SQLite file: what *the bank* received and executed.

Promises: the first receipt of a reference decides its outcome; later receipts are only counted. A final state
never changes (a trigger enforces it), and every debit is counted when it is made. The file survives ``kill -9``
of the engine, and several engines may share it. Must never: be read by the engine's decisions; the engine learns
what happened by asking the rail.

A batch is one JSON document in one or a few SQL statements, not one statement for each payment. ``sqlite3``
releases the interpreter's lock in every step, and with a busy event loop it takes up to 5 ms to get it back: 500
single inserts took 250 ms.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter, defaultdict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypedDict

import msgspec

from settlement_engine.errors import Misconfigured
from settlement_engine.rails import mock_statements as statements
from settlement_engine.rails.mock_message import read_payment
from settlement_engine.rails.scripts import DEBITED, BookState, Fate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

BUSY_TIMEOUT_SECONDS: Final = 5.0
"""How long a call waits for another process that writes; then it fails, and there is no response."""

OPENINGS_MAX: Final = 50
OPENING_PAUSE_SECONDS: Final = 0.1
PAGE_ROWS: Final = 1_000
RIPENED_MAX: Final = 5_000
"""The most due payments that get their final state in one transaction."""

LOG_PAGES: Final = 4_000
"""The write-ahead log is merged into the file after this many pages, 16 MB."""


_Groups: TypeAlias = "dict[tuple[str, Fate], dict[str, msgspec.Raw]]"
"""The messages of the payments with the same script and outcome, by reference."""


class Parcel(NamedTuple):
    """A message that arrives at the bank, with its outcome if the reference is new."""

    reference: str
    message: bytes
    script: str
    fate: Fate


class BookEntry(NamedTuple):
    """The state of a payment in the ledger."""

    state: BookState
    ends_as: BookState
    due_at_ms: int | None
    code: str
    text: str
    script: str


class ListedPayment(NamedTuple):
    """A payment in the list that the bank gives to its customer."""

    reference: str
    message: bytes
    state: BookState
    received_at_ms: int


class LedgerEntry(TypedDict):
    """One payment in the bank's ledger, for comparing it with ours."""

    reference: str
    settlement_id: str
    obligation_id: str
    from_bank: str
    to_bank: str
    amount: str
    currency: str
    state: str
    times_received: int
    times_debited: int


def _document(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _by_fate(parcels: Iterable[Parcel]) -> _Groups:
    groups: _Groups = defaultdict(dict)
    for reference, message, script, fate in parcels:
        groups[script, fate][reference] = msgspec.Raw(message)
    return groups


def _entry(row: tuple[str, str, str, int | None, str, str, str]) -> BookEntry:
    _, state, ends_as, due_at_ms, code, text, script = row
    return BookEntry(BookState(state), BookState(ends_as), due_at_ms, code, text, script)


class MockBook:
    """The ledger. All calls but the constructor must come from one thread at a time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open the file; create it if it does not exist. Raises Misconfigured for a file of another version.

        If several engines start together, SQLite fails at once while one of them creates the file or repairs
        it after a crash. So the call is repeated a bounded number of times.
        """
        self._file.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, OPENINGS_MAX + 1):
            connection = sqlite3.connect(
                self._file,
                timeout=BUSY_TIMEOUT_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                self._prepare(connection)
            except sqlite3.OperationalError:
                connection.close()
                if attempt == OPENINGS_MAX:
                    raise
                time.sleep(OPENING_PAUSE_SECONDS)
            except BaseException:
                connection.close()
                raise
            else:
                self._connection = connection
                return

    def _prepare(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in {0, statements.VERSION}:
            what = f"the mock bank's ledger {self._file} is of version {version}, not {statements.VERSION}"
            raise Misconfigured(
                what, todo="Choose another file, or remove this one: it belongs to a mock bank."
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        if version != statements.VERSION:
            connection.executescript(statements.SCHEMA)

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def _db(self) -> sqlite3.Connection:
        assert self._connection is not None, "the ledger is not open"
        return self._connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Lock out all other writers, also of other processes, until the block ends."""
        database = self._db
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
            database.execute("COMMIT")
        except BaseException:
            if (
                database.in_transaction
            ):  # SQLite may have rolled back already, for example on a full disk
                database.execute("ROLLBACK")
            raise

    # --- what the bank does -------------------------------------------------------------------

    def receive(self, parcels: Sequence[Parcel], now_ms: int) -> dict[str, BookEntry]:
        """Store messages in one transaction; returns the ledger entry of each reference."""
        times = Counter(parcel.reference for parcel in parcels)
        groups = _by_fate(parcels)
        if len(times) == len(parcels) and len(groups) == 1:
            # Usually all references are new: then one statement is the whole transaction.
            with suppress(sqlite3.IntegrityError):
                return self._enter(groups, now_ms, times_received=1)
        with self._writing():
            known = self._find(times, now_ms)
            new = {p.reference: p for p in parcels if p.reference not in known}
            again = {ref: count - (ref in new) for ref, count in times.items()}
            known |= self._enter(_by_fate(new.values()), now_ms, times_received=1)
            self._count_again(again)
        return known

    def look_up(self, references: Collection[str], now_ms: int) -> dict[str, BookEntry]:
        """Return the ledger entries of the references that exist."""
        found = self._select(references)
        if not any(_is_due(entry, now_ms) for entry in found.values()):
            return found
        with self._writing():
            return self._find(references, now_ms)

    def recall(self, parcels: Sequence[Parcel], now_ms: int) -> dict[str, BookEntry]:
        """Recall payments that are not final; block those that have not arrived (a tombstone)."""
        with self._writing() as database:
            known = self._find({parcel.reference for parcel in parcels}, now_ms)
            unknown = {p.reference: p for p in parcels if p.reference not in known}
            pending = [r for r, entry in known.items() if entry.state is BookState.ACKNOWLEDGED]
            if pending:
                recalled = (BookState.RECALLED, BookState.RECALLED, _document(pending))
                database.execute(statements.BAR, recalled)
            known |= self._enter(_by_fate(unknown.values()), now_ms, times_received=0)
            return known | self._select(pending)

    def count_sendings(self, references: Collection[str]) -> dict[str, int]:
        """Count one more transmission of each reference, and return the new counts."""
        document = _document(list(references))
        with self._writing() as database:
            database.execute(statements.SENDING, (document,))
            return dict(database.execute(statements.SENDINGS, (document,)).fetchall())

    def _enter(self, groups: _Groups, now_ms: int, times_received: int) -> dict[str, BookEntry]:
        """Insert new payments, those with one outcome in one statement; those settled now are debited too."""
        entries: dict[str, BookEntry] = {}
        for (script, fate), messages in groups.items():
            state, end, after_ms, (code, text) = fate
            due_at_ms = None if after_ms is None else now_ms + after_ms
            times = (times_received, int(state in DEBITED))
            values = (script, state, end, due_at_ms, code, text, *times, now_ms)
            self._db.execute(statements.ENTER, (*values, _document(messages)))
            entry = BookEntry(state, end, due_at_ms, code, text, script)
            entries |= dict.fromkeys(messages, entry)
        return entries

    def _count_again(self, again: dict[str, int]) -> None:
        by_count: dict[int, list[str]] = defaultdict(list)
        for reference, count in again.items():
            by_count[count].append(reference)
        by_count.pop(0, None)
        for count, references in by_count.items():
            self._db.execute(statements.RECEIVED_AGAIN, (count, _document(references)))

    def _debit(self, references: Sequence[str]) -> None:
        """Count the debit of payments that settle later than they were received."""
        if references:
            self._db.execute(statements.DEBIT, (_document(references),))

    def _select(self, references: Collection[str]) -> dict[str, BookEntry]:
        if not references:
            return {}
        rows = self._db.execute(statements.FIND, (_document(list(references)),)).fetchall()
        return {row[0]: _entry(row) for row in rows}

    def _find(self, references: Collection[str], now_ms: int) -> dict[str, BookEntry]:
        """Look up references inside a transaction, after giving those that are due their final state."""
        found = self._select(references)
        due = [(ref, entry.ends_as) for ref, entry in found.items() if _is_due(entry, now_ms)]
        if not due:
            return found
        self._ripen(due)
        return self._select(references)

    def _ripen(self, due: Sequence[tuple[str, str]]) -> None:
        self._db.execute(statements.RIPEN, (_document([reference for reference, _ in due]),))
        self._debit([reference for reference, ends_as in due if ends_as in DEBITED])

    # --- what the bank shows ------------------------------------------------------------------

    def page(self, after_id: int, now_ms: int) -> tuple[list[LedgerEntry], int]:
        """Return a page of the ledger in the order of receipt, with the id of its last payment."""
        self._ripen_all(now_ms)
        rows = self._db.execute(statements.PAGE, (after_id, PAGE_ROWS)).fetchall()
        return [_ledger_entry(row) for row in rows], rows[-1][0] if rows else after_id

    def received_since(
        self, since_ms: int, after_id: int, now_ms: int
    ) -> tuple[list[ListedPayment], int]:
        """Return a page of the payments received since then, with its last id; 0 on the last page."""
        self._ripen_all(now_ms)
        rows = self._db.execute(statements.LIST, (after_id, since_ms, PAGE_ROWS)).fetchall()
        found = [ListedPayment(row[1], row[2], BookState(row[3]), row[4]) for row in rows]
        return found, rows[-1][0] if len(rows) == PAGE_ROWS else 0

    def _ripen_all(self, now_ms: int) -> None:
        """Give the payments that are due their final state, at most ``RIPENED_MAX`` of them."""
        if self._db.execute(statements.DUE, (now_ms, 1)).fetchone() is not None:
            with self._writing() as database:
                self._ripen(database.execute(statements.DUE, (now_ms, RIPENED_MAX)).fetchall())

    def ledger(self, now_ms: int) -> Iterator[LedgerEntry]:
        """Yield the whole ledger, reading a page at a time."""
        page, last_id = self.page(0, now_ms)
        while page:
            yield from page
            page, last_id = self.page(last_id, now_ms)


def _is_due(entry: BookEntry, now_ms: int) -> bool:
    return entry.due_at_ms is not None and entry.due_at_ms <= now_ms


def _ledger_entry(row: tuple[int, str, str, str, int, int]) -> LedgerEntry:
    _, reference, message, state, times_received, times_debited = row
    payment = read_payment(message)
    return LedgerEntry(
        reference=reference,
        settlement_id=str(payment.settlement_id),
        obligation_id=payment.obligation_id,
        from_bank=payment.from_bank,
        to_bank=payment.to_bank,
        amount=payment.amount,
        currency=payment.currency,
        state=state,
        times_received=times_received,
        times_debited=times_debited,
    )
