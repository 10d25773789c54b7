"""The work on breaks over both doors: one person's steps, and what needs two."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from settlement_engine.api.call import ACTOR_HEADER
from settlement_engine.domain.lifecycle import State
from settlement_engine.proto import settlement_pb2 as pb
from tests.support.bank_statements import BankDay, Booked, take
from tests.support.histories import Scene
from tests.unit.api.test_grpc import failed, violations

if TYPE_CHECKING:
    from tests.unit.api.conftest import Edge

ADA, BEN, EVE = (((ACTOR_HEADER, name),) for name in ("ada", "ben", "eve"))


@pytest.fixture
async def break_id(edge: Edge) -> str:
    """A debit of 0.07 EUR that nobody ordered."""
    scene = await Scene.open(edge.world.stores, funds_minor=1_000)
    entries = [Booked(minor=1_000, text="for paid in"), Booked(minor=-7, text="what is this")]
    source = await scene.source()
    await take(edge.world.stores, BankDay(account=source, opening=0, entries=entries))
    await edge.settlements.ReconcileAccounts(pb.ReconcileRequest(account_id=str(source.id)))
    wanted = pb.ListBreaksRequest(kind=pb.BREAK_KIND_UNKNOWN_DEBIT)
    [found] = (await edge.reconciliation.ListBreaks(wanted)).breaks
    assert (found.age_business_days, found.age_bucket) == (0, "0-1")
    return found.id


def wanted(break_id: str, **fields: Any) -> pb.ProposeWriteOffRequest:
    return pb.ProposeWriteOffRequest(break_id=break_id, reason="too small to ask", **fields)


async def test_a_break_is_assigned_and_commented(edge: Edge, break_id: str) -> None:
    due = datetime(2031, 1, 2, 17, tzinfo=UTC)
    request = pb.AssignBreakRequest(id=break_id, owner="ben")
    request.due_time.FromDatetime(due)
    await edge.reconciliation.AssignBreak(request, metadata=ADA)
    found = await edge.reconciliation.AssignBreak(request, metadata=ADA)
    assert (found.owner, found.status, found.due_time.ToDatetime(UTC)) == ("ben", "open", due)
    said = pb.CommentBreakRequest(id=break_id, text="I have called them")
    found = await edge.reconciliation.CommentBreak(said, metadata=BEN)
    assert [(each.kind, each.who) for each in found.events][1:] == [
        ("assigned", "ada"),
        ("commented", "ben"),
    ]
    assert len(found.open_entries) == 1
    error = await failed(edge.reconciliation.CommentBreak(said))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_two_people_write_a_break_off(edge: Edge, break_id: str) -> None:
    trial = await edge.reconciliation.ProposeWriteOff(
        wanted(break_id, validate_only=True), metadata=ADA
    )
    assert not trial.id
    evidence = {"evidence_name": "advice.txt", "evidence": b"seven cents"}
    proposal = await edge.reconciliation.ProposeWriteOff(wanted(break_id, **evidence), metadata=ADA)
    assert (proposal.amount, proposal.currency) == ("-0.07", "EUR")
    assert proposal.status == pb.PROPOSAL_STATUS_OPEN
    assert len(proposal.their_entries) == 1
    approval = pb.ApproveBreakProposalRequest(
        id=proposal.id, content_sha256=proposal.content_sha256
    )
    for who in (ADA, EVE):
        error = await failed(edge.reconciliation.ApproveBreakProposal(approval, metadata=who))
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    listed = await edge.reconciliation.ListBreakProposals(pb.ListBreakProposalsRequest())
    assert [each.id for each in listed.proposals] == [proposal.id]
    done = await edge.reconciliation.ApproveBreakProposal(approval, metadata=BEN)
    assert (done.status, done.decided_by) == (pb.PROPOSAL_STATUS_APPLIED, "ben")
    assert done.role == "settlement"
    assert done.transfer_id
    shown = await edge.reconciliation.GetBreak(pb.GetBreakRequest(id=break_id))
    assert (shown.status, shown.is_open) == ("closed", False)
    assert (shown.proposal_id, shown.match_id) == (proposal.id, done.match_id)
    asked = pb.GetBreakProposalRequest(id=proposal.id, include_evidence=True)
    assert (await edge.reconciliation.GetBreakProposal(asked)).evidence == b"seven cents"
    back = pb.UnmatchRequest(match_id=done.match_id, reason="it was ours")
    opened = await edge.reconciliation.Unmatch(back, metadata=BEN)
    assert list(opened.break_ids) == [break_id]


async def test_a_proposal_is_declined_and_listed_with_those_that_ended(
    edge: Edge, break_id: str
) -> None:
    made = await edge.reconciliation.ProposeWriteOff(
        wanted(break_id, resolution=pb.BREAK_RESOLUTION_SUSPENSE), metadata=ADA
    )
    request = pb.DeclineBreakProposalRequest(id=made.id)
    found = await edge.reconciliation.DeclineBreakProposal(request, metadata=ADA)
    assert found.status == pb.PROPOSAL_STATUS_DECLINED
    nothing = await edge.reconciliation.ListBreakProposals(pb.ListBreakProposalsRequest())
    assert not nothing.proposals
    body = {"breakId": break_id, "includeEnded": True}
    status, answer, _ = await edge.post("ListBreakProposals", body)
    assert (status, answer["proposals"][0]["resolution"]) == (200, "BREAK_RESOLUTION_SUSPENSE")


async def test_only_what_is_exactly_equal_is_matched_at_once(edge: Edge, break_id: str) -> None:
    request = pb.ProposeMatchRequest(break_id=break_id, reason="they belong together")
    error = await failed(edge.reconciliation.ProposeMatch(request, metadata=ADA))
    assert violations(error) == ["items"]
    request.resolution = pb.BREAK_RESOLUTION_CHARGES
    error = await failed(edge.reconciliation.ProposeMatch(request, metadata=ADA))
    assert violations(error) == ["items"]


async def test_wrong_fields_are_named_before_anything_is_done(edge: Edge, break_id: str) -> None:
    request = pb.ProposeWriteOffRequest(
        break_id="x",
        our_postings=["1/2/3"],
        their_entries=["a"],
        resolution=pb.BREAK_RESOLUTION_MATCH,
        evidence=b"x",
    )
    error = await failed(edge.reconciliation.ProposeWriteOff(request, metadata=ADA))
    assert sorted(violations(error)) == [
        *("break_id", "evidence_name", "our_postings", "reason", "resolution", "their_entries"),
    ]
    calls = (
        edge.reconciliation.AssignBreak(pb.AssignBreakRequest(id=break_id), metadata=ADA),
        edge.reconciliation.CommentBreak(
            pb.CommentBreakRequest(id=break_id, text=" "), metadata=ADA
        ),
        edge.reconciliation.Unmatch(pb.UnmatchRequest(match_id="1"), metadata=ADA),
    )
    assert [violations(await failed(each)) for each in calls] == [["owner"], ["text"], ["reason"]]
    missing = (
        edge.reconciliation.AssignBreak(pb.AssignBreakRequest(id="999", owner="ben"), metadata=ADA),
        edge.reconciliation.Unmatch(pb.UnmatchRequest(match_id="999", reason="x"), metadata=ADA),
        edge.reconciliation.GetBreakProposal(pb.GetBreakProposalRequest(id="999")),
        edge.reconciliation.ProposeWriteOff(wanted("999"), metadata=ADA),
    )
    for call in missing:
        assert (await failed(call)).code() is grpc.StatusCode.NOT_FOUND


async def test_a_break_shows_what_may_belong_to_it(edge: Edge) -> None:
    scene = await Scene.open(edge.world.stores, funds_minor=1_000)
    for minor in (300, 450):
        await scene.bring(State.COMPLETED, minor=minor)
    source = await scene.source()
    together = Booked(minor=-750, text="both orders")
    await take(edge.world.stores, BankDay(account=source, opening=0, entries=[together]))
    await edge.settlements.ReconcileAccounts(pb.ReconcileRequest(account_id=str(source.id)))
    wanted = pb.ListBreaksRequest(kind=pb.BREAK_KIND_UNKNOWN_DEBIT)
    [listed] = (await edge.reconciliation.ListBreaks(wanted)).breaks
    assert list(listed.suggestions) == []
    shown = await edge.reconciliation.GetBreak(pb.GetBreakRequest(id=listed.id))
    [said] = shown.suggestions
    assert said.matched_by == "sum"
    assert said.explanation == "2 amounts within 5 days add up to -750"
    assert (len(said.our_postings), list(said.their_entries)) == (2, list(shown.their_entries))
    match = pb.ProposeMatchRequest(
        break_id=listed.id,
        our_postings=said.our_postings,
        their_entries=said.their_entries,
        reason="they add up",
    )
    assert (await edge.reconciliation.ProposeMatch(match, metadata=ADA)).match_id
    again = await edge.reconciliation.GetBreak(pb.GetBreakRequest(id=listed.id))
    assert list(again.suggestions) == []
