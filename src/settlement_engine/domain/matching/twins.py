"""Equal twins: several of ours and as many entries that nothing tells apart.

Promises: which of ours is which entry is not decided, because both are the same for either. If the bank has more of
them, each of ours is booked, and what is left over is not one of them. If it has fewer, which of ours is missing is
not known: nothing is matched. Must never: merge twins, or match one that a reference tells from the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.matching.pool import said
from settlement_engine.domain.matching.text import text_references
from settlement_engine.domain.matching.values import Ours, Pass, Theirs, spelled_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from settlement_engine.domain.matching.pool import Join, Key, Pool


def match_twins(pool: Pool, join: Join, key: Key) -> bool:
    """Match the items of one key if they are twins; says whether it did."""
    our_ids, their_ids = join.ours[key], join.theirs[key]
    count, left = len(our_ids), len(their_ids) - len(our_ids)
    if left < 0 or not pool.is_sure(our_ids, their_ids):
        return False
    ours = [pool.ours[each] for each in our_ids]
    theirs = [pool.theirs[each] for each in their_ids]
    if not (_are_near(pool, ours, theirs) and _are_alike(join, key, ours, theirs)):
        return False
    if _name_others(pool, our_ids, theirs):
        return False
    names = {name for each in ours for name in _names_of_ours(each)}
    theirs.sort(key=lambda each: _likeness(names, each))
    text = f"{count} of ours and {count + left} of theirs have {said(key)}, and nothing tells them apart"
    if left:
        text += f": {left} of theirs left over"
    chosen = sorted(each.id for each in theirs[:count])
    pool.match(pool.made(Pass.EQUAL_TWINS, our_ids, chosen, text))
    pool.unsure_theirs.update(each.id for each in theirs[count:])
    return True


def _likeness(names: set[str], each: Theirs) -> tuple[object, ...]:
    """Return the sort key of an entry: what names the most of ours and is earliest comes first.

    Among those, what names the fewest others; what an entry says comes before how it is called here.
    """
    said_names = _names_of_theirs(each)
    others = sorted(said_names - names)
    known = len(said_names) - len(others)
    return (-known, str(each.value_date), len(others), others, each.text, each.id)


def _are_near(pool: Pool, ours: Sequence[Ours], theirs: Sequence[Theirs]) -> bool:
    """Say whether no entry is a reversal, and the value dates of all are near."""
    days = [each.value_date for each in theirs if each.value_date is not None]
    if len(days) < len(theirs) or any(each.is_reversal for each in theirs):
        return False
    days += [each.value_date for each in ours]
    return (max(days) - min(days)).days <= pool.rules.window_days


def _are_alike(join: Join, key: Key, ours: Sequence[Ours], theirs: Sequence[Theirs]) -> bool:
    """Say whether every key that joins one of them with the other side joins all of them, and nothing else."""
    our_ids, their_ids = join.ours[key], join.theirs[key]
    keys = {name for each in ours for name in join.keys_of_ours(each) if name in join.theirs}
    keys |= {name for each in theirs for name in join.keys_of_theirs(each) if name in join.ours}
    return all(join.ours.get(name) == our_ids and join.theirs[name] == their_ids for name in keys)


def _name_others(pool: Pool, our_ids: Iterable[str], theirs: Iterable[Theirs]) -> bool:
    """Say whether an entry names another one of ours of the same amount, by whatever reference."""
    index, known = pool.named_ours, set(our_ids)
    return any(
        not index.get((each.account, name, each.minor, each.currency), known) <= known
        for each in theirs
        for name in _names_of_theirs(each)
    )


def _names_of_ours(each: Ours) -> tuple[str, ...]:
    return spelled_all((*each.references, each.end_to_end, *each.rail_references))


def _names_of_theirs(each: Theirs) -> set[str]:
    parts = (name for part in each.parts for name in part.references)
    named = spelled_all((*each.given, each.end_to_end, *each.rail_references, *parts))
    return {*named, *text_references(each)}
