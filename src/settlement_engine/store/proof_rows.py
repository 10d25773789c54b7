"""Proofs in PostgreSQL: one is appended whenever what is proved of its day has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.proof import changed_proofs, last_proved
from settlement_engine.store import reconciliation_rows as rows_of
from settlement_engine.store.queries import query

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from settlement_engine.domain.proof import BalanceProof
    from settlement_engine.store.database import Connection


async def keep_proofs(
    connection: Connection,
    account_id: int,
    run_id: UUID,
    currency: str,
    proofs: Sequence[BalanceProof],
    last_known: tuple[int, int],
) -> int:
    """Append the proofs that differ from the last ones of their days; returns how many.

    ``last_known`` are the last statement and the last decision about statements of which the proofs know.
    """
    rows = await connection.fetch(query("last_proofs"), account_id)
    fresh = changed_proofs({row["booking_date"]: rows_of.to_proof(row) for row in rows}, proofs)
    if fresh:
        columns = rows_of.proof_columns(fresh)
        await connection.execute(query("add_proofs"), account_id, run_id, currency, *columns)
    await connection.execute(query("keep_reconciled_on"), account_id, last_proved(proofs))
    await connection.execute(query("keep_proved_account"), account_id, *last_known)
    return len(fresh)
