"""What two people attest or decide about a settlement, and who may do it.

A *proposal* is one person's statement with evidence; a second person approves it. The checks are here, so that
every store refuses alike. Nothing here moves money, asks or writes.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum, auto
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from settlement_engine.domain.compensation_checks import is_own_compensation
from settlement_engine.domain.identity import is_same_person
from settlement_engine.domain.lifecycle import TRANSITIONS, Event, State
from settlement_engine.errors import InvalidInstruction, NotPermitted, WrongState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.settlement import Settlement

EVIDENCE_BYTES_MAX: Final = 1024 * 1024
"""The largest file of evidence; a page of a statement is far smaller."""


class Finding(StrEnum):
    """What two people attest."""

    SETTLED = auto()  # the money moved
    NOT_SETTLED = auto()  # the money did not move
    RELEASE = auto()  # a payment that screening parked may continue
    DECLINE = auto()  # a payment that screening parked is refused


ATTESTED: Final[Mapping[Finding, Event]] = {
    Finding.SETTLED: Event.ATTESTED_SETTLED,
    Finding.NOT_SETTLED: Event.ATTESTED_NOT_SETTLED,
    Finding.RELEASE: Event.APPROVED,
    Finding.DECLINE: Event.DECLINED,
}

OF_PARKED: Final = frozenset({Finding.RELEASE, Finding.DECLINE})
"""Findings on parked payments: no money is held for them, and no bank has to be asked."""


class Decision(StrEnum):
    """The decision on a proposal."""

    OPEN = ""
    APPROVED = auto()
    DECLINED = auto()
    SUPERSEDED = auto()  # by a newer one, or by the settlement's end


class Decidable(Protocol):
    """What every proposal has, whatever it is about."""

    @property
    def proposed_by(self) -> str:
        """Who has proposed it."""
        ...

    @property
    def content_sha256(self) -> bytes:
        """The fingerprint that its approval signs."""
        ...

    @property
    def decision(self) -> Decision:
        """What was decided."""
        ...

    @property
    def decided_by(self) -> str:
        """Who has decided it; empty while it is open."""
        ...


class Ending(StrEnum):
    """The result of an approved proposal."""

    PENDING = ""
    ATTESTED = auto()  # the bank reported no final status, so the attestation was applied
    OVERTAKEN = (
        auto()
    )  # not applied: a final status of the bank, or another transmission, came first


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """What one person attests about a settlement, and the decision of a second person.

    ``content_sha256`` is the fingerprint of everything above it: who approves, signs that. ``state`` and
    ``sends`` are the settlement's as they were then. ``seen_at`` is the database's time of the reading.
    """

    id: int
    settlement_id: UUID
    finding: Finding
    reason: str
    evidence_name: str
    evidence_bytes: int
    evidence_sha256: bytes
    proposed_by: str
    content_sha256: bytes
    state: State
    sends: int
    proposed_at: datetime
    expires_at: datetime
    seen_at: datetime
    decision: Decision = Decision.OPEN
    decided_by: str = ""
    decided_at: datetime | None = None
    finished_at: datetime | None = None
    ending: Ending = Ending.PENDING

    @property
    def has_expired(self) -> bool:
        """Say whether the time in which it may be approved is over."""
        return self.seen_at >= self.expires_at


def content_sha256(
    settlement_id: UUID, finding: Finding, reason: str, evidence: tuple[str, bytes], who: str
) -> bytes:
    """Make the fingerprint of a proposal; ``evidence`` is the file's name and its bytes."""
    name, data = evidence
    content = {
        "settlement_id": str(settlement_id),
        "finding": finding.value,
        "reason": reason,
        "evidence_name": name,
        "evidence_bytes": len(data),
        "evidence_sha256": hashlib.sha256(data).hexdigest(),
        "proposed_by": who,
    }
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


def check_attestable(settlement: Settlement, finding: Finding) -> None:
    """Refuse what cannot be attested, or decided, in this state. Raises WrongState."""
    if ATTESTED[finding] in TRANSITIONS[settlement.state]:
        return
    if finding in OF_PARKED and not settlement.is_ended:
        what = f"a settlement that is {settlement.state.value} is not parked"
        raise WrongState(
            what, why="only settlements that screening has parked can be released or declined"
        )
    what = f"a settlement that is {settlement.state.value} cannot be resolved by people"
    if settlement.is_ended:
        todo = (
            "It has ended. If the bank reports a conflicting status, an exception opens by itself."
        )
        raise WrongState(what, why="a final state never changes", todo=todo)
    if settlement.state is State.HELD:
        todo = "Release it or decline it: `settlement-engine resolve ID --release` or `--decline`."
        raise WrongState(what, why="it is parked, and nothing was sent", todo=todo)
    if settlement.state is State.LOCKED:
        todo = "Try again in a moment: the payment is being sent now."
        raise WrongState(what, why="the rail has not answered yet", todo=todo)
    todo = "Cancel it: `settlement-engine cancel ID`."
    raise WrongState(what, why="nothing was sent, so its outcome is not in doubt", todo=todo)


def check_person(settlement: Settlement, finding: Finding, who: str) -> None:
    """Refuse a release of a compensation by the person who has submitted it. Raises NotPermitted."""
    if finding is Finding.RELEASE and is_own_compensation(settlement, who):
        what = f"{who} has submitted this compensation and cannot release it"
        todo = "Ask two other people to release it."
        raise NotPermitted(what, why="two other people are required", todo=todo)


