"""Whether a run is still held: its session may be lost, by an idle limit or a restart, while the run goes on.

Another engine may then carry out a run of its own. So each transaction of a run checks, once it has the lock of its
account, that the session holds the run; what the other run reads under that lock is then complete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.reconciliation import RunLost
from settlement_engine.store.queries import query

if TYPE_CHECKING:
    from settlement_engine.store.database import Connection


async def require_held(connection: Connection, holder: int | None) -> None:
    """Raise RunLost if the session of this server process holds no run any more. None: no run is going on."""
    if holder is not None and not await connection.fetchval(query("holds_reconciliation"), holder):
        what = "the session that held the reconciliation was lost"
        raise RunLost(what, todo="The next run goes on where this one stopped.")
