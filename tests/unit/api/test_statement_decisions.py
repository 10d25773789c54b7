"""The calls by which two people set statements aside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from settlement_engine.api.call import ACTOR_HEADER
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.proto import settlement_pb2 as pb
from tests.support.histories import spec
from tests.support.statement_files import chain, file_of
from tests.unit.api.test_grpc import failed, violations
from tests.unit.api.test_statements import NUMBER, imported

if TYPE_CHECKING:
    from tests.unit.api.conftest import Edge

ADA, BEN, EVE = (((ACTOR_HEADER, name),) for name in ("ada", "ben", "eve"))


@pytest.fixture
async def numbers(edge: Edge) -> list[int]:
    """Two kept statements of one account."""
    wanted = spec(AccountKind.NOSTRO, "HOUSDEFF", account_number=NUMBER)
    await edge.world.stores.accounts.open_account(wanted)
    answer = await imported(edge, file_of(*chain(NUMBER, 2)))
    return [each.number for each in answer.statements]


def wanted(numbers: list[int], **fields: Any) -> pb.ProposeStatementChangeRequest:
    given = {"change": pb.STATEMENT_CHANGE_SET_ASIDE, "reason": "the bank's mistake", **fields}
    return pb.ProposeStatementChangeRequest(numbers=numbers, **given)


async def test_two_people_set_statements_aside_and_restore_them(
    edge: Edge, numbers: list[int]
) -> None:
    calls = edge.statements
    dry = await calls.ProposeStatementChange(wanted(numbers, validate_only=True), metadata=ADA)
    assert (dry.id, list(dry.numbers)) == ("", numbers)
    proposal = await calls.ProposeStatementChange(wanted(numbers), metadata=ADA)
    assert proposal.status == pb.PROPOSAL_STATUS_OPEN
    assert (proposal.proposed_by, list(proposal.numbers)) == ("ada", numbers)
    listed = await calls.ListStatementProposals(pb.ListStatementProposalsRequest())
    assert [each.id for each in listed.proposals] == [proposal.id]
    approval = pb.ApproveStatementProposalRequest(
        id=proposal.id, content_sha256=proposal.content_sha256
    )
    error = await failed(calls.ApproveStatementProposal(approval, metadata=ADA))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert not (await shown(edge, numbers[0])).is_set_aside
    found = await calls.ApproveStatementProposal(approval, metadata=BEN)
    assert (found.status, found.decided_by, found.role) == (
        pb.PROPOSAL_STATUS_APPLIED,
        "ben",
        "settlement",
    )
    assert (await shown(edge, numbers[0])).is_set_aside
    answer = await calls.GetStatement(pb.GetStatementRequest(number=numbers[0]))
    assert not answer.HasField("place")
    back = wanted(numbers[:1], change=pb.STATEMENT_CHANGE_RESTORE)
    proposal = await calls.ProposeStatementChange(back, metadata=BEN)
    approval = pb.ApproveStatementProposalRequest(
        id=proposal.id, content_sha256=proposal.content_sha256
    )
    await calls.ApproveStatementProposal(approval, metadata=ADA)
    assert not (await shown(edge, numbers[0])).is_set_aside
    assert (await shown(edge, numbers[1])).is_set_aside
    request = pb.ListStatementProposalsRequest(number=numbers[1], include_ended=True)
    history = await calls.ListStatementProposals(request)
    assert [each.change for each in history.proposals] == [pb.STATEMENT_CHANGE_SET_ASIDE]


async def shown(edge: Edge, number: int) -> pb.Statement:
    return (await edge.statements.GetStatement(pb.GetStatementRequest(number=number))).statement


async def test_a_proposal_is_declined_and_listed_page_by_page(
    edge: Edge, numbers: list[int]
) -> None:
    calls = edge.statements
    made = [
        await calls.ProposeStatementChange(wanted([number]), metadata=ADA) for number in numbers
    ]
    request = pb.ListStatementProposalsRequest(page_size=1)
    first = await calls.ListStatementProposals(request)
    request.page_token = first.next_page_token
    second = await calls.ListStatementProposals(request)
    assert [each.id for page in (first, second) for each in page.proposals] == [
        made[1].id,
        made[0].id,
    ]
    decline = pb.DeclineStatementProposalRequest(id=made[0].id)
    error = await failed(calls.DeclineStatementProposal(decline, metadata=EVE))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    found = await calls.DeclineStatementProposal(decline, metadata=BEN)
    assert (found.status, found.decided_by) == (pb.PROPOSAL_STATUS_DECLINED, "ben")
    got = await calls.GetStatementProposal(pb.GetStatementProposalRequest(id=made[0].id))
    assert got == found


async def test_what_is_wrong_is_refused_with_its_field(edge: Edge, numbers: list[int]) -> None:
    calls = edge.statements
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"numbers": []}, "numbers"),
        ({"numbers": [0]}, "numbers"),
        ({"numbers": list(range(1, 102))}, "numbers"),
        ({"numbers": numbers, "change": 0}, "change"),
        ({"numbers": numbers, "reason": " "}, "reason"),
    ]
    for fields, name in wrong:
        error = await failed(calls.ProposeStatementChange(wanted(**fields), metadata=ADA))
        assert name in violations(error), fields
    error = await failed(calls.ProposeStatementChange(wanted(numbers)))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    error = await failed(calls.ProposeStatementChange(wanted([10**9]), metadata=ADA))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    error = await failed(
        calls.GetStatementProposal(pb.GetStatementProposalRequest(id="1000000000"))
    )
    assert error.code() is grpc.StatusCode.NOT_FOUND
    request = pb.ListStatementProposalsRequest(number=-1)
    assert "number" in violations(await failed(calls.ListStatementProposals(request)))
