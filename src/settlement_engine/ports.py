"""What the rooms ask of each other. Nobody imports a neighbour: rooms meet here, ``app.py`` joins them.

Shapes of data that cross a boundary, and Protocols of few methods. Each method says what it promises and
what it raises. Ports stand on ``domain`` and ``errors`` only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, auto
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from datetime import date, datetime
    from uuid import UUID

    from settlement_engine.domain.identifiers import References
    from settlement_engine.domain.ledger import Account, AccountKind, Transfer
    from settlement_engine.domain.lifecycle import Event, Row, State
    from settlement_engine.domain.money import Money
    from settlement_engine.domain.preconditions import Refusal
    from settlement_engine.domain.settlement import Attempt, Instruction, Moved, Settlement
    from settlement_engine.domain.windows import Session, Window


# --- time, names, chance ------------------------------------------------------------------------


class Clock(Protocol):
    """Where the time comes from. Decisions about money use the database's; this one is for the rest."""

    def now(self) -> datetime:
        """Return the present instant, aware and in UTC."""
        ...


class Ids(Protocol):
    """Where new identifiers come from."""

    def new(self) -> UUID:
        """Return an identifier that sorts by the time of its making (UUID version 7)."""
        ...


# --- questions and answers ----------------------------------------------------------------------


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back for a question: an event of the page, with the words of whoever answered.

    ``attempt`` names the payment it speaks of (0 for screening). ``code`` and ``text`` are the
    answerer's own. What is not answered is silence, and silence is never an Answer with a no.
    """

    settlement_id: UUID
    event: Event
    attempt: int = 0
    code: str = ""
    text: str = ""
    rail_reference: str = ""
    confirmation: str = ""
    refusal: Refusal | None = None


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One payment to send, to ask about or to recall. ``payload`` are the bytes recorded with P.

    ``is_possible_duplicate`` is set on every sending but the first.
    """

    settlement_id: UUID
    attempt: int
    references: References
    payload: bytes
    valid_until: datetime
    is_possible_duplicate: bool = False


class RailClass(StrEnum):
    """What a rail guarantees (reliability.md 3.3); a new rail is D until shown otherwise."""

    A = auto()  # deduplicates, can be asked, enforces validity
    B = auto()  # cancelling leaves a tombstone
    C = auto()  # files: only a statement proves
    D = auto()  # send once, never again


@dataclass(frozen=True, slots=True, kw_only=True)
class RailCapabilities:
    """The rail's rules, as data.

    ``answer_timeout_seconds`` is how long a question may stay open before it counts as silence.
    ``is_not_found_definite`` says whether *not found* proves that our reference never arrived.
    ``validity_seconds`` is how long an attempt's bytes may be sent; ``deduplicates_seconds`` for how
    long the rail recognises a resend. ``overdue_after_seconds`` is when a sent payment is recalled.
    """

    rail_class: RailClass
    answer_timeout_seconds: float
    is_not_found_definite: bool
    validity_seconds: float
    deduplicates_seconds: float
    overdue_after_seconds: float | None = None
    currencies: frozenset[str] | None = None


class Rail(Protocol):
    """The way to a bank. It classifies answers and never decides.

    ``send``, ``enquire`` and ``recall`` put a batch of questions and call ``report`` with answers as
    they become known, in any order and grouping. Whatever was not reported when the call returns or
    raises, or when the engine stops waiting for it, is silence.
    """

    @property
    def name(self) -> str:
        """The rail's name in records and labels."""
        ...

    @property
    def capabilities(self) -> RailCapabilities:
        """The rail's rules."""
        ...

    def prepare(self, settlement: Settlement, references: References) -> bytes:
        """Build the exact bytes of an attempt. Pure: the same input gives the same bytes."""
        ...

    async def send(
        self, questions: Sequence[Question], report: Callable[[Sequence[Answer]], None]
    ) -> None:
        """Deliver the bytes; answers acknowledged, settled, rejected or undelivered."""
        ...

    async def enquire(
        self, questions: Sequence[Question], report: Callable[[Sequence[Answer]], None]
    ) -> None:
        """Ask by our references; answers acknowledged, settled, rejected or not found."""
        ...

    async def recall(
        self, questions: Sequence[Question], report: Callable[[Sequence[Answer]], None]
    ) -> None:
        """Ask for it back; answers recalled, recall refused, settled, rejected, acknowledged."""
        ...

    def listen(self, report: Callable[[Sequence[Answer]], None]) -> None:
        """Name who hears what the rail says unasked."""
        ...

    async def start(self) -> None:
        """Open what the rail needs."""
        ...

    async def stop(self) -> None:
        """Close it again."""
        ...


