"""Which breaks the open items of a page are.

Promises: an open entry is in exactly one break; one of ours that another entry's break has already is not used
again, so that a second entry is a duplicate. Must never: match an item.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.matching.breaks import (
    Break,
    BreakKind,
    BreakRun,
    classify,
    references_of_matched,
)
from settlement_engine.domain.reconciliation import (
    EXPLANATION_CHARACTERS_MAX,
    BreakPage,
    FoundBreak,
    TheirItem,
)

if TYPE_CHECKING:
    from settlement_engine.domain.matching.values import Rules


def found_breaks(page: BreakPage, rules: Rules) -> list[FoundBreak]:
    """Return the break of each entry of a page, in the order of the entries."""
    claimed = [each.item for each in page.ours if each.item.id in page.claimed]
    accounts = {each.item.account for each in page.theirs}
    matched = references_of_matched(claimed)
    for account in accounts:
        for name, minors in page.matched.items():
            matched[account, name] = matched.get((account, name), frozenset()) | minors
    run = BreakRun(
        ours=tuple(each.item for each in page.ours if each.item.id not in page.claimed),
        theirs=tuple(each.item for each in page.theirs),
        rules=rules,
        matched_references=matched,
    )
    items = {each.item.id: each for each in page.theirs}
    return [_found(each, items[each.theirs[0]]) for each in classify(run) if each.theirs]


def _found(found: Break, theirs: TheirItem) -> FoundBreak:
    is_amount = found.kind is BreakKind.AMOUNT
    return FoundBreak(
        kind=found.kind.value,
        severity=int(found.severity),
        amount_minor=found.difference_minor if is_amount else theirs.item.minor,
        currency=theirs.item.currency,
        business_date=theirs.booked_on,
        reason=found.reason[:EXPLANATION_CHARACTERS_MAX],
        ours=found.ours,
        theirs=(theirs.name,),
    )
