"""The proof of the ledger: everything that can be recomputed is, in one snapshot (``ports.Auditor``).

Each check is a statement ``prove_…`` of ``sql/queries/proof*.sql`` that returns rows only where something is
wrong, or, where the database cannot compute the expected value, a function here or in ``audit_records`` that reads
rows in batches. docs/operating/prove.md lists them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.breaks.proposals import fingerprint_of
from settlement_engine.domain.identifiers import References, key_hash, references
from settlement_engine.domain.statement_decisions import fingerprint_of as statement_fingerprint
from settlement_engine.ports import Difference, Proof
from settlement_engine.store.audit_records import RECOMPUTED
from settlement_engine.store.break_work_rows import to_break_proposal
from settlement_engine.store.currencies import learn_currencies
from settlement_engine.store.database import connect
from settlement_engine.store.failures import translated
from settlement_engine.store.queries import queries, query
from settlement_engine.store.rows import UNREADABLE, to_instruction
from settlement_engine.store.statement_decisions import to_statement_proposal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    import asyncpg

    from settlement_engine.store.database import Connection, DatabaseSettings

    Found = tuple[str, str, str] | None

DIFFERENCES_MAX: Final = 1000
"""At most so many differences are listed per check; one is enough to fail."""

BATCH_ROWS: Final = 1000
"""At most so many rows are held in memory."""

_SUMMARIES: Final = frozenset({"prove_totals", "prove_turnover"})


def checks() -> list[str]:
    """List the names of the statements that check."""
    return [name for name in queries() if name.startswith("prove_") and name not in _SUMMARIES]


def all_checks() -> list[str]:
    """List the names of all checks, including those computed in Python."""
    computed = [name for each in COMPUTED.values() for name in each]
    return [name.removeprefix("prove_") for name in checks()] + computed + list(RECOMPUTED)


class PostgresAuditor:
    """See ``ports.Auditor``."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = replace(settings, may_be_standby=True)  # it only reads

    async def prove(self) -> Proof:
        """Recompute balances, holds, conservation, state histories, hashes and the stream."""
        with translated():
            connection = await connect(
                self._settings, {"statement_timeout": "0", "transaction_timeout": "0"}
            )
            try:
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    differences = await _differences(connection)
                    totals = await connection.fetchrow(query("prove_totals"))
                    turnover = await connection.fetch(query("prove_turnover"))
                    await learn_currencies(connection, turnover)
            finally:
                connection.terminate()
        assert totals is not None
        return Proof(
            accounts=totals["accounts"],
            transfers=totals["transfers"],
            settlements=totals["settlements"],
            open_settlements=totals["open_settlements"],
            open_holds=totals["open_holds"],
            totals={row["currency"]: int(row["total"]) for row in turnover},
            differences=differences,
        )


async def _differences(connection: Connection) -> list[Difference]:
    found = []
    for name in checks():
        cursor = await connection.cursor(query(name))
        found += [
            Difference(
                check=name.removeprefix("prove_"),
                subject=row["subject"],
                expected=row["expected"],
                found=row["found"],
            )
            for row in await cursor.fetch(DIFFERENCES_MAX)
        ]
    for statement, computed in COMPUTED.items():
        found += await _compute(connection, statement, computed)
    for name, recomputed in RECOMPUTED.items():
        found += await _first(name, recomputed(connection))
    return found


async def _first(name: str, wrong: AsyncIterator[tuple[str, str, str]]) -> list[Difference]:
    """Return as many differences of a check as are listed."""
    found: list[Difference] = []
    async for subject, expected, stored in wrong:
        found.append(Difference(check=name, subject=subject, expected=expected, found=stored))
        if len(found) == DIFFERENCES_MAX:
            break
    return found


async def _compute(
    connection: Connection,
    statement: str,
    computed: Mapping[str, Callable[[asyncpg.Record], Found]],
) -> list[Difference]:
    """Read every row once, in batches, and apply all checks to it."""
    cursor = await connection.cursor(query(statement))
    found: dict[str, list[Difference]] = {name: [] for name in computed}
    while rows := await cursor.fetch(BATCH_ROWS):
        for name, check in computed.items():
            for row in rows:
                wrong = check(row)
                if wrong is not None and len(found[name]) < DIFFERENCES_MAX:
                    subject, expected, stored = wrong
                    found[name].append(
                        Difference(check=name, subject=subject, expected=expected, found=stored)
                    )
    return [each for differences in found.values() for each in differences]


def _instruction(row: asyncpg.Record) -> Found:
    """Check that the instruction has the hash that was stored when it was admitted."""
    try:
        made = to_instruction(row).content_hash
    except UNREADABLE as error:
        return str(row["id"]), row["content_hash"].hex(), f"cannot be read: {error}"
    if made == row["content_hash"]:
        return None
    return str(row["id"]), row["content_hash"].hex(), made.hex()


def _key(row: asyncpg.Record) -> Found:
    """Check that caller and key have the hash under which they are unique."""
    made = key_hash(row["caller"], row["idempotency_key"])
    return None if made == row["key_hash"] else (str(row["id"]), str(row["key_hash"]), str(made))


def _references(row: asyncpg.Record) -> Found:
    """Check that the payment references follow from caller, key and attempt number."""
    made = references(row["caller"], row["idempotency_key"], row["number"])
    stored = References(
        uetr=row["uetr"], end_to_end_id=row["end_to_end_id"], message_id=row["message_id"]
    )
    return (
        None
        if made == stored
        else (f"{row['settlement_id']}/{row['number']}", f"{made}", f"{stored}")
    )


def _call_key(row: asyncpg.Record) -> Found:
    """Check that caller, key and call have the hash under which they are unique."""
    made = key_hash(row["caller"], row["idempotency_key"], row["call"])
    if made == row["key_hash"]:
        return None
    return f"{row['call']} {row['idempotency_key']}", str(row["key_hash"]), str(made)


def _break_proposal(row: asyncpg.Record) -> Found:
    """Check that a proposal about a break has the fingerprint that its approval signs."""
    try:
        proposal = to_break_proposal(row)
    except (ValueError, msgspec.DecodeError) as error:
        return f"proposal {row['id']}", row["content_sha256"].hex(), f"cannot be read: {error}"
    made = fingerprint_of(proposal)
    if made == proposal.content_sha256:
        return None
    return f"proposal {proposal.id}", proposal.content_sha256.hex(), made.hex()


def _statement_proposal(row: asyncpg.Record) -> Found:
    """Check that a proposal about statements has the fingerprint that its approval signs."""
    proposal = to_statement_proposal(row)
    made = statement_fingerprint(proposal)
    if made == proposal.content_sha256:
        return None
    return f"proposal {proposal.id}", proposal.content_sha256.hex(), made.hex()


COMPUTED: Final[Mapping[str, Mapping[str, Callable[[asyncpg.Record], Found]]]] = {
    "audit_settlements": {
        "instructions_are_as_received": _instruction,
        "keys_have_their_hash": _key,
    },
    "audit_attempts": {"references_follow_from_keys": _references},
    "audit_calls": {"calls_have_their_hash": _call_key},
    "audit_break_proposals": {"break_proposals_have_their_hash": _break_proposal},
    "audit_statement_proposals": {"statement_proposals_have_their_hash": _statement_proposal},
}
"""The checks that the database cannot compute, by the statement that reads their rows."""