class Screening(Protocol):
    """Compliance and risk. Answers are CLEARED, PARKED or REFUSED with a refusal; silence is asked again."""

    async def screen(
        self, settlements: Sequence[Settlement], report: Callable[[Sequence[Answer]], None]
    ) -> None:
        """Ask about a batch."""
        ...


# --- the store: settlements ---------------------------------------------------------------------


class Verdict(StrEnum):
    """What intake found."""

    ACCEPTED = auto()  # written down now
    REPLAYED = auto()  # written down before, with the same content
    KEY_TAKEN = auto()  # the key stands for other content
    OBLIGATION_TAKEN = auto()  # the obligation has a settlement that lives or has completed


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """An instruction under the identifier that it gets if it is new."""

    settlement_id: UUID
    instruction: Instruction


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to an admission. ``settlement_id`` is that of the settlement in question."""

    verdict: Verdict
    settlement_id: UUID
    at: datetime


class Result(StrEnum):
    """What became of a step."""

    APPLIED = auto()
    STALE = auto()  # state, epoch or owner are no longer what the caller believed
    SHORT = auto()  # the account does not cover the hold; ``available_minor`` says what there was
    INACTIVE = auto()  # the source or target account is not active
    SHUT = auto()  # by the database's clock the window is not open


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the page to be applied to one settlement, with what the row needs.

    ``settlement`` is the settlement as the caller knows it; the store compares state, sequence, epoch.
    ``rest_seconds``: None means that the caller puts the new state's question now and stays its owner;
    a number means that nobody owns it and that it is due after that long (infinity: never by time).
    ``attempt`` and ``session`` come with LOCK, ``transfers`` with POST and REVERSE.
    """

    settlement: Settlement
    event: Event
    row: Row
    rest_seconds: float | None = None
    attempt: Attempt | None = None
    session: Session | None = None
    transfers: tuple[Transfer, ...] = ()
    refusal: Refusal | None = None
    detail: Mapping[str, str] = msgspec.field(default_factory=dict)
    rail_reference: str = ""
    confirmation: str = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the store answers to a step. ``at`` is the database's time of the transaction."""

    result: Result
    at: datetime
    available_minor: int = 0


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A settlement that this engine owns from now on.

    ``was_asked`` says that an owner who is gone may have put its question: the event is NO_ANSWER.
    Otherwise its rest is over and the question is put now.
    """

    settlement: Settlement
    was_asked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementFilter:
    """Which settlements to list, newest first. Empty fields do not filter."""

    states: frozenset[State] = frozenset()
    bank: str = ""
    currency: str = ""
    obligation_id: str = ""
    limit: int = 100
    before_id: UUID | None = None


class SettlementStore(Protocol):
    """Keeps lives. Every call is one transaction, durable when it returns.

    Raises Unavailable when the database is out of reach; the outcome is then unknown, and the same
    call may be made again: admission is idempotent by key, steps are guarded.
    """

    async def admit(self, admissions: Sequence[Admission], owner: int) -> list[Admitted]:
        """Write new instructions down, in VALIDATING, owned by ``owner``; one answer each, in order."""
        ...

    async def apply(self, steps: Sequence[Step], owner: int) -> list[Outcome]:
        """Apply steps, each guarded, all in one transaction; one answer each, in order.

        A settlement occurs at most once in a batch. Holds are granted in the order of the batch.
        """
        ...

    async def claim(self, owner: int, limit: int, *, is_sweep: bool = False) -> list[Claimed]:
        """Take over what is due and owned by nobody, and what is owned by engines that are gone.

        Engines that have just gone are noticed by themselves; a sweep looks for any owner that is not
        alive.
        """
        ...

    async def owned(self, owner: int) -> set[UUID]:
        """Name the open settlements that an engine owns."""
        ...

    async def reclaim(self, owner: int, settlement_ids: Sequence[UUID]) -> list[Claimed]:
        """Take over anew what the engine owns and has lost sight of, as if it were another's."""
        ...

    async def load(self, settlement_ids: Sequence[UUID]) -> dict[UUID, Settlement]:
        """Return the settlements that exist."""
        ...

    async def find_by_obligation(self, obligation_id: str) -> Settlement | None:
        """Return the live or completed settlement of an obligation, else its latest."""
        ...

    async def life(self, settlement_id: UUID) -> list[Moved]:
        """Return all moves of a settlement, oldest first."""
        ...

    async def list_settlements(self, wanted: SettlementFilter) -> list[Settlement]:
        """Return settlements, newest first."""
        ...


