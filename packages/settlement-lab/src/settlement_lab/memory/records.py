"""What PostgreSQL keeps in tables, kept in dicts and shared by all modules of the store in memory.

Code outside this package never gets a record that is changed in place: it gets frozen values or copies.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.compensation import Compensation
from settlement_engine.domain.exceptions import ExceptionCase
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.money import book_exponents, currencies, exponent
from settlement_engine.domain.windows import Window
from settlement_engine.ports import Server
from settlement_engine.store.migrate import WINDOWS
from settlement_lab.memory.cover_records import CoverRecords
from settlement_lab.memory.reconciled import Reconciled
from settlement_lab.memory.set_aside_records import SetAsideRecords

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.bank_directory import BankVersion
    from settlement_engine.domain.breaker_orders import BreakerOrder
    from settlement_engine.domain.deadletters import DeadLetter
    from settlement_engine.domain.exceptions import CaseKind
    from settlement_engine.domain.issued_statements import IssuedFormat, IssuedStatement
    from settlement_engine.domain.kept_messages import KeptMessage
    from settlement_engine.domain.ledger import Account, Leg, Transfer
    from settlement_engine.domain.notices import OutboxNotice
    from settlement_engine.domain.past_balances import PastBalance
    from settlement_engine.domain.proposals import Proposal
    from settlement_engine.domain.recalls import RecallRequest
    from settlement_engine.domain.regulatory_report import RegulatoryReport
    from settlement_engine.domain.settlement import Attempt, Moved, Recorded, Settlement
    from settlement_engine.domain.statement_evidence import PaymentEvidence
    from settlement_engine.domain.statement_import import ImportedStatement, ReceivedFile
    from settlement_engine.domain.statements import Statement, StatementFault
    from settlement_engine.ports import (
        BarrierState,
        Clock,
        InboundMessage,
        OpenReport,
        ReportOutcome,
    )
    from settlement_engine.ports.rail_files import FileItem, RailFile

    CaseKey = tuple[UUID | None, CaseKind, str]
    AnswerKey = tuple[int, int, State, Event, str]
    MessageKey = tuple[UUID, datetime, str, bytes]

NOBODY: Final = 0
"""The owner of a parked settlement: none."""

OBLIGATION_FREED: Final = frozenset({State.FAILED, State.ROLLED_BACK, State.RETURNED})
"""The final states after which another settlement may settle the obligation."""

FIRST_SERVER: Final = Server(system_identifier="memory", timeline=1, database_id=1, flushed=0)
"""The identity of the server that a store in memory simulates, until a test changes it."""

WORKING_DAYS: Final = frozenset({1, 2, 3, 4, 5})
"""Monday to Friday: the weekdays of a window that names none."""


@dataclass(slots=True, kw_only=True)
class Open:
    """A row of the list of open settlements. ``due_at`` None means never."""

    engine_id: int
    fencing_token: int
    due_at: datetime | None
    asked: int = 0


@dataclass(frozen=True, slots=True)
class KeptStatement:
    """A statement or a fault with the outcome of its import; ``is_kept`` says whether it counts for the chain."""

    result: ImportedStatement
    said: Statement | StatementFault
    is_kept: bool


@dataclass(slots=True, kw_only=True)
class Lock:
    """A hold on an account; ``outcome`` is empty while it is open."""

    account_id: int
    amount_minor: int
    currency: str
    locked_at: datetime
    resolved_at: datetime | None = None
    outcome: str = ""


@dataclass(slots=True, kw_only=True)
class Quiet:
    """An answer that changed no state: its first and last time, and how often it was received."""

    attempt: int
    state: State
    event: Event
    asked: int
    at: datetime
    last_at: datetime
    detail: Mapping[str, str] = field(default_factory=dict)
    times: int = 1


@dataclass(slots=True, kw_only=True)
class EngineRecord:
    """An engine that has joined, and whether it was declared gone."""

    lease_until: datetime
    is_gone: bool = False
    gone_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountCall:
    """An idempotent call and the account that it concerned."""

    caller: str
    key: str
    call: str
    content: Mapping[str, object]
    account_id: int


@dataclass(slots=True, kw_only=True)
class Filed:
    """A proposal of a person, with its evidence."""

    proposal: Proposal
    evidence: bytes
    taken_up_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class OpenRecall:
    """A recall for which something is waited for: when it is due, and how often it was."""

    due_at: datetime
    asked: int = 0


@dataclass(slots=True, kw_only=True)
class SystemEpoch:
    """A system epoch and the steps of its recovery."""

    opening: BarrierState
    steps: list[str] = field(default_factory=list)
    listed: set[str] = field(default_factory=set)


class Sessions:
    """The database sessions that show that engines are running. A simulation ends one as a crash would."""

    def __init__(self) -> None:
        self._owners: set[int] = set()

    def hold(self, engine_id: int) -> None:
        """Open the session of an engine, or keep it open."""
        self._owners.add(engine_id)

    def kill(self, engine_id: int) -> None:
        """End the session: the next claim declares the engine gone, unless it renews its lease before."""
        self._owners.discard(engine_id)

    def is_held(self, engine_id: int) -> bool:
        """Return whether the engine's session is open."""
        return engine_id in self._owners


