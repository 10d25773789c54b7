"""Passes that match one of our items with one of theirs: by a reference and the amount, or with a difference.

Promises: the amounts are equal to the minor unit, or their difference is a known charge or within a tolerance,
and is booked to a named account. Must never: match by an amount and a date alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.matching.closing import closing
from settlement_engine.domain.matching.text import TEXT_REFERENCE_CHARACTERS_MIN, text_references
from settlement_engine.domain.matching.twins import match_twins
from settlement_engine.domain.matching.values import (
    Match,
    Ours,
    Pass,
    Theirs,
    spelled,
    spelled_all,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from settlement_engine.domain.matching.pool import Key, Pair, Pool


def match_by_our_reference(pool: Pool) -> None:
    """Match by one of our references and the amount."""
    _match_exactly(
        pool,
        Pass.OUR_REFERENCE,
        lambda each: spelled_all(each.references),
        lambda each: spelled_all(each.given),
    )


def match_by_end_to_end(pool: Pool) -> None:
    """Match by the end-to-end id and the amount."""
    _match_exactly(
        pool,
        Pass.END_TO_END,
        lambda each: spelled_all((each.end_to_end,)),
        lambda each: spelled_all((each.end_to_end,)),
    )


def match_by_rail_reference(pool: Pool) -> None:
    """Match by the reference of the rail or the bank, and the amount."""
    _match_exactly(
        pool,
        Pass.RAIL_REFERENCE,
        lambda each: spelled_all(each.rail_references),
        lambda each: spelled_all((*each.rail_references, *each.given)),
    )


def match_by_text(pool: Pool) -> None:
    """Match by one of our references in the entry's text, the amount and near dates."""
    _match_exactly(
        pool,
        Pass.REFERENCE_IN_TEXT,
        lambda each: [
            text
            for text in spelled_all((*each.references, each.end_to_end, *each.rail_references))
            if len(text) >= TEXT_REFERENCE_CHARACTERS_MIN
        ],
        text_references,
        only_sure=True,
    )


def _match_exactly(
    pool: Pool,
    matched_by: Pass,
    references_of_ours: Callable[[Ours], Iterable[str]],
    references_of_theirs: Callable[[Theirs], Iterable[str]],
    *,
    only_sure: bool = False,
) -> None:
    def ours(each: Ours) -> list[Key]:
        return [(each.account, r, each.minor, each.currency) for r in references_of_ours(each)]

    def theirs(each: Theirs) -> list[Key]:
        return [(each.account, r, each.minor, each.currency) for r in references_of_theirs(each)]

    for pair in pool.pairs(matched_by, ours, theirs, settle=match_twins):
        sides = (pair.ours.id,), (pair.theirs.id,)
        text = f"{pair.key[1]} and {pair.key[2]} {pair.key[3]} are one on each side"
        if only_sure and not pool.is_sure(*sides):
            continue
        if pool.in_window(pair.ours, pair.theirs):
            pool.match(pool.made(matched_by, *sides, text))
        else:
            days = f"{text}, and the dates are more than {pool.rules.window_days} days apart"
            pool.suggest(pool.made(matched_by, *sides, days))


def match_with_difference(pool: Pool) -> None:
    """Match by a reference if the difference is a known charge or within the tolerance."""
    for pair in pool.pairs(Pass.TARIFF, _names_of_ours, _names_of_theirs):
        sides = (pair.ours.id,), (pair.theirs.id,)
        if not pool.is_sure(*sides) or pair.theirs.is_reversal:
            continue
        found = _closed(pool, pair)
        if found is None:
            continue
        if pool.in_window(pair.ours, pair.theirs):
            pool.match(found)
        else:
            pool.suggest(found)


def _names_of_ours(each: Ours) -> list[Key]:
    names = spelled_all((*each.references, each.end_to_end, *each.rail_references))
    return [(each.account, name, each.currency) for name in names]


def _names_of_theirs(each: Theirs) -> list[Key]:
    names = spelled_all((*each.given, each.end_to_end, *each.rail_references))
    return [(each.account, name, each.currency) for name in names]


def _closed(pool: Pool, pair: Pair) -> Match | None:
    """Return the match if exactly one rule explains its difference, else None."""
    ours, theirs = pair.ours, pair.theirs
    found = closing(
        pool.rules,
        (ours.minor, theirs.minor),
        ours.currency,
        theirs.value_date,
        ours.counterparty,
    )
    if found is None:
        return None
    difference = theirs.minor - ours.minor
    if found.by is Pass.TARIFF:
        text = f"{spelled(str(pair.key[1]))} names both; {-difference} is a charge of the tariff"
    else:
        text = f"{pair.key[1]} names both; {difference} is within the tolerance"
    if found.is_sure:
        (account,) = found.accounts
        return _with_difference(pool, found.by, pair, (account, text))
    if found.by is Pass.TARIFF:
        text = f"{pair.key[1]} names both; {-difference} is a charge of several accounts"
        pool.suggest(pool.made(Pass.TARIFF, [ours.id], [theirs.id], text))
    return None


def _with_difference(pool: Pool, matched_by: Pass, pair: Pair, why: tuple[str, str]) -> Match:
    account, text = why
    made = pool.made(matched_by, [pair.ours.id], [pair.theirs.id], text)
    difference = pair.theirs.minor - pair.ours.minor
    return msgspec.structs.replace(made, difference_minor=difference, difference_account=account)
