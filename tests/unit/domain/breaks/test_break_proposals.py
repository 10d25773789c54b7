from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from settlement_engine.domain.breaks.authority import ResolutionRole
from settlement_engine.domain.breaks.history import BreakStatus, BreakWork
from settlement_engine.domain.breaks.proposals import (
    BreakProposal,
    check_break_approval,
    check_break_declining,
    check_matching,
    check_proposing,
    fingerprint_of,
)
from settlement_engine.domain.breaks.resolutions import (
    BreakItem,
    BreakResolution,
    BreakSide,
    EvidenceDigest,
    resolution_sha256,
)
from settlement_engine.domain.proposals import Decision, is_repeated
from settlement_engine.errors import InvalidInstruction, NotPermitted, WrongState

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
ITEM = BreakItem(side=BreakSide.THEIRS, id="t1", account_id=5, minor=-1_000_00, currency="USD")
NO_EVIDENCE = EvidenceDigest.of("", b"")
SIGNED = resolution_sha256(7, BreakResolution.SUSPENSE, [ITEM], "twice", NO_EVIDENCE, "anna")
PROPOSAL = BreakProposal(
    id=3,
    break_id=7,
    resolution=BreakResolution.SUSPENSE,
    account_id=5,
    currency="USD",
    amount_minor=-1_000_00,
    items=(ITEM,),
    reason="twice",
    evidence_name="",
    evidence_bytes=0,
    evidence_sha256=NO_EVIDENCE.sha256,
    proposed_by="anna",
    content_sha256=SIGNED,
    proposed_at=AT,
    expires_at=AT + timedelta(days=1),
    seen_at=AT + timedelta(hours=1),
)
WAITING = BreakWork(status=BreakStatus.PROPOSED, opened_at=AT, version=2, proposal_id=3)
OPEN = BreakWork(status=BreakStatus.OPEN, opened_at=AT, version=1)
CLOSED = BreakWork(status=BreakStatus.CLOSED, opened_at=AT, version=3, closed_at=AT, match_id=1)
ROLES = (
    ResolutionRole(name="settlement", persons=("anna", "ben"), limits_minor={"USD": 1_000_00}),
    ResolutionRole(name="junior", persons=("cleo",), limits_minor={"USD": 999_99}),
)
OPEN_ITEMS = {("theirs", "t1")}


def approve(
    proposal=PROPOSAL, work=WAITING, open_items=OPEN_ITEMS, who="ben", signed=SIGNED, roles=ROLES
):
    return check_break_approval(proposal, work, open_items, roles, who=who, signed=signed)


def changed(**fields):
    return msgspec.structs.replace(PROPOSAL, **fields)


def test_a_second_person_approves_by_a_role_that_covers_the_amount():
    assert approve() == "settlement"
    assert (PROPOSAL.amount_minor, PROPOSAL.currency) == (-1_000_00, "USD")


@pytest.mark.parametrize("who", ["anna", "ANNA", "anna/"])
def test_who_proposed_it_may_not_approve_it_under_any_spelling(who):
    with pytest.raises(NotPermitted) as raised:
        approve(who=who)
    assert "two different people" in raised.value.why


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"who": "cleo"}, NotPermitted, "may approve up to 999.99 USD"),
        ({"who": "eve"}, NotPermitted, "eve has no role"),
        ({"roles": ()}, NotPermitted, "no role"),
        ({"signed": b"x" * 32}, InvalidInstruction, "content_sha256"),
        ({"proposal": changed(seen_at=PROPOSAL.expires_at)}, WrongState, "expired"),
        ({"open_items": {("ours", "t1")}}, WrongState, "matched already: t1"),
        (
            {"proposal": changed(decision=Decision.DECLINED, decided_by="ben")},
            WrongState,
            "was declined by ben",
        ),
        (
            {"proposal": changed(decision=Decision.SUPERSEDED, decided_by="engine")},
            WrongState,
            "was superseded by engine",
        ),
    ],
)
def test_what_must_not_be_approved_is_refused(fields, error, said):
    with pytest.raises(error) as raised:
        approve(**fields)
    assert said in raised.value.what


def test_a_proposer_may_decline_and_so_may_whoever_has_a_role():
    for who in ("anna", "ben", "cleo"):
        check_break_declining(PROPOSAL, WAITING, ROLES, who)
    check_break_declining(PROPOSAL, WAITING, (), "anna")
    with pytest.raises(NotPermitted):
        check_break_declining(PROPOSAL, WAITING, ROLES, "eve")
    with pytest.raises(WrongState):
        check_break_declining(changed(decision=Decision.APPROVED), CLOSED, ROLES, "ben")


@pytest.mark.parametrize("check", [check_proposing, check_matching])
def test_proposals_and_matches_are_of_open_breaks_and_by_roles(check):
    check(OPEN, ROLES, "anna")
    check(WAITING, ROLES, "cleo")
    with pytest.raises(WrongState):
        check(CLOSED, ROLES, "anna")
    with pytest.raises(NotPermitted):
        check(OPEN, ROLES, "eve")


def test_the_same_decision_of_the_same_person_is_a_repetition():
    approved = changed(decision=Decision.APPROVED, decided_by="ben")
    assert is_repeated(approved, Decision.APPROVED, "BEN", SIGNED)
    assert not is_repeated(approved, Decision.APPROVED, "ben", b"other")
    assert not is_repeated(approved, Decision.APPROVED, "cleo", SIGNED)
    assert not is_repeated(approved, Decision.DECLINED, "ben")
    declined = changed(decision=Decision.DECLINED, decided_by="ben")
    assert is_repeated(declined, Decision.DECLINED, "ben")
    assert not is_repeated(PROPOSAL, Decision.DECLINED, "")


def test_the_fingerprint_can_be_made_again_from_a_proposal():
    assert fingerprint_of(PROPOSAL) == SIGNED
    assert fingerprint_of(changed(reason="once")) != SIGNED
