"""The calls of ExceptionService, independent of the protocol that carries them.

Promises: every action has a named person; where a certificate was shown, its name counts. A decision of a
person runs to its end even if the caller has disconnected. Nothing here moves money: the engine carries out
an approved proposal, after it has sent the bank one more enquiry.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from settlement_engine.api import render_exceptions as render
from settlement_engine.api.bounds import PROPOSAL
from settlement_engine.api.call import ACTOR_HEADER, LOCAL_CALLER, Service, Unary
from settlement_engine.api.grammar import (
    REQUIRED,
    Found,
    check_digest,
    check_number,
    check_page_size,
    check_uuid,
    check_words,
    refuse,
)
from settlement_engine.api.pages import make_token, read_token
from settlement_engine.api.turns import in_parts
from settlement_engine.domain.exceptions import CaseKind, unknown
from settlement_engine.domain.lifecycle import Ask
from settlement_engine.domain.proposals import EVIDENCE_BYTES_MAX, OF_PARKED, Finding
from settlement_engine.errors import InvalidInstruction, NotAuthenticated, NotFound, WrongState
from settlement_engine.ports import CaseFilter, ProposalFilter, ProposalSpec
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from settlement_engine.api.call import Call, Undisturbed
    from settlement_engine.domain.exceptions import ExceptionCase
    from settlement_engine.ports import CaseManagement

REASON_CHARACTERS_MAX: Final = 1_000
NAME_CHARACTERS_MAX: Final = 255
FILTER_KINDS_MAX: Final = 32
WHO_CHARACTERS_MAX: Final = 256

REASON_FILE: Final = "reason.txt"
"""The file name under which the reason is stored where no evidence is needed."""

FINDINGS: Final[Mapping[int, Finding]] = MappingProxyType(
    {
        pb.RESOLUTION_FINDING_SETTLED: Finding.SETTLED,
        pb.RESOLUTION_FINDING_NOT_SETTLED: Finding.NOT_SETTLED,
        pb.RESOLUTION_FINDING_RELEASE: Finding.RELEASE,
        pb.RESOLUTION_FINDING_DECLINE: Finding.DECLINE,
    }
)


class ExceptionCalls:
    """Serves the calls."""

    def __init__(
        self,
        case_management: CaseManagement,
        undisturbed: Undisturbed,
        *,
        trusts_names: bool = True,
    ) -> None:
        self._case_management = case_management
        self._undisturbed = undisturbed
        self._trusts_names = trusts_names

    def unary(self) -> Service:
        """Map the names of the calls, as in the proto, to their handlers."""
        return {
            "ListExceptions": Unary(pb.ListExceptionsRequest, self.list_exceptions),
            "GetException": Unary(pb.GetExceptionRequest, self.get),
            "AcknowledgeException": Unary(pb.AcknowledgeExceptionRequest, self.acknowledge),
            "CloseException": Unary(pb.CloseExceptionRequest, self.close),
            "ProposeResolution": Unary(pb.ProposeResolutionRequest, self.propose, bounds=PROPOSAL),
            "GetProposal": Unary(pb.GetProposalRequest, self.proposal),
            "ListProposals": Unary(pb.ListProposalsRequest, self.list_proposals),
            "ApproveProposal": Unary(pb.ApproveProposalRequest, self.approve),
            "DeclineProposal": Unary(pb.DeclineProposalRequest, self.decline),
        }

    # --- exceptions -----------------------------------------------------------------------------

    async def list_exceptions(
        self, request: pb.ListExceptionsRequest, call: Call
    ) -> pb.ListExceptionsResponse:
        """List exceptions, newest first."""
        del call
        found: Found = []
        kinds = _kinds(request, found)
        settlement_id = None
        if request.settlement_id:
            settlement_id = check_uuid("settlement_id", request.settlement_id, found)
        filters = (tuple(sorted(kinds)), request.settlement_id, request.include_closed)
        size = check_page_size(request.page_size, found)
        position = read_token(request.page_token, filters, found)
        before_id = check_number("page_token", position, found) if position else None
        refuse(found)
        wanted = CaseFilter(
            kinds=kinds,
            settlement_id=settlement_id,
            has_closed=request.include_closed,
            limit=size + 1,
            before_id=before_id,
        )
        cases = await self._case_management.cases.cases(wanted)
        page = cases[:size]
        has_more = len(cases) > size
        return pb.ListExceptionsResponse(
            exceptions=await in_parts(page, self._write),
            next_page_token=make_token(filters, str(page[-1].id)) if has_more else "",
        )

    async def get(self, request: pb.GetExceptionRequest, call: Call) -> pb.SettlementException:
        """Return one exception with everything that is needed to decide it."""
        del call
        found = await self._case_management.cases.case(_number("id", request.id))
        if found is None:
            raise unknown(int(request.id))
        return self._asked(render.case_file(found, self._class_of(found.case)))

    async def acknowledge(
        self, request: pb.AcknowledgeExceptionRequest, call: Call
    ) -> pb.SettlementException:
        """Record that a person is working on the exception."""
        who, number = self._who(call), _number("id", request.id)
        work = self._case_management.cases.acknowledge(number, who)
        return self._write(await self._undisturbed.run(work))

    async def close(self, request: pb.CloseExceptionRequest, call: Call) -> pb.SettlementException:
        """Close an exception of a kind that people close themselves."""
        who = self._who(call)
        found: Found = []
        number = check_number("id", request.id, found)
        _check_words("reason", request.reason, REASON_CHARACTERS_MAX, found)
        refuse(found)
        work = self._case_management.cases.close_case(number, who, request.reason)
        return self._write(await self._undisturbed.run(work))

    def _who(self, call: Call) -> str:
        return who_acts(call, trusts_names=self._trusts_names)

    def _write(self, case: ExceptionCase) -> pb.SettlementException:
        return self._asked(render.case(case, self._class_of(case)))

    def _asked(self, answer: pb.SettlementException) -> pb.SettlementException:
        """Leave out the next question where the rail takes none: a message of the bank is awaited."""
        is_enquiry = answer.next_question == Ask.ENQUIRE.value
        if is_enquiry and not self._case_management.takes_enquiries(answer.rail):
            answer.ClearField("next_question")
            answer.ClearField("next_question_time")
        return answer

    def _class_of(self, case: ExceptionCase) -> str:
        attempt = case.settlement.attempt if case.settlement is not None else None
        return self._case_management.rail_class(attempt.route.rail) if attempt is not None else ""

    # --- proposals ------------------------------------------------------------------------------

    async def propose(
        self, request: pb.ProposeResolutionRequest, call: Call
    ) -> pb.ResolutionProposal:
        """Record what one person attests."""
        who = self._who(call)
        found: Found = []
        finding = FINDINGS.get(request.finding)
        if finding is None:
            text = "must be one of SETTLED, NOT_SETTLED, RELEASE and DECLINE"
            found.append(("finding", text))
        _check_words("reason", request.reason, REASON_CHARACTERS_MAX, found)
        name, evidence = _evidence_of(request, finding)
        _check_words("evidence_name", name, NAME_CHARACTERS_MAX, found)
        if not 1 <= len(evidence) <= EVIDENCE_BYTES_MAX:
            found.append(("evidence", f"must have 1 to {EVIDENCE_BYTES_MAX} bytes"))
        if bool(request.settlement_id) == bool(request.exception_id):
            found.append(("settlement_id", "is given, or else exception_id, and never both"))
        if found or finding is None:
            raise InvalidInstruction(found)
        spec = ProposalSpec(
            settlement_id=await self._settlement_of(request),
            finding=finding,
            reason=request.reason,
            evidence_name=name,
            evidence=evidence,
            who=who,
            valid_seconds=self._case_management.proposal_valid_seconds,
            is_dry_run=request.validate_only,
        )
        return render.proposal(
            await self._undisturbed.run(self._case_management.resolutions.propose(spec))
        )

    async def _settlement_of(self, request: pb.ProposeResolutionRequest) -> UUID:
        found: Found = []
        if request.settlement_id:
            settlement_id = check_uuid("settlement_id", request.settlement_id, found)
            if settlement_id is None:
                raise InvalidInstruction(found)
            return settlement_id
        number = _number("exception_id", request.exception_id)
        file = await self._case_management.cases.case(number)
        if file is None:
            raise unknown(number)
        if file.case.settlement_id is None:
            what = "this exception is about a payment that is not in this database"
            raise WrongState(what, why="there is no settlement to resolve")
        return file.case.settlement_id

    async def proposal(self, request: pb.GetProposalRequest, call: Call) -> pb.ResolutionProposal:
        """Return a proposal, with its evidence if requested."""
        del call
        number = _number("id", request.id)
        proposal = await self._case_management.resolutions.proposal(number)
        if proposal is None:
            what = f"there is no proposal {number}"
            raise NotFound(what, listed_by="proposals --all")
        answer = render.proposal(proposal)
        if request.include_evidence:
            answer.evidence = await self._case_management.resolutions.evidence(number) or b""
        return answer

    async def list_proposals(
        self, request: pb.ListProposalsRequest, call: Call
    ) -> pb.ListProposalsResponse:
        """List proposals, newest first."""
        del call
        found: Found = []
        settlement_id = None
        if request.settlement_id:
            settlement_id = check_uuid("settlement_id", request.settlement_id, found)
        filters = (request.settlement_id, request.include_ended)
        size = check_page_size(request.page_size, found)
        position = read_token(request.page_token, filters, found)
        before_id = check_number("page_token", position, found) if position else None
        refuse(found)
        wanted = ProposalFilter(
            settlement_id=settlement_id,
            has_ended=request.include_ended,
            limit=size + 1,
            before_id=before_id,
        )
        proposals = await self._case_management.resolutions.proposals(wanted)
        page = proposals[:size]
        has_more = len(proposals) > size
        return pb.ListProposalsResponse(
            proposals=[render.proposal(each) for each in page],
            next_page_token=make_token(filters, str(page[-1].id)) if has_more else "",
        )

    async def approve(
        self, request: pb.ApproveProposalRequest, call: Call
    ) -> pb.ResolutionProposal:
        """Approve what another person has proposed."""
        who = self._who(call)
        found: Found = []
        number = check_number("id", request.id, found)
        signed = check_digest("content_sha256", request.content_sha256, found)
        refuse(found)
        is_dry_run = request.validate_only
        work = self._case_management.resolutions.approve(number, who, signed, is_dry_run=is_dry_run)
        return render.proposal(await self._undisturbed.run(work))

    async def decline(
        self, request: pb.DeclineProposalRequest, call: Call
    ) -> pb.ResolutionProposal:
        """Decline a proposal."""
        who, number = self._who(call), _number("id", request.id)
        work = self._case_management.resolutions.decline(
            number, who, is_dry_run=request.validate_only
        )
        return render.proposal(await self._undisturbed.run(work))


def who_acts(call: Call, *, trusts_names: bool = True) -> str:
    """Name the person who acts: by the certificate, else by the call's metadata. Raises NotAuthenticated.

    Without ``trusts_names`` only a certificate counts: otherwise one person could act under two names.
    """
    if call.caller != LOCAL_CALLER:
        return call.caller[:WHO_CHARACTERS_MAX]
    if not trusts_names:
        what = "the call has no client certificate, which identifies the person here"
        why = "without a certificate one person could act under two names"
        todo = (
            "Call with a client certificate that the CA in [server] tls_client_ca_file has signed."
        )
        raise NotAuthenticated(what, why=why, todo=todo)
    if not call.actor:
        what = "the name of the person who acts is missing"
        todo = f"Call with a certificate, or name the person in the metadata {ACTOR_HEADER}."
        raise NotAuthenticated(what, todo=todo)
    return call.actor


def _number(field: str, text: str) -> int:
    found: Found = []
    number = check_number(field, text, found)
    refuse(found)
    return number


def _check_words(field: str, text: str, characters_max: int, found: Found) -> None:
    if not text.strip():
        found.append((field, REQUIRED))
    check_words(field, text, characters_max, found)


def _evidence_of(
    request: pb.ProposeResolutionRequest, finding: Finding | None
) -> tuple[str, bytes]:
    """Return the evidence's name and bytes. For a parked payment the reason alone may be the evidence."""
    if finding in OF_PARKED and not request.evidence and not request.evidence_name:
        return REASON_FILE, request.reason.encode()
    return request.evidence_name, request.evidence


def _kinds(request: pb.ListExceptionsRequest, found: Found) -> frozenset[CaseKind]:
    """Read the requested kinds; an unknown one is an error, not an empty list."""
    if len(request.kinds) > FILTER_KINDS_MAX:
        found.append(("kinds", f"has more than {FILTER_KINDS_MAX} items"))
        return frozenset()
    if any(kind not in render.KINDS for kind in request.kinds):
        found.append(("kinds", "contains a number that is no kind"))
        return frozenset()
    return frozenset(render.KINDS[kind] for kind in request.kinds)
