"""What a person does about an opening: look at it, ask for one after a restore, confirm one.

The engines need not run for it, and need not be told: they read the record in the database. It sends
nothing and moves no money.
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
    """Return the last steps of the journal, newest first."""
    record = _openings(url)
    try:
        await record.look()
        return await record.journal(JOURNAL_MAX)
    finally:
        await record.close()


async def reopen(url: str, *, since: datetime | None) -> int:
    """Shut all engines and have them open anew; returns the era. Raises WrongState, Unavailable."""
    record = _openings(url)
    try:
        server, before = await record.look()
        if before is None:
            what = "no engine has ever started on this database"
            raise WrongState(what, todo="Start an engine: a new database needs no recovery.")
        await record.shut(before.incarnation, Suspicion(why=OPERATOR, since=since), server)
        _, after = await record.look()
        assert after is not None, "a record is never taken away"
        return after.era
    finally:
        await record.close()


async def confirm_opening(url: str, *, who: str, reason: str) -> int:
    """Let an opening go on without the list of a bank; returns the era. Raises WrongState, Unavailable."""
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
