"""One page of matching in PostgreSQL: what is read of both sides, and what is written of the result.

Each function runs in a transaction of its caller, under the lock of the account.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from settlement_engine.domain.matching_pages import (
    day_changes,
    references_in,
    settled_days,
    without_taken_back,
)
from settlement_engine.domain.reconciliation import (
    CANDIDATES_AT_ONCE,
    ENTRIES_AT_ONCE,
    UNNAMED_ITEMS_MAX,
    EntryPlace,
    MatchingPage,
)
from settlement_engine.domain.statements import DETAILS_MAX
from settlement_engine.errors import WrongState
from settlement_engine.store import arrays
from settlement_engine.store import reconciliation_rows as rows_of
from settlement_engine.store.queries import query

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from uuid import UUID

    from settlement_engine.domain.reconciliation import (
        OurItem,
        PageMatches,
        TheirItem,
    )
    from settlement_engine.ports import Matcher
    from settlement_engine.store.database import Connection


async def matched(
    connection: Connection, account_id: int, theirs: tuple[TheirItem, ...], match: Matcher
) -> tuple[MatchingPage, PageMatches]:
    """Match entries with what they may name, beside the event loop."""
    ours = await candidates(connection, account_id, theirs)
    if len(theirs) <= UNNAMED_ITEMS_MAX:
        ours = await _open_postings(connection, account_id) or ours
    page = MatchingPage(ours, theirs)
    found = await asyncio.to_thread(match, page)
    rows = await connection.fetch(
        query("taken_back_by_people"),
        account_id,
        arrays.integers([each.statement_id for each in theirs]),
        arrays.integers([each.number for each in theirs]),
    )
    taken_back = [(frozenset(row["ours"]), frozenset(row["theirs"])) for row in rows]
    return page, without_taken_back(page, found, taken_back)


async def candidates(
    connection: Connection, account_id: int, theirs: tuple[TheirItem, ...]
) -> tuple[OurItem, ...]:
    """Read every open posting that one of the entries may name. What cannot be read whole is not used."""
    named = await asyncio.to_thread(references_in, theirs)
    rows = await connection.fetch(
        query("postings_by_keys"), account_id, arrays.texts(named), CANDIDATES_AT_ONCE + 1
    )
    if len(rows) > CANDIDATES_AT_ONCE:
        what = f"the entries name more than {CANDIDATES_AT_ONCE:,} open postings"
        raise WrongState(what, todo="Match some of them by hand.")
    account = str(account_id)
    return tuple(rows_of.to_our_item(row, account) for row in rows)


async def _open_postings(connection: Connection, account_id: int) -> tuple[OurItem, ...]:
    """Read every open posting of an account, whatever it is called; none if they are too many."""
    rows = await connection.fetch(query("open_postings_of"), account_id, UNNAMED_ITEMS_MAX + 1)
    account = str(account_id)
    if len(rows) > UNNAMED_ITEMS_MAX:
        return ()
    return tuple(rows_of.to_our_item(row, account) for row in rows)


async def open_entries(
    connection: Connection, account_id: int, after: EntryPlace
) -> tuple[TheirItem, ...]:
    """Read the next open entries of an account behind a place."""
    place = (after.booked_on, after.statement_id, after.number)
    rows = await connection.fetch(
        query("open_entries_after"), account_id, *place, ENTRIES_AT_ONCE, DETAILS_MAX
    )
    account = str(account_id)
    return tuple(
        rows_of.to_their_item(row, account, row["content_hash"].hex(), row["booked_on"])
        for row in rows
    )


async def write(
    connection: Connection,
    account_id: int,
    run_id: UUID,
    page: MatchingPage,
    found: PageMatches,
    *,
    are_new: bool,
) -> None:
    """Write what matching a page has found; only then its days' sums, in the order of the days."""
    days = settled_days(page, found.matches)
    matched: set[str] = set()
    if found.matches:
        matched = await _write_matches(connection, account_id, run_id, page, found, days)
    if found.suggestions:
        names = {each.item.id: each.name for each in page.theirs}
        said = rows_of.suggestion_texts(found.suggestions, names)
        await connection.execute(query("add_suggestions"), account_id, run_id, said)
    left = [each for each in page.theirs if each.item.id not in matched] if are_new else []
    if left:
        await connection.execute(
            query("add_open_entries"),
            account_id,
            arrays.integers([each.statement_id for each in left]),
            arrays.integers([each.number for each in left]),
            arrays.dates([each.booked_on for each in left]),
            arrays.integers([each.item.minor for each in left]),
        )
    changes = day_changes(page, found, days, are_new=are_new)
    if changes:
        await connection.execute(query("add_to_days"), account_id, *rows_of.day_columns(changes))


async def _write_matches(
    connection: Connection,
    account_id: int,
    run_id: UUID,
    page: MatchingPage,
    found: PageMatches,
    days: Sequence[date],
) -> set[str]:
    """Write matches with their members; returns the ids of the entries in them."""
    columns = rows_of.match_columns(found.matches, days)
    rows = await connection.fetch(query("add_matches"), account_id, run_id, *columns)
    ids = [row["id"] for row in rows]
    ours = {each.item.id: each for each in page.ours}
    theirs = {each.item.id: each for each in page.theirs}
    pairs = list(zip(ids, found.matches, strict=True))
    postings = [(ours[item].posting_id, id_) for id_, each in pairs for item in each.ours]
    entries = [(theirs[item], id_) for id_, each in pairs for item in each.theirs]
    moved = await connection.fetchval(
        query("match_open_postings"),
        arrays.integers([posting for posting, _ in postings]),
        arrays.integers([id_ for _, id_ in postings]),
    )
    assert moved == len(postings), "the lock of the account keeps what was read open"
    await connection.execute(
        query("match_entries_of"),
        arrays.integers([each.statement_id for each, _ in entries]),
        arrays.integers([each.number for each, _ in entries]),
        arrays.integers([id_ for _, id_ in entries]),
        arrays.integers([each.item.minor for each, _ in entries]),
        arrays.dates([each.booked_on for each, _ in entries]),
    )
    return {each.item.id for each, _ in entries}
