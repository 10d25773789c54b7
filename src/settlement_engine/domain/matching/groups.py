"""Passes that match several items with one, or several with several, by a common reference and an equal sum.

Promises: a group is matched automatically only if all its items have the reference and the sums are equal to the
minor unit. Sums without a common reference are only suggested; the search for them has fixed bounds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.matching.text import text_references
from settlement_engine.domain.matching.values import (
    Match,
    Ours,
    Pass,
    Theirs,
    spelled,
    spelled_all,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.domain.matching.pool import Key, Pool

GROUP_ITEMS_MAX: Final = 100_000
"""The most items on one side of a group with one reference."""

SUMS_PER_ITEM_MAX: Final = 4_096
"""The most sums that are tried for one item; ten parts have about a thousand sums."""


def match_by_parts(pool: Pool) -> None:
    """Match an entry with the payments inside it, if each is one of ours and they add up to the entry."""
    by_name: dict[Key, list[Ours]] = {}
    for each in pool.ours.values():
        names = spelled_all((*each.references, each.end_to_end, *each.rail_references))
        for name in names:
            by_name.setdefault((each.account, name, each.currency), []).append(each)
    claims: dict[str, int] = {}
    found: list[tuple[Theirs, list[Ours]]] = []
    for theirs in pool.theirs.values():
        members = _members(pool, theirs, by_name) if theirs.parts else None
        if members is not None:
            found.append((theirs, members))
            for member in members:
                claims[member.id] = claims.get(member.id, 0) + 1
    for theirs, members in found:
        ids = sorted(member.id for member in members)
        text = f"each of the {len(ids)} payments inside is one of ours, and they add up"
        if all(claims[member] == 1 for member in ids) and pool.is_sure(ids, [theirs.id]):
            pool.match(pool.made(Pass.ONE_TO_MANY, ids, [theirs.id], text))


def _members(pool: Pool, theirs: Theirs, by_name: dict[Key, list[Ours]]) -> list[Ours] | None:
    """Return our item for each part of an entry; None unless each has exactly one and all add up."""
    members: dict[str, Ours] = {}
    for part in theirs.parts:
        pool.comparisons += len(part.references)
        named = {
            each.id: each
            for name in spelled_all(part.references)
            for each in by_name.get((theirs.account, name, theirs.currency), [])[:2]
        }
        if len(named) != 1:
            return None
        (only,) = named.values()
        if only.id in members or part.minor not in (None, only.minor):
            return None
        if not pool.in_window(only, theirs):
            return None
        members[only.id] = only
    total = sum(member.minor for member in members.values())
    return list(members.values()) if total == theirs.minor else None


def match_by_group(pool: Pool) -> None:
    """Match all items of both sides with one reference, if both sums are equal."""
    found = _groups(pool)
    memberships: dict[str, int] = {}
    for our_ids, their_ids in found:
        for each in (*(f"ours {o}" for o in our_ids), *(f"theirs {t}" for t in their_ids)):
            memberships[each] = memberships.get(each, 0) + 1
    for (our_ids, their_ids), name in found.items():
        members = (*(f"ours {o}" for o in our_ids), *(f"theirs {t}" for t in their_ids))
        text = f"{name} holds {len(our_ids)} of ours and {len(their_ids)} of theirs, equal in sum"
        made = pool.made(_pass_of(our_ids, their_ids), our_ids, their_ids, text)
        if all(memberships[each] == 1 for each in members) and pool.is_sure(our_ids, their_ids):
            pool.match(made)
        else:
            pool.suggest(made)


def _groups(pool: Pool) -> dict[tuple[tuple[str, ...], tuple[str, ...]], str]:
    """Find each group whose sums are equal, with its first reference."""
    ours: dict[Key, list[Ours]] = {}
    theirs: dict[Key, list[Theirs]] = {}
    for our in pool.ours.values():
        for name in spelled_all((our.batch, *our.references, our.end_to_end)):
            ours.setdefault((our.account, name, our.currency), []).append(our)
    for their in pool.theirs.values():
        said = spelled_all((*their.given, *their.rail_references))
        for name in dict.fromkeys((*said, *text_references(their))):
            theirs.setdefault((their.account, name, their.currency), []).append(their)
    found: dict[tuple[tuple[str, ...], tuple[str, ...]], str] = {}
    for key, their_side in theirs.items():
        our_side = ours.get(key, [])
        pool.comparisons += len(our_side) + len(their_side)
        if our_side and _adds_up(pool, our_side, their_side):
            group = tuple(each.id for each in our_side), tuple(each.id for each in their_side)
            found.setdefault(group, str(key[1]))
    return found


def _pass_of(ours: Sequence[str], theirs: Sequence[str]) -> Pass:
    if len(theirs) == 1:
        return Pass.ONE_TO_MANY
    return Pass.MANY_TO_ONE if len(ours) == 1 else Pass.MANY_TO_MANY


def _adds_up(pool: Pool, ours: list[Ours], theirs: list[Theirs]) -> bool:
    """Say whether two sides have equal sums, one sign and near dates, and contain no reversal."""
    if len(ours) + len(theirs) <= 2 or max(len(ours), len(theirs)) > GROUP_ITEMS_MAX:  # noqa: PLR2004
        return False  # one and one is not a group
    signs = {each.minor > 0 for each in ours} | {each.minor > 0 for each in theirs}
    if len(signs) != 1 or any(each.is_reversal for each in theirs):
        return False
    days = [each.value_date for each in ours]
    their_days = [each.value_date for each in theirs if each.value_date is not None]
    if len(their_days) != len(theirs):
        return False
    window = timedelta(days=pool.rules.window_days)
    if max(*days, *their_days) - min(*days, *their_days) > window:
        return False
    return sum(each.minor for each in ours) == sum(each.minor for each in theirs)


def suggest_sums(pool: Pool) -> None:
    """Suggest items whose amounts add up, without a reference that connects them."""
    taken_ours: set[str] = set(pool.unsure_ours)
    taken_theirs: set[str] = set(pool.unsure_theirs)
    ours = [each for each in pool.ours.values() if each.id not in taken_ours]
    theirs = [each for each in pool.theirs.values() if each.id not in taken_theirs]
    for found in (
        *_sums(pool, theirs, ours, Pass.ONE_TO_MANY),
        *_sums(pool, ours, theirs, Pass.MANY_TO_ONE),
    ):
        if taken_ours.isdisjoint(found.ours) and taken_theirs.isdisjoint(found.theirs):
            pool.suggest(found)
            taken_ours.update(found.ours)
            taken_theirs.update(found.theirs)


def _sums(
    pool: Pool, wholes: Sequence[Ours | Theirs], parts: Sequence[Ours | Theirs], direction: Pass
) -> list[Match]:
    """Find for each item the parts near it that add up to it, if there are few enough to try."""
    buckets: dict[Key, list[tuple[int, str, int]]] = {}
    for part in parts:
        if part.value_date is not None:
            day = part.value_date.toordinal()
            buckets.setdefault(_bucket(part), []).append((day, part.id, part.minor))
    for bucket in buckets.values():
        bucket.sort()
    found: list[Match] = []
    for whole in wholes:
        bucket = buckets.get(_bucket(whole), [])
        if whole.value_date is None or not bucket:
            continue
        day, window = whole.value_date.toordinal(), pool.rules.window_days
        low = bisect_left(bucket, (day - window,))
        high = bisect_right(bucket, (day + window + 1,))
        pool.comparisons += min(high - low, pool.rules.sum_items_max)
        if not 1 < high - low <= pool.rules.sum_items_max:
            continue
        near = [(identifier, minor) for _, identifier, minor in bucket[low:high]]
        chosen = _subset(near, whole.minor)
        if chosen:
            text = f"{len(chosen)} amounts within {window} days add up to {whole.minor}"
            sides = (chosen, [whole.id]) if direction is Pass.ONE_TO_MANY else ([whole.id], chosen)
            found.append(pool.made(Pass.SUM, *sides, text))
    return found


def _bucket(each: Ours | Theirs) -> Key:
    return (each.account, each.currency, each.minor > 0, spelled(each.counterparty))


def _subset(parts: list[tuple[str, int]], wanted: int) -> list[str]:
    """Return the first parts that add up; empty when none do. The number of sums tried is bounded."""
    sums: dict[int, list[str]] = {0: []}
    steps = 0
    for identifier, minor in parts:
        for total, members in list(sums.items()):
            steps += 1
            if steps > SUMS_PER_ITEM_MAX:
                return []
            together = total + minor
            if abs(together) <= abs(wanted) and together not in sums:
                sums[together] = [*members, identifier]
        if wanted in sums and len(sums[wanted]) > 1:
            return sums[wanted]
    return []
