"""Checks of evidence for entries of statements: a move that names one says what the entry says.

Promises: an entry that is not booked, is on another account, names another payment, or has another amount than the
move that stands on it, is reported; so is a debit of another amount than was sent that no rule of matching can close.
Must never: need the statement itself, whose hash is in the record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.matching.closing import CLOSING, may_close
from settlement_engine.domain.matching.values import Pass
from settlement_engine.domain.statement_evidence import OF_THE_AMOUNT, EntrySays
from settlement_engine.domain.statements import EntryStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settlement_engine.evidence.dossier import Dossier, EntryRecord, MoveRecord

_DEBITS = OF_THE_AMOUNT | {EntrySays.OTHER_AMOUNT, EntrySays.FURTHER_DEBIT}


def entry_faults(dossier: Dossier, _state_machine: object) -> Iterator[str]:
    """Return the faults of the entries, and of the moves that stand on them."""
    found = {(each.statement, each.entry, each.detail): each for each in dossier.entries}
    if len(found) != len(dossier.entries):
        yield "an entry is listed twice"
    for each in dossier.entries:
        yield from _entry_faults(dossier, each)
    for move in dossier.moves:
        if "statement_entry" in move.detail:
            yield from _move_faults(move, found.get(_place(move)))


def _place(move: MoveRecord) -> tuple[int, int, int]:
    names = ("statement", "statement_entry", "statement_detail")
    texts = [move.detail.get(name, "0") for name in names]
    if not all(text.isascii() and text.isdecimal() and len(text) < 20 for text in texts):  # noqa: PLR2004 - 64 bits
        return (0, 0, 0)
    statement, entry, detail = map(int, texts)
    return statement, entry, detail


def _move_faults(move: MoveRecord, entry: EntryRecord | None) -> Iterator[str]:
    if entry is None:
        yield f"move {move.seq} stands on an entry of a statement that is not here"
        return
    if move.detail.get("statement_says") != entry.says:
        yield f"move {move.seq} says {move.detail.get('statement_says')!r}, its entry {entry.says!r}"
    if move.detail.get("amount_minor", str(entry.told_minor)) != str(entry.told_minor):
        yield f"move {move.seq} has another amount than its entry"
    if move.detail.get("statement_closed_by", "") != entry.closed_by:
        yield f"move {move.seq} names another rule than its entry"


def _entry_faults(dossier: Dossier, entry: EntryRecord) -> Iterator[str]:
    name = f"entry {entry.statement}/{entry.entry}"
    if entry.status != EntryStatus.BOOKED:
        yield f"{name} is not booked"
    if entry.account_id not in {attempt.source_id for attempt in dossier.attempts}:
        yield f"{name} is on account {entry.account_id}, from which nothing was sent"
    if not _is_named(dossier, entry):
        yield f"{name} names no payment of this settlement"
    if entry.says not in set(EntrySays):
        yield f"{name} says {entry.says!r}, which is nothing that an entry can say"
        return
    says, sent = EntrySays(entry.says), dossier.instruction
    is_sent = (entry.told_minor, entry.currency) == (sent.amount_minor, sent.currency)
    if says in OF_THE_AMOUNT and not is_sent and not _is_closed(dossier, entry):
        yield f"{name} is taken for a debit of the amount that was sent, and is not"
    if entry.closed_by and (is_sent or says not in OF_THE_AMOUNT):
        yield f"{name} names a rule for a difference, and has none to close"
    if says is EntrySays.OTHER_AMOUNT and is_sent:
        yield f"{name} is taken for a debit of another amount, and is not"
    if (says is EntrySays.REVERSAL) is not entry.is_reversal:
        yield f"{name} is taken for {says}, against its reversal mark"
    is_debit = entry.amount_minor < 0
    if not entry.is_reversal and (says in _DEBITS) is not is_debit:
        yield f"{name} is taken for {says}, against its sign"


def _is_closed(dossier: Dossier, entry: EntryRecord) -> bool:
    """Say whether the rule that is named can cover the difference; what is configured is not in the record."""
    sent, closing = dossier.instruction, set(map(str, CLOSING))
    if entry.closed_by not in closing or entry.currency != sent.currency:
        return False
    return may_close(Pass(entry.closed_by), (-sent.amount_minor, entry.amount_minor))


def _is_named(dossier: Dossier, entry: EntryRecord) -> bool:
    words = {*entry.references, *entry.text.split()}
    folded = {word.lower() for word in words}
    ids = {dossier.standing.settlement_id.hex, *(str(each.uetr) for each in dossier.attempts)}
    names = {
        name
        for each in dossier.attempts
        for name in (each.end_to_end_id, each.message_id, each.trace)
        if name
    }
    return not words.isdisjoint(names) or not folded.isdisjoint(ids)
