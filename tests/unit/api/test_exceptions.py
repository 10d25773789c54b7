"""ExceptionService: every action has a named person, and exactly what was read is approved."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import grpc
import pytest

from settlement_engine.api.call import ACTOR_HEADER, LOCAL_CALLER, Call
from settlement_engine.api.exceptions import FINDINGS, who_acts
from settlement_engine.api.render_exceptions import KINDS
from settlement_engine.api.settings import ApiSettings
from settlement_engine.app.settings import api_settings
from settlement_engine.cli import exceptions as commands
from settlement_engine.cli.acting import ACTOR
from settlement_engine.config import Config
from settlement_engine.config.sections import ServerConfig
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.proposals import EVIDENCE_BYTES_MAX, Finding
from settlement_engine.errors import NotAuthenticated
from settlement_engine.ports import DoubtLimit
from settlement_engine.proto import settlement_pb2 as pb
from tests.support.histories import Scene
from tests.unit.api import fakes

if TYPE_CHECKING:
    from tests.unit.api.conftest import Edge
    from tests.unit.api.fakes import World

PROFILES: tuple[Literal["dev", "production"], ...] = ("dev", "production")
AT_ONCE = [DoubtLimit(rail="", in_doubt_seconds=0.0, overdue_seconds=0.0)]
EVIDENCE = b"<Document/>\x00"


def acting(name: str) -> Any:
    return ((ACTOR_HEADER, name),)


ADA, GRACE = acting("ada"), acting("grace")


@pytest.fixture
async def scene(world: World) -> Scene:
    return await Scene.open(world.stores)


async def doubted(scene: Scene) -> Any:
    """Return a settlement in doubt with its case."""
    settlement = await scene.bring(State.IN_DOUBT)
    await scene.stores.cases.open_doubts(AT_ONCE, 1_000)
    return settlement


def proposing(**fields: Any) -> pb.ProposeResolutionRequest:
    ordinary: dict[str, Any] = {
        "finding": pb.RESOLUTION_FINDING_SETTLED,
        "reason": "entry 12",
        "evidence_name": "camt.053.xml",
        "evidence": EVIDENCE,
    }
    return pb.ProposeResolutionRequest(**(ordinary | fields))


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value.code(), raised.value.details() or ""


async def test_an_exception_shows_what_a_person_needs(edge: Edge, scene: Scene) -> None:
    settlement = await doubted(scene)
    listed = await edge.exceptions.ListExceptions(pb.ListExceptionsRequest())
    [one] = listed.exceptions
    assert (one.kind, one.severity) == (
        pb.EXCEPTION_KIND_IN_DOUBT,
        pb.EXCEPTION_SEVERITY_NORMAL,
    )
    assert (one.settlement_id, one.state, one.amount) == (str(settlement.id), "IN_DOUBT", "1.00")
    assert one.account_id == str(settlement.attempt.route.source_id)
    assert one.uetr == str(settlement.attempt.references.uetr)
    found = await edge.exceptions.GetException(pb.GetExceptionRequest(id=one.id))
    assert (found.last_question, found.last_answer) == ("send", "NO_ANSWER")
    assert (found.next_question, found.asked_now) == ("enquire", True)
    assert (found.believed.event, found.believed.to_state) == ("NO_ANSWER", "IN_DOUBT")
    assert any("another approves" in sentence for sentence in found.safe)
    assert any("second payment" in sentence for sentence in found.unsafe)


async def test_no_question_is_announced_where_the_rail_takes_none(
    edge: Edge, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await doubted(scene)
    monkeypatch.setattr(fakes.FakeCaseManagement, "takes_enquiries", lambda _cases, _rail: False)
    [one] = (await edge.exceptions.ListExceptions(pb.ListExceptionsRequest())).exceptions
    found = await edge.exceptions.GetException(pb.GetExceptionRequest(id=one.id))
    for each in (one, found):
        assert each.next_question == ""
        assert not each.HasField("next_question_time")


async def test_two_people_resolve_it(edge: Edge, scene: Scene) -> None:
    settlement = await doubted(scene)
    [one] = (await edge.exceptions.ListExceptions(pb.ListExceptionsRequest())).exceptions
    made = await edge.exceptions.ProposeResolution(proposing(exception_id=one.id), metadata=ADA)
    assert (made.settlement_id, made.status) == (str(settlement.id), pb.PROPOSAL_STATUS_OPEN)
    assert (made.proposed_by, made.evidence) == ("ada", b"")
    assert made.evidence_sha256 == hashlib.sha256(EVIDENCE).hexdigest()
    wanted = pb.GetProposalRequest(id=made.id, include_evidence=True)
    assert (await edge.exceptions.GetProposal(wanted)).evidence == EVIDENCE
    approving = pb.ApproveProposalRequest(id=made.id, content_sha256=made.content_sha256)
    for who in (ADA, acting("ADA")):
        code, words = await refused(edge.exceptions.ApproveProposal(approving, metadata=who))
        assert (code, "cannot approve" in words) == (grpc.StatusCode.PERMISSION_DENIED, True)
    other = pb.ApproveProposalRequest(id=made.id, content_sha256="00" * 32)
    code, _ = await refused(edge.exceptions.ApproveProposal(other, metadata=GRACE))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    tried = pb.ApproveProposalRequest(
        id=made.id, content_sha256=made.content_sha256, validate_only=True
    )
    assert (await edge.exceptions.ApproveProposal(tried, metadata=GRACE)).decided_by == ""
    declining = pb.DeclineProposalRequest(id=made.id, validate_only=True)
    assert (await edge.exceptions.DeclineProposal(declining, metadata=GRACE)).decided_by == ""
    done = await edge.exceptions.ApproveProposal(approving, metadata=GRACE)
    assert (done.status, done.decided_by) == (pb.PROPOSAL_STATUS_APPROVED, "grace")
    file = await edge.exceptions.GetException(pb.GetExceptionRequest(id=one.id))
    assert [each.id for each in file.proposals] == [made.id]
    await scene.move(settlement, Event.ATTESTED_SETTLED)
    await scene.stores.cases.close_ended(100)
    after = await edge.exceptions.GetProposal(pb.GetProposalRequest(id=made.id))
    assert after.status == pb.PROPOSAL_STATUS_APPLIED
    assert not (await edge.exceptions.ListExceptions(pb.ListExceptionsRequest())).exceptions
    closed = pb.ListExceptionsRequest(include_closed=True, kinds=[pb.EXCEPTION_KIND_IN_DOUBT])
    [one] = (await edge.exceptions.ListExceptions(closed)).exceptions
    assert one.closed_by == "engine"


@pytest.mark.parametrize(
    "metadata", [None, acting(""), acting("engine"), acting("a b"), [*ADA, *GRACE]]
)
async def test_people_must_be_named_to_act(edge: Edge, scene: Scene, metadata: Any) -> None:
    settlement = await doubted(scene)
    [one] = (await edge.exceptions.ListExceptions(pb.ListExceptionsRequest())).exceptions
    digest = "00" * 32
    calls: list[tuple[Any, Any]] = [
        (edge.exceptions.ProposeResolution, proposing(settlement_id=str(settlement.id))),
        (edge.exceptions.ApproveProposal, pb.ApproveProposalRequest(id="1", content_sha256=digest)),
        (edge.exceptions.DeclineProposal, pb.DeclineProposalRequest(id="1")),
        (edge.exceptions.AcknowledgeException, pb.AcknowledgeExceptionRequest(id=one.id)),
        (edge.exceptions.CloseException, pb.CloseExceptionRequest(id=one.id, reason="x")),
    ]
    for call, request in calls:
        code, _ = await refused(call(request, metadata=metadata))
        assert code is grpc.StatusCode.UNAUTHENTICATED
    assert not scene.stores.records.resolutions  # type: ignore[attr-defined]


def test_a_certificates_name_overrides_the_metadata() -> None:
    assert who_acts(Call(caller="spiffe://bank/ada", actor="grace")) == "spiffe://bank/ada"
    assert who_acts(Call(caller=LOCAL_CALLER, actor="grace")) == "grace"
    with pytest.raises(NotAuthenticated):
        who_acts(Call(caller=LOCAL_CALLER))


def test_untrusted_names_require_a_certificate() -> None:
    with pytest.raises(NotAuthenticated, match="client certificate"):
        who_acts(Call(caller=LOCAL_CALLER, actor="grace"), trusts_names=False)
    certain = Call(caller="spiffe://bank/ada", actor="grace")
    assert who_acts(certain, trusts_names=False) == "spiffe://bank/ada"


def test_names_are_trusted_only_in_development_without_client_certificates() -> None:
    files = ServerConfig(tls_cert_file=Path("cert.pem"), tls_key_file=Path("key.pem"))
    certified = files.model_copy(update={"tls_client_ca_file": Path("ca.pem")})
    found = {
        (profile, server is certified): api_settings(
            Config(profile=profile, server=server)
        ).trusts_names
        for profile in PROFILES
        for server in (files, certified)
    }
    assert found == {
        ("dev", False): True,
        ("dev", True): False,
        ("production", False): False,
        ("production", True): False,
    }


async def test_an_api_that_trusts_no_names_requires_a_certificate_to_act(
    world: World,
) -> None:
    made = fakes.calls(world, ApiSettings(trusts_names=False))
    acting = made.exceptions.unary()["DeclineProposal"].serve
    with pytest.raises(NotAuthenticated):
        await acting(pb.DeclineProposalRequest(id="1"), Call(caller=LOCAL_CALLER, actor="ada"))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"finding": 0}, "finding"),
        ({"finding": 9}, "finding"),
        ({"reason": " "}, "reason"),
        ({"reason": "x" * 1_001}, "reason"),
        ({"reason": "a\x07b"}, "reason"),
        ({"reason": "paid by card 4111 1111 1111 1111"}, "reason"),
        ({"evidence_name": "4111-1111-1111-1111.pdf"}, "evidence_name"),
        ({"evidence_name": ""}, "evidence_name"),
        ({"evidence": b""}, "evidence"),
        ({"evidence": b"x" * (EVIDENCE_BYTES_MAX + 1)}, "evidence"),
        ({"exception_id": "1"}, "settlement_id"),
        ({"settlement_id": "x"}, "settlement_id"),
        ({"settlement_id": "", "exception_id": "0"}, "exception_id"),
    ],
)
async def test_an_invalid_proposal_names_the_field(edge: Edge, scene: Scene, fields, field) -> None:
    settlement = await doubted(scene)
    request = proposing(**({"settlement_id": str(settlement.id)} | fields))
    code, words = await refused(edge.exceptions.ProposeResolution(request, metadata=ADA))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert words.startswith(field)


async def test_json_carries_the_same_calls_with_evidence_in_base64(
    edge: Edge, scene: Scene
) -> None:
    settlement = await doubted(scene)
    body = {
        "settlementId": str(settlement.id),
        "finding": "RESOLUTION_FINDING_NOT_SETTLED",
        "reason": "the bank's letter",
        "evidenceName": "letter.pdf",
        "evidence": base64.b64encode(EVIDENCE).decode(),
    }
    headers = {"Settlement-Actor": "ada"}
    status, made, _ = await edge.post("ProposeResolution", body, headers=headers)
    assert (status, made["evidenceBytes"], made["proposedBy"]) == (200, str(len(EVIDENCE)), "ada")
    status, wrong, _ = await edge.post(
        "ProposeResolution", body | {"evidence": "not base64!"}, headers=headers
    )
    assert (status, wrong["violations"][0]["field"]) == (400, "evidence")
    status, _, _ = await edge.post("ProposeResolution", body)
    assert status == 401
    signed = {"id": made["id"], "contentSha256": made["contentSha256"]}
    status, done, _ = await edge.post(
        "ApproveProposal", signed, headers={"Settlement-Actor": "grace"}
    )
    assert (status, done["status"]) == (200, "PROPOSAL_STATUS_APPROVED")
    status, listed, _ = await edge.post("ListExceptions", {})
    assert (status, len(listed["exceptions"])) == (200, 1)


async def test_a_closed_exception_stays_closed(edge: Edge, scene: Scene) -> None:
    settlement = await scene.bring(State.COMPLETED)
    detail = {"said": "rejected", "exception": "contradiction"}
    await scene.move(settlement, Event.CONTRADICTED, detail=detail)
    [one] = (await edge.exceptions.ListExceptions(pb.ListExceptionsRequest())).exceptions
    assert (one.severity, one.said["said"]) == (pb.EXCEPTION_SEVERITY_HIGH, "rejected")
    request = pb.CloseExceptionRequest(id=one.id, reason="the bank has corrected itself")
    closed = await edge.exceptions.CloseException(request, metadata=ADA)
    assert (closed.closed_by, closed.close_reason) == ("ada", request.reason)
    other = pb.CloseExceptionRequest(id=one.id, reason="no")
    code, _ = await refused(edge.exceptions.CloseException(other, metadata=GRACE))
    assert code is grpc.StatusCode.FAILED_PRECONDITION


async def test_exception_lists_are_paged_and_refuse_unknown_kinds(edge: Edge, scene: Scene) -> None:
    for _ in range(3):
        await doubted(scene)
    first = await edge.exceptions.ListExceptions(pb.ListExceptionsRequest(page_size=2))
    assert len(first.exceptions) == 2
    token = first.next_page_token
    wanted = pb.ListExceptionsRequest(page_size=2, page_token=token)
    second = await edge.exceptions.ListExceptions(wanted)
    assert (len(second.exceptions), second.next_page_token) == (1, "")
    wrong = pb.ListExceptionsRequest(kinds=[99])  # type: ignore[list-item]
    assert (await refused(edge.exceptions.ListExceptions(wrong)))[0] is (
        grpc.StatusCode.INVALID_ARGUMENT
    )


async def test_an_unknown_payment_cannot_be_resolved(edge: Edge, scene: Scene) -> None:
    records = scene.stores.records  # type: ignore[attr-defined]
    detail = {"rail": "mock", "reference": "E2E-1", "amount": "5.00", "currency": "EUR"}
    records.open_case(CaseKind.UNKNOWN_PAYMENT, None, "E2E-1", detail, records.clock.now())
    [one] = (await edge.exceptions.ListExceptions(pb.ListExceptionsRequest())).exceptions
    assert (one.settlement_id, one.end_to_end_id, one.amount) == ("", "E2E-1", "5.00")
    found = await edge.exceptions.GetException(pb.GetExceptionRequest(id=one.id))
    assert found.safe
    assert found.unsafe
    call = edge.exceptions.ProposeResolution(proposing(exception_id=one.id), metadata=ADA)
    assert (await refused(call))[0] is grpc.StatusCode.FAILED_PRECONDITION


def test_the_proto_has_every_kind_and_finding() -> None:
    assert set(KINDS.values()) == set(CaseKind)
    assert set(FINDINGS.values()) == set(Finding)
    assert ACTOR == ACTOR_HEADER
    assert commands.EVIDENCE_BYTES_MAX == EVIDENCE_BYTES_MAX
    assert [kind.value for kind in KINDS.values()] == commands.KINDS
