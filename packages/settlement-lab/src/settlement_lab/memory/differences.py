"""Differences that the rules of matching close, in memory: the transfer of each, and the one that takes it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.closed_differences import (
    DIFFERENCE_ACCOUNTS,
    covered,
    is_difference,
    name_of,
    reversed_transfer,
    reversible,
    transfer_of,
    with_transfer,
)
from settlement_engine.domain.ledger import GUARDED, Leg
from settlement_engine.domain.matching.values import Match, Pass
from settlement_engine.errors import WrongState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from settlement_engine.domain.ledger import Account, Transfer
    from settlement_engine.domain.reconciliation import MatchingPage
    from settlement_lab.memory.accounts import MemoryAccounts
    from settlement_lab.memory.reconciled import KeptMatch
    from settlement_lab.memory.records import Records


def posted(
    records: Records,
    accounts: MemoryAccounts,
    account_id: int,
    page: MatchingPage,
    closing: Sequence[Match],
) -> list[Match]:
    """Post the differences of those matches that the account covers; returns them with their transfers."""
    account = records.accounts[account_id]
    theirs = {each.item.id: each for each in page.theirs}
    made: list[Match] = []
    for match in covered(closing, room_minor(account)):
        entry = theirs[match.theirs[0]]
        named = DIFFERENCE_ACCOUNTS[match.difference_account]
        other = accounts.control(named.kind, account.bank, account.currency, named.number)
        turns = sum(
            kept.account_id == account_id and any(each.name == entry.name for each in kept.theirs)
            for kept in records.reconciled.matches
        )
        transfer = transfer_of(
            match,
            (account_id, other.id),
            account.currency,
            entry.booked_on,
            (entry.name, turns),
        )
        accounts.post_outside(transfer)
        made.append(with_transfer(match, transfer))
    return made


def reversing_of(records: Records, kept: KeptMatch) -> Transfer | None:
    """Return the transfer that takes back what a match has posted; None if it has posted nothing.

    Raises WrongState if the account does not cover it.
    """
    names = [each.item.id for each in kept.ours if is_difference(each.item.id)]
    if not kept.match.difference_minor or not names:
        return None
    found = _reversing(records, names[0])
    account = records.accounts[kept.account_id]
    _, waiting = reversible([found], account.id, room_minor(account))
    if waiting.transfers:
        taken = f"{waiting.minor} minor units of {account.currency}"
        what = f"account {account.id} does not cover {taken}"
        raise WrongState(what, todo="Fund the account, and take the match back again.")
    return found


def _reversing(records: Records, name: str) -> Transfer:
    (posted,) = (
        each
        for each in records.transfers.values()
        if each.leg is Leg.DIFFERENCE and name_of(each) == name
    )
    return reversed_transfer(posted)


def unreversed(records: Records, account_id: int) -> list[tuple[int, KeptMatch, Transfer]]:
    """List the matches that were taken back and whose differences are not reversed: number, match and reversal."""
    found = []
    for number, kept in enumerate(records.reconciled.matches, start=1):
        if kept.account_id != account_id or not kept.reason or not kept.match.difference_minor:
            continue
        for each in kept.ours:
            is_open = (account_id, each.item.id) in records.reconciled.ours
            if is_difference(each.item.id) and is_open:
                found.append((number, kept, _reversing(records, each.item.id)))
    return found


def reversal_match(kept: KeptMatch, match_id: int, group_id: UUID) -> Match:
    """Return the match of a transfer with the one that takes it back."""
    legs = (Leg.DIFFERENCE, Leg.DIFFERENCE_REVERSED)
    return Match(
        matched_by=Pass.REVERSED,
        rules_version=kept.match.rules_version,
        ours=tuple(f"{group_id}/1/{leg.value}" for leg in legs),
        theirs=(),
        explanation=f"match {match_id} was taken back: {kept.reason}",
    )


def room_minor(account: Account) -> int | None:
    """Return how much may be taken from an account; None: it needs no cover."""
    return account.available + account.credit_limit if account.kind in GUARDED else None