# --- the store: engines, stream, accounts, proof --------------------------------------------------


class EngineRegistry(Protocol):
    """Who is alive. An engine is gone when its session has ended or its lease has run out."""

    async def join(self, lease_seconds: float) -> int:
        """Register this process and hold its session; returns the owner's number, never used before."""
        ...

    async def beat(self, owner: int, lease_seconds: float) -> bool:
        """Renew the lease; False when others have declared this owner gone: it must join anew."""
        ...

    async def leave(self, owner: int) -> None:
        """End the session: what is still owned is free to be claimed at once."""
        ...


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """A move as the outside world hears it: with the facts of its settlement."""

    moved: Moved
    obligation_id: str
    from_bank: str
    to_bank: str
    amount: Money
    value_date: date
    priority: int


class Stream(Protocol):
    """Everything that happened, in one gapless order. Raises Unavailable."""

    async def read(
        self, after: int, limit: int, settlement_id: UUID | None = None
    ) -> list[Announcement]:
        """Return what follows the position, oldest first; of one settlement if it is named."""
        ...

    async def head(self) -> int:
        """Return the last position."""
        ...

    async def published(self) -> int:
        """Return the position up to which JetStream is known to hold everything."""
        ...

    async def mark_published(self, position: int) -> None:
        """Remember it; never goes back by itself."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSpec:
    """An account to be opened. ``account_number`` may be empty: then it gets a name of its own."""

    kind: AccountKind
    bank: str
    currency: str
    account_number: str
    credit_limit: int
    caller: str
    idempotency_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Funding:
    """Money that a bank has paid in at our account with it."""

    bank: str
    amount: Money
    reference: str
    account_number: str
    caller: str
    idempotency_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFilter:
    """Which accounts to list, by id. Empty fields do not filter."""

    kind: AccountKind | None = None
    bank: str = ""
    currency: str = ""
    account_number: str = ""
    limit: int = 100
    after_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferFilter:
    """Which transfers to list, newest first."""

    account_id: int | None = None
    group_id: UUID | None = None
    limit: int = 100
    before: tuple[UUID, int] | None = None


class AccountStore(Protocol):
    """Keeps accounts and the transfers between them. Raises Unavailable."""

    async def open_account(self, spec: AccountSpec) -> Account:
        """Open an account, or return the one that the same key opened. Raises IdempotencyConflict."""
        ...

    async def ensure_controls(
        self, wanted: Sequence[tuple[AccountKind, str, str]]
    ) -> list[Account]:
        """Return control accounts by kind, owner and currency, opened on first need.

        The owner is a rail (settlement) or a bank (clearing).
        """
        ...

    async def accounts_of(self, wanted: Sequence[tuple[AccountKind, str]]) -> list[Account]:
        """Return all accounts of these kinds and banks, oldest first."""
        ...

    async def fund(self, funding: Funding) -> Account:
        """Post a funding once per key. Raises NotFound, IdempotencyConflict."""
        ...

    async def accounts(self, wanted: AccountFilter) -> list[Account]:
        """Return accounts, oldest first."""
        ...

    async def account(self, account_id: int) -> Account | None:
        """Return one account."""
        ...

    async def set_active(self, account_id: int, *, is_active: bool) -> Account:
        """Switch an account on or off. Raises NotFound."""
        ...

    async def transfers(self, wanted: TransferFilter) -> list[Transfer]:
        """Return transfers, newest first."""
        ...

    async def windows(self) -> list[Window]:
        """Return the settlement windows that are in force."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that must not be: which check, where, what was expected and what was found."""

    check: str
    subject: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The result of recomputing the books. No differences: they are proved."""

    accounts: int
    transfers: int
    settlements: int
    open_settlements: int
    open_holds: int
    totals: Mapping[str, int]  # posted debits per currency, in minor units
    differences: Sequence[Difference]


class Auditor(Protocol):
    """Recomputes instead of trusting."""

    async def prove(self) -> Proof:
        """Recompute balances, holds, conservation and lives, in one snapshot."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that could not be understood, kept with the reason."""

    id: int
    subject: str
    payload: bytes
    why: str
    received_at: datetime


