"""Proposals to set kept statements aside, or to let them count again: one person proposes, another one approves.

A proposal names statements of one account: the pages of one statement, or a single one. The latest approved proposal
about a statement says whether it counts. The checks are here, so that every store refuses alike. Must never: let one
person alone change which statements count.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime  # noqa: TC003 -- msgspec resolves the field's type
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.breaks.authority import check_has_role, roles_of
from settlement_engine.domain.identity import is_same_person
from settlement_engine.domain.proposals import (
    Decision,
    check_second_person,
    check_undecided,
)
from settlement_engine.errors import InvalidInstruction, NotFound, WrongState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from settlement_engine.domain.breaks.authority import ResolutionRole

STATEMENTS_MAX: Final = 100
"""The most statements of one proposal: pages of one statement."""


class StatementChange(StrEnum):
    """What a proposal changes."""

    SET_ASIDE = "SET_ASIDE"  # the statements do not count
    RESTORE = "RESTORE"  # they count again


class ChosenStatement(msgspec.Struct, frozen=True, kw_only=True):
    """A statement as a proposal finds it."""

    id: int
    account_id: int | None
    is_kept: bool
    is_set_aside: bool


class StatementProposal(msgspec.Struct, frozen=True, kw_only=True):
    """Which statements one person would set aside or restore, and the decision of a second person.

    ``content_sha256`` is the fingerprint of everything above it. ``seen_at`` is the database's time of the reading.
    """

    id: int
    account_id: int
    change: StatementChange
    statement_ids: tuple[int, ...]
    reason: str
    proposed_by: str
    content_sha256: bytes
    proposed_at: datetime
    expires_at: datetime
    seen_at: datetime
    decision: Decision = Decision.OPEN
    decided_by: str = ""
    decided_at: datetime | None = None
    role: str = ""
    """The role by which it was approved."""

    @property
    def has_expired(self) -> bool:
        """Say whether the time in which it may be approved is over."""
        return self.seen_at >= self.expires_at

    @property
    def is_waiting(self) -> bool:
        """Say whether it waits for a second person."""
        return self.decision is Decision.OPEN and not self.has_expired


def proposal_sha256(
    change: StatementChange, statement_ids: Sequence[int], reason: str, who: str
) -> bytes:
    """Make the fingerprint of a proposal, which its approval signs. Kept statements never change."""
    content = {
        "change": change.value,
        "statement_ids": sorted(statement_ids),
        "reason": reason,
        "proposed_by": who,
    }
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


def fingerprint_of(proposal: StatementProposal) -> bytes:
    """Make the fingerprint of a proposal again from what it says."""
    return proposal_sha256(
        proposal.change, proposal.statement_ids, proposal.reason, proposal.proposed_by
    )


def no_proposal(proposal_id: int) -> NotFound:
    """Return the error about a proposal that does not exist."""
    what = f"there is no proposal {proposal_id} about statements"
    return NotFound(what, listed_by="statements proposals --all")


def account_of(wanted: Sequence[int], found: Mapping[int, ChosenStatement]) -> int:
    """Return the account whose kept statements are named. Raises NotFound, WrongState, InvalidInstruction."""
    for number in wanted:
        if number not in found:
            raise NotFound(f"there is no statement {number}", listed_by="statements list")
    for each in found.values():
        if not each.is_kept or each.account_id is None:
            what = f"statement {each.id} is not kept"
            raise WrongState(what, why="what was not kept counts for no account")
    accounts = {each.account_id for each in found.values() if each.account_id is not None}
    if len(accounts) != 1:
        raise InvalidInstruction([("numbers", "must be statements of one account")])
    return accounts.pop()


def check_changing(change: StatementChange, found: Mapping[int, ChosenStatement]) -> None:
    """Refuse a change that has happened already. Raises WrongState."""
    for _, each in sorted(found.items()):
        if each.is_set_aside is (change is StatementChange.SET_ASIDE):
            word = "is set aside already" if each.is_set_aside else "is not set aside"
            raise WrongState(
                f"statement {each.id} {word}",
                why="the latest decision of two people about a statement counts",
                todo="See `statements show`.",
            )


def waiting_instead(
    content: bytes, wanted: Sequence[int], waiting: Sequence[StatementProposal]
) -> StatementProposal | None:
    """Return the same proposal if it waits already. Raises WrongState if another one about a statement does."""
    for each in waiting:
        if not each.is_waiting or set(each.statement_ids).isdisjoint(wanted):
            continue
        if each.content_sha256 == content:
            return each
        raise WrongState(
            f"proposal {each.id} of {each.proposed_by} is about one of these statements",
            why="one proposal at a time waits for a decision about a statement",
            todo="Approve or decline it first.",
        )
    return None


def check_approval(
    proposal: StatementProposal,
    found: Mapping[int, ChosenStatement],
    roles: Sequence[ResolutionRole],
    *,
    who: str,
    signed: bytes,
) -> str:
    """Return the role by which a person approves. Raises NotPermitted, WrongState, InvalidInstruction."""
    check_second_person(proposal, who, signed)
    check_undecided(proposal)
    if proposal.has_expired:
        what = "the proposal has expired"
        raise WrongState(what, why="its reason may be out of date", todo="Propose it again.")
    check_changing(proposal.change, found)
    check_has_role(roles, who)
    return roles_of(roles, who)[0].name


def check_declining(proposal: StatementProposal, roles: Sequence[ResolutionRole], who: str) -> None:
    """Refuse to decline what is decided, and a person without a role; the proposer may decline."""
    if not is_same_person(proposal.proposed_by, who):
        check_has_role(roles, who)
    check_undecided(proposal)
