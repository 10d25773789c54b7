"""The calls about one settlement's history: explain it, export it as evidence, or list it as stuck.

Promises: the calls read and change nothing; an explanation or an export comes from one database snapshot;
sizes are limited, and what is larger is refused, never truncated silently.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from settlement_engine import __version__
from settlement_engine.api.call import Service, Unary
from settlement_engine.api.grammar import Found, check_page_size, refuse
from settlement_engine.api.render import status_number, timestamp
from settlement_engine.api.turns import in_parts
from settlement_engine.domain.stuck import SENTENCES, StuckLimits
from settlement_engine.errors import NotFound
from settlement_engine.evidence import bundle
from settlement_engine.evidence.explanation import as_text, explain
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from settlement_engine.api.call import Call
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.domain.stuck import Stuck
    from settlement_engine.evidence.dossier import Dossier
    from settlement_engine.ports import Archive, StuckFinder

    Find = Callable[[pb.SettlementStatusRequest], Awaitable[Settlement]]


class DossierCalls:
    """Serves the calls; they are part of SettlementService."""

    def __init__(
        self, find: Find, archive: Archive, finder: StuckFinder, limits: StuckLimits
    ) -> None:
        self._find = find
        self._archive = archive
        self._finder = finder
        self._limits = limits

    def unary(self) -> Service:
        """Map the names of the calls, as in the proto, to their handlers."""
        return {
            "ExplainSettlement": Unary(pb.SettlementStatusRequest, self.explain),
            "GetEvidence": Unary(pb.SettlementStatusRequest, self.evidence),
            "ListStuckSettlements": Unary(pb.ListStuckSettlementsRequest, self.stuck),
        }

    async def explain(
        self, request: pb.SettlementStatusRequest, call: Call
    ) -> pb.SettlementExplanation:
        """Explain a settlement's history in sentences."""
        del call
        dossier = await self._dossier(request)
        explanation = explain(dossier)
        standing = dossier.standing
        return pb.SettlementExplanation(
            settlement_id=str(standing.settlement_id),
            status=status_number(standing.state),
            state=standing.state.name,
            headline=explanation.headline,
            story=[
                pb.StoryLine(at=timestamp(line.at), text=line.text) for line in explanation.story
            ],
            standing=explanation.standing,
            next=explanation.next,
            money=explanation.money,
            who=explanation.who,
            text=as_text(explanation),
        )

    async def evidence(
        self, request: pb.SettlementStatusRequest, call: Call
    ) -> pb.SettlementEvidence:
        """Export everything about a settlement as files. Raises WrongState when it exceeds the size limits."""
        del call
        dossier = await self._dossier(request)
        # Hashing and writing megabytes would block the event loop, so a thread does it.
        files = await asyncio.to_thread(bundle.write, dossier, __version__)
        return pb.SettlementEvidence(
            settlement_id=str(dossier.standing.settlement_id),
            files=[pb.EvidenceFile(name=name, content=data) for name, data in files.items()],
            root_sha256=bundle.manifest_of(files).root_sha256,
        )

    async def _dossier(self, request: pb.SettlementStatusRequest) -> Dossier:
        settlement = await self._find(request)
        dossier = await self._archive.dossier(settlement.id)
        if dossier is None:
            raise NotFound("there is no settlement with this id", listed_by="list")
        return dossier

    async def stuck(
        self, request: pb.ListStuckSettlementsRequest, call: Call
    ) -> pb.ListStuckSettlementsResponse:
        """List the settlements that are stuck."""
        del call
        found: Found = []
        size = check_page_size(request.page_size, found)
        refuse(found)
        report = await self._finder.stuck(self._limits, size)
        return pb.ListStuckSettlementsResponse(
            settlements=await in_parts(report.found, _stuck),
            counts={reason.name: count for reason, count in report.counts.items()},
            at=timestamp(report.at),
        )


def _stuck(each: Stuck) -> pb.StuckSettlement:
    return pb.StuckSettlement(
        settlement_id=str(each.settlement_id),
        obligation_id=each.obligation_id,
        status=status_number(each.state),
        state=each.state.name,
        reason=each.reason.name,
        text=SENTENCES[each.reason],
        since=timestamp(each.since),
        rail=each.rail,
    )
