"""The bank's ledger in a SQLite file: received payments, debits, planned steps and call-backs to send.

Promises: when a call returns, all its changes or none are on the disk (WAL, ``synchronous = FULL``); a payment
has at most one debit, by the primary key of a table. All calls must come from one thread.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import contextmanager
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from settlement_engine.errors import Misconfigured
from settlement_engine.simulator.scenarios import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from settlement_engine.simulator.legs import Leg

VERSION: Final = 6
FILES: Final = ("ledger.sql", "statements.sql")
_UPGRADE_FROM_5: Final = ("upgrade_from_5", "schema", "fill_from_5")
_UPGRADES: Final = MappingProxyType(
    {
        4: ("upgrade_from_4", "statement_schema", "book_earlier_debits", *_UPGRADE_FROM_5),
        5: _UPGRADE_FROM_5,
    }
)
PAGE_ROWS: Final = 500
FOUND_MAX: Final = 10_000
"""A file has at most so many payments, so that one query can find all of them."""

DUE_MAX: Final = 500
"""At most so many steps are carried out, or call-backs delivered, at a time."""

BUSY_TIMEOUT_SECONDS: Final = 5.0
_NAME: Final = re.compile(r"^-- name: ([a-z0-9_]+)$", re.MULTILINE)


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """References of a payment in a message about it; without ``leg`` it may be an ordinary one or either leg."""

    uetr: str | None = None
    end_to_end_id: str | None = None
    message_id: str | None = None
    kind: str | None = None
    trace: str | None = None
    leg: Leg | None = None


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment in the ledger."""

    id: int
    rail: str
    uetr: str | None
    message_name: str
    message_id: str
    instruction_id: str
    end_to_end_id: str
    trace: str | None
    from_bank: str
    to_bank: str
    amount_minor: int
    currency: str
    value_date: str
    content_hash: str
    original: str
    scenario: str
    plan: str
    state: str
    status: str
    code: str
    times_received: int
    returned_minor: int
    received_at_ms: int
    credited_account: str
    leg: str = ""
    debited_minor: int | None = None

    @property
    def treatment(self) -> Scenario:
        """The scenario that was chosen when the payment was received."""
        return msgspec.json.decode(self.plan, type=Scenario)


@cache
def _statements() -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name in FILES:
        text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
        parts = _NAME.split(text)
        found |= zip(parts[1::2], parts[2::2], strict=True)
    return found


