"""Work on breaks as rows: how histories, items and proposals are read."""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 -- msgspec resolves the fields' types
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.breaks.history import BreakEventKind, check_event, fold
from settlement_engine.domain.breaks.proposals import BreakProposal
from settlement_engine.domain.breaks.resolutions import (
    BreakHead,
    BreakItem,
    BreakResolution,
    BreakSide,
)
from settlement_engine.domain.breaks.suggestions import (
    SUGGESTIONS_MAX,
    BreakSuggestion,
    still_open,
)
from settlement_engine.domain.proposals import Decision
from settlement_engine.errors import NotFound
from settlement_engine.ports import BreakFile, BreakToEscalate
from settlement_engine.store import arrays
from settlement_engine.store.queries import query
from settlement_engine.store.reconciliation_reads import to_event

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from settlement_engine.store.database import Connection

EVENTS_MAX: Final = 10_000
"""The most events of a break that are read; escalation and runs add a few, people the others."""

SUGGESTIONS_READ_MAX: Final = 100
"""The most suggestions that are read of a break: some are about items that are not open any more."""


class BreakEventDetail(msgspec.Struct, frozen=True):
    """What an event has beside its kind, its person and its text."""

    owner: str = ""
    due_at: datetime | None = None
    proposal_id: int | None = None
    match_id: int | None = None


class OpenBreakItem(msgspec.Struct, frozen=True):
    """An open item with what matching it needs."""

    item: BreakItem
    booked_on: date
    posting_id: int | None
    statement_id: int | None
    entry_number: int | None


NO_DETAIL: Final = BreakEventDetail()
_ITEMS: Final = msgspec.json.Decoder(tuple[tuple[str, str, int], ...])


def no_break(break_id: int) -> NotFound:
    """Return the error for a break that does not exist."""
    return NotFound(f"there is no break {break_id}", listed_by="breaks list")


def no_proposal(proposal_id: int) -> NotFound:
    """Return the error for a proposal that does not exist."""
    what = f"there is no proposal {proposal_id} about a break"
    return NotFound(what, listed_by="breaks proposals --all")


async def read_file(connection: Connection, break_id: int) -> BreakFile | None:
    """Read a break with its history."""
    row = await connection.fetchrow(query("break_head"), break_id)
    if row is None:
        return None
    rows = await connection.fetch(query("events_of_break"), break_id, EVENTS_MAX)
    return to_file(row, rows)


async def read_suggestions(connection: Connection, found: BreakFile) -> tuple[BreakSuggestion, ...]:
    """Read what is suggested about the open items of a break, the latest first."""
    rows = await connection.fetch(
        query("suggestions_of_break"),
        found.head.account_id,
        arrays.texts(found.ours),
        arrays.texts(found.theirs),
        SUGGESTIONS_READ_MAX,
    )
    left: list[BreakSuggestion] = []
    for row in rows:
        open_items = {*row["open_ours"], *row["open_theirs"]}
        said = BreakSuggestion(
            row["matched_by"], row["explanation"], tuple(row["ours"]), tuple(row["theirs"])
        )
        shown = still_open(said, open_items.__contains__)
        if shown is not None:
            left.append(shown)
    return tuple(left[:SUGGESTIONS_MAX])


async def need_file(connection: Connection, break_id: int) -> BreakFile:
    """Read a break with its history. Raises NotFound."""
    found = await read_file(connection, break_id)
    if found is None:
        raise no_break(break_id)
    return found


def to_file(row: asyncpg.Record, rows: Sequence[asyncpg.Record]) -> BreakFile:
    """Build a break from its row and those of its events."""
    events = tuple(to_event(each) for each in rows)
    head = BreakHead(
        id=row["id"],
        kind=row["kind"],
        account_id=row["account_id"],
        bank=row["bank"],
        currency=row["currency"],
        amount_minor=int(row["amount_minor"]),
        business_date=row["business_date"],
    )
    return BreakFile(
        head=head,
        work=fold(events),
        events=events,
        ours=tuple(row["ours"]),
        theirs=tuple(row["theirs"]),
    )


def to_open_item(row: asyncpg.Record, account_id: int) -> OpenBreakItem:
    """Build an open item."""
    return OpenBreakItem(
        item=BreakItem(
            side=BreakSide(row["side"]),
            id=row["item"],
            account_id=account_id,
            minor=row["amount_minor"],
            currency=row["currency"],
        ),
        booked_on=row["booked_on"],
        posting_id=row["posting_id"],
        statement_id=row["statement_id"],
        entry_number=row["entry_number"],
    )


def to_break_proposal(row: asyncpg.Record) -> BreakProposal:
    """Build a proposal from its row."""
    return BreakProposal(
        id=row["id"],
        break_id=row["break_id"],
        resolution=BreakResolution(row["resolution"]),
        account_id=row["account_id"],
        currency=row["currency"],
        amount_minor=row["amount_minor"],
        items=tuple(
            BreakItem(
                side=BreakSide(side),
                id=item,
                account_id=row["account_id"],
                minor=minor,
                currency=row["currency"],
            )
            for side, item, minor in _ITEMS.decode(row["items"])
        ),
        reason=row["reason"],
        evidence_name=row["evidence_name"],
        evidence_bytes=row["evidence_bytes"],
        evidence_sha256=bytes(row["evidence_sha256"]),
        proposed_by=row["proposed_by"],
        content_sha256=bytes(row["content_sha256"]),
        proposed_at=row["proposed_at"],
        expires_at=row["expires_at"],
        seen_at=row["seen_at"],
        decision=Decision(row["decision"] or ""),
        decided_by=row["decided_by"] or "",
        decided_at=row["decided_at"],
        role=row["role"] or "",
        match_id=row["match_id"],
        transfer_group=row["transfer_group"],
    )


def to_break_to_escalate(row: asyncpg.Record) -> BreakToEscalate:
    """Build an open break with what its escalation depends on."""
    return BreakToEscalate(
        id=row["break_id"],
        kind=row["kind"],
        severity=row["severity"],
        level=row["level"],
        due_at=row["due_at"],
        amount_minor=int(row["amount_minor"]),
        currency=row["currency"],
        business_date=row["business_date"],
        opened_at=row["opened_at"],
        seen_at=row["seen_at"],
    )


async def append_event(
    connection: Connection,
    before: BreakFile,
    kind: BreakEventKind,
    said: tuple[str, str],
    detail: BreakEventDetail = NO_DETAIL,
) -> None:
    """Append an event to a break's history; ``said`` is the person and the text. Raises WrongState."""
    check_event(before.work.status, kind)
    columns = (detail.owner, detail.due_at, detail.proposal_id, detail.match_id)
    number = before.work.version + 1
    await connection.execute(
        query("add_break_event"), before.head.id, number, kind.value, *said, *columns
    )
