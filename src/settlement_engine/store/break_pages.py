"""Breaks in PostgreSQL: what is found on a page is opened, what is none any more is closed. All of it is appended.

Each function runs in a transaction of its caller, under the lock of the account.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from uuid import UUID

from settlement_engine.domain.breaks.history import BreakEventKind
from settlement_engine.domain.closed_differences import missing_reason
from settlement_engine.domain.matching_pages import every_name_of
from settlement_engine.domain.reconciliation import (
    MISSING_THEIRS_SEVERITY,
    OPENING_DIFFERENCE,
    BreakPage,
    FoundBreak,
)
from settlement_engine.store import arrays
from settlement_engine.store import reconciliation_rows as rows_of
from settlement_engine.store.queries import query

if TYPE_CHECKING:
    from datetime import date

    from settlement_engine.domain.reconciliation import OurItem, TheirItem
    from settlement_engine.ports import BreakFinder
    from settlement_engine.store.database import Connection

BREAKS_AT_ONCE: Final = 10_000
"""The most breaks that one transaction opens or closes."""

_ANOTHER: Final = "it is another difference now"


async def keep_found(
    connection: Connection,
    account_id: int,
    run_id: UUID,
    items: tuple[tuple[OurItem, ...], tuple[TheirItem, ...]],
    find: BreakFinder,
) -> None:
    """Open the breaks of a page of open entries, and close those that are other ones now."""
    ours, theirs = items
    named = arrays.texts([each.name for each in theirs])
    rows = await connection.fetch(
        query("claimed_postings"), account_id, arrays.texts([each.item.id for each in ours]), named
    )
    page = BreakPage(
        ours=ours,
        theirs=theirs,
        claimed=frozenset(row["item"] for row in rows),
        matched=await _matched(connection, account_id, theirs),
    )
    found = await asyncio.to_thread(find, page)
    wanted = {each.fingerprint(): each for each in found}
    rows = await connection.fetch(query("breaks_of_entries"), account_id, named)
    known = {row["fingerprint"]: row["id"] for row in rows}
    stale = [id_ for fingerprint, id_ in known.items() if fingerprint not in wanted]
    await _close(connection, run_id, stale, BreakEventKind.CLOSED, _ANOTHER)
    fresh = [each for fingerprint, each in wanted.items() if fingerprint not in known]
    await _open(connection, account_id, run_id, fresh)


async def settle(
    connection: Connection,
    account_id: int,
    run_id: UUID,
    begins: date | None,
    last_day: date | None,
) -> bool:
    """Close breaks whose items are settled, and open the missing ones; True if there may be more."""
    rows = await connection.fetch(query("breaks_to_settle"), account_id, BREAKS_AT_ONCE)
    matched = [row["id"] for row in rows if row["is_matched"]]
    gone = [row["id"] for row in rows if not row["is_matched"]]
    await _close(connection, run_id, matched, BreakEventKind.MATCHED, "its items are matched")
    await _close(connection, run_id, gone, BreakEventKind.CLOSED, "the statement counts no more")
    explained = await connection.fetch(
        query("explained_missing"), account_id, begins, last_day, BREAKS_AT_ONCE
    )
    await _close(
        connection, run_id, [row["id"] for row in explained], BreakEventKind.CLOSED, _ANOTHER
    )
    missing = []
    if begins is not None and last_day is not None:
        missing = await connection.fetch(
            query("missing_theirs"), account_id, begins, last_day, BREAKS_AT_ONCE
        )
        found = [
            FoundBreak(
                kind="MISSING_THEIRS",
                severity=int(MISSING_THEIRS_SEVERITY),
                amount_minor=row["amount_minor"],
                currency=row["currency"],
                business_date=row["booked_on"],
                reason=missing_reason(row["name"]),
                ours=(row["name"],),
            )
            for row in missing
        ]
        await _open(connection, account_id, run_id, found)
    return BREAKS_AT_ONCE in (len(rows), len(explained), len(missing))


async def set_opening(
    connection: Connection, account_id: int, run_id: UUID, wanted: FoundBreak | None
) -> None:
    """Open the break of an opening difference, and close those of another one."""
    rows = await connection.fetch(query("open_breaks_of_kind"), account_id, OPENING_DIFFERENCE)
    fingerprint = None if wanted is None else wanted.fingerprint()
    stale = [row["id"] for row in rows if row["fingerprint"] != fingerprint]
    await _close(
        connection, run_id, stale, BreakEventKind.CLOSED, "the opening difference is another"
    )
    if wanted is not None and await connection.fetchval(
        query("is_explained"), account_id, fingerprint, wanted.amount_minor
    ):
        return
    if wanted is not None and len(stale) == len(rows):
        await _open(connection, account_id, run_id, [wanted])


async def _matched(
    connection: Connection, account_id: int, theirs: tuple[TheirItem, ...]
) -> dict[str, frozenset[int]]:
    """Return the amounts of matched postings that the entries name, also in their texts."""
    names = {name for each in theirs for name in every_name_of(each.item)}
    identifiers = [found for name in names if (found := _uuid(name)) is not None]
    rows = await connection.fetch(
        query("matched_by_reference"),
        account_id,
        arrays.texts(sorted(names)),
        arrays.uuids(identifiers),
    )
    amounts: dict[str, frozenset[int]] = {}
    for row in rows:
        amounts[row["named"]] = amounts.get(row["named"], frozenset()) | {row["amount_minor"]}
    return amounts


def _uuid(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None


async def _open(
    connection: Connection, account_id: int, run_id: UUID, found: list[FoundBreak]
) -> None:
    if found:
        said = rows_of.break_texts(found)
        await connection.execute(query("open_breaks_found"), account_id, run_id, said)


async def _close(
    connection: Connection, run_id: UUID, ids: list[int], event: BreakEventKind, reason: str
) -> None:
    if ids:
        await connection.execute(query("close_breaks"), ids, event.value, reason, run_id)
