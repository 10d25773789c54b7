"""What was open on an account at the end of a past day, from PostgreSQL (``ports.OpenItemsReader``): reads only.

Promises: each statement reads a small multiple of what it returns, by an index, however long the history is.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.open_items import (
    NUMBER_MAX,
    REFERENCES_MAX,
    SPAN_MAX,
    ItemPart,
    ItemPlace,
    OpenItem,
    ProofAsOf,
)
from settlement_engine.domain.proof import NOT_COVERED
from settlement_engine.domain.statements import StatementReferences
from settlement_engine.store.reconciliation_rows import to_proof

if TYPE_CHECKING:
    from collections.abc import Iterable

    import asyncpg

    from settlement_engine.ports import OpenItemFilter
    from settlement_engine.store.database import Readers

_REFERENCES: Final = msgspec.json.Decoder(StatementReferences)
_NO_UUID: Final = "00000000-0000-0000-0000-000000000000"

_STATEMENTS: Final = {
    ItemPart.THEIRS_OPEN: "open_entries_as_of",
    ItemPart.THEIRS_MATCHED: "timing_entries_as_of",
    ItemPart.OURS_OPEN: "open_postings_as_of",
    ItemPart.OURS_MATCHED: "timing_postings_as_of",
}
_FIRST: Final = {ItemPart.THEIRS_MATCHED: (0, 0), ItemPart.OURS_MATCHED: (_NO_UUID, 0, 0)}


async def proof_as_of(readers: Readers, account_id: int, day: date) -> ProofAsOf | None:
    """Return the last proof of an account for a day; see the port."""
    rows = await readers.fetch_as_planned("proof_as_of", account_id, day, NOT_COVERED)
    if not rows:
        return None
    row = rows[0]
    return ProofAsOf(
        currency=row["currency"],
        proof=to_proof(row),
        begins=row["begins"],
        is_current=row["is_current"],
    )


async def open_items(readers: Readers, wanted: OpenItemFilter) -> list[OpenItem]:
    """Return the items that were open at the end of a day; see the port."""
    found: list[OpenItem] = []
    for part in ItemPart:
        after = wanted.after
        left = wanted.limit - len(found)
        if left == 0 or (after is not None and part < after.part):
            continue
        place = after if after is not None and after.part is part else None
        values = (wanted.account_id, wanted.day, *behind(part, wanted, place), left)
        rows = await readers.fetch_as_planned(statement_of(part), *values)
        found += [_to_item(part, row) for row in rows]
    return found


def statement_of(part: ItemPart) -> str:
    """Return the statement that lists a part."""
    return _STATEMENTS[part]


def behind(part: ItemPart, wanted: OpenItemFilter, place: ItemPlace | None) -> tuple[object, ...]:
    """Return the parameters of a statement that say where its list continues."""
    match part:
        case ItemPart.THEIRS_OPEN:
            return (place.day, *place.item) if place else (date.min, 0, 0)
        case ItemPart.OURS_OPEN:
            behind = (place.day, *place.item) if place else (date.min, 0)
            return (wanted.begins, *behind)
        case _:
            if place is None:  # behind everything that counts as matched on the day itself
                return (SPAN_MAX, wanted.day, NUMBER_MAX, *_FIRST[part])
            return (place.span, place.day, place.match_id, *place.item)


def _to_item(part: ItemPart, row: asyncpg.Record) -> OpenItem:
    names = {"theirs": _entry, "ours": _posting}
    item, name, references = names[part.side](row)
    common = {
        "name": name,
        "minor": row["amount_minor"],
        "currency": row["currency"],
        "booked_on": row["booked_on"],
        "value_date": row["value_date"],
        "references": _few(references),
        "text": row.get("text", ""),
    }
    if part in (ItemPart.THEIRS_OPEN, ItemPart.OURS_OPEN):
        ordered = (row["id"],) if part is ItemPart.OURS_OPEN else item
        return OpenItem(place=ItemPlace(part, row["booked_on"], ordered), **common)
    place = ItemPlace(part, row["settled_on"], item, row["span"], row["match_id"])
    return OpenItem(
        place=place,
        match_id=row["match_id"],
        matched_by=row["matched_by"],
        matched_on=row["settled_on"],
        matched_at=row["matched_at"],
        **common,
    )


_Named = tuple[tuple[str | int, ...], str, "Iterable[str]"]


def _entry(row: asyncpg.Record) -> _Named:
    item = (row["statement_id"], row["entry_number"])
    given = _REFERENCES.decode(row["refs"])
    return item, f"{item[0]}/{item[1]}", (*given.ours(), *given.theirs())


def _posting(row: asyncpg.Record) -> _Named:
    item = (str(row["group_id"]), row["posting"], row["leg"])
    given = (*row["our_references"], row["end_to_end"], *row["rail_references"], row["batch"])
    return item, f"{item[0]}/{item[1]}/{item[2]}", given


def _few(references: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each for each in references if each))[:REFERENCES_MAX]
