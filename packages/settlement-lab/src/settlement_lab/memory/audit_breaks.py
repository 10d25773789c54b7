"""The checks of what people have posted to close breaks, in memory."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.breaks.proposals import fingerprint_of
from settlement_engine.domain.breaks.resolutions import (
    DESTINATIONS,
    OPENING_DIFFERENCE,
    BreakResolution,
    Destination,
)
from settlement_engine.domain.closed_differences import (
    DIFFERENCE_ACCOUNTS,
    is_difference,
    name_of,
    reversed_transfer,
)
from settlement_engine.domain.identity import is_same_person
from settlement_engine.domain.ledger import Leg
from settlement_engine.domain.proposals import Decision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from settlement_engine.domain.breaks.proposals import BreakProposal
    from settlement_engine.domain.ledger import Transfer
    from settlement_lab.memory.reconciled import KeptMatch
    from settlement_lab.memory.records import Records

    Found = Iterator[tuple[object, object, object]]

DIFFERENCES: Final = frozenset({Leg.DIFFERENCE, Leg.DIFFERENCE_REVERSED})
CORRECTIONS: Final = frozenset({Leg.CORRECTION, Leg.OPENING_CORRECTION})


def _corrections_are_approved(records: Records) -> Found:
    """Every transfer that closes a break is what one person has proposed and a second one approved."""
    approved = {
        each.transfer_group: each
        for each, _ in records.reconciled.proposals
        if each.decision is Decision.APPROVED
    }
    for transfer in records.transfers.values():
        proposal = approved.get(transfer.group_id)
        if transfer.leg not in CORRECTIONS:
            continue
        if proposal is None or not _is_what_it_says(records, transfer, proposal):
            yield transfer.group_id, "what two people have approved", proposal or "none"


def _is_what_it_says(records: Records, transfer: Transfer, proposal: BreakProposal) -> bool:
    own, other = transfer.debit_id, transfer.credit_id
    if proposal.amount_minor < 0:
        own, other = other, own
    account, target = records.accounts.get(own), records.accounts.get(other)
    kept = list(records.reconciled.breaks.values())[proposal.break_id - 1]
    is_opening = kept.found.kind == OPENING_DIFFERENCE
    return (
        account is not None
        and target is not None
        and own == proposal.account_id
        and folded_bank(account.bank) == folded_bank(target.bank)
        and Destination(target.kind, target.account_number) == DESTINATIONS[proposal.resolution]
        and (transfer.amount_minor, transfer.currency)
        == (abs(proposal.amount_minor), proposal.currency)
        and (transfer.leg is Leg.OPENING_CORRECTION) == is_opening
        and transfer.posting == 1
        and not is_same_person(proposal.proposed_by, proposal.decided_by)
    )


def _approvals_are_posted(records: Records) -> Found:
    """Every approval that posts something has posted it."""
    posted = {each.group_id for each in records.transfers.values() if each.leg in CORRECTIONS}
    for proposal, _ in records.reconciled.proposals:
        is_due = proposal.resolution is not BreakResolution.EXPLANATION
        is_approved = proposal.decision is Decision.APPROVED
        if is_due and is_approved and proposal.transfer_group not in posted:
            yield proposal.id, f"a transfer of {abs(proposal.amount_minor)}", "none"


def break_proposals_have_their_hash(records: Records) -> Found:
    """Every proposal about a break has the fingerprint that its approval signs."""
    for proposal, _ in records.reconciled.proposals:
        made = fingerprint_of(proposal)
        if made != proposal.content_sha256:
            yield f"proposal {proposal.id}", proposal.content_sha256.hex(), made.hex()


def _differences_are_matched(records: Records) -> Found:
    """Every transfer of a difference is what the match says that it is in, and is reversed with it."""
    by_name = {name_of(each): each for each in records.transfers.values()}
    first: dict[str, KeptMatch] = {}
    for kept in records.reconciled.matches:
        for ours in kept.ours:
            first.setdefault(ours.item.id, kept)
    for name, transfer in by_name.items():
        if transfer.leg not in DIFFERENCES:
            continue
        group_id, posting, _ = name.split("/")
        posted = by_name.get(f"{group_id}/{posting}/{Leg.DIFFERENCE.value}")
        reversing = by_name.get(f"{group_id}/{posting}/{Leg.DIFFERENCE_REVERSED.value}")
        match = first.get(name_of(posted)) if posted is not None else None
        is_right = (
            posted is not None
            and match is not None
            and _is_its_difference(records, posted, match)
            and _is_reversed_or_waits(records, posted, match, reversing)
            and reversing in (None, _reversed(posted, reversing))
        )
        if not is_right:
            yield transfer.group_id, "the difference of a match", "none"


def _is_reversed_or_waits(
    records: Records, posted: Transfer, kept: KeptMatch, reversing: Transfer | None
) -> bool:
    """Say whether it is reversed exactly if its match was taken back; until then it is open, or people matched it."""
    if reversing is not None or not kept.reason:
        return (reversing is not None) == bool(kept.reason)
    name = name_of(posted)
    is_with_people = any(
        each.who != "engine" and not each.reason and name in {ours.item.id for ours in each.ours}
        for each in records.reconciled.matches
    )
    return (kept.account_id, name) in records.reconciled.ours or is_with_people


def _is_its_difference(records: Records, posted: Transfer, kept: KeptMatch) -> bool:
    own, other = posted.debit_id, posted.credit_id
    if kept.match.difference_minor < 0:
        own, other = other, own
    account, target = records.accounts.get(own), records.accounts.get(other)
    return (
        account is not None
        and target is not None
        and own == kept.account_id
        and folded_bank(account.bank) == folded_bank(target.bank)
        and posted.amount_minor == abs(kept.match.difference_minor)
        and Destination(target.kind, target.account_number)
        == DIFFERENCE_ACCOUNTS.get(kept.match.difference_account)
    )


def _reversed(posted: Transfer, reversing: Transfer | None) -> Transfer:
    at = reversing.at if reversing is not None else None
    return msgspec.structs.replace(reversed_transfer(posted), at=at)


def _differences_are_posted(records: Records) -> Found:
    """Every match with a difference has posted it."""
    for number, kept in enumerate(records.reconciled.matches, start=1):
        is_posted = any(is_difference(each.item.id) for each in kept.ours)
        if kept.match.difference_minor and not is_posted:
            yield number, f"a transfer of {abs(kept.match.difference_minor)}", "none"


BREAK_CHECKS: Final[MappingProxyType[str, Callable[[Records], Found]]] = MappingProxyType(
    {
        "corrections_are_approved": _corrections_are_approved,
        "approvals_are_posted": _approvals_are_posted,
        "differences_are_matched": _differences_are_matched,
        "differences_are_posted": _differences_are_posted,
    }
)
