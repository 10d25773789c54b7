"""In-memory fakes of the ports behind the API, as complete as the API can tell."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from prometheus_client import CollectorRegistry

from settlement_engine.api.books import BookPorts
from settlement_engine.api.calls import Calls, PaymentOrders
from settlement_engine.api.issued_statements import IssuedPorts
from settlement_engine.api.reconciliation import ReconciliationPorts
from settlement_engine.api.regulatory import RegulatoryPorts
from settlement_engine.api.statements import StatementPorts
from settlement_engine.app.application import SystemClock
from settlement_engine.domain.breaks.authority import ResolutionRole
from settlement_engine.domain.breaks.rules import BreakRules
from settlement_engine.domain.ledger import Account, AccountKind, Leg, Transfer
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.missing_statements import StatementDueTimes
from settlement_engine.domain.recalls import RecallRequest, RecallState, RecallStep
from settlement_engine.domain.regulatory_report import ReportingInstitution
from settlement_engine.domain.settlement import Moved, Settlement
from settlement_engine.engine.breaks import EngineBreaks
from settlement_engine.engine.reconciliation import Reconciliation
from settlement_engine.engine.regulatory_reporting import RegulatoryReporting
from settlement_engine.engine.statement_decisions import StatementDecisions
from settlement_engine.engine.statement_fetch import StatementFetch
from settlement_engine.engine.statement_import import StatementImport
from settlement_engine.engine.statement_issuing import StatementIssuing
from settlement_engine.engine.statement_problems import PresentProblems
from settlement_engine.errors import IdempotencyConflict, NotFound, Overloaded, WrongState
from settlement_engine.messages.report_templates import shipped_templates
from settlement_engine.monitoring.break_metrics import BreakMetrics
from settlement_engine.monitoring.families import Families
from settlement_engine.ports import Announcement, LaneStatus, RailStatus, StatementRules
from tests.support.stores import CountedIds, MemoryStores
from tests.unit.api.fake_covers import FakeCovers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from settlement_engine.api.settings import ApiSettings
    from settlement_engine.domain.breaker_orders import BreakerAction, BreakerOrder
    from settlement_engine.domain.kept_messages import ListedMessage, MessagePosition
    from settlement_engine.domain.settlement import Instruction
    from settlement_engine.domain.stuck import StuckLimits, StuckReport
    from settlement_engine.evidence.dossier import Dossier
    from settlement_engine.ports import (
        AccountFilter,
        AccountSpec,
        Funding,
        Named,
        NoteRead,
        SettlementFilter,
        TransferFilter,
    )

NOON = datetime(2026, 1, 31, 12, 0, 0, 250_000, tzinfo=UTC)
DAY = date(2026, 1, 31)
POLL_SECONDS = 0.005
POLLS_MAX = 10_000


RULES = BreakRules(
    roles=(
        ResolutionRole(name="settlement", persons=("ada", "ben"), limits_minor={"EUR": 1_000_00}),
    )
)


class FakeCaseManagement:
    """Case management over an in-memory store; every rail is of class A."""

    proposal_valid_seconds = 3_600.0

    def __init__(self, stores: MemoryStores) -> None:
        self.cases = stores.cases
        self.resolutions = stores.resolutions

    def rail_class(self, rail: str) -> str:
        return "a" if rail else ""

    def takes_enquiries(self, rail: str) -> bool:
        return bool(rail)


class FakeRails:
    """One rail with one bank, whose orders are kept and followed at once."""

    def __init__(self, stores: MemoryStores) -> None:
        self._stores = stores
        self.standing: list[BreakerOrder] = []

    def rails(self) -> list[RailStatus]:
        lane = LaneStatus(
            bank="DEUTDEFF",
            breaker="half_open",
            why="sends were not answered in time",
            is_stopped=bool(self.standing),
            waiting=3,
            in_flight=1,
            tries_in_seconds=2.5,
        )
        return [
            RailStatus(
                name="swift",
                rail_class="d",
                is_paused=False,
                refuses_while_open=True,
                lanes=(lane,),
                standing=tuple(self.standing),
                messages=("pacs.009.001.08",),
            )
        ]

    async def latest(self, rail: str, limit: int) -> list[BreakerOrder]:
        return await self._stores.breaker_orders.latest(rail, limit)

    async def give(
        self, rail: str, bank: str, action: BreakerAction, *, who: str, reason: str
    ) -> BreakerOrder:
        given = await self._stores.breaker_orders.give(rail, bank, action, who=who, reason=reason)
        self.standing = await self._stores.breaker_orders.standing()
        return given


class FakeRecalls:
    """Recalls in memory; every settlement that is asked for is recalled, unless a failure is set."""

    def __init__(self) -> None:
        self.known: dict[UUID, RecallRequest] = {}
        self.failure: Exception | None = None

    async def request(self, settlement_id: UUID, who: str, reason: str) -> RecallRequest:
        if self.failure is not None:
            raise self.failure
        if settlement_id in self.known:
            return msgspec.structs.replace(self.known[settlement_id], is_replay=True)
        detail = {"requested_by": who, "reason": reason}
        step = RecallStep(seq=1, event=None, state=RecallState.REQUESTED, at=NOON, detail=detail)
        self.known[settlement_id] = RecallRequest(settlement_id=settlement_id, steps=(step,))
        return self.known[settlement_id]

    async def recall(self, settlement_id: UUID) -> RecallRequest | None:
        return self.known.get(settlement_id)


class World:
    """Settlements, transitions and accounts in memory, and an engine whose behaviour the tests control."""

    def __init__(self) -> None:
        self.settlements: dict[UUID, Settlement] = {}
        self.by_key: dict[UUID, UUID] = {}
        self.moves_made: list[Announcement] = []
        self.accounts_known: dict[int, Account] = {}
        self.transfers_made: list[Transfer] = []
        self.submitted: list[Sequence[Instruction]] = []
        self.noted: list[tuple[int, int]] = []
        self.named: dict[str, list[Named]] = {}
        self.listed: list[SettlementFilter] = []
        self.waits: list[float] = []
        self.proved_by_statements: set[UUID] = set()
        self.asked_for_proofs: list[UUID] = []
        self.failure: Exception | None = None
        self.failures: dict[str, Exception] = {}
        self.ends = True
        self.capacity = 1_000_000
        self.changed = asyncio.Condition()
        self.holding: asyncio.Event | None = None
        self.waiting = 0
        self.waiting_max = 0
        self.stores = MemoryStores()
        self.dead_letters = self.stores.dead_letters
        self.banks = self.stores.banks
        self.specs: list[AccountSpec] = []
        self.recalls = FakeRecalls()
        self.covers = FakeCovers()
        self.case_management = FakeCaseManagement(self.stores)
        self.rail_control = FakeRails(self.stores)

    # --- the engine ---------------------------------------------------------------------------

    @contextmanager
    def reading(self, count: int) -> Iterator[NoteRead]:
        if count > self.capacity:
            raise Overloaded("no room", retry_after_seconds=0.25)
        yield lambda read, good: self.noted.append((read, good))

    async def submit(self, instructions: Sequence[Instruction]) -> list[Settlement | Exception]:
        self.submitted.append(instructions)
        if self.failure is not None:
            raise self.failure
        return [self.failures.get(one.obligation_id) or self._accept(one) for one in instructions]

    async def settle(self, instruction: Instruction, wait_seconds: float) -> Settlement:
        self.waits.append(wait_seconds)
        failure = self.failures.get(instruction.obligation_id) or self.failure
        if failure is not None:
            raise failure
        accepted = self._accept(instruction)
        await self._tell()
        self.waiting += 1
        self.waiting_max = max(self.waiting, self.waiting_max)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    if self.holding is not None:
                        await self.holding.wait()
                    if self.ends and not accepted.is_ended:
                        await self.move(accepted.id, Event.SETTLED, State.COMPLETED)
        finally:
            self.waiting -= 1
        found = self.settlements[accepted.id]
        return replace(found, is_replay=accepted.is_replay)

    async def wait(self, settlement_id: UUID, wait_seconds: float) -> Settlement:
        del wait_seconds
        return self.settlements[settlement_id]

    async def cancel(self, settlement_id: UUID) -> Settlement:
        settlement = self.settlements.get(settlement_id)
        if settlement is None:
            raise NotFound("there is no such settlement")
        if settlement.is_ended:
            raise WrongState("it has ended as COMPLETED")
        await self.move(settlement_id, Event.CANCELLED, State.RECALLING)
        return self.settlements[settlement_id]

    async def moves(
        self, after: int, settlement_id: UUID | None = None
    ) -> AsyncIterator[Sequence[Announcement]]:
        while True:
            batch = await self.read(after, 2, settlement_id)
            if batch:
                yield batch
                after = batch[-1].moved.position
                continue
            async with self.changed:
                await self.changed.wait()

    def _accept(self, instruction: Instruction) -> Settlement:
        known_id = self.by_key.get(instruction.key_hash)
        if known_id is not None:
            known = self.settlements[known_id]
            if known.instruction.content_hash != instruction.content_hash:
                what = "the idempotency key stands for another instruction"
                raise IdempotencyConflict(what, field="amount", settlement_id=str(known.id))
            return replace(known, is_replay=True)
        number = len(self.settlements) + 1
        settlement = Settlement(
            id=UUID(int=number),
            instruction=instruction,
            state=State.VALIDATING,
            seq=0,
            fencing_token=1,
            created_at=NOON,
            value_date=instruction.value_date or DAY,
            next_action_at=NOON + timedelta(seconds=9),
        )
        self.settlements[settlement.id] = settlement
        self.by_key[instruction.key_hash] = settlement.id
        self._note(settlement, Event.ADMITTED, State.PENDING)
        return settlement

    def _note(self, settlement: Settlement, event: Event, before: State, **detail: str) -> None:
        settlement.seq += 1
        moved = Moved(
            position=len(self.moves_made) + 1,
            settlement_id=settlement.id,
            seq=settlement.seq,
            from_state=before,
            event=event,
            to_state=settlement.state,
            at=NOON + timedelta(seconds=settlement.seq),
            detail=detail,
        )
        payment_request = settlement.instruction
        self.moves_made.append(
            Announcement(
                moved=moved,
                obligation_id=payment_request.obligation_id,
                from_bank=payment_request.from_bank,
                to_bank=payment_request.to_bank,
                amount=payment_request.amount,
                value_date=settlement.value_date,
                priority=int(payment_request.priority),
            )
        )

    async def move(self, settlement_id: UUID, event: Event, state: State, **detail: str) -> None:
        """Apply a transition, whether the state machine allows it or not."""
        before = self.settlements[settlement_id]
        is_end = state in (State.COMPLETED, State.FAILED, State.ROLLED_BACK)
        after = replace(before, state=state, ended_at=NOON if is_end else None)
        self.settlements[settlement_id] = after
        self._note(after, event, before.state, **detail)
        await self._tell()

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    # --- the stores ---------------------------------------------------------------------------

    async def load(self, settlement_ids: Sequence[UUID]) -> dict[UUID, Settlement]:
        return {one: self.settlements[one] for one in settlement_ids if one in self.settlements}

    async def dossier(self, settlement_id: UUID) -> Dossier | None:
        return await self.stores.archive.dossier(settlement_id)

    async def messages_of(
        self, settlement_id: UUID, limit: int, after: MessagePosition | None = None
    ) -> list[ListedMessage]:
        return await self.stores.messages.messages_of(settlement_id, limit, after)

    async def stuck(self, limits: StuckLimits, limit: int) -> StuckReport:
        return await self.stores.finder.stuck(limits, limit)

    async def find_by_obligation(self, obligation_id: str) -> Settlement | None:
        found = (
            one
            for one in self.settlements.values()
            if one.instruction.obligation_id == obligation_id
        )
        return next(found, None)

    async def find_by_any_id(self, name: str) -> list[Named]:
        return self.named.get(name, [])

    async def proved(self, settlement_ids: Sequence[UUID]) -> frozenset[UUID]:
        self.asked_for_proofs += settlement_ids
        return frozenset(self.proved_by_statements.intersection(settlement_ids))

    async def count_settlements(self, wanted: SettlementFilter) -> int:
        return len(await self.list_settlements(wanted))

    async def history(self, settlement_id: UUID) -> list[Moved]:
        return [one.moved for one in self.moves_made if one.moved.settlement_id == settlement_id]

    async def list_settlements(self, wanted: SettlementFilter) -> list[Settlement]:
        self.listed.append(wanted)
        found = [
            one
            for one in reversed(self.settlements.values())
            if (not wanted.states or one.state in wanted.states)
            and (wanted.before_id is None or one.id < wanted.before_id)
            and wanted.obligation_id in ("", one.instruction.obligation_id)
            and wanted.compensates in (None, one.instruction.compensates)
        ]
        return found[: wanted.limit]

    async def read(
        self, after: int, limit: int, settlement_id: UUID | None = None
    ) -> list[Announcement]:
        found = [
            one
            for one in self.moves_made
            if one.moved.position > after and settlement_id in (None, one.moved.settlement_id)
        ]
        return found[:limit]

    async def head(self) -> int:
        return len(self.moves_made)

    async def open_account(self, spec: AccountSpec) -> Account:
        if self.holding is not None:
            await self.holding.wait()
        self.specs.append(spec)
        number = len(self.accounts_known) + 1
        account = Account(
            id=number,
            kind=spec.kind,
            bank=spec.bank,
            currency=spec.currency,
            account_number=spec.account_number or f"number-{number}",
            credit_limit=spec.credit_limit,
        )
        self.accounts_known[number] = account
        return account

    async def fund(self, funding: Funding) -> Account:
        wanted = (AccountKind.NOSTRO, funding.bank, funding.amount.currency)
        for number, one in self.accounts_known.items():
            if (one.kind, one.bank, one.currency) == wanted:
                posted = one.debits_posted + funding.amount.minor
                self.accounts_known[number] = replace(one, debits_posted=posted)
                self.transfers_made.append(
                    Transfer(
                        group_id=UUID(int=len(self.transfers_made) + 1),
                        leg=Leg.FUNDING,
                        debit_id=number,
                        credit_id=99,
                        amount_minor=funding.amount.minor,
                        currency=one.currency,
                        reference=funding.reference,
                        at=NOON,
                    )
                )
                return self.accounts_known[number]
        raise NotFound("there is no nostro account of this bank")

    async def accounts(self, wanted: AccountFilter) -> list[Account]:
        found = [
            one
            for one in self.accounts_known.values()
            if one.id > wanted.after_id and wanted.kind in (None, one.kind)
        ]
        return found[: wanted.limit]

    async def account(self, account_id: int) -> Account | None:
        return self.accounts_known.get(account_id)

    async def set_active(self, account_id: int, *, is_active: bool) -> Account:
        if account_id not in self.accounts_known:
            raise NotFound("there is no such account")
        changed = replace(self.accounts_known[account_id], is_active=is_active)
        self.accounts_known[account_id] = changed
        return changed

    async def transfers(self, wanted: TransferFilter) -> list[Transfer]:
        found = [
            one
            for one in reversed(self.transfers_made)
            if wanted.before is None or (one.group_id, int(one.leg)) < wanted.before
        ]
        return found[: wanted.limit]


def statement_ports(world: World) -> StatementPorts:
    """Import into the memory, and ask nobody for statements."""
    store = world.stores.statements
    importer = StatementImport(store)
    clock = SystemClock()
    fetcher = StatementFetch(store, importer, {}, clock)
    role = ResolutionRole(name="settlement", persons=("ada", "ben"))
    rules = StatementRules(roles=(role,), valid_seconds=3_600.0)
    decider = StatementDecisions(world.stores.statement_decisions, rules, lambda _: None)
    problems = PresentProblems(store, clock, StatementDueTimes())
    return StatementPorts(importer, store, fetcher, problems, decider)


def calls(world: Any, settings: ApiSettings) -> Calls:
    return Calls(
        engine=world,
        settlements=world,
        accounts=world,
        banks=world.banks,
        orders=PaymentOrders(world.recalls, world.covers),
        stream=world,
        archive=world,
        finder=world,
        dead_letters=world.dead_letters,
        case_management=world.case_management,
        messages=world,
        rails=world.rail_control,
        statements=statement_ports(world),
        books=BookPorts(
            world.stores.past_balances,
            IssuedPorts(StatementIssuing(world.stores.issued, "SETTGB2L"), world.stores.issued),
            ReconciliationPorts(
                Reconciliation(world.stores.reconciliation),
                world.stores.reconciled,
                CountedIds(),
                EngineBreaks(
                    RULES,
                    world.stores.break_work,
                    clock=SystemClock(),
                    ids=CountedIds(),
                    meter=BreakMetrics(Families(CollectorRegistry())),
                ),
            ),
            world,
            world.stores.reports,
            RegulatoryPorts(
                RegulatoryReporting(
                    world.stores.regulatory,
                    shipped_templates(),
                    ReportingInstitution(name="We", bic="SETTGB2L", lei=""),
                ),
                world.stores.regulatory,
            ),
        ),
        settings=settings,
    )
