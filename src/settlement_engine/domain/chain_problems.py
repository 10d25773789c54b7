"""What is wrong with the statements of an account at present: the problems of its chain, and late statements.

Promises: a problem is derived from the statements that are kept now, so one that was cured is no longer there; each
names the statement at which it is seen. Must never: repeat what was true when a statement was imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date

    from settlement_engine.domain.statement_chain import StatementChain, StatementHead


CONTESTED: Final = (
    "two versions do not say which one is later: two people set the wrong one aside"
    " (`statements set-aside`)"
)


class ProblemKind(StrEnum):
    """What is wrong."""

    MISSING = "MISSING"  # the next statement is late
    GAP = "GAP"  # something is missing before this statement
    INCOMPLETE = "INCOMPLETE"  # a page or a balance of it is missing
    CONTESTED = "CONTESTED"  # two versions do not say which one is later
    UNBALANCED = "UNBALANCED"  # its balances and entries do not add up
    OVERLAP = "OVERLAP"  # it covers days of another one
    MISDATED = "MISDATED"  # entries have a booking date outside of its days
    UNREAD = "UNREAD"  # entries cannot be searched for our payments


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptHead:
    """A kept statement: our number of it, and its head.

    ``misdated`` is the number of its entries that were matched and whose booking date is outside of its days.
    """

    id: int
    head: StatementHead
    misdated: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainProblem:
    """A problem, the statement at which it is seen (0: none), and its days."""

    kind: ProblemKind
    reason: str
    first_day: date
    last_day: date
    statement_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainPlace:
    """The place of a statement in the chain of its account: from 1, of how many, and its neighbours (0: none)."""

    number: int
    of: int
    before_id: int
    after_id: int
    problem: ChainProblem | None


def problems_of(chain: StatementChain, by_hash: Mapping[str, KeptHead]) -> Iterator[ChainProblem]:
    """List the problems of a chain, by their kinds."""
    for gap in chain.gaps:
        before, after = by_hash[gap.before].head, by_hash[gap.after]
        yield ChainProblem(
            kind=ProblemKind.GAP,
            reason=gap.reason,
            first_day=before.ends,
            last_day=after.head.begins,
            statement_id=after.id,
        )
    reasons = {page.content_hash: joined.missing() for joined in chain.row for page in joined.pages}
    several = (
        (ProblemKind.INCOMPLETE, chain.incomplete, ""),
        (ProblemKind.CONTESTED, chain.contested, CONTESTED),
        (ProblemKind.UNBALANCED, chain.unbalanced, "balances and entries do not add up"),
        (ProblemKind.OVERLAP, chain.overlapping, "it covers days of another statement"),
    )
    for kind, hashes, text in several:
        for each in hashes:
            yield _problem(kind, by_hash[each], text or reasons.get(each, ""))
    for kept in by_hash.values():
        if kept.misdated:
            reason = f"booking dates outside of its days, counted on its last one: {kept.misdated}"
            yield _problem(ProblemKind.MISDATED, kept, reason)


def _problem(kind: ProblemKind, kept: KeptHead, reason: str) -> ChainProblem:
    return ChainProblem(
        kind=kind,
        reason=reason,
        first_day=kept.head.begins,
        last_day=kept.head.ends,
        statement_id=kept.id,
    )


def place_of_statement(
    chain: StatementChain, by_hash: Mapping[str, KeptHead], content_hash: str
) -> ChainPlace | None:
    """Return a statement's place; None if it is not in the chain. A page has the place of its statement."""
    for number, joined in enumerate(chain.row):
        if all(page.content_hash != content_hash for page in joined.pages):
            continue
        before = chain.row[number - 1].last.content_hash if number else ""
        behind = chain.row[number + 1] if number + 1 < len(chain.row) else None
        problem = next(
            (
                each
                for each in problems_of(chain, by_hash)
                if each.statement_id == by_hash[content_hash].id
            ),
            None,
        )
        return ChainPlace(
            number=number + 1,
            of=len(chain.row),
            before_id=by_hash[before].id if before else 0,
            after_id=by_hash[behind.first.content_hash].id if behind is not None else 0,
            problem=problem,
        )
    return None
