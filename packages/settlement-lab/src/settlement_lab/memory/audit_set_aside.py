"""The proof of the statements that are set aside, in memory: ``sql/queries/proof_set_aside.sql``, by name."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.identity import is_same_person
from settlement_engine.domain.statement_decisions import StatementChange, fingerprint_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from settlement_lab.memory.records import Records

    Found = Iterator[tuple[object, object, object]]


def _statement_decisions_are_of_two(records: Records) -> Found:
    """Every approval is by a second person, in time."""
    for _, each in records.set_aside.decisions():
        is_late = each.decided_at is None or each.decided_at >= each.expires_at
        if is_late or is_same_person(each.proposed_by, each.decided_by):
            yield each.id, "two people", (each.proposed_by, each.decided_by, each.decided_at)


def _set_aside_follows_decisions(records: Records) -> Found:
    """Check that a statement is set aside exactly when the latest approved proposal about it says so."""
    due: set[int] = set()
    for _, each in records.set_aside.decisions():
        named = set(each.statement_ids)
        due = due | named if each.change is StatementChange.SET_ASIDE else due - named
    for number in sorted(due ^ records.set_aside.statements):
        yield f"statement {number}", number in due, number in records.set_aside.statements


def _set_aside_statements_do_not_count(records: Records) -> Found:
    """No statement is matched of which the last proofs know that it is set aside."""
    kept = records.set_aside
    for place, each in kept.decisions():
        if kept.proved.get(each.account_id, 0) >= place:
            for statement_id in kept.statements.intersection(each.statement_ids):
                if statement_id in records.reconciled.progress:
                    yield f"statement {statement_id}", "not matched", "matched"


def statement_proposals_have_their_hash(records: Records) -> Found:
    """Every proposal about statements has the fingerprint that its approval signs."""
    for each in records.set_aside.proposals:
        made = fingerprint_of(each)
        if made != each.content_sha256:
            yield f"proposal {each.id}", each.content_sha256.hex(), made.hex()


CHECKS: Final[MappingProxyType[str, Callable[[Records], Found]]] = MappingProxyType(
    {
        "statement_decisions_are_of_two": _statement_decisions_are_of_two,
        "set_aside_follows_decisions": _set_aside_follows_decisions,
        "set_aside_statements_do_not_count": _set_aside_statements_do_not_count,
    }
)
