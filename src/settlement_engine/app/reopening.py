"""What a person does about a failover barrier: show it, raise one after a restore, confirm one.

The engines need not run, and need not be told: they read the record in the database. It must never send to a
bank or move money.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.errors import WrongState
from settlement_engine.ports import Suspicion
from settlement_engine.store.database import DatabaseSettings
from settlement_engine.store.openings import PostgresOpenings
from settlement_engine.store.watch import ServerWatch

if TYPE_CHECKING:
    from datetime import datetime

    from settlement_engine.ports import OpeningStep

JOURNAL_MAX: Final = 100
OPERATOR: Final = "operator"


def _openings(url: str) -> PostgresOpenings:
    return PostgresOpenings(DatabaseSettings(url=url), ServerWatch())


async def openings(url: str) -> list[OpeningStep]:
    """Return the latest steps of the barrier's journal, newest first."""
    record = _openings(url)
    try:
        await record.look()
        return await record.journal(JOURNAL_MAX)
    finally:
        await record.close()


async def reopen(url: str, *, since: datetime | None) -> int:
    """Pause sending on all engines and start a recovery; return the epoch. Raises WrongState, Unavailable."""
    record = _openings(url)
    try:
        server, before = await record.look()
        if before is None:
            what = "no engine has ever started on this database"
            raise WrongState(what, todo="Start an engine: a new database needs no recovery.")
        await record.shut(before.incarnation, Suspicion(why=OPERATOR, since=since), server)
        _, after = await record.look()
        assert after is not None, "an epoch's record is never deleted"
        return after.era
    finally:
        await record.close()


async def confirm_opening(url: str, *, who: str, reason: str) -> int:
    """Confirm a recovery without a bank's list; return the epoch. Raises WrongState, Unavailable."""
    record = _openings(url)
    try:
        _, opening = await record.look()
        if opening is None or opening.is_open:
            what = "no recovery waits for a confirmation"
            todo = "Nothing to do: see `settlement-engine recovery`."
            raise WrongState(what, why="sending is not paused", todo=todo)
        await record.note(opening.incarnation, "confirmed", {"who": who, "reason": reason})
        return opening.era
    finally:
        await record.close()
