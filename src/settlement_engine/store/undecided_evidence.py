"""Which accounts' statements are still being searched, in PostgreSQL (``ports.UndecidedEvidence``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.deadletters import COUNTED_MAX
from settlement_engine.ports.statement_evidence import STATEMENTS_RAIL
from settlement_engine.store import arrays

if TYPE_CHECKING:
    from collections.abc import Collection

    from settlement_engine.store.database import Readers


class PostgresUndecidedEvidence:
    """See ``ports.UndecidedEvidence``."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def undecided_accounts(self, account_ids: Collection[int]) -> set[int]:
        """Return those accounts about which something is not decided; see the port."""
        asked = arrays.integers(list(account_ids))
        rows = await self._readers.fetch("undecided_accounts", asked, STATEMENTS_RAIL, COUNTED_MAX)
        return {row["account_id"] for row in rows}