class Ledger:
    """The ledger file, usable between ``open`` and ``close``."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open the file, or create it. Raises Misconfigured if it is not a ledger."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self._file,
            timeout=BUSY_TIMEOUT_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.row_factory = sqlite3.Row
        try:
            _prepare(connection, self._file)
        except sqlite3.DatabaseError as error:
            connection.close()
            raise Misconfigured(f"{self._file} is no ledger", why=str(error)) from error
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def _db(self) -> sqlite3.Connection:
        assert self._connection is not None, "the ledger is not open"
        return self._connection

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Run the block as one transaction."""
        database = self._db
        database.execute("BEGIN IMMEDIATE")
        try:
            yield
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise

    def _run(self, statement: str, /, **values: object) -> list[sqlite3.Row]:
        return self._db.execute(_statements()[statement], values).fetchall()

    def run(self, statement: str, /, **values: object) -> list[sqlite3.Row]:
        """Run a named statement, for the parts of the bank that have tables of their own."""
        return self._run(statement, **values)

    # --- payments -----------------------------------------------------------------------------------

    def arrive(self, reference: str, fails_until_ms: int) -> tuple[int, int]:
        """Count an arrival; returns the number of arrivals, and the time until which it gets server errors."""
        (row,) = self._run("arrive", reference=reference, fails_until_ms=fails_until_ms)
        return row["times"], row["fails_until_ms"]

    def fails_until(self, reference: str) -> int:
        """Return until when a payment gets server errors, in ms; 0 if it never arrived."""
        rows = self._run("fails_until", reference=reference)
        return rows[0]["fails_until_ms"] if rows else 0

    def bar(self, reference: str) -> None:
        """Mark a payment that has not arrived as one to reject."""
        self._run("bar", reference=reference)

    def is_barred(self, reference: str) -> bool:
        """Say whether a payment is to be rejected."""
        return bool(self._run("is_barred", reference=reference))

    def enter(self, values: dict[str, Any]) -> Payment:
        """Record a payment at its first receipt."""
        (row,) = self._run("enter", **values)
        return self.payment(row["id"])

    def received_again(self, payment: Payment) -> None:
        """Count another receipt of a payment."""
        self._run("received_again", id=payment.id)

    def find(self, names: Names) -> list[Payment]:
        """Find payments by references."""
        rows = self._run("find", **msgspec.structs.asdict(names), limit=FOUND_MAX)
        return [_payment(row) for row in rows]

    def payment(self, payment_id: int) -> Payment:
        """Return one payment."""
        (row,) = self._run("payment", id=payment_id)
        return _payment(row)

    def payment_legs(self, uetr: str | None) -> list[Payment]:
        """Return the payment legs of a cover payment."""
        return [_payment(row) for row in self._run("payment_legs", uetr=uetr, limit=FOUND_MAX)]

    def is_covered(self, uetr: str | None) -> bool:
        """Say whether a cover was debited that no payment leg has used."""
        return bool(self._run("is_covered", uetr=uetr)[0]["is_covered"])

    def any_other(self, payment: Payment) -> Payment | None:
        """Return another payment, or None if there is none."""
        rows = self._run("any_other", id=payment.id)
        return _payment(rows[0]) if rows else None

    def move(self, payment: Payment, state: str, status: str, code: str = "") -> Payment:
        """Change the state of a payment."""
        self._run("move", id=payment.id, state=state, status=status, code=code)
        return self.payment(payment.id)

    def debit(self, payment: Payment, amount_minor: int, now_ms: int) -> None:
        """Debit a payment. A second debit raises sqlite3.IntegrityError."""
        self._run("debit", id=payment.id, amount_minor=amount_minor, now_ms=now_ms)

    def give_back(self, payment: Payment, amount_minor: int, state: str) -> None:
        """Record a returned amount."""
        self._run("give_back", id=payment.id, amount_minor=amount_minor, state=state)

    def page(self, after_id: int) -> list[Payment]:
        """Return a page of payments, in the order of receipt."""
        return [_payment(row) for row in self._run("page", after_id=after_id, limit=PAGE_ROWS)]

    # --- what is still to come ----------------------------------------------------------------------

    def plan_step(self, payment_id: int, kind: str, content: object, due_at_ms: int) -> None:
        """Record a step to be carried out later."""
        text = msgspec.json.encode(content).decode()
        self._run("plan_step", payment_id=payment_id, kind=kind, content=text, due_at_ms=due_at_ms)

    def due_steps(self, now_ms: int) -> list[sqlite3.Row]:
        """Return the steps that are due."""
        return self._run("due_steps", now_ms=now_ms, limit=DUE_MAX)

    def has_step(self, payment_id: int, kind: str) -> bool:
        """Say whether a step of this kind was ever planned for a payment."""
        return bool(self._run("has_step", payment_id=payment_id, kind=kind))

    def finish_step(self, step_id: int) -> None:
        """Record that a step was carried out."""
        self._run("finish_step", id=step_id)

    def cancel_steps(self, payment_id: int) -> None:
        """Cancel the planned steps of a payment."""
        self._run("cancel_steps", payment_id=payment_id)

    def plan_callback(self, payment_id: int, content: bytes, due_at_ms: int, copies: int) -> None:
        """Record a message to be delivered."""
        self._run(
            "plan_callback",
            payment_id=payment_id,
            content=content,
            due_at_ms=due_at_ms,
            copies=copies,
        )

    def due_callbacks(self, now_ms: int) -> list[sqlite3.Row]:
        """Return the messages that are due."""
        return self._run("due_callbacks", now_ms=now_ms, limit=DUE_MAX)

    def callback_delivered(self, callback_id: int) -> None:
        """Record a delivery."""
        self._run("callback_delivered", id=callback_id)

    def callback_failed(self, callback_id: int, due_at_ms: int, attempts_max: int) -> None:
        """Plan another attempt, or give up after ``attempts_max``."""
        self._run("callback_failed", id=callback_id, due_at_ms=due_at_ms, attempts_max=attempts_max)

    def drop_callbacks(self, end_to_end_id: str) -> int:
        """Drop waiting messages; returns how many."""
        values = {"end_to_end_id": end_to_end_id}
        return self._db.execute(_statements()["drop_callbacks"], values).rowcount

    def waiting_callbacks(self) -> list[dict[str, Any]]:
        """List waiting messages."""
        return [dict(row) for row in self._run("waiting_callbacks")]

    def next_due_ms(self) -> int | None:
        """Return when the next step or message is due, in ms; None if there is none."""
        due: int | None = self._run("next_due")[0]["due_at_ms"]
        return due

    # --- settings and files -------------------------------------------------------------------------

    def setting(self, name: str) -> str | None:
        """Return a setting."""
        rows = self._run("setting", name=name)
        return rows[0]["value"] if rows else None

    def set(self, name: str, value: str) -> None:
        """Store a setting."""
        self._run("set", name=name, value=value)

    def known_file(self, sha256: str, identity: str) -> str | None:
        """Return the hash of a known file with this content or this identity; None if there is none."""
        rows = self._run("known_file", sha256=sha256, identity=identity)
        return rows[0]["sha256"] if rows else None

    def enter_file(self, sha256: str, identity: str, name: str) -> None:
        """Record a file at its first receipt."""
        self._run("enter_file", sha256=sha256, identity=identity, name=name)


def _prepare(connection: sqlite3.Connection, file: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in {0, *_UPGRADES, VERSION}:
        raise Misconfigured(f"{file} is of version {version}, not {VERSION}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    if version in _UPGRADES:
        # Without foreign keys, to which a table that is made anew is missing for a moment.
        connection.execute("PRAGMA foreign_keys = OFF")
        upgrade = "".join(map(_statements().__getitem__, _UPGRADES[version]))
        connection.executescript(f"BEGIN;{upgrade}COMMIT;")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.executescript(_statements()["statement_schema"])
    connection.executescript(_statements()["schema"])


def _payment(row: sqlite3.Row) -> Payment:
    return Payment(**dict(row))