def _reference_windows() -> list[Window]:
    """Return the specification's windows, as a new database has them."""
    return sorted(
        (
            Window(currency=code, zone=zone, opens=opens, closes=closes, weekdays=WORKING_DAYS)
            for code, zone, opens, closes in WINDOWS
        ),
        key=lambda window: window.currency,
    )


def words(detail: Mapping[str, str]) -> str:
    """Write a detail as text, so that equal details are equal texts."""
    return json.dumps(detail, separators=(",", ":"), sort_keys=True)


@dataclass(slots=True, kw_only=True)
class Records:
    """All records. ``moves`` are in order; ``head`` is the last assigned position."""

    clock: Clock
    sessions: Sessions = field(default_factory=Sessions)

    histories: dict[UUID, Settlement] = field(default_factory=dict)
    open: dict[UUID, Open] = field(default_factory=dict)
    hashes: dict[UUID, Recorded] = field(default_factory=dict)
    by_key: dict[UUID, UUID] = field(default_factory=dict)
    by_obligation: dict[str, list[UUID]] = field(default_factory=dict)
    moves: list[Moved] = field(default_factory=list)
    attempts: list[tuple[UUID, Attempt]] = field(default_factory=list)
    moves_of: dict[UUID, list[Moved]] = field(default_factory=dict)
    answers: dict[UUID, dict[AnswerKey, Quiet]] = field(default_factory=dict)
    locks: dict[UUID, Lock] = field(default_factory=dict)
    cases: dict[CaseKey, ExceptionCase] = field(default_factory=dict)
    resolutions: dict[int, Filed] = field(default_factory=dict)
    head: int = 0
    published: int = 0
    notices: list[OutboxNotice] = field(default_factory=list)
    notice_head: int = 0
    notices_published: tuple[int, int] = (0, 0)

    accounts: dict[int, Account] = field(default_factory=dict)
    by_number: dict[tuple[str, str, str, str], int] = field(default_factory=dict)
    transfers: dict[tuple[UUID, int, Leg], Transfer] = field(default_factory=dict)
    calls: dict[UUID, AccountCall] = field(default_factory=dict)
    bank_versions: list[BankVersion] = field(default_factory=list)
    recalls: dict[UUID, RecallRequest] = field(default_factory=dict)
    open_recalls: dict[UUID, OpenRecall] = field(default_factory=dict)
    windows: list[Window] = field(default_factory=_reference_windows)

    engines: dict[int, EngineRecord] = field(default_factory=dict)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    last_dead_letter: int = 0

    inbound_messages: dict[tuple[str, str, bytes], InboundMessage] = field(default_factory=dict)
    inbound_reports: dict[int, OpenReport] = field(default_factory=dict)
    breaker_orders: list[BreakerOrder] = field(default_factory=list)
    statement_files: dict[bytes, ReceivedFile] = field(default_factory=dict)
    statements: list[KeptStatement] = field(default_factory=list)
    set_aside: SetAsideRecords = field(default_factory=SetAsideRecords)
    evidence: list[PaymentEvidence] = field(default_factory=list)
    searched: set[int] = field(default_factory=set)
    search_places: dict[int, tuple[int, int]] = field(default_factory=dict)
    message_of_report: dict[int, tuple[str, str, bytes]] = field(default_factory=dict)
    balance_moments: list[datetime] = field(default_factory=list)
    past_balances: dict[tuple[int, datetime], PastBalance] = field(default_factory=dict)
    reconciled: Reconciled = field(default_factory=Reconciled)
    regulatory_reports: list[RegulatoryReport] = field(default_factory=list)
    regulatory_files: dict[int, bytes] = field(default_factory=dict)
    issued_statements: dict[int, IssuedStatement] = field(default_factory=dict)
    issued_files: dict[tuple[int, IssuedFormat], bytes] = field(default_factory=dict)
    closed_reports: dict[int, ReportOutcome] = field(default_factory=dict)
    messages: dict[MessageKey, tuple[KeptMessage, datetime]] = field(default_factory=dict)
    file_closed_at: dict[int, datetime] = field(default_factory=dict)
    rail_files: list[tuple[RailFile, tuple[FileItem, ...]]] = field(default_factory=list)
    placed_files: set[int] = field(default_factory=set)
    covers: CoverRecords = field(default_factory=CoverRecords)
    last_trace: int = 0
    compensating: dict[UUID, list[UUID]] = field(default_factory=dict)

    server: Server = FIRST_SERVER
    system_epochs: list[SystemEpoch] = field(default_factory=list)
    made_at: datetime = field(init=False)

    def __post_init__(self) -> None:
        """Record the time of the start, and the currencies that exist from then on."""
        self.made_at = self.clock.now()
        book_exponents({code: exponent(code) for code in currencies()})

    def stands(self, code: str) -> bool:
        """Return whether a bank stands in the directory, by its folded code."""
        present = {each.bank.code: each.bank for each in self.bank_versions}
        return code in present and not present[code].is_withdrawn

    def holder(self, obligation_id: str) -> UUID | None:
        """Return the settlement of the obligation that is open or has completed."""
        for settlement_id in self.by_obligation.get(obligation_id, ()):
            if self.histories[settlement_id].state not in OBLIGATION_FREED:
                return settlement_id
        return None

    def stating(self, rail_reference: str) -> set[UUID]:
        """Return the settlements for which a rail has stated this reference: in a move, an answer or a report."""

        def states(detail: Mapping[str, str]) -> bool:
            return detail.get("rail_reference") == rail_reference

        answers = self.answers.items()
        reports = self.inbound_reports.values()
        return {
            *(each.settlement_id for each in self.moves if states(each.detail)),
            *(key for key, own in answers if any(states(each.detail) for each in own.values())),
            *(
                each.settlement_id
                for each in reports
                if each.settlement_id and each.report.references.rail_reference == rail_reference
            ),
        }

    def copy(self, settlement_id: UUID) -> Settlement:
        """Return a copy of a settlement, as ``load`` does: the caller may change it."""
        history = self.histories[settlement_id]
        parked = self.open.get(settlement_id)
        return replace(
            history,
            fencing_token=parked.fencing_token if parked else 0,
            asked=parked.asked if parked else 0,
            next_action_at=parked.due_at if parked and not parked.engine_id else None,
            refusal_detail=dict(history.refusal_detail),
            compensations=self._compensations(history),
            recorded=msgspec.structs.replace(
                self.hashes[settlement_id], intent=self._intent(history)
            ),
        )

    def _compensations(self, history: Settlement) -> tuple[Compensation, ...]:
        """Return the settlements that compensate one that has completed, oldest first."""
        if history.state not in (State.COMPLETED, State.RETURNED):
            return ()
        found = (self.histories[key] for key in sorted(self.compensating.get(history.id, ())))
        return tuple(
            Compensation(
                settlement_id=each.id,
                state=each.state,
                amount_minor=each.instruction.amount.minor,
                returned_minor=sum(back.part_minor for back in each.returns),
            )
            for each in found
        )

    def _intent(self, history: Settlement) -> Mapping[str, str] | None:
        """Return the details of the move that locked funds for the attempt."""
        if history.attempt is None:
            return None
        for moved in self.moves_of[history.id]:
            if moved.event is Event.CLEARED and moved.to_state is State.LOCKED:
                return moved.detail
        return None

    def keep(self, message: KeptMessage) -> None:
        """Keep a message once."""
        key = (message.settlement_id, message.at, message.direction.value, message.sha256)
        self.messages.setdefault(key, (message, self.clock.now()))

    def answers_of(self, settlement_id: UUID) -> list[Quiet]:
        """Return the answers that changed no state, ordered by when they were last received."""
        own = self.answers.get(settlement_id, {}).values()
        return sorted(own, key=lambda each: each.last_at)

    def append(self, moved: Moved) -> None:
        """Append a move to the stream."""
        assert moved.position == self.head + 1, "positions have no gap"
        self.head = moved.position
        self.moves.append(moved)
        self.moves_of.setdefault(moved.settlement_id, []).append(moved)

    def open_case(
        self,
        kind: CaseKind,
        settlement_id: UUID | None,
        fingerprint: str,
        detail: Mapping[str, str],
        at: datetime,
    ) -> bool:
        """Open a case; False if it is open already, or was closed."""
        key = (settlement_id, kind, fingerprint)
        if key in self.cases:
            return False
        self.cases[key] = ExceptionCase(
            id=len(self.cases) + 1,
            kind=kind,
            settlement_id=settlement_id,
            detail=dict(detail),
            opened_at=at,
            seen_at=at,
        )
        return True

    def count(self, settlement_id: UUID, *, sends: int = 0, undelivered: int = 0) -> None:
        """Count sends of the current attempt, or proofs that one did not leave."""
        history = self.histories[settlement_id]
        if history.attempt is not None:
            history.attempt = msgspec.structs.replace(
                history.attempt,
                sends=history.attempt.sends + sends,
                undelivered=history.attempt.undelivered + undelivered,
            )
