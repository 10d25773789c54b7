"""One run of matching: the passes in their order, and a hash over input and result.

Promises: the result depends only on the two sets of items and the rules. Items that were matched earlier are not
passed in, so they cost nothing. Must never: depend on the order of the items, a clock or an earlier run.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.matching.groups import match_by_group, match_by_parts, suggest_sums
from settlement_engine.domain.matching.pool import Pool
from settlement_engine.domain.matching.single import (
    match_by_end_to_end,
    match_by_our_reference,
    match_by_rail_reference,
    match_by_text,
    match_with_difference,
)
from settlement_engine.domain.matching.values import Match, MatchingResult, Ours, Rules, Theirs

if TYPE_CHECKING:
    from collections.abc import Iterable

_PASSES = (
    match_by_our_reference,
    match_by_end_to_end,
    match_by_rail_reference,
    match_by_text,
    match_by_parts,
    match_by_group,
    match_with_difference,
    suggest_sums,
)


def match_items(ours: Iterable[Ours], theirs: Iterable[Theirs], rules: Rules) -> MatchingResult:
    """Match the open items of both sides. Suggested items stay open."""
    pool = Pool(ours, theirs, rules)
    given = [*pool.ours.values()], [*pool.theirs.values()]
    for run_pass in _PASSES:
        run_pass(pool)
    suggestions = _still_open(pool)
    open_ours, open_theirs = tuple(pool.ours), tuple(pool.theirs)
    said = (given, rules, pool.matches, suggestions, open_ours, open_theirs)
    return MatchingResult(
        matches=tuple(pool.matches),
        suggestions=suggestions,
        open_ours=open_ours,
        open_theirs=open_theirs,
        result_hash=hashlib.sha256(msgspec.json.encode(said)).hexdigest(),
        comparisons=pool.comparisons,
    )


def _still_open(pool: Pool) -> tuple[Match, ...]:
    """Return the suggestions whose items no later pass has matched, each set of items once."""
    found: dict[tuple[tuple[str, ...], tuple[str, ...]], Match] = {}
    for each in pool.suggestions:
        is_open = all(i in pool.ours for i in each.ours) and all(
            i in pool.theirs for i in each.theirs
        )
        if is_open:
            found.setdefault((tuple(sorted(each.ours)), tuple(sorted(each.theirs))), each)
    return tuple(found.values())