class DeadLetterStore(Protocol):
    """Keeps what could not be parsed, for a person."""

    async def bury(self, subject: str, payload: bytes, why: str) -> None:
        """Keep a message with the reason why it was refused."""
        ...

    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        """Return the latest."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """What the monitoring room asks of the store now and then."""

    open_by_state: Mapping[str, int]
    oldest_open_seconds: float
    oldest_in_doubt_seconds: float
    outbox_backlog: int
    without_next_action: int  # open settlements that nobody and no time will move; must be 0
    balances: Sequence[Account]


class GaugeSource(Protocol):
    """Answers what cannot be counted in passing."""

    async def gauges(self, accounts_max: int) -> Gauges:
        """Measure."""
        ...


# --- the engine, as the edge sees it --------------------------------------------------------------


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller gets for an instruction."""

    settlement: Settlement
    is_replay: bool


class Engine(Protocol):
    """What the edge may ask of the engine.

    Raises IdempotencyConflict, Overloaded, Unavailable; refusals are in the settlement.
    """

    async def submit(self, instructions: Sequence[Instruction]) -> list[Accepted | Exception]:
        """Accept a batch durably; one result each, in order. The lives go on by themselves."""
        ...

    async def settle(self, instruction: Instruction, wait_seconds: float) -> Accepted:
        """Accept one and wait for its end, at most that long; returns it as it is then."""
        ...

    async def wait(self, settlement_id: UUID, wait_seconds: float) -> Settlement:
        """Wait for the end of one that exists. Raises NotFound."""
        ...

    async def cancel(self, settlement_id: UUID) -> Settlement:
        """Pass on the caller's wish. Raises NotFound, WrongState."""
        ...

    def moves(
        self, after: int, settlement_id: UUID | None = None
    ) -> AsyncIterator[Sequence[Announcement]]:
        """Follow the stream for ever from a position, in bounded batches."""
        ...


class Meter(Protocol):
    """What the engine counts in passing; cheap, and called once per batch."""

    def moved(self, steps: Sequence[Step], commit_seconds: float | None = None) -> None:
        """Count applied steps, with how long the commit took that they share."""
        ...

    def rail_answered(
        self, rail: str, ask: str, seconds: float, answered: int, silent: int
    ) -> None:
        """Note how a batch of questions went."""
        ...

    def batch(self, stage: str, size: int, seconds: float) -> None:
        """Note one group commit."""
        ...

    def anomaly(self, kind: str, count: int = 1) -> None:
        """Count what should not happen: illegal answers, stale writes, lost sessions."""
        ...
