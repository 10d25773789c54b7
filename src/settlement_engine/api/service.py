"""The calls of SettlementService, independent of the protocol that carries them.

Promises: a request is checked before the engine receives it; a caller who disconnects changes nothing, because
the engine's work does not run in the caller's task; and a status that is not final is an answer, never an
error.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from settlement_engine.api import render
from settlement_engine.api.bounds import ReadBounds
from settlement_engine.api.call import Service, Unary
from settlement_engine.api.errors import status_of
from settlement_engine.api.finding import SettlementFinder
from settlement_engine.api.grammar import (
    Found,
    check_filter,
    check_instant,
    check_obligation,
    check_page_size,
    check_uuid,
    refuse,
)
from settlement_engine.api.pages import make_token, read_token
from settlement_engine.api.translate import to_instruction
from settlement_engine.api.turns import in_parts
from settlement_engine.domain.finality import Finality, finality
from settlement_engine.domain.identifiers import first_id_at
from settlement_engine.domain.lifecycle import STATUS
from settlement_engine.errors import InvalidInstruction
from settlement_engine.ports import SettlementFilter
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.api.call import Call
    from settlement_engine.api.settings import ApiSettings
    from settlement_engine.api.turns import Steps, Turns
    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.ports import Engine, SettlementProofs, SettlementStore

YIELD_EVERY_ITEMS: Final = 250
"""After so many items of a batch other calls proceed."""

REFUSALS_AT_ONCE_MAX: Final = 50
"""With more faulty items than this, the refusals are written in slices (``turns.py``)."""

REFUSAL_ITEMS: Final = 5
"""Refusing one item takes as long as reading this many."""

FILTER_STATUSES_MAX: Final = 32

TOTAL_MAX: Final = 10_000
"""Totals are counted up to this number; one more stands for "more"."""

CLOCKS_DIFFER_SECONDS_MAX: Final = 86_400
"""Ids carry an engine's clock, filters compare the database's: so far the two may differ."""


class SettlementCalls:
    """Serves the unary calls; the streams are in ``streams.py``."""

    def __init__(
        self,
        engine: Engine,
        settlements: SettlementStore,
        proofs: SettlementProofs,
        settings: ApiSettings,
        turns: Turns,
    ) -> None:
        self._proofs = proofs
        self._engine = engine
        self._turns = turns
        self._settlements = settlements
        self._settings = settings
        self._finder = SettlementFinder(settlements)

    def unary(self) -> Service:
        """Map the names of the calls, as in the proto, to their handlers."""
        batch = ReadBounds(self._settings.message_bytes_max, self._settings.batch_items_max)
        return {
            "ExecuteSettlement": Unary(pb.SettlementRequest, self.execute),
            "SubmitSettlements": Unary(pb.SubmitSettlementsRequest, self.submit, bounds=batch),
            "ListSettlements": Unary(pb.ListSettlementsRequest, self.list_settlements),
            "CancelSettlement": Unary(pb.CancelSettlementRequest, self.cancel),
        }

    async def execute(self, request: pb.SettlementRequest, call: Call) -> pb.SettlementResponse:
        """Accept a settlement and wait for its end, as long as the caller waits."""
        instruction = to_instruction(request, caller=call.caller, header_key=call.idempotency_key)
        wait_seconds = _wait_seconds(self._settings, call.deadline_seconds)
        return render.response(await self._engine.settle(instruction, wait_seconds))

    async def submit(
        self, request: pb.SubmitSettlementsRequest, call: Call
    ) -> pb.SubmitSettlementsResponse:
        """Accept a batch. A fault in one item does not affect the others."""
        self._check_batch(request, call)
        answer = pb.SubmitSettlementsResponse()
        results = [answer.results.add() for _ in request.settlements]
        instructions: list[Instruction] = []
        indices: list[int] = []
        # A full engine refuses before it decodes: under overload, useless work hurts most.
        refused: list[tuple[int, InvalidInstruction]] = []
        with self._engine.reading(len(request.settlements)) as note:
            for index, item in enumerate(request.settlements):
                try:
                    instructions.append(to_instruction(item, caller=call.caller))
                    indices.append(index)
                except InvalidInstruction as error:
                    refused.append((index, error))
                if index % YIELD_EVERY_ITEMS == YIELD_EVERY_ITEMS - 1:
                    note(index + 1, len(indices))
                    await asyncio.sleep(0)
        found = await self._engine.submit(instructions) if instructions else []
        await self._turns.run(_refusing(refused, results))
        worked = 0
        for index, accepted in zip(indices, found, strict=True):
            _write_result(results[index], accepted)
            worked += REFUSAL_ITEMS if isinstance(accepted, Exception) else 1
            if worked >= YIELD_EVERY_ITEMS:
                worked = 0
                await asyncio.sleep(0)
        return answer

    def _check_batch(self, request: pb.SubmitSettlementsRequest, call: Call) -> None:
        found: Found = []
        limit = self._settings.batch_items_max
        if len(request.settlements) > limit:
            count = len(request.settlements)
            found.append(("settlements", f"has {count} items, at most {limit} are taken at once"))
        if call.idempotency_key:
            description = "each settlement of a batch has its own; the header is for single calls"
            found.append(("idempotency_key", description))
        refuse(found)

    async def status_of(
        self, request: pb.SettlementStatusRequest
    ) -> tuple[Settlement, pb.SettlementStatusResponse]:
        """Return a settlement, and its status with its history so far."""
        settlement = await self.find(request)
        moves = await self._settlements.history(settlement.id)
        is_proved = settlement.id in await self._proved([settlement])
        answer = render.status_response(
            settlement,
            moves,
            has_metadata=True,
            is_proved=is_proved,
            takes_enquiries=self._takes_enquiries(settlement),
        )
        return settlement, answer

    async def _proved(self, settlements: Sequence[Settlement]) -> frozenset[UUID]:
        """Return those that statements prove; only what has moved money is asked about."""
        moved = [each.id for each in settlements if finality(each.state) is Finality.SETTLED]
        return await self._proofs.proved(moved) if moved else frozenset()

    async def find(self, request: pb.SettlementStatusRequest) -> Settlement:
        """Find a settlement by any of its identifiers. Raises NotFound, InvalidInstruction."""
        return await self._finder.find(request)

    async def cancel(
        self, request: pb.CancelSettlementRequest, call: Call
    ) -> pb.SettlementResponse:
        """Request the cancellation of a settlement."""
        del call
        found: Found = []
        settlement_id = check_uuid("settlement_id", request.settlement_id, found)
        if settlement_id is None:
            raise InvalidInstruction(found)
        return render.response(await self._engine.cancel(settlement_id))

    async def list_settlements(
        self, request: pb.ListSettlementsRequest, call: Call
    ) -> pb.ListSettlementsResponse:
        """List settlements, newest first."""
        del call
        found: Found = []
        everything = _filter(request, found)
        filters: tuple[object, ...] = (
            tuple(sorted({int(STATUS[state]) for state in everything.states})),
            *(request.bank, request.currency, request.obligation_id),
            *((request.since, request.until) if request.since or request.until else ()),
            *_compensation_filters(request),
        )
        size = check_page_size(request.page_size, found)
        position = read_token(request.page_token, filters, found)
        before_id = check_uuid("page_token", position, found) if position else None
        refuse(found)
        wanted = replace(everything, limit=size + 1, before_id=before_id or everything.before_id)
        total = 0
        if request.with_total:
            total = await self._settlements.count_settlements(everything)
        settlements = await self._settlements.list_settlements(wanted)
        page = settlements[:size]
        has_more = len(settlements) > size
        return pb.ListSettlementsResponse(
            settlements=await self._listed(page),
            next_page_token=make_token(filters, str(page[-1].id)) if has_more else "",
            total=total,
        )

    async def _listed(self, page: Sequence[Settlement]) -> list[pb.SettlementStatusResponse]:
        proved = await self._proved(page)
        return await in_parts(
            page,
            lambda each: render.status_response(
                each,
                is_proved=each.id in proved,
                takes_enquiries=self._takes_enquiries(each),
            ),
        )

    def _takes_enquiries(self, settlement: Settlement) -> bool:
        attempt = settlement.attempt
        silent = self._settings.rails_without_enquiries
        return attempt is None or attempt.route.rail not in silent


def _wait_seconds(settings: ApiSettings, deadline_seconds: float | None) -> float:
    """Return how long a call may wait for an end, so that the answer still reaches the caller in time."""
    if deadline_seconds is None:
        return settings.execute_wait_seconds
    share = deadline_seconds * settings.deadline_margin_share
    margin = max(settings.deadline_margin_seconds, share)
    return min(max(deadline_seconds - margin, 0.0), settings.execute_wait_seconds_max)


def _filter(request: pb.ListSettlementsRequest, found: Found) -> SettlementFilter:
    """Read the filter of a list, without the position of the page."""
    statuses = _statuses(request, found)
    check_filter(request.bank, request.currency, found)
    if request.obligation_id:
        check_obligation(request.obligation_id, found)
    since = check_instant("since", request.since, found)
    until = check_instant("until", request.until, found)
    compensates = request.compensates
    return SettlementFilter(
        states=frozenset(state for state, status in STATUS.items() if status in statuses),
        bank=request.bank,
        currency=request.currency,
        obligation_id=request.obligation_id,
        since=since,
        until=until,
        compensates=check_uuid("compensates", compensates, found) if compensates else None,
        only_compensations=request.only_compensations,
        only_compensated=request.only_compensated,
        limit=TOTAL_MAX + 1,
        before_id=_near(until, CLOCKS_DIFFER_SECONDS_MAX),
        from_id=_near(since, -CLOCKS_DIFFER_SECONDS_MAX),
    )


def _compensation_filters(request: pb.ListSettlementsRequest) -> tuple[object, ...]:
    """Return what a page token keeps of these filters; nothing without them, so that older tokens stay valid."""
    found = (request.compensates, request.only_compensations, request.only_compensated)
    return found if any(found) else ()


def _near(at: datetime | None, seconds: int) -> UUID | None:
    """Return the smallest id of about that time, so that an index range limits the search."""
    return None if at is None else first_id_at(int((at.timestamp() + seconds) * 1_000))


def _refusing(
    refused: Sequence[tuple[int, InvalidInstruction]], results: Sequence[pb.SubmitResult]
) -> Steps[None]:
    """Write the refusals of items one by one: writing them takes longer than finding them."""
    is_long = len(refused) > REFUSALS_AT_ONCE_MAX
    if is_long:
        yield
    for index, error in refused:
        results[index].error.CopyFrom(status_of(error))
        if is_long:
            yield


def _write_result(result: pb.SubmitResult, found: Settlement | Exception) -> None:
    """Write one item's result."""
    if isinstance(found, Exception):
        result.error.CopyFrom(status_of(found))
    else:
        render.write_response(result.settlement, found)


def _statuses(request: pb.ListSettlementsRequest, found: Found) -> frozenset[int]:
    """Read the requested statuses; an unknown one is an error, not an empty list."""
    if len(request.statuses) > FILTER_STATUSES_MAX:
        found.append(("statuses", f"has more than {FILTER_STATUSES_MAX} items"))
        return frozenset()
    known = {int(status) for status in STATUS.values()}
    if any(status not in known for status in request.statuses):
        found.append(("statuses", "contains a number that is no status"))
    return frozenset(request.statuses)
