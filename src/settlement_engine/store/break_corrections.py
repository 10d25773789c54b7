"""What closes a break in PostgreSQL: its open items, the transfer that two people post, and the match of both.

Each function runs in a transaction of its caller, under the lock of the account.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

from settlement_engine.domain.breaks.proposals import BreakProposal
from settlement_engine.domain.breaks.resolutions import (
    DESTINATIONS,
    OPENING_DIFFERENCE,
    BreakHead,
    BreakItem,
    BreakSide,
)
from settlement_engine.domain.ledger import GUARDED, Leg, correct
from settlement_engine.domain.proof import DaySums
from settlement_engine.errors import NotFound, WrongState
from settlement_engine.store import arrays
from settlement_engine.store import reconciliation_rows as rows_of
from settlement_engine.store.accounts import post_outside
from settlement_engine.store.break_work_rows import OpenBreakItem, to_open_item
from settlement_engine.store.queries import query
from settlement_engine.store.rows import to_account

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from settlement_engine.ports import BreakDecisionSpec, BreakMatch, BreakProposalSpec
    from settlement_engine.store.database import Connection


async def open_items(
    connection: Connection, account_id: int, ours: Sequence[str], theirs: Sequence[str]
) -> list[OpenBreakItem]:
    """Return open items by their names. Raises NotFound for one that is not open on the account."""
    found = await _open_items(connection, account_id, ours, theirs)
    named = {(each.item.side.value, each.item.id) for each in found}
    asked = [*(("ours", each) for each in ours), *(("theirs", each) for each in theirs)]
    for side, item in asked:
        if (side, item) not in named:
            what = f"{item} is no open item of {side} on account {account_id}"
            raise NotFound(what, why="it is matched already, or belongs to another account")
    return found


async def open_items_of(connection: Connection, proposal: BreakProposal) -> list[OpenBreakItem]:
    """Return those items of a proposal that are still open."""
    ours = [each.id for each in proposal.items if each.side is BreakSide.OURS]
    theirs = [each.id for each in proposal.items if each.side is BreakSide.THEIRS]
    return await _open_items(connection, proposal.account_id, ours, theirs)


async def _open_items(
    connection: Connection, account_id: int, ours: Sequence[str], theirs: Sequence[str]
) -> list[OpenBreakItem]:
    rows = await connection.fetch(
        query("open_items_named"), account_id, arrays.texts(ours), arrays.texts(theirs)
    )
    return [to_open_item(row, account_id) for row in rows]


async def match_of_person(
    connection: Connection, account_id: int, wanted: BreakMatch
) -> int | None:
    """Return the live match that the same person has made of the same items."""
    named = (arrays.texts(wanted.ours), arrays.texts(wanted.theirs))
    found: int | None = await connection.fetchval(
        query("person_match_of"), account_id, *named, wanted.who
    )
    return found


async def add_match(
    connection: Connection,
    account_id: int,
    items: Sequence[OpenBreakItem],
    *,
    who: str,
    reason: str,
) -> int:
    """Match open items, and count them as matched from the day on which all of them are booked."""
    day = max(each.booked_on for each in items)
    match_id: int = await connection.fetchval(
        query("add_person_match"), account_id, reason, day, who
    )
    ours = [each for each in items if each.item.side is BreakSide.OURS]
    theirs = [each for each in items if each.item.side is BreakSide.THEIRS]
    await connection.execute(
        query("match_open_postings"),
        arrays.numbers([each.posting_id for each in ours]),
        arrays.integers([match_id] * len(ours)),
    )
    await connection.execute(
        query("match_entries_of"),
        arrays.numbers([each.statement_id for each in theirs]),
        arrays.numbers([each.entry_number for each in theirs]),
        arrays.integers([match_id] * len(theirs)),
        arrays.integers([each.item.minor for each in theirs]),
        arrays.dates([each.booked_on for each in theirs]),
    )
    sums = DaySums(
        day=day,
        matched_ours_minor=sum(each.item.minor for each in ours),
        matched_theirs_minor=sum(each.item.minor for each in theirs),
        matched_ours=len(ours),
        matched_theirs=len(theirs),
    )
    await connection.execute(query("add_to_days"), account_id, *rows_of.day_columns([sums]))
    return match_id


async def planned(
    connection: Connection,
    head: BreakHead,
    spec: BreakProposalSpec,
    items: Sequence[BreakItem],
    content: tuple[bytes, int],
) -> BreakProposal:
    """Return the proposal that would be written; ``content`` is its fingerprint and the amount."""
    now = await connection.fetchval(query("break_clock"))
    return BreakProposal(
        id=0,
        break_id=head.id,
        resolution=spec.wanted.resolution,
        account_id=head.account_id,
        currency=head.currency,
        amount_minor=content[1],
        items=tuple(items),
        reason=spec.wanted.reason,
        evidence_name=spec.wanted.evidence_name,
        evidence_bytes=len(spec.wanted.evidence),
        evidence_sha256=hashlib.sha256(spec.wanted.evidence).digest(),
        proposed_by=spec.wanted.who,
        content_sha256=content[0],
        proposed_at=now,
        expires_at=now + timedelta(seconds=spec.valid_seconds),
        seen_at=now,
    )


async def write_proposal(
    connection: Connection,
    head: BreakHead,
    spec: BreakProposalSpec,
    items: Sequence[BreakItem],
    content: tuple[bytes, int],
) -> int:
    """Append a proposal with its items; ``content`` is its fingerprint and the amount. Returns its number."""
    written: int = await connection.fetchval(
        query("write_break_proposal"),
        head.id,
        spec.wanted.resolution.value,
        head.account_id,
        head.currency,
        content[1],
        spec.wanted.reason,
        spec.wanted.evidence_name,
        spec.wanted.evidence,
        spec.wanted.who,
        content[0],
        spec.valid_seconds,
    )
    await connection.execute(
        query("write_break_proposal_items"),
        written,
        arrays.words([each.side.value for each in items]),
        arrays.texts([each.id for each in items]),
        arrays.integers([each.minor for each in items]),
    )
    return written


async def check_room(connection: Connection, proposal: BreakProposal) -> None:
    """Lock the account's row, and refuse what it does not cover. Raises WrongState."""
    if proposal.resolution not in DESTINATIONS:
        return
    await connection.fetch(query("lock_accounts"), [proposal.account_id])
    row = await connection.fetchrow(query("account_by_id"), proposal.account_id)
    assert row is not None, "an account is never deleted"
    account = to_account(row)
    taken = max(0, -proposal.amount_minor)
    if account.kind in GUARDED and taken and not account.has_room_for(taken):
        what = f"account {account.id} does not cover {taken} minor units of {account.currency}"
        raise WrongState(
            what,
            why="a correction posts what the bank has booked, within the credit line",
            todo="Release what is held, or fund the account, and approve it again.",
        )