def check_approval(proposal: Proposal, settlement: Settlement, who: str, signed: bytes) -> None:
    """Refuse an approval that must not be. Raises NotPermitted, WrongState, InvalidInstruction."""
    if is_same_person(proposal.proposed_by, who):
        what = f"{who} proposed this and cannot approve it"
        raise NotPermitted(
            what, why="two different people are required", todo="Ask another person to approve it."
        )
    check_person(settlement, proposal.finding, who)
    if signed != proposal.content_sha256:
        raise InvalidInstruction(
            [("content_sha256", "is not the fingerprint of this proposal: read it again")]
        )
    check_undecided(proposal)
    if proposal.has_expired:
        what = "the proposal has expired"
        raise WrongState(what, why="its evidence may be out of date", todo="Propose it again.")
    if settlement.is_ended or proposal.finding in OF_PARKED:
        check_attestable(settlement, proposal.finding)
    if is_outdated(proposal, settlement) and proposal.finding in OF_PARKED:
        what = (
            "the settlement was released since this was proposed, and is parked for another reason"
        )
        raise WrongState(
            what, why="a decision is valid for one reason only", todo="Propose it again."
        )
    if is_outdated(proposal, settlement):
        what = (
            "the payment was sent again, or the bank has acknowledged it, since this was proposed"
        )
        todo = "Ask the bank for the current status, and propose it again if it is still true."
        raise WrongState(what, why="the evidence is older than this change", todo=todo)


def is_outdated(proposal: Proposal, settlement: Settlement) -> bool:
    """Say whether a proposal is about an earlier situation, so that it must not be applied.

    *Settled* stays true whatever is sent afterwards. *Not settled* covers only the transmissions before it, and
    only while the bank has not acknowledged the payment since. A decision on a parked payment is about the
    move that parked it.
    """
    if proposal.finding in OF_PARKED:
        return basis_of(settlement, proposal.finding) != proposal.sends
    if proposal.finding is Finding.SETTLED or settlement.attempt is None:
        return False
    is_sent_again = settlement.attempt.sends != proposal.sends
    return is_sent_again or is_received(proposal.state, settlement.state)


def basis_of(settlement: Settlement, finding: Finding) -> int:
    """Return what a proposal is based on: the number of transmissions, or the move that parked the payment."""
    if finding in OF_PARKED:
        return settlement.seq
    assert settlement.attempt is not None, "what may be attested was sent"
    return settlement.attempt.sends


def is_received(before: State, now: State) -> bool:
    """Say whether the rail has acknowledged a payment that was in doubt before."""
    return before is State.IN_DOUBT and now in (State.SENT, State.RECALLING)


def check_second_person(proposal: Decidable, who: str, signed: bytes) -> None:
    """Refuse an approval by the proposer, or of something else. Raises NotPermitted, InvalidInstruction."""
    if is_same_person(proposal.proposed_by, who):
        what = f"{who} proposed this and cannot approve it"
        todo = "Ask another person to approve it."
        raise NotPermitted(what, why="two different people are required", todo=todo)
    if signed != proposal.content_sha256:
        fault = "is not the fingerprint of this proposal: read it again"
        raise InvalidInstruction([("content_sha256", fault)])


def is_repeated(proposal: Decidable, decision: Decision, who: str, signed: bytes = b"") -> bool:
    """Say whether the same person has decided the same before."""
    is_signed = decision is not Decision.APPROVED or signed == proposal.content_sha256
    return proposal.decision is decision and is_signed and is_same_person(proposal.decided_by, who)


def check_undecided(proposal: Decidable) -> None:
    """Refuse a second decision on a proposal. Raises WrongState."""
    if proposal.decision is not Decision.OPEN:
        what = f"the proposal was {proposal.decision.value} by {proposal.decided_by}"
        raise WrongState(
            what,
            why="a proposal can be decided only once",
            todo="Make a new proposal if necessary.",
        )


def require_room(alive: Proposal, settlement: Settlement, content: bytes) -> bool:
    """Say whether an earlier proposal is the same one. Raises WrongState if it may not be superseded."""
    is_open = alive.decision is Decision.OPEN
    is_worthless = alive.has_expired or is_outdated(alive, settlement)
    if alive.content_sha256 == content and (not is_open or not is_worthless):
        return True
    if not is_open:
        what = f"a proposal was approved by {alive.decided_by} and is being carried out"
        raise WrongState(
            what,
            why="the engine asks the bank once more before it applies the proposal",
            todo="Wait until it is finished.",
        )
    return False


def is_waiting(proposal: Proposal) -> bool:
    """Say whether a proposal waits for a person, or was approved and is being carried out."""
    if proposal.decision is Decision.OPEN:
        return not proposal.has_expired
    return proposal.decision is Decision.APPROVED and proposal.finished_at is None


def is_approved_by(proposal: Proposal, who: str, signed: bytes) -> bool:
    """Say whether the same person has given the same approval before."""
    is_approved = proposal.decision is Decision.APPROVED
    is_signed = signed == proposal.content_sha256
    return is_approved and is_signed and is_same_person(proposal.decided_by, who)


def is_declined_by(proposal: Proposal, who: str) -> bool:
    """Say whether the same person has declined it before."""
    return proposal.decision is Decision.DECLINED and is_same_person(proposal.decided_by, who)
