"""The items that are still open while the passes run, and how the two sides are joined by a key.

Promises: a join reads each key of each side once; everything is ordered by id, so that the same input gives the
same result. Must never: match an item with more than one candidate; that is only suggested.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from settlement_engine.domain.matching.values import (
    Match,
    Ours,
    Pass,
    Rules,
    Theirs,
    spelled_all,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Key = tuple[object, ...]

_Item = TypeVar("_Item", Ours, Theirs)

CANDIDATES_MAX: Final = 20
"""The most candidates of one side in a suggestion."""


class Pair(msgspec.Struct, frozen=True):
    """One of our items and one of theirs with a common key that no other item has."""

    ours: Ours
    theirs: Theirs
    key: tuple[object, ...]


class Join(msgspec.Struct, frozen=True):
    """The open items of both sides by their keys in one pass, and the keys of an item."""

    ours: dict[Key, list[str]]
    theirs: dict[Key, list[str]]
    keys_of_ours: Callable[[Ours], Iterable[Key]]
    keys_of_theirs: Callable[[Theirs], Iterable[Key]]


class Pool:
    """The open items of both sides."""

    def __init__(self, ours: Iterable[Ours], theirs: Iterable[Theirs], rules: Rules) -> None:
        self.ours = {each.id: each for each in sorted(ours, key=lambda each: each.id)}
        self.theirs = {each.id: each for each in sorted(theirs, key=lambda each: each.id)}
        self.rules = rules
        self.matches: list[Match] = []
        self.suggestions: list[Match] = []
        self.comparisons = 0
        self.unsure_ours: set[str] = set()
        self.unsure_theirs: set[str] = set()
        """Items with several candidates by a reference: no weaker pass may match them."""

    @cached_property
    def named_ours(self) -> dict[Key, set[str]]:
        """Our items by each of their references and the amount; also those that a later pass has matched."""
        found: dict[Key, set[str]] = {}
        for each in self.ours.values():
            for name in spelled_all((*each.references, each.end_to_end, *each.rail_references)):
                key = (each.account, name, each.minor, each.currency)
                found.setdefault(key, set()).add(each.id)
        return found

    def match(self, found: Match) -> None:
        """Record a match and remove its items from the pool."""
        for our_id in found.ours:
            del self.ours[our_id]
        for their_id in found.theirs:
            del self.theirs[their_id]
        self.matches.append(found)

    def suggest(self, found: Match) -> None:
        """Record a suggestion for a person; its items stay in the pool."""
        self.suggestions.append(found)
        self.unsure_ours.update(found.ours)
        self.unsure_theirs.update(found.theirs)

    def is_sure(self, ours: Iterable[str], theirs: Iterable[str]) -> bool:
        """Say whether no stronger pass found several candidates for these items."""
        return self.unsure_ours.isdisjoint(ours) and self.unsure_theirs.isdisjoint(theirs)

    def in_window(self, ours: Ours, theirs: Theirs) -> bool:
        """Say whether the two value dates are near enough; False if a date is missing."""
        if theirs.value_date is None:
            return False
        return abs((theirs.value_date - ours.value_date).days) <= self.rules.window_days

    def made(
        self, matched_by: Pass, ours: Iterable[str], theirs: Iterable[str], explanation: str
    ) -> Match:
        """Return a match without a difference."""
        return Match(
            matched_by=matched_by,
            rules_version=self.rules.full_version,
            ours=tuple(ours),
            theirs=tuple(theirs),
            explanation=explanation,
        )

    def pairs(
        self,
        matched_by: Pass,
        keys_of_ours: Callable[[Ours], Iterable[Key]],
        keys_of_theirs: Callable[[Theirs], Iterable[Key]],
        *,
        settle: Callable[[Pool, Join, Key], bool] = lambda _pool, _join, _key: False,
    ) -> list[Pair]:
        """Join both sides. Returns the unique pairs, and suggests the ambiguous ones.

        ``settle`` matches several items with one key, and says whether it did.
        """
        by_ours = _by_key(self.ours.values(), keys_of_ours)
        by_theirs = _by_key(self.theirs.values(), keys_of_theirs)
        join = Join(by_ours, by_theirs, keys_of_ours, keys_of_theirs)
        self.comparisons += len(self.ours) + len(self.theirs)
        partners_of_ours: dict[str, dict[str, Key]] = {}
        partners_of_theirs: dict[str, dict[str, Key]] = {}
        crowded_ours: set[str] = set()
        crowded_theirs: set[str] = set()
        for key, their_ids in by_theirs.items():
            our_ids = by_ours.get(key)
            if our_ids is None:
                continue
            self.comparisons += len(our_ids) + len(their_ids)
            if len(our_ids) == 1 and len(their_ids) == 1:
                partners_of_ours.setdefault(our_ids[0], {}).setdefault(their_ids[0], key)
                partners_of_theirs.setdefault(their_ids[0], {}).setdefault(our_ids[0], key)
                continue
            if our_ids[0] not in self.ours or settle(self, join, key):
                continue  # the same items are settled by another of their keys
            crowded_ours.update(our_ids)
            crowded_theirs.update(their_ids)
            self._suggest_several(matched_by, our_ids, their_ids, key)
        return self._only_pairs(
            matched_by, (partners_of_ours, partners_of_theirs), (crowded_ours, crowded_theirs)
        )

    def _suggest_several(
        self, matched_by: Pass, our_ids: list[str], their_ids: list[str], key: Key
    ) -> None:
        text = f"{len(our_ids)} of ours and {len(their_ids)} of theirs have {said(key)}"
        self.suggest(
            self.made(matched_by, our_ids[:CANDIDATES_MAX], their_ids[:CANDIDATES_MAX], text)
        )
        self.unsure_ours.update(our_ids)
        self.unsure_theirs.update(their_ids)

    def _only_pairs(
        self,
        matched_by: Pass,
        partners: tuple[dict[str, dict[str, Key]], dict[str, dict[str, Key]]],
        crowded: tuple[set[str], set[str]],
    ) -> list[Pair]:
        found: list[Pair] = []
        for their_id, candidates in partners[1].items():
            our_id = next(iter(candidates))
            if len(candidates) > 1 or len(partners[0][our_id]) > 1:
                text = "different references name different ones"
                names = sorted(candidates)[:CANDIDATES_MAX]
                self.suggest(self.made(matched_by, names, [their_id], text))
            elif our_id not in crowded[0] and their_id not in crowded[1]:
                found.append(Pair(self.ours[our_id], self.theirs[their_id], candidates[our_id]))
        return found


def _by_key(
    items: Iterable[_Item], keys_of: Callable[[_Item], Iterable[Key]]
) -> dict[Key, list[str]]:
    found: dict[Key, list[str]] = {}
    for each in items:
        for key in dict.fromkeys(keys_of(each)):
            found.setdefault(key, []).append(each.id)
    return found


def said(key: Key) -> str:
    """Return a key without its account, for an explanation."""
    return " ".join(str(part) for part in key[1:])