async def post(
    connection: Connection,
    head: BreakHead,
    proposal: BreakProposal,
    items: Sequence[OpenBreakItem],
    spec: BreakDecisionSpec,
) -> tuple[int | None, UUID | None]:
    """Post what a proposal posts, and match it with the items; returns the match and the transfer."""
    destination = DESTINATIONS.get(proposal.resolution)
    if destination is None:
        return None, None
    owner = ([destination.kind.value], [head.bank], [head.currency], destination.number)
    await connection.execute(query("open_controls"), *owner)
    other = await connection.fetchrow(query("find_controls"), *owner)
    assert other is not None, "it was just opened"
    is_opening = head.kind == OPENING_DIFFERENCE
    transfer = correct(
        spec.group_id,
        Leg.OPENING_CORRECTION if is_opening else Leg.CORRECTION,
        account_id=head.account_id,
        other_id=other["id"],
        minor=proposal.amount_minor,
        currency=head.currency,
        reference=f"break {head.id}",
    )
    await post_outside(connection, transfer)
    if is_opening:
        return None, spec.group_id
    row = await connection.fetchrow(query("take_in_outside"), head.account_id, spec.zone)
    assert row is not None, "a maximum is a row"
    await connection.execute(query("keep_booked_until"), head.account_id, row["booked_until"])
    name = f"{transfer.group_id}/{transfer.posting}/{transfer.leg.value}"
    posted = await open_items(connection, head.account_id, [name], [])
    match_id = await add_match(
        connection, head.account_id, [*items, *posted], who=spec.wanted.who, reason=proposal.reason
    )
    return match_id, spec.group_id
