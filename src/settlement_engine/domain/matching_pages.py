"""What matching one page of items changes: which references to look up, and what a result means for the days.

Promises: everything that could belong to an entry by a reference is looked up, so that what is unique in a page is
unique among the open postings. Must never: read a store.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.matching.run import match_items
from settlement_engine.domain.matching.text import text_references
from settlement_engine.domain.matching.values import spelled_all
from settlement_engine.domain.proof import DaySums
from settlement_engine.domain.reconciliation import MatchingPage, PageMatches

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from settlement_engine.domain.matching.values import Match, Rules, Theirs
    from settlement_engine.domain.reconciliation import TheirItem


def references_in(items: Iterable[TheirItem]) -> list[str]:
    """Return every reference by which one of ours may belong to one of these entries, in the form of comparison."""
    found: dict[str, None] = {}
    for each in items:
        found.update(dict.fromkeys(every_name_of(each.item)))
        for part in each.item.parts:
            found.update(dict.fromkeys(spelled_all(part.references)))
    return list(found)


def names_of(item: Theirs) -> tuple[str, ...]:
    """Return the references of an entry, in the form of comparison."""
    return spelled_all((*item.given, item.end_to_end, *item.rail_references))


def every_name_of(item: Theirs) -> tuple[str, ...]:
    """Return the references of an entry, also those in its text."""
    return (*names_of(item), *text_references(item))


def match_page(page: MatchingPage, rules: Rules) -> PageMatches:
    """Match the items of a page."""
    result = match_items(
        (each.item for each in page.ours), (each.item for each in page.theirs), rules
    )
    return PageMatches(
        matches=result.matches, suggestions=result.suggestions, result_hash=result.result_hash
    )


def settled_days(page: MatchingPage, matches: Iterable[Match]) -> list[date]:
    """Return for each match the day on which all of its items are booked."""
    days = {each.item.id: each.booked_on for each in page.ours}
    days |= {each.item.id: each.booked_on for each in page.theirs}
    return [max(days[item] for item in (*each.ours, *each.theirs)) for each in matches]


def day_changes(
    page: MatchingPage, found: PageMatches, days: Iterable[date], *, are_new: bool
) -> list[DaySums]:
    """Return what a page adds to the sums of the days. ``are_new``: its entries were not counted before."""
    sums: defaultdict[date, list[int]] = defaultdict(lambda: [0] * 6)
    ours = {each.item.id: each.item.minor for each in page.ours}
    theirs = {each.item.id: each.item.minor for each in page.theirs}
    for each in page.theirs if are_new else ():
        _add(sums[each.booked_on], 0, each.item.minor)
    for match, day in zip(found.matches, days, strict=True):
        for item in match.ours:
            _add(sums[day], 2, ours[item])
        for item in match.theirs:
            _add(sums[day], 4, theirs[item])
    return [
        DaySums(
            day=day,
            theirs_minor=said[0],
            theirs=said[1],
            matched_ours_minor=said[2],
            matched_ours=said[3],
            matched_theirs_minor=said[4],
            matched_theirs=said[5],
        )
        for day, said in sorted(sums.items())
    ]


def _add(sums: list[int], place: int, minor: int) -> None:
    sums[place] += minor
    sums[place + 1] += 1


def without_taken_back(
    page: MatchingPage,
    found: PageMatches,
    taken_back: Iterable[tuple[frozenset[str], frozenset[str]]],
) -> PageMatches:
    """Turn matches that people have taken back into suggestions: no run makes them again.

    ``taken_back`` are the names of the items of each, ours and theirs.
    """
    refused = set(taken_back)
    if not refused:
        return found
    names = {each.item.id: each.name for each in page.theirs}
    kept: list[Match] = []
    suggested = list(found.suggestions)
    for match in found.matches:
        theirs = frozenset(names[item] for item in match.theirs)
        if (frozenset(match.ours), theirs) in refused:
            text = f"people have taken this match back: {match.explanation}"
            suggested.append(msgspec.structs.replace(match, explanation=text))
        else:
            kept.append(match)
    return msgspec.structs.replace(found, matches=tuple(kept), suggestions=tuple(suggested))
