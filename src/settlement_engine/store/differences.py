"""Differences that the rules of matching close, in PostgreSQL: the transfer of each, and the one that takes it back.

Each function runs in a transaction of its caller, under the lock of the account for reconciliation. Accounts' rows are
locked last and in the order of their ids, as elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.closed_differences import (
    DIFFERENCE_ACCOUNTS,
    WaitingReversals,
    covered,
    reversed_transfer,
    reversible,
    transfer_of,
    with_transfer,
)
from settlement_engine.domain.ledger import GUARDED, full
from settlement_engine.domain.proof import DaySums
from settlement_engine.domain.reconciliation import MatchingPage, PageMatches
from settlement_engine.errors import WrongState
from settlement_engine.store import arrays, matching_pages
from settlement_engine.store import reconciliation_rows as rows_of
from settlement_engine.store.accounts import post_differences
from settlement_engine.store.queries import query
from settlement_engine.store.rows import to_account, to_transfer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from settlement_engine.domain.ledger import Account, Transfer
    from settlement_engine.domain.matching.values import Match
    from settlement_engine.domain.reconciliation import OurItem
    from settlement_engine.store.database import Connection

REVERSALS_AT_ONCE: Final = 1_000
"""The most transfers that are reversed by one statement."""


async def close(
    connection: Connection,
    account_id: int,
    run_id: UUID,
    page: MatchingPage,
    closing: Sequence[Match],
    zone: str,
) -> list[Match]:
    """Post the differences of matches, and match each with its items; returns the matches that were made.

    The entries are open ones. What the account does not cover stays open.
    """
    if not closing:
        return []
    others = await _others(connection, account_id, {each.difference_account for each in closing})
    account = await _locked(connection, account_id, others.values())
    kept = covered(closing, _room_minor(account))
    if not kept:
        return []
    transfers = await _transfers(connection, account, page, kept, others)
    await post_differences(connection, transfers)
    ours = await _taken_in(connection, account_id, transfers, zone)
    made = [with_transfer(each, posted) for each, posted in zip(kept, transfers, strict=True)]
    items = MatchingPage((*page.ours, *ours), page.theirs)
    found = PageMatches(matches=tuple(made), suggestions=(), result_hash="")
    await matching_pages.write(connection, account_id, run_id, items, found, are_new=False)
    return made


async def take_back(
    connection: Connection,
    account_id: int,
    match_ids: Sequence[int],
    said: tuple[str, str],
    *,
    zone: str,
    run_id: UUID | None = None,
) -> None:
    """Take live matches back: their items are open again, and what their differences had posted is reversed.

    ``said`` is who does it, and the reason. What the account does not cover waits where a run takes back, and a person
    is refused: raises WrongState.
    """
    await connection.execute(query("take_back_matches"), match_ids, run_id, *said)
    waiting = await reverse(connection, account_id, zone, match_ids)
    if waiting.transfers and run_id is None:
        row = await connection.fetchrow(query("account_by_id"), account_id)
        assert row is not None, "an account is never deleted"
        taken = f"{waiting.minor} minor units of {row['currency']}"
        what = f"account {account_id} does not cover {taken}"
        raise WrongState(what, todo="Fund the account, and take the match back again.")


async def retract(
    connection: Connection,
    account_id: int,
    retracted: tuple[int, str],
    run_id: UUID,
    zone: str,
) -> None:
    """Take back what a statement's entries are in, and forget them. ``retracted``: the statement, and why."""
    statement_id, reason = retracted
    rows = await connection.fetch(query("live_matches_of_statement"), statement_id)
    found = [row["match_id"] for row in rows]
    said = ("engine", reason)
    await take_back(connection, account_id, found, said, zone=zone, run_id=run_id)
    await connection.execute(query("forget_statement"), statement_id)


async def reverse(
    connection: Connection, account_id: int, zone: str, match_ids: Sequence[int] | None = None
) -> WaitingReversals:
    """Reverse the differences of matches that were taken back, as far as the account covers it.

    Without ``match_ids``: all that wait, so many at a time. Returns what waits still.
    """
    wanted = None if match_ids is None else arrays.integers(match_ids)
    waiting = WaitingReversals()
    is_more = True
    while is_more:
        rows = await connection.fetch(
            query("unreversed_differences"), account_id, wanted, REVERSALS_AT_ONCE
        )
        if not rows:
            return WaitingReversals()
        match_of = {row["group_id"]: row["match_id"] for row in rows}
        every = [reversed_transfer(to_transfer(row)) for row in rows]
        sides = {side for each in every for side in (each.debit_id, each.credit_id)}
        account = await _locked(connection, account_id, sides)
        reversing, waiting = reversible(every, account.id, _room_minor(account))
        if reversing:
            await post_differences(connection, reversing)
            items = await _taken_in(connection, account_id, reversing, zone)
            taken_back = [match_of[each.group_id] for each in reversing]
            await _match_reversals(connection, account_id, (taken_back, reversing), items)
        is_more = bool(reversing) and len(rows) == REVERSALS_AT_ONCE
    return waiting


