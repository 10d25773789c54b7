"""What closes a break in memory: its open items, the transfer that two people post, and the match of both."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from settlement_engine.domain.breaks.history import BreakEventKind, check_event, fold
from settlement_engine.domain.breaks.resolutions import (
    DESTINATIONS,
    OPENING_DIFFERENCE,
    BreakHead,
    BreakItem,
    BreakSide,
)
from settlement_engine.domain.ledger import GUARDED, Leg, correct
from settlement_engine.domain.matching.values import Match, Pass
from settlement_engine.domain.proof import DaySums
from settlement_engine.errors import NotFound, WrongState
from settlement_engine.ports import BreakFile
from settlement_lab.memory.reconciled import KeptMatch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from settlement_engine.domain.breaks.proposals import BreakProposal
    from settlement_engine.domain.matching.values import Ours, Theirs
    from settlement_engine.domain.reconciliation import OurItem, TheirItem
    from settlement_engine.ports import BreakDecisionSpec
    from settlement_lab.memory.accounts import MemoryAccounts
    from settlement_lab.memory.reconciled import BooksOfMatches, KeptBreak, Reconciled
    from settlement_lab.memory.records import Records


def kept_break(records: Records, break_id: int) -> KeptBreak:
    """Return a break by its number. Raises NotFound."""
    found = dict(enumerate(records.reconciled.breaks.values(), start=1)).get(break_id)
    if found is None:
        raise NotFound(f"there is no break {break_id}", listed_by="breaks list")
    return found


def file_of(records: Records, break_id: int) -> BreakFile:
    """Return a break with its history, and its open items."""
    kept, books = kept_break(records, break_id), records.reconciled
    account = records.accounts[kept.account_id]
    ours = sorted({*kept.found.ours, *kept.corrections})
    return BreakFile(
        head=BreakHead(
            id=break_id,
            kind=kept.found.kind,
            account_id=kept.account_id,
            bank=account.bank,
            currency=account.currency,
            amount_minor=kept.found.amount_minor,
            business_date=kept.found.business_date,
        ),
        work=fold(kept.events),
        events=tuple(kept.events),
        ours=tuple(each for each in ours if (kept.account_id, each) in books.ours),
        theirs=tuple(
            each for each in sorted(kept.found.theirs) if (kept.account_id, each) in books.theirs
        ),
    )


def open_items(
    records: Records, account_id: int, ours: Sequence[str], theirs: Sequence[str]
) -> list[BreakItem]:
    """Return those of these items that are open."""
    books = records.reconciled
    found: list[tuple[BreakSide, str, Ours | Theirs]] = [
        (BreakSide.OURS, name, books.ours[account_id, name].item)
        for name in ours
        if (account_id, name) in books.ours
    ]
    found += [
        (BreakSide.THEIRS, name, books.theirs[account_id, name].item)
        for name in theirs
        if (account_id, name) in books.theirs
    ]
    return [
        BreakItem(
            side=side, id=name, account_id=account_id, minor=item.minor, currency=item.currency
        )
        for side, name, item in found
    ]


def named_items(
    records: Records, account_id: int, ours: Sequence[str], theirs: Sequence[str]
) -> list[BreakItem]:
    """Return open items by their names. Raises NotFound for one that is not open on the account."""
    found = open_items(records, account_id, ours, theirs)
    named = {(each.side.value, each.id) for each in found}
    asked = [*(("ours", each) for each in ours), *(("theirs", each) for each in theirs)]
    for side, item in asked:
        if (side, item) not in named:
            what = f"{item} is no open item of {side} on account {account_id}"
            raise NotFound(what, why="it is matched already, or belongs to another account")
    return found


def add_match(
    store: BooksOfMatches,
    books: Reconciled,
    account_id: int,
    items: Sequence[BreakItem],
    said: tuple[str, str],
) -> int:
    """Match open items from the day on which all of them are booked; ``said`` is the person and the reason."""
    ours = [books.ours.pop((account_id, each.id)) for each in items if each.side is BreakSide.OURS]
    theirs = [
        books.theirs.pop((account_id, each.id)) for each in items if each.side is BreakSide.THEIRS
    ]
    day = max([*(each.booked_on for each in ours), *(each.booked_on for each in theirs)])
    made = Match(
        matched_by=Pass.PERSON,
        rules_version="person",
        ours=tuple(each.item.id for each in ours),
        theirs=tuple(each.item.id for each in theirs),
        explanation=said[1],
    )
    books.matches.append(
        KeptMatch(
            account_id=account_id,
            run_id=UUID(int=len(books.matches) + 1),
            match=made,
            ours=tuple(ours),
            theirs=tuple(theirs),
            settled_on=day,
            at=store.now(),
            who=said[0],
        )
    )
    store.count(account_id, [_matched_on(day, ours, theirs)])
    return len(books.matches)


def _matched_on(day: date, ours: Sequence[OurItem], theirs: Sequence[TheirItem]) -> DaySums:
    return DaySums(
        day=day,
        matched_ours_minor=sum(each.item.minor for each in ours),
        matched_ours=len(ours),
        matched_theirs_minor=sum(each.item.minor for each in theirs),
        matched_theirs=len(theirs),
    )


def take_back(
    records: Records,
    store: BooksOfMatches,
    match_id: int,
    said: tuple[str, str],
    zone: str = "UTC",
) -> list[int]:
    """Take a live match back; returns the breaks that are open again. ``said`` is the person and the reason."""
    found = closed_breaks_of(records, match_id)
    kept = records.reconciled.matches[match_id - 1]
    store.take_back(kept, said[1], said[0], zone)
    corrections = [each.item.id for each in kept.ours if each.item.id.endswith("/12")]
    for break_id in found:
        opened = kept_break(records, break_id)
        opened.is_open = True
        opened.corrections += [each for each in corrections if each not in opened.corrections]
        now = records.clock.now()
        opened.add(BreakEventKind.REOPENED, now, said[1], who=said[0], match_id=match_id)
    return found


def closed_breaks_of(records: Records, match_id: int) -> list[int]:
    """Return the closed breaks of which a match has an item."""
    kept = records.reconciled.matches[match_id - 1]
    ours = {each.item.id for each in kept.ours}
    theirs = {each.name for each in kept.theirs}
    found = []
    for number, each in enumerate(records.reconciled.breaks.values(), start=1):
        kinds = [event.kind for event in each.events if event.kind is not BreakEventKind.COMMENTED]
        is_of = each.account_id == kept.account_id and (
            not ours.isdisjoint((*each.found.ours, *each.corrections))
            or not theirs.isdisjoint(each.found.theirs)
        )
        if is_of and kinds[-1] in (BreakEventKind.MATCHED, BreakEventKind.APPROVED):
            found.append(number)
    return found


def end(
    records: Records,
    before: BreakFile,
    kind: BreakEventKind,
    said: tuple[str, str],
    match_id: int | None,
    proposal_id: int | None = None,
) -> None:
    """Close a break; ``said`` is the person and the text."""
    check_event(before.work.status, kind)
    kept = kept_break(records, before.head.id)
    kept.is_open = False
    now = records.clock.now()
    kept.add(kind, now, said[1], who=said[0], match_id=match_id, proposal_id=proposal_id)


def end_settled(records: Records, match_id: int | None, said: tuple[str, str]) -> None:
    """Close the other breaks that a match leaves without an open item."""
    if match_id is None:
        return
    kept = records.reconciled.matches[match_id - 1]
    items = {*(each.item.id for each in kept.ours), *(each.name for each in kept.theirs)}
    for number, each in enumerate(records.reconciled.breaks.values(), start=1):
        named = {*each.found.ours, *each.corrections, *each.found.theirs}
        if each.account_id == kept.account_id and each.is_open and not named.isdisjoint(items):
            file = file_of(records, number)
            if not file.ours and not file.theirs:
                end(records, file, BreakEventKind.MATCHED, said, match_id)


def check_room(records: Records, proposal: BreakProposal) -> None:
    """Refuse what the account does not cover. Raises WrongState."""
    account = records.accounts[proposal.account_id]
    taken = max(0, -proposal.amount_minor) if proposal.resolution in DESTINATIONS else 0
    if account.kind in GUARDED and taken and not account.has_room_for(taken):
        what = f"account {account.id} does not cover {taken} minor units of {account.currency}"
        raise WrongState(
            what,
            why="a correction posts what the bank has booked, within the credit line",
            todo="Release what is held, or fund the account, and approve it again.",
        )


async def post(
    accounts: MemoryAccounts,
    store: BooksOfMatches,
    head: BreakHead,
    proposal: BreakProposal,
    spec: BreakDecisionSpec,
) -> tuple[bool, UUID | None]:
    """Post what a proposal posts; returns whether it is to be matched with the items, and the transfer."""
    destination = DESTINATIONS.get(proposal.resolution)
    if destination is None:
        return False, None
    other = accounts.control(destination.kind, head.bank, head.currency, destination.number)
    is_opening = head.kind == OPENING_DIFFERENCE
    transfer = correct(
        spec.group_id,
        Leg.OPENING_CORRECTION if is_opening else Leg.CORRECTION,
        account_id=head.account_id,
        other_id=other.id,
        minor=proposal.amount_minor,
        currency=head.currency,
        reference=f"break {head.id}",
    )
    accounts.post_outside(transfer)
    if not is_opening:
        await store.take_in_outside(head.account_id, spec.zone)
    return not is_opening, spec.group_id
