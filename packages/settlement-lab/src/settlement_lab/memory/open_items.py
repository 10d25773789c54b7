"""What was open on an account at the end of a past day, in memory (``ports.OpenItemsReader``)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from settlement_engine.domain.open_items import (
    REFERENCES_MAX,
    ItemPart,
    ItemPlace,
    OpenItem,
    ProofAsOf,
    begins_of,
    span_of,
)
from settlement_engine.domain.proof import NOT_COVERED, at_day

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import date

    from settlement_engine.domain.reconciliation import OurItem, TheirItem
    from settlement_engine.ports import OpenItemFilter
    from settlement_lab.memory.reconciled import KeptMatch, Reconciled
    from settlement_lab.memory.records import Records

Item = TypeVar("Item", "OurItem", "TheirItem")


class MemoryOpenItems:
    """See ``ports.OpenItemsReader``."""

    _records: Records
    _kept: Reconciled

    async def proof_as_of(self, account_id: int, day: date) -> ProofAsOf | None:
        """Return the last proof of an account for a day, and whether it is what there is now."""
        latest = {each.booking_date: each for each in self._kept.proofs.get(account_id, ())}
        proofs = [proof for _, proof in sorted(latest.items())]
        proof = at_day(proofs, day)
        if proof is None:
            return None
        changed = self._kept.changed_since_proof.get(account_id)
        return ProofAsOf(
            currency=self._records.accounts[account_id].currency,
            proof=proof,
            begins=begins_of(proofs),
            is_current=proof.held_back_by != NOT_COVERED and (changed is None or day < changed),
        )

    async def open_items(self, wanted: OpenItemFilter) -> list[OpenItem]:
        """Return the items that were open at the end of a day."""
        found = sorted(self._every(wanted), key=lambda each: each.place.key())
        after = wanted.after
        rest = [each for each in found if after is None or each.place.key() > after.key()]
        return rest[: wanted.limit]

    def _every(self, wanted: OpenItemFilter) -> Iterator[OpenItem]:
        account_id, day = wanted.account_id, wanted.day
        for (owner, _), theirs in self._kept.theirs.items():
            if owner == account_id and theirs.booked_on <= day:
                place = ItemPlace(
                    ItemPart.THEIRS_OPEN, theirs.booked_on, (theirs.statement_id, theirs.number)
                )
                yield _theirs(theirs, place)
        for (owner, _), ours in self._kept.ours.items():
            is_before = wanted.begins is not None and ours.booked_on < wanted.begins
            if owner == account_id and ours.booked_on <= day and not is_before:
                place = ItemPlace(ItemPart.OURS_OPEN, ours.booked_on, (ours.posting_id,))
                yield _ours(ours, place)
        for match_id, kept in enumerate(self._kept.matches, 1):
            if kept.account_id == account_id and not kept.reason and kept.settled_on > day:
                yield from self._matched_since(match_id, kept, day)

    def _matched_since(self, match_id: int, kept: KeptMatch, day: date) -> Iterator[OpenItem]:
        for theirs in _booked_by(kept.theirs, day):
            item = (theirs.statement_id, theirs.number)
            place = _place(ItemPart.THEIRS_MATCHED, theirs, item, (match_id, kept))
            yield _theirs(theirs, place, kept)
        for ours in _booked_by(kept.ours, day):
            group, posting, leg = ours.item.id.split("/")
            place = _place(
                ItemPart.OURS_MATCHED, ours, (group, int(posting), int(leg)), (match_id, kept)
            )
            yield _ours(ours, place, kept)


def _theirs(theirs: TheirItem, place: ItemPlace, kept: KeptMatch | None = None) -> OpenItem:
    item = theirs.item
    item_of = _told(place, kept)
    return item_of(
        name=theirs.name,
        minor=item.minor,
        currency=item.currency,
        booked_on=theirs.booked_on,
        value_date=item.value_date,
        references=_few((*item.given, *item.rail_references)),
        text=item.text,
    )


def _ours(ours: OurItem, place: ItemPlace, kept: KeptMatch | None = None) -> OpenItem:
    item = ours.item
    item_of = _told(place, kept)
    return item_of(
        name=item.id,
        minor=item.minor,
        currency=item.currency,
        booked_on=ours.booked_on,
        value_date=item.value_date,
        references=_few((*item.references, item.end_to_end, *item.rail_references, item.batch)),
    )


def _told(place: ItemPlace, kept: KeptMatch | None) -> Callable[..., OpenItem]:
    """Return what makes an item of its own fields: with its place, and with its match if there is one."""
    if kept is None:
        return partial(OpenItem, place=place)
    return partial(
        OpenItem,
        place=place,
        match_id=place.match_id,
        matched_by=kept.match.matched_by.value,
        matched_on=kept.settled_on,
        matched_at=kept.at,
    )


def _few(references: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each for each in references if each))[:REFERENCES_MAX]


def _booked_by(items: Iterable[Item], day: date) -> list[Item]:
    return [each for each in items if each.booked_on <= day]


def _place(
    part: ItemPart,
    item: OurItem | TheirItem,
    named: tuple[str | int, ...],
    match: tuple[int, KeptMatch],
) -> ItemPlace:
    match_id, kept = match
    span = span_of(item.booked_on, kept.settled_on)
    return ItemPlace(part, kept.settled_on, named, span, match_id)
