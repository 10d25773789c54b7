"""What a person does about a failover barrier: show it, raise one after a restore, confirm one.

The engines need not run: they read the record in the database. It must never send to a
bank or move money.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.errors import WrongState
from settlement_engine.ports import StaleDatabase
from settlement_engine.store.barrier import PostgresBarrierStore
from settlement_engine.store.database import DatabaseSettings
from settlement_engine.store.watch import ServerWatch

if TYPE_CHECKING:
    from datetime import datetime

    from settlement_engine.ports import BarrierStep

JOURNAL_MAX: Final = 100
OPERATOR: Final = "operator"


def _barrier_store(url: str) -> PostgresBarrierStore:
    return PostgresBarrierStore(DatabaseSettings(url=url), ServerWatch())


async def recovery_journal(url: str) -> list[BarrierStep]:
    """Return the latest steps of the barrier's journal, newest first."""
    record = _barrier_store(url)
    try:
        await record.look()
        return await record.journal(JOURNAL_MAX)
    finally:
        await record.close()


async def begin_recovery(url: str, *, since: datetime | None) -> int:
    """Pause sending on all engines and start a recovery; return the epoch. Raises WrongState, Unavailable."""
    record = _barrier_store(url)
    try:
        server, before = await record.look()
        if before is None:
            what = "no engine has ever started on this database"
            raise WrongState(what, todo="Start an engine: a new database needs no recovery.")
        await record.shut(before.epoch_id, StaleDatabase(why=OPERATOR, since=since), server)
        _, after = await record.look()
        assert after is not None, "an epoch's record is never deleted"
        return after.system_epoch
    finally:
        await record.close()


async def confirm_recovery(url: str, *, who: str, reason: str) -> int:
    """Confirm a recovery without a bank's list; return the epoch. Raises WrongState, Unavailable."""
    record = _barrier_store(url)
    try:
        _, opening = await record.look()
        if opening is None or opening.is_open:
            what = "no recovery waits for a confirmation"
            todo = "Nothing to do: see `settlement-engine recovery`."
            raise WrongState(what, why="sending is not paused", todo=todo)
        await record.note(opening.epoch_id, "confirmed", {"who": who, "reason": reason})
        return opening.system_epoch
    finally:
        await record.close()
