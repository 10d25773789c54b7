"""The calls of StatementService by which two people set statements aside, or let them count again.

Promises: every step has a named person, by the certificate where one was shown; a decision runs to its end even if
the caller has disconnected. Must never: decide who may do what.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from settlement_engine.api import grammar
from settlement_engine.api.call import Service, Unary
from settlement_engine.api.exceptions import REASON_CHARACTERS_MAX, who_acts
from settlement_engine.api.pages import make_token, read_token
from settlement_engine.api.render_statements import to_proposal
from settlement_engine.domain.statement_decisions import (
    STATEMENTS_MAX,
    StatementChange,
    no_proposal,
)
from settlement_engine.ports import (
    StatementChanging,
    StatementDecision,
    StatementProposalFilter,
)
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from settlement_engine.api.call import Call, Undisturbed
    from settlement_engine.ports import StatementDecider

NUMBER_MAX: Final = 2**63 - 1

CHANGES: Final[Mapping[int, StatementChange]] = MappingProxyType(
    {
        pb.STATEMENT_CHANGE_SET_ASIDE: StatementChange.SET_ASIDE,
        pb.STATEMENT_CHANGE_RESTORE: StatementChange.RESTORE,
    }
)


class StatementDecisionCalls:
    """Serves the calls."""

    def __init__(
        self, decider: StatementDecider, undisturbed: Undisturbed, *, trusts_names: bool = True
    ) -> None:
        self._decider = decider
        self._undisturbed = undisturbed
        self._trusts_names = trusts_names

    def unary(self) -> Service:
        """Map the names of the calls, as in the proto, to their handlers."""
        return {
            "ProposeStatementChange": Unary(pb.ProposeStatementChangeRequest, self.propose),
            "ListStatementProposals": Unary(pb.ListStatementProposalsRequest, self.list_proposals),
            "GetStatementProposal": Unary(pb.GetStatementProposalRequest, self.proposal),
            "ApproveStatementProposal": Unary(pb.ApproveStatementProposalRequest, self.approve),
            "DeclineStatementProposal": Unary(pb.DeclineStatementProposalRequest, self.decline),
        }

    async def propose(
        self, request: pb.ProposeStatementChangeRequest, call: Call
    ) -> pb.StatementProposal:
        """Propose to set statements aside, or to let them count again."""
        who = self._who(call)
        found: grammar.Found = []
        change = CHANGES.get(request.change)
        if change is None:
            found.append(("change", "must be one of SET_ASIDE, RESTORE"))
        numbers = tuple(dict.fromkeys(request.numbers))
        if not 1 <= len(numbers) <= STATEMENTS_MAX:
            found.append(("numbers", f"must be 1 to {STATEMENTS_MAX}"))
        elif not all(1 <= each <= NUMBER_MAX for each in numbers):
            found.append(("numbers", "must be positive"))
        grammar.check_reason(request.reason, REASON_CHARACTERS_MAX, found)
        grammar.refuse(found)
        assert change is not None, "it was refused"
        wanted = StatementChanging(
            change=change,
            statement_ids=numbers,
            reason=request.reason,
            who=who,
            is_dry_run=request.validate_only,
        )
        return to_proposal(await self._undisturbed.run(self._decider.propose(wanted)))

    async def list_proposals(
        self, request: pb.ListStatementProposalsRequest, call: Call
    ) -> pb.ListStatementProposalsResponse:
        """List proposals, newest first."""
        del call
        found: grammar.Found = []
        if request.number < 0:
            found.append(("number", "must be positive"))
        filters = ("proposals", request.number, request.include_ended)
        size = grammar.check_page_size(request.page_size, found)
        position = read_token(request.page_token, filters, found)
        before_id = grammar.check_number("page_token", position, found) if position else None
        grammar.refuse(found)
        wanted = StatementProposalFilter(
            limit=size + 1,
            statement_id=request.number or None,
            before_id=before_id,
            has_ended=request.include_ended,
        )
        listed = await self._decider.proposals(wanted)
        page, has_more = listed[:size], len(listed) > size
        return pb.ListStatementProposalsResponse(
            proposals=map(to_proposal, page),
            next_page_token=make_token(filters, str(page[-1].id)) if has_more else "",
        )

    async def proposal(
        self, request: pb.GetStatementProposalRequest, call: Call
    ) -> pb.StatementProposal:
        """Return a proposal."""
        del call
        found: grammar.Found = []
        number = grammar.check_number("id", request.id, found)
        grammar.refuse(found)
        read = await self._decider.proposal(number)
        if read is None:
            raise no_proposal(number)
        return to_proposal(read)

    async def approve(
        self, request: pb.ApproveStatementProposalRequest, call: Call
    ) -> pb.StatementProposal:
        """Approve what another person has proposed."""
        who = self._who(call)
        found: grammar.Found = []
        number = grammar.check_number("id", request.id, found)
        signed = grammar.check_digest("content_sha256", request.content_sha256, found)
        grammar.refuse(found)
        wanted = StatementDecision(
            proposal_id=number, who=who, signed=signed, is_dry_run=request.validate_only
        )
        return to_proposal(await self._undisturbed.run(self._decider.approve(wanted)))

    async def decline(
        self, request: pb.DeclineStatementProposalRequest, call: Call
    ) -> pb.StatementProposal:
        """Decline a proposal."""
        who = self._who(call)
        found: grammar.Found = []
        number = grammar.check_number("id", request.id, found)
        grammar.refuse(found)
        wanted = StatementDecision(proposal_id=number, who=who, is_dry_run=request.validate_only)
        return to_proposal(await self._undisturbed.run(self._decider.decline(wanted)))

    def _who(self, call: Call) -> str:
        return who_acts(call, trusts_names=self._trusts_names)
