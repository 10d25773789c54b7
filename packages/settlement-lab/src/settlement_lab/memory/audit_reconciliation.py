"""The proof of what reconciliation keeps, in memory: ``sql/queries/proof_reconciliation.sql``, by name."""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.booking_days import counted_on
from settlement_engine.domain.ledger import Leg
from settlement_engine.domain.proof import DaySums
from settlement_engine.domain.statement_chain import head_of
from settlement_engine.domain.statements import EntryStatus, Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date

    from settlement_engine.domain.reconciliation import OurItem, TheirItem
    from settlement_lab.memory.reconciled import KeptMatch
    from settlement_lab.memory.records import Records

    Found = Iterator[tuple[object, object, object]]


def _live(records: Records) -> list[KeptMatch]:
    return [each for each in records.reconciled.matches if not each.reason]


def _ours(records: Records) -> Iterator[tuple[int, OurItem]]:
    for (account_id, _), item in records.reconciled.ours.items():
        yield account_id, item
    for kept in _live(records):
        for item in kept.ours:
            yield kept.account_id, item


def _theirs(records: Records) -> Iterator[TheirItem]:
    yield from records.reconciled.theirs.values()
    for kept in _live(records):
        yield from kept.theirs


def _items_follow_postings(records: Records) -> Found:
    """Every posting that was read is an item once, with its amount."""
    items = Counter(
        (account_id, each.item.id, each.item.minor) for account_id, each in _ours(records)
    )
    due: Counter[tuple[int, str, int]] = Counter()
    for group_id, posting, leg, account_id in records.reconciled.taken:
        transfer = records.transfers[group_id, posting, Leg(leg)]
        sign = 1 if transfer.debit_id == account_id else -1
        due[account_id, f"{group_id}/{posting}/{int(leg)}", sign * transfer.amount_minor] += 1
    for key in items.keys() | due.keys():
        if items[key] != due[key]:
            yield key, due[key], items[key]


def _items_follow_entries(records: Records) -> Found:
    """Every booked entry that was matched or left over is an item once, with its amount."""
    items = Counter((each.statement_id, each.number, each.item.minor) for each in _theirs(records))
    due: Counter[tuple[int, int, int]] = Counter()
    for kept in records.statements:
        done = records.reconciled.progress.get(kept.result.id)
        if done is None or not isinstance(kept.said, Statement):
            continue
        for entry in kept.said.entries:
            if entry.number <= done and entry.status is EntryStatus.BOOKED:
                due[kept.result.id, entry.number, entry.minor] += 1
    for key in items.keys() | due.keys():
        if items[key] != due[key]:
            yield key, due[key], items[key]


def _matches_add_up(records: Records) -> Found:
    """Compare the two sides of live matches, and the day with that on which all items are booked."""
    for kept in _live(records):
        minor = sum(each.item.minor for each in kept.theirs)
        minor -= sum(each.item.minor for each in kept.ours)
        days = [each.booked_on for each in kept.ours] + [each.booked_on for each in kept.theirs]
        day = max(days)
        if (minor, day) != (0, kept.settled_on):
            yield kept.match, (0, day), (minor, kept.settled_on)


def _day_sums_follow_items(records: Records) -> Found:
    """Compare the sums of each account and day with its items."""
    due: dict[tuple[int, date], DaySums] = {}

    def add(account_id: int, day: date, **changes: int) -> None:
        known = due.get((account_id, day), DaySums(day=day))
        sums = {name: getattr(known, name) + change for name, change in changes.items()}
        due[account_id, day] = msgspec.structs.replace(known, **sums)

    account_of = {each.result.id: each.result.account_id for each in records.statements}
    for account_id, ours in _ours(records):
        add(account_id, ours.booked_on, ours_minor=ours.item.minor, ours=1)
    for theirs in _theirs(records):
        owner = account_of[theirs.statement_id]
        assert owner is not None, "a statement with items has an account"
        add(owner, theirs.booked_on, theirs_minor=theirs.item.minor, theirs=1)
    for kept in _live(records):
        add(
            kept.account_id,
            kept.settled_on,
            matched_ours_minor=sum(each.item.minor for each in kept.ours),
            matched_theirs_minor=sum(each.item.minor for each in kept.theirs),
            matched_ours=len(kept.ours),
            matched_theirs=len(kept.theirs),
        )
    for key in due.keys() | records.reconciled.days.keys():
        nothing = DaySums(day=key[1])
        expected, found = due.get(key, nothing), records.reconciled.days.get(key, nothing)
        if expected != found:
            yield key, expected, found


def _statement_days_follow_items(records: Records) -> Found:
    """Check that each entry counts on its booking date, or on the last day of its statement."""
    heads = {
        each.result.id: (head_of(each.said), {n.number: n.booking_date for n in each.said.entries})
        for each in records.statements
        if isinstance(each.said, Statement)
    }
    for item in _theirs(records):
        head, dates = heads[item.statement_id]
        expected = counted_on(head.begins, head.ends, dates[item.number])
        if item.booked_on != expected:
            yield item.name, expected, item.booked_on


def proofs_follow_day_sums(_records: Records) -> Found:
    """Check nothing: in memory it is not known how far an account was proved."""
    yield from ()


def _timing_items_follow_matches(_records: Records) -> Found:
    """Check nothing: in memory they are read from the matches."""
    yield from ()


CHECKS: Final[MappingProxyType[str, Callable[[Records], Found]]] = MappingProxyType(
    {
        "items_follow_postings": _items_follow_postings,
        "items_follow_entries": _items_follow_entries,
        "matches_add_up": _matches_add_up,
        "day_sums_follow_items": _day_sums_follow_items,
        "statement_days_follow_items": _statement_days_follow_items,
        "timing_items_follow_matches": _timing_items_follow_matches,
    }
)
