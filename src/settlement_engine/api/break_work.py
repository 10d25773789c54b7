"""The calls of the work on breaks, of ReconciliationService.

Promises: every step has a named person, by the certificate where one was shown; a decision runs to its end even if
the caller has disconnected. Must never: decide who may do what.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from settlement_engine.api import render_breaks as render
from settlement_engine.api.bounds import PROPOSAL
from settlement_engine.api.call import Service, Unary
from settlement_engine.api.exceptions import NAME_CHARACTERS_MAX, REASON_CHARACTERS_MAX, who_acts
from settlement_engine.api.grammar import (
    REQUIRED,
    Found,
    check_digest,
    check_number,
    check_page_size,
    check_words,
    refuse,
)
from settlement_engine.api.pages import make_token, read_token
from settlement_engine.domain.breaks.resolutions import ITEMS_MAX, BreakResolution
from settlement_engine.domain.proposals import EVIDENCE_BYTES_MAX
from settlement_engine.errors import NotFound
from settlement_engine.ports import (
    BreakDecision,
    BreakMatch,
    BreakProposalFilter,
    BreakProposed,
    BreakStepSpec,
)
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from settlement_engine.api.call import Call, Undisturbed
    from settlement_engine.domain.breaks.proposals import BreakProposal
    from settlement_engine.ports import BreakFile, BreakManagement, ReconciliationReader

    ItemsRequest: TypeAlias = pb.ProposeMatchRequest | pb.ProposeWriteOffRequest

OWNER_CHARACTERS_MAX: Final = 256
COMMENT_CHARACTERS_MAX: Final = 2_000
OUR_ITEM: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9]{1,4}/[0-9]{1,3}")
THEIR_ITEM: Final = re.compile(r"[0-9]{1,18}/[0-9]{1,9}")

MATCHES: Final[Mapping[int, BreakResolution]] = MappingProxyType(
    {
        pb.BREAK_RESOLUTION_UNSPECIFIED: BreakResolution.MATCH,
        pb.BREAK_RESOLUTION_MATCH: BreakResolution.MATCH,
        pb.BREAK_RESOLUTION_CHARGES: BreakResolution.CHARGES,
        pb.BREAK_RESOLUTION_EXCHANGE: BreakResolution.EXCHANGE,
    }
)
WRITE_OFFS: Final[Mapping[int, BreakResolution]] = MappingProxyType(
    {
        pb.BREAK_RESOLUTION_UNSPECIFIED: BreakResolution.WRITE_OFF,
        pb.BREAK_RESOLUTION_WRITE_OFF: BreakResolution.WRITE_OFF,
        pb.BREAK_RESOLUTION_SUSPENSE: BreakResolution.SUSPENSE,
        pb.BREAK_RESOLUTION_FUNDING: BreakResolution.FUNDING,
        pb.BREAK_RESOLUTION_RETURN: BreakResolution.RETURN,
        pb.BREAK_RESOLUTION_EXPLANATION: BreakResolution.EXPLANATION,
    }
)


class BreakWorkCalls:
    """Serves the calls."""

    def __init__(
        self,
        breaks: BreakManagement,
        reader: ReconciliationReader,
        undisturbed: Undisturbed,
        *,
        trusts_names: bool = True,
    ) -> None:
        self._breaks = breaks
        self._reader = reader
        self._undisturbed = undisturbed
        self._trusts_names = trusts_names

    def unary(self) -> Service:
        """Map the names of the calls, as in the proto, to their handlers."""
        return {
            "AssignBreak": Unary(pb.AssignBreakRequest, self.assign),
            "CommentBreak": Unary(pb.CommentBreakRequest, self.comment),
            "ProposeMatch": Unary(pb.ProposeMatchRequest, self.propose_match, bounds=PROPOSAL),
            "Unmatch": Unary(pb.UnmatchRequest, self.unmatch),
            "ProposeWriteOff": Unary(
                pb.ProposeWriteOffRequest, self.propose_write_off, bounds=PROPOSAL
            ),
            "ListBreakProposals": Unary(pb.ListBreakProposalsRequest, self.list_proposals),
            "GetBreakProposal": Unary(pb.GetBreakProposalRequest, self.proposal),
            "ApproveBreakProposal": Unary(pb.ApproveBreakProposalRequest, self.approve),
            "DeclineBreakProposal": Unary(pb.DeclineBreakProposalRequest, self.decline),
        }

    # --- one person -----------------------------------------------------------------------------

    async def assign(self, request: pb.AssignBreakRequest, call: Call) -> pb.ReconciliationBreak:
        """Make an open break somebody's work."""
        who = self._who(call)
        found: Found = []
        number = check_number("id", request.id, found)
        _check_text("owner", request.owner, OWNER_CHARACTERS_MAX, found)
        check_words("reason", request.reason, REASON_CHARACTERS_MAX, found)
        refuse(found)
        due_at = render.instant(request.due_time) if request.HasField("due_time") else None
        spec = BreakStepSpec(
            break_id=number,
            who=who,
            text=request.reason,
            owner=request.owner,
            due_at=due_at,
            is_dry_run=request.validate_only,
        )
        return await self._shown(await self._undisturbed.run(self._breaks.assign(spec)))

    async def comment(self, request: pb.CommentBreakRequest, call: Call) -> pb.ReconciliationBreak:
        """Add a comment."""
        who = self._who(call)
        found: Found = []
        number = check_number("id", request.id, found)
        _check_text("text", request.text, COMMENT_CHARACTERS_MAX, found)
        refuse(found)
        spec = BreakStepSpec(
            break_id=number, who=who, text=request.text, is_dry_run=request.validate_only
        )
        return await self._shown(await self._undisturbed.run(self._breaks.comment(spec)))

    async def propose_match(
        self, request: pb.ProposeMatchRequest, call: Call
    ) -> pb.ProposeMatchResponse:
        """Match what is exactly equal, or propose to match what differs by charges or exchange."""
        wanted = self._proposed(request, call, MATCHES)
        if wanted.resolution is not BreakResolution.MATCH:
            proposal = await self._undisturbed.run(self._breaks.propose(wanted))
            return pb.ProposeMatchResponse(proposal=render.break_proposal(proposal))
        match = BreakMatch(
            break_id=wanted.break_id,
            ours=wanted.ours,
            theirs=wanted.theirs,
            who=wanted.who,
            reason=wanted.reason,
            is_dry_run=wanted.is_dry_run,
        )
        match_id = await self._undisturbed.run(self._breaks.match(match))
        return pb.ProposeMatchResponse(match_id=str(match_id or ""))

    async def unmatch(self, request: pb.UnmatchRequest, call: Call) -> pb.UnmatchResponse:
        """Take a match back."""
        who = self._who(call)
        found: Found = []
        number = check_number("match_id", request.match_id, found)
        _check_text("reason", request.reason, REASON_CHARACTERS_MAX, found)
        refuse(found)
        work = self._breaks.unmatch(number, who, request.reason, is_dry_run=request.validate_only)
        opened = await self._undisturbed.run(work)
        return pb.UnmatchResponse(match_id=str(number), break_ids=map(str, opened))

    # --- two people -----------------------------------------------------------------------------

    async def propose_write_off(
        self, request: pb.ProposeWriteOffRequest, call: Call
    ) -> pb.BreakProposal:
        """Propose to close a break with a transfer, or to explain an opening difference."""
        wanted = self._proposed(request, call, WRITE_OFFS)
        return render.break_proposal(await self._undisturbed.run(self._breaks.propose(wanted)))

    async def list_proposals(
        self, request: pb.ListBreakProposalsRequest, call: Call
    ) -> pb.ListBreakProposalsResponse:
        """List proposals, newest first."""
        del call
        found: Found = []
        number = check_number("break_id", request.break_id, found) if request.break_id else None
        filters = (request.break_id, request.include_ended)
        size = check_page_size(request.page_size, found)
        position = read_token(request.page_token, filters, found)
        before_id = check_number("page_token", position, found) if position else None
        refuse(found)
        wanted = BreakProposalFilter(
            limit=size + 1,
            break_id=number,
            before_id=before_id,
            has_ended=request.include_ended,
        )
        listed = await self._breaks.proposals(wanted)
        page, has_more = listed[:size], len(listed) > size
        return pb.ListBreakProposalsResponse(
            proposals=[render.break_proposal(each) for each in page],
            next_page_token=make_token(filters, str(page[-1].id)) if has_more else "",
        )

    async def proposal(self, request: pb.GetBreakProposalRequest, call: Call) -> pb.BreakProposal:
        """Return a proposal, with its evidence if requested."""
        del call
        found: Found = []
        number = check_number("id", request.id, found)
        refuse(found)
        read: BreakProposal | None = await self._breaks.proposal(number)
        if read is None:
            what = f"there is no proposal {number} about a break"
            raise NotFound(what, listed_by="breaks proposals --all")
        answer = render.break_proposal(read)
        if request.include_evidence:
            answer.evidence = await self._breaks.evidence(number) or b""
        return answer

    async def approve(
        self, request: pb.ApproveBreakProposalRequest, call: Call
    ) -> pb.BreakProposal:
        """Approve what another person has proposed."""
        who = self._who(call)
        found: Found = []
        number = check_number("id", request.id, found)
        signed = check_digest("content_sha256", request.content_sha256, found)
        refuse(found)
        wanted = BreakDecision(
            proposal_id=number, who=who, signed=signed, is_dry_run=request.validate_only
        )
        return render.break_proposal(await self._undisturbed.run(self._breaks.approve(wanted)))

    async def decline(
        self, request: pb.DeclineBreakProposalRequest, call: Call
    ) -> pb.BreakProposal:
        """Decline a proposal."""
        who = self._who(call)
        found: Found = []
        number = check_number("id", request.id, found)
        refuse(found)
        wanted = BreakDecision(proposal_id=number, who=who, is_dry_run=request.validate_only)
        return render.break_proposal(await self._undisturbed.run(self._breaks.decline(wanted)))

    # --- what they share ------------------------------------------------------------------------

    def _who(self, call: Call) -> str:
        return who_acts(call, trusts_names=self._trusts_names)

    async def _shown(self, file: BreakFile) -> pb.ReconciliationBreak:
        read = await self._reader.break_by_id(file.head.id)
        assert read is not None, "a break is never deleted"
        return render.worked_break(read, file, self._breaks)

    def _proposed(
        self, request: ItemsRequest, call: Call, allowed: Mapping[int, BreakResolution]
    ) -> BreakProposed:
        who = self._who(call)
        found: Found = []
        number = check_number("break_id", request.break_id, found)
        resolution = allowed.get(request.resolution, BreakResolution.MATCH)
        if request.resolution not in allowed:
            names = ", ".join(dict.fromkeys(each.value for each in allowed.values()))
            found.append(("resolution", f"must be one of {names}"))
        _check_text("reason", request.reason, REASON_CHARACTERS_MAX, found)
        check_words("evidence_name", request.evidence_name, NAME_CHARACTERS_MAX, found)
        if len(request.evidence) > EVIDENCE_BYTES_MAX:
            found.append(("evidence", f"must have at most {EVIDENCE_BYTES_MAX} bytes"))
        if bool(request.evidence) != bool(request.evidence_name):
            found.append(("evidence_name", "is given together with the evidence"))
        _check_items("our_postings", request.our_postings, OUR_ITEM, found)
        _check_items("their_entries", request.their_entries, THEIR_ITEM, found)
        refuse(found)
        return BreakProposed(
            break_id=number,
            resolution=resolution,
            ours=tuple(request.our_postings),
            theirs=tuple(request.their_entries),
            who=who,
            reason=request.reason,
            evidence_name=request.evidence_name,
            evidence=request.evidence,
            is_dry_run=request.validate_only,
        )


def _check_text(field: str, text: str, characters_max: int, found: Found) -> None:
    if not text.strip():
        found.append((field, REQUIRED))
    check_words(field, text, characters_max, found)


def _check_items(field: str, items: Sequence[str], form: re.Pattern[str], found: Found) -> None:
    if len(items) > ITEMS_MAX:
        found.append((field, f"must have at most {ITEMS_MAX} items"))
    elif not all(form.fullmatch(each) for each in items):
        found.append((field, "has a name that is no item: see GetBreak"))
