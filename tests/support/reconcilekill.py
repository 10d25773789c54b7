"""A reconciliation in a process of its own that kills itself with SIGKILL before one of its statements.

``python -m tests.support.reconcilekill URL NUMBER``: pages of two entries; before the NUMBER-th statement to the
database the process kills itself. With 0 it runs to its end, and prints how many statements there were.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from typing import Any, Final
from unittest import mock

import asyncpg

from settlement_engine.domain.closed_differences import (
    CHARGES_ACCOUNT,
    ROUNDING_ACCOUNT,
    versioned,
)
from settlement_engine.domain.matching.values import Charge, Rules, Tolerance
from settlement_engine.domain.reconciliation import ReconciliationRun, StartedFor
from settlement_engine.engine.reconciliation import Reconciliation
from settlement_engine.store import matching_pages, postings_intake, reconciliation
from tests.support.stores import PostgresStores

RULES: Final = versioned(
    Rules(
        version="",
        charges=(Charge("EUR", 150, CHARGES_ACCOUNT),),
        tolerances=(Tolerance("EUR", 2, ROUNDING_ACCOUNT),),
    )
)
PAGE_ENTRIES: Final = 2
PAGE_MOVES: Final = 7


class Counter:
    """Counts statements, and ends the process before one of them."""

    def __init__(self, last: int) -> None:
        self.count = 0
        self._last = last

    def wrapped(self, name: str) -> Any:
        """Return a method of a connection that counts its calls."""
        method = getattr(asyncpg.Connection, name)

        async def counted(connection: asyncpg.Connection, *arguments: Any, **options: Any) -> Any:
            self.count += 1
            if self.count == self._last:
                os.kill(os.getpid(), signal.SIGKILL)
            return await method(connection, *arguments, **options)

        return counted


async def reconcile(url: str) -> None:
    """Carry out a run over all accounts."""
    stores = PostgresStores(url)
    run = ReconciliationRun(
        id=uuid.uuid4(), started_for=StartedFor.DEMAND, who="ada", rules_version=""
    )
    await Reconciliation(stores.reconciliation, rules=RULES).reconcile(run)
    await stores.close()


def main(url: str, last: int) -> None:
    """Run until killed, or to the end."""
    counter = Counter(last)
    methods = {name: counter.wrapped(name) for name in ("execute", "fetch", "fetchrow", "fetchval")}
    with (
        mock.patch.multiple(asyncpg.Connection, **methods),
        mock.patch.object(reconciliation, "ENTRIES_AT_ONCE", PAGE_ENTRIES),
        mock.patch.object(matching_pages, "ENTRIES_AT_ONCE", PAGE_ENTRIES),
        mock.patch.object(postings_intake, "MOVES_AT_ONCE", PAGE_MOVES),
    ):
        asyncio.run(reconcile(url))
    sys.stdout.write(f"{counter.count}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
