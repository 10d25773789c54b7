"""Breaks in memory: what is found on a page is opened, what is none any more is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.breaks.history import BreakEventKind
from settlement_engine.domain.closed_differences import is_difference, missing_reason
from settlement_engine.domain.matching.breaks import references_of
from settlement_engine.domain.matching_pages import (
    every_name_of,
)
from settlement_engine.domain.reconciliation import (
    MISSING_THEIRS_SEVERITY,
    OPENING_DIFFERENCE,
    BreakPage,
    EntryPlace,
    FoundBreak,
    OurItem,
    TheirItem,
)
from settlement_lab.memory.reconciled import KeptBreak, Reconciled, place_of

if TYPE_CHECKING:
    from datetime import date
    from uuid import UUID

    from settlement_engine.ports import (
        BreakFinder,
    )
    from settlement_lab.memory.records import Records


class MemoryBreaks:
    """The breaks of ``ports.ReconciliationStore``."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._kept: Reconciled = records.reconciled

    async def find_breaks_page(
        self, account_id: int, run_id: UUID, after: EntryPlace, find: BreakFinder
    ) -> EntryPlace | None:
        """Open, keep and close the breaks of the open entries behind a place; None if there are no more."""
        del run_id
        theirs = self._kept.open_entries(account_id, after)
        if not theirs:
            return None
        names = {each.name for each in theirs}
        found = find(self._break_page(account_id, theirs, names))
        wanted = {each.fingerprint() for each in found}
        for each in self._open_breaks(account_id):
            is_here = not names.isdisjoint(each.found.theirs)
            if is_here and each.found.fingerprint() not in wanted:
                self._close(each, BreakEventKind.CLOSED, "it is another difference now")
        for one in found:
            self._open_break(account_id, one)
        return place_of(theirs[-1])

    def _break_page(
        self, account_id: int, theirs: tuple[TheirItem, ...], names: set[str]
    ) -> BreakPage:
        claimed = {
            item
            for each in self._open_breaks(account_id)
            if set(each.found.theirs) - names
            for item in each.found.ours
        }
        named = {name for each in theirs for name in every_name_of(each.item)}
        matched: dict[str, frozenset[int]] = {}
        for kept in self._kept.matches:
            if kept.account_id == account_id and not kept.reason:
                for each in kept.ours:
                    for name in named.intersection(references_of(each.item)):
                        matched[name] = matched.get(name, frozenset()) | {each.item.minor}
        ours = self._kept.candidates(account_id, theirs)
        return BreakPage(
            ours=ours,
            theirs=theirs,
            claimed=frozenset(claimed & {each.item.id for each in ours}),
            matched=matched,
        )

    def _open_breaks(self, account_id: int) -> list[KeptBreak]:
        found = self._kept.breaks.values()
        return [each for each in found if each.is_open and each.account_id == account_id]

    def _open_break(self, account_id: int, found: FoundBreak) -> None:
        now = self._records.clock.now()
        key = (account_id, found.fingerprint())
        known = self._kept.breaks.get(key)
        if known is None:
            known = KeptBreak(account_id=account_id, found=found, opened_at=now)
            known.add(BreakEventKind.OPENED, now)
            self._kept.breaks[key] = known
        elif not known.is_open:
            known.is_open = True
            known.add(BreakEventKind.REOPENED, now)

    def _close(self, kept: KeptBreak, event: BreakEventKind, reason: str) -> None:
        kept.is_open = False
        kept.add(event, self._records.clock.now(), reason)

    async def settle_breaks(
        self, account_id: int, run_id: UUID, *, begins: date | None, last_day: date | None
    ) -> int:
        """Close breaks that are none any more, and open those of postings that no entry explains."""
        del run_id
        for each in self._open_breaks(account_id):
            open_corrections = [
                item for item in each.corrections if (account_id, item) in self._kept.ours
            ]
            if not self._has_open_items(each) and not open_corrections:
                event = (
                    BreakEventKind.CLOSED if self._is_forgotten(each) else BreakEventKind.MATCHED
                )
                self._close(each, event, "its items are not open any more")
        explained = {
            item
            for each in self._open_breaks(account_id)
            if each.found.theirs
            for item in each.found.ours
        }
        explained |= {item for each in self._open_breaks(account_id) for item in each.corrections}
        missing = {
            item: ours
            for (owner, item), ours in self._kept.ours.items()
            if owner == account_id and item not in explained
            if begins is not None and last_day is not None
            if begins <= ours.booked_on <= last_day or is_difference(item)
        }
        for each in self._open_breaks(account_id):
            is_corrected = not missing.keys().isdisjoint(each.found.ours) or each.corrections
            if each.found.kind == "MISSING_THEIRS" and not is_corrected:
                self._close(each, BreakEventKind.CLOSED, "it is another difference now")
        for item, ours in missing.items():
            self._open_break(account_id, _missing(item, ours))
        return len(self._open_breaks(account_id))

    def _has_open_items(self, kept: KeptBreak) -> bool:
        ours = ((kept.account_id, item) in self._kept.ours for item in kept.found.ours)
        theirs = ((kept.account_id, item) in self._kept.theirs for item in kept.found.theirs)
        return all(ours) and all(theirs)

    def _is_forgotten(self, kept: KeptBreak) -> bool:
        statements = (int(item.partition("/")[0]) for item in kept.found.theirs)
        return any(each not in self._kept.progress for each in statements)

    async def set_opening_difference(
        self, account_id: int, run_id: UUID, wanted: FoundBreak | None
    ) -> None:
        """Open the break of an opening difference, and close those of another one."""
        del run_id
        for each in self._open_breaks(account_id):
            if each.found.kind == OPENING_DIFFERENCE and each.found != wanted:
                self._close(each, BreakEventKind.CLOSED, "the opening difference is another")
        if wanted is not None and not self._is_explained(account_id, wanted):
            self._open_break(account_id, wanted)

    def _is_explained(self, account_id: int, wanted: FoundBreak) -> bool:
        known = self._kept.breaks.get((account_id, wanted.fingerprint()))
        if known is None or known.found.amount_minor != wanted.amount_minor:
            return False
        kinds = [each.kind for each in known.events if each.kind is not BreakEventKind.COMMENTED]
        return kinds[-1] is BreakEventKind.APPROVED


def _missing(name: str, ours: OurItem) -> FoundBreak:
    return FoundBreak(
        kind="MISSING_THEIRS",
        severity=int(MISSING_THEIRS_SEVERITY),
        amount_minor=ours.item.minor,
        currency=ours.item.currency,
        business_date=ours.booked_on,
        reason=missing_reason(name),
        ours=(name,),
    )
