"""Reconciliation as rows: how entries and postings are read as items, and what is written of matches and breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.booking_days import StatementDay, counted_on
from settlement_engine.domain.matching.values import Ours, Part, Theirs
from settlement_engine.domain.proof import BalanceProof, DaySums
from settlement_engine.domain.reconciliation import (
    EXPLANATION_CHARACTERS_MAX,
    OurItem,
    TheirItem,
    hashed,
)
from settlement_engine.domain.statements import StatementReferences
from settlement_engine.store import arrays

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    import asyncpg

    from settlement_engine.domain.matching.values import Match
    from settlement_engine.domain.reconciliation import FoundBreak, ReconciliationRun
    from settlement_engine.domain.statement_chain import StatementHead


class _Inside(msgspec.Struct, frozen=True):
    """A payment inside an entry, as the database returns it."""

    minor: int | None
    references: StatementReferences


_REFERENCES: Final = msgspec.json.Decoder(StatementReferences)
_INSIDE: Final = msgspec.json.Decoder(tuple[_Inside, ...])


def to_their_item(
    row: asyncpg.Record, account: str, content_hash: str, booked_on: date
) -> TheirItem:
    """Build an item of theirs. Its id orders entries by day and content, in whatever order they were imported."""
    references = _REFERENCES.decode(row["refs"])
    inside = () if row["details"] is None else _INSIDE.decode(row["details"])
    return TheirItem(
        statement_id=row["statement_id"],
        number=row["number"],
        booked_on=booked_on,
        item=Theirs(
            id=f"{booked_on.isoformat()}/{content_hash[:16]}/{row['number']:06d}",
            account=account,
            minor=row["amount_minor"],
            currency=row["currency"],
            value_date=row["value_date"] or row["booking_date"],
            given=references.ours(),
            end_to_end=references.end_to_end,
            rail_references=(
                *references.theirs(),
                *(each for each in (references.uetr, references.transaction) if each),
            ),
            text=row["text"],
            is_reversal=row["is_reversal"],
            parts=tuple(
                Part((*part.references.ours(), *part.references.theirs()), part.minor)
                for part in inside
            ),
        ),
    )


def to_new_item(row: asyncpg.Record, account: str, head: StatementHead) -> TheirItem:
    """Build an item of an entry that was not counted before: it counts on its booking date."""
    day = counted_on(head.begins, head.ends, row["booking_date"])
    return to_their_item(row, account, head.content_hash, day)


def to_our_item(row: asyncpg.Record, account: str) -> OurItem:
    """Build an item of ours."""
    return OurItem(
        posting_id=row["id"],
        booked_on=row["booked_on"],
        item=Ours(
            id=row["name"],
            account=account,
            minor=row["amount_minor"],
            currency=row["currency"],
            value_date=row["value_date"],
            references=tuple(row["our_references"]),
            end_to_end=row["end_to_end"],
            rail_references=tuple(row["rail_references"]),
            batch=row["batch"],
        ),
    )


def to_day_sums(row: asyncpg.Record) -> DaySums:
    """Build the sums of a day."""
    names = [name for name in DaySums.__struct_fields__ if name != "day"]
    return DaySums(day=row["day"], **{name: int(row[name]) for name in names})


def to_statement_days(rows: Iterable[asyncpg.Record]) -> dict[str, tuple[StatementDay, ...]]:
    """Build the days of statements, by content hash."""
    found: dict[str, list[StatementDay]] = {}
    for row in rows:
        day = StatementDay(row["day"], int(row["minor"]), row["entries"], row["misdated"])
        found.setdefault(row["content_hash"].hex(), []).append(day)
    return {each: tuple(days) for each, days in found.items()}


def to_proof(row: asyncpg.Record) -> BalanceProof:
    """Build a proof."""
    amounts = [name for name in BalanceProof.__struct_fields__ if name.endswith("_minor")]
    return BalanceProof(
        booking_date=row["booking_date"],
        unmatched_theirs=row["unmatched_theirs"],
        unmatched_ours=row["unmatched_ours"],
        held_back_by=row["held_back_by"],
        **{name: int(row[name]) for name in amounts},
    )


def statement_day_columns(days: Sequence[StatementDay]) -> list[str]:
    """Return the columns of ``add_to_statement_days``."""
    return [
        arrays.dates([each.day for each in days]),
        arrays.integers([each.minor for each in days]),
        arrays.integers([each.entries for each in days]),
        arrays.integers([each.misdated for each in days]),
    ]


def day_columns(sums: Iterable[DaySums]) -> list[str]:
    """Return the columns of ``add_to_days``."""
    found = sorted(sums, key=lambda each: each.day)
    names = [name for name in DaySums.__struct_fields__ if name != "day"]
    return [
        arrays.dates([each.day for each in found]),
        *(arrays.integers([getattr(each, name) for each in found]) for name in names),
    ]


def match_columns(matches: Sequence[Match], days: Sequence[date]) -> list[str]:
    """Return the columns of ``add_matches``."""
    return [
        arrays.texts([each.matched_by.value for each in matches]),
        arrays.texts([each.rules_version for each in matches]),
        arrays.texts([_text(each.explanation) for each in matches]),
        arrays.integers([each.difference_minor for each in matches]),
        arrays.texts([each.difference_account for each in matches]),
        arrays.dates(list(days)),
    ]


def suggestion_texts(suggestions: Sequence[Match], names: dict[str, str]) -> str:
    """Return suggestions as JSON texts; ``names`` gives the names of their entries by their ids."""
    said = []
    for each in suggestions:
        theirs = [names[item] for item in each.theirs]
        words = (*sorted(f"ours {item}" for item in each.ours), *sorted(theirs))
        content = {
            "fingerprint": hashed(*words).hex(),
            "matched_by": each.matched_by.value,
            "explanation": _text(each.explanation),
            "ours": each.ours,
            "theirs": theirs,
        }
        said.append(msgspec.json.encode(content).decode())
    return arrays.texts(said)


def break_texts(found: Sequence[FoundBreak]) -> str:
    """Return breaks as JSON texts."""
    return arrays.texts(
        [
            msgspec.json.encode(
                {
                    "fingerprint": each.fingerprint().hex(),
                    "kind": each.kind,
                    "severity": each.severity,
                    "amount_minor": each.amount_minor,
                    "currency": each.currency,
                    "business_date": each.business_date,
                    "reason": _text(each.reason),
                    "ours": each.ours,
                    "theirs": each.theirs,
                }
            ).decode()
            for each in found
        ]
    )


def proof_columns(proofs: Sequence[BalanceProof]) -> list[str]:
    """Return the columns of ``add_proofs``."""
    amounts = [name for name in BalanceProof.__struct_fields__ if name.endswith("_minor")]
    return [
        arrays.dates([each.booking_date for each in proofs]),
        *(arrays.integers([getattr(each, name) for each in proofs]) for name in amounts),
        arrays.integers([each.unmatched_theirs for each in proofs]),
        arrays.integers([each.unmatched_ours for each in proofs]),
        arrays.texts([_text(each.held_back_by) for each in proofs]),
        arrays.booleans([each.is_zero for each in proofs]),
    ]


def _text(text: str) -> str:
    return text.replace("\x00", "\ufffd")[:EXPLANATION_CHARACTERS_MAX]


def run_row(run: ReconciliationRun) -> tuple[object, ...]:
    """Return a run as the arguments of ``add_reconciliation_run``."""
    return (
        run.id,
        run.started_for.value,
        run.who,
        run.rules_version,
        run.account_id,
        run.bank or None,
        run.currency or None,
        run.business_date,
    )
