"""What the engine asks of the store: batches of admissions and of transitions.

Promises: each settlement in a batch is one decision, guarded by its state, sequence number and fencing token.
Must never: choose an event; the store only writes the transitions that it is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, auto
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from settlement_engine.domain.lifecycle import Do

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.decisions.turned_down import Result
    from settlement_engine.domain.kept_messages import KeptMessage
    from settlement_engine.domain.ledger import Transfer
    from settlement_engine.domain.lifecycle import Event, State, Transition
    from settlement_engine.domain.preconditions import Refusal
    from settlement_engine.domain.returns import Return
    from settlement_engine.domain.settlement import Attempt, Instruction, Moved, Settlement
    from settlement_engine.domain.windows import WindowOpening


class Verdict(StrEnum):
    """Why an instruction was not stored as a new settlement."""

    REPLAYED = auto()  # stored before, with the same content
    KEY_TAKEN = auto()  # the key was used for other content
    OBLIGATION_TAKEN = auto()  # the obligation has an open or completed settlement
    NOT_LEFT = auto()  # not stored: a compensation of more than is left to compensate


class Existing(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to an instruction that was not stored, at the database's time.

    ``settlement_id`` has the key or the obligation already; if not enough is left to compensate, it is the settlement
    that the instruction compensates.
    """

    verdict: Verdict
    settlement_id: UUID
    at: datetime


class TransitionCommand(msgspec.Struct, frozen=True, kw_only=True):
    """One transition to apply to one settlement, with the data that it needs.

    ``settlement`` is the settlement as the caller read it; the store compares state, sequence number and
    fencing token. ``due_seconds`` None keeps ownership, because the caller asks the new state's question
    now; a number releases the settlement until it is due after that time (infinity: never by time).
    ``attempt`` and ``window_opening`` belong to LOCK, ``transfers`` to POST and REVERSE, ``back`` to a return;
    ``detail`` is recorded with the move. ``message`` is the response that led to it: it is stored in the same
    commit, also when a guard refuses the transition.
    """

    settlement: Settlement
    event: Event
    transition: Transition
    due_seconds: float | None = None
    attempt: Attempt | None = None
    window_opening: WindowOpening | None = None
    transfers: tuple[Transfer, ...] = ()
    refusal: Refusal | None = None
    detail: Mapping[str, str] = msgspec.field(default_factory=dict)
    rail_reference: str = ""
    confirmation: str = ""
    back: Return | None = None
    message: KeptMessage | None = None

    @property
    def gives_back(self) -> tuple[UUID, int] | None:
        """Of which settlement it gives something back, and how much in minor units; most give nothing back.

        A return gives back a part of its own settlement, and a compensation, from its hold on, of another one.
        """
        if self.back is not None:
            return self.settlement.id, self.back.part_minor
        compensates = self.settlement.instruction.compensates
        if compensates is None or self.transition.do is not Do.LOCK:
            return None
        return compensates, self.settlement.instruction.amount.minor


class TransitionResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a transition. ``at`` is the database's time of the transaction."""

    result: Result
    at: datetime
    available_minor: int = 0


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A settlement that this engine owns from now on.

    ``was_asked``: an engine that is gone may have asked its question, so the event is NO_ANSWER. Otherwise the
    settlement was parked and is due now, and its question is asked.
    """

    settlement: Settlement
    was_asked: bool


class Unreadable(msgspec.Struct, frozen=True, kw_only=True):
    """A settlement that this engine owns from now on, and whose record cannot be read: somebody altered it."""

    settlement_id: UUID
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementFilter:
    """Which settlements to list, newest first. Empty fields do not filter."""

    states: frozenset[State] = frozenset()
    bank: str = ""
    currency: str = ""
    obligation_id: str = ""
    since: datetime | None = None  # accepted then or later
    until: datetime | None = None  # accepted before then
    compensates: UUID | None = None  # those that compensate this settlement
    only_compensations: bool = False  # those that compensate any
    only_compensated: bool = False  # those with a compensation, whatever became of it
    limit: int = 100
    before_id: UUID | None = None
    from_id: UUID | None = None


NAMED_MAX: Final = 64
"""The most moves with one rail reference that are read; a reference of several settlements identifies none."""


class NamedBy(StrEnum):
    """By which identifier a settlement was found."""

    SETTLEMENT_ID = auto()
    OBLIGATION_ID = auto()
    UETR = auto()
    END_TO_END_ID = auto()
    MESSAGE_ID = auto()
    TRACE = auto()
    CALLERS_END_TO_END_ID = auto()
    RAIL_REFERENCE = auto()


class Named(NamedTuple):
    """A settlement that was found by an identifier."""

    settlement_id: UUID
    named_by: NamedBy


class SettlementStore(Protocol):
    """Keeps settlements and their histories. Every call is one transaction, durable when it returns.

    Raises Unavailable when the database is unreachable; the outcome is then unknown, and the same call may be
    made again: admission is idempotent by key, and transitions are guarded.
    """

    async def admit(
        self, new: Sequence[tuple[UUID, Instruction]], engine_id: int
    ) -> list[Settlement | Existing]:
        """Store new instructions in VALIDATING, owned by the engine ``engine_id``; one answer each, in order.

        Each comes with the identifier that its settlement gets if it is new. The answer is the new settlement.
        """
        ...

    async def apply(
        self, steps: Sequence[TransitionCommand], engine_id: int
    ) -> list[TransitionResult]:
        """Apply transitions, each guarded, all in one transaction; one result each, in order.

        A settlement occurs at most once in a batch. Holds are granted in the order of the batch.
        """
        ...

    async def claim(
        self, engine_id: int, limit: int, *, is_sweep: bool = False
    ) -> Sequence[Claimed | Unreadable]:
        """Claim settlements that are due and not owned, and those of engines that are gone.

        Without a sweep only engines that went recently are noticed; a sweep checks every owner.
        A record that cannot be read is claimed too, and costs no other one of the batch.
        """
        ...

    async def owned(self, engine_id: int) -> set[UUID]:
        """Return the ids of the open settlements that an engine owns."""
        ...

    async def reclaim(
        self, engine_id: int, settlement_ids: Sequence[UUID]
    ) -> Sequence[Claimed | Unreadable]:
        """Claim again settlements that the engine owns but does not have in memory."""
        ...

    async def claim_unfiled(self, engine_id: int, settlement_id: UUID) -> Settlement | None:
        """Claim a LOCKED payment with a trace that is in no file, whoever owns it; None if it may have left.

        From then on no file is closed with it by the engine that had it: that one's fencing token is outdated.
        """
        ...

    async def load(self, settlement_ids: Sequence[UUID]) -> dict[UUID, Settlement]:
        """Return the settlements that exist. Raises CorruptRecord if one of them cannot be read."""
        ...

    async def find_by_obligation(self, obligation_id: str) -> Settlement | None:
        """Return the open or completed settlement of an obligation, else its latest."""
        ...

    async def find_by_keys(self, key_hashes: Sequence[UUID]) -> dict[UUID, Settlement]:
        """Return the settlements with these key hashes, by key hash."""
        ...

    async def find_by_any_id(self, name: str) -> list[Named]:
        """Find settlements by any identifier: their own id, the obligation's, or a reference of the payment.

        Of an obligation's settlements it returns the same one as ``find_by_obligation``.
        """
        ...

    async def count_settlements(self, wanted: SettlementFilter) -> int:
        """Count the settlements that match, up to the filter's limit."""
        ...

    async def history(self, settlement_id: UUID) -> list[Moved]:
        """Return all moves of a settlement, oldest first."""
        ...

    async def list_settlements(self, wanted: SettlementFilter) -> list[Settlement]:
        """Return settlements, newest first."""
        ...