async def _match_reversals(
    connection: Connection,
    account_id: int,
    reversed_matches: tuple[list[int], list[Transfer]],
    items: Sequence[OurItem],
) -> None:
    """Match each transfer with the one that takes it back, so that neither is open."""
    match_ids, reversing = reversed_matches
    by_group: dict[str, list[OurItem]] = {}
    for each in items:
        by_group.setdefault(each.item.id.partition("/")[0], []).append(each)
    pairs = [by_group[str(each.group_id)] for each in reversing]
    days = [max(each.booked_on for each in pair) for pair in pairs]
    made = await connection.fetch(
        query("add_reversal_matches"),
        arrays.integers(match_ids),
        arrays.dates(days),
    )
    members = [
        (each.posting_id, row["id"]) for pair, row in zip(pairs, made, strict=True) for each in pair
    ]
    await connection.execute(
        query("match_open_postings"),
        arrays.integers([posting for posting, _ in members]),
        arrays.integers([match_id for _, match_id in members]),
    )
    sums = [DaySums(day=day, matched_ours=2 * days.count(day)) for day in sorted(set(days))]
    await connection.execute(query("add_to_days"), account_id, *rows_of.day_columns(sums))


async def _others(connection: Connection, account_id: int, names: Iterable[str]) -> dict[str, int]:
    """Return the accounts for differences by their names; missing ones are opened."""
    row = await connection.fetchrow(query("account_by_id"), account_id)
    assert row is not None, "an account is never deleted"
    found: dict[str, int] = {}
    for name in sorted(names):
        destination = DIFFERENCE_ACCOUNTS[name]
        owner = (
            [destination.kind.value],
            [row["bank"]],
            [row["currency"]],
            destination.number,
        )
        await connection.execute(query("open_controls"), *owner)
        other = await connection.fetchrow(query("find_controls"), *owner)
        assert other is not None, "it was just opened"
        found[name] = other["id"]
    return found


async def _locked(connection: Connection, account_id: int, others: Iterable[int]) -> Account:
    """Lock the rows of the accounts, and return ours as it is now. Raises WrongState for one that is full."""
    rows = await connection.fetch(query("lock_accounts"), sorted({account_id, *others}))
    row = await connection.fetchrow(query("account_by_id"), account_id)
    assert row is not None, "an account is never deleted"
    account = to_account(row)
    if any(each["is_full"] for each in rows):
        raise full(account.currency)
    return account


def _room_minor(account: Account) -> int | None:
    return account.available + account.credit_limit if account.kind in GUARDED else None


async def _transfers(
    connection: Connection,
    account: Account,
    page: MatchingPage,
    kept: Sequence[Match],
    others: dict[str, int],
) -> list[Transfer]:
    theirs = {each.item.id: each for each in page.theirs}
    entries = [theirs[each.theirs[0]] for each in kept]
    rows = await connection.fetch(
        query("turns_of_entries"),
        arrays.integers([each.statement_id for each in entries]),
        arrays.integers([each.number for each in entries]),
    )
    return [
        transfer_of(
            match,
            (account.id, others[match.difference_account]),
            account.currency,
            entry.booked_on,
            (entry.name, row["turns"]),
        )
        for match, entry, row in zip(kept, entries, rows, strict=True)
    ]


async def _taken_in(
    connection: Connection, account_id: int, transfers: Sequence[Transfer], zone: str
) -> list[OurItem]:
    """Read what was posted as open postings of the account."""
    row = await connection.fetchrow(query("take_in_outside"), account_id, zone)
    assert row is not None, "a maximum is a row"
    await connection.execute(query("keep_booked_until"), account_id, row["booked_until"])
    groups = arrays.uuids([each.group_id for each in transfers])
    rows = await connection.fetch(query("open_postings_of_groups"), account_id, groups)
    account = str(account_id)
    return [rows_of.to_our_item(each, account) for each in rows]


def counted(made: Sequence[Match]) -> dict[str, int]:
    """Return how many differences were closed, and their sum without signs, as fields of a page's result."""
    total = sum(abs(each.difference_minor) for each in made)
    return {"differences": len(made), "differences_minor": total}
