"""What the engine asks of the store: batches of admissions and of steps, each one decision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, auto
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.decisions.turned_down import Result
    from settlement_engine.domain.ledger import Transfer
    from settlement_engine.domain.lifecycle import Event, Row, State
    from settlement_engine.domain.preconditions import Refusal
    from settlement_engine.domain.returns import Return
    from settlement_engine.domain.settlement import Attempt, Instruction, Moved, Settlement
    from settlement_engine.domain.windows import Session


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


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the page to be applied to one settlement, with what the row needs.

    ``settlement`` is the settlement as the caller knows it; the store compares state, sequence, epoch.
    ``rest_seconds``: None means that the caller puts the new state's question now and stays its owner;
    a number means that nobody owns it and that it is due after that long (infinity: never by time).
    ``attempt`` and ``session`` come with LOCK, ``transfers`` with POST and REVERSE,
    ``back`` with what brings money back; ``detail`` has its words.
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
    back: Return | None = None


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
    since: datetime | None = None  # accepted then or later
    until: datetime | None = None  # accepted before then
    limit: int = 100
    before_id: UUID | None = None
    from_id: UUID | None = None


NAMED_MAX: Final = 64
"""So many moves with the same reference of a rail are looked at; more settlements than one are too many."""


class NamedBy(StrEnum):
    """As what a settlement has a name."""

    SETTLEMENT_ID = auto()
    OBLIGATION_ID = auto()
    UETR = auto()
    END_TO_END_ID = auto()
    RAIL_REFERENCE = auto()


class Named(NamedTuple):
    """A settlement that a name may mean."""

    settlement_id: UUID
    named_by: NamedBy


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

    async def find_by_keys(self, key_hashes: Sequence[UUID]) -> dict[UUID, Settlement]:
        """Return the settlements that stand under these keys, by key."""
        ...

    async def find_by_any_id(self, name: str) -> list[Named]:
        """Say which settlements a name may mean: their own id, the obligation's, those of the payment.

        Of an obligation's settlements it is the one that ``find_by_obligation`` returns.
        """
        ...

    async def count_settlements(self, wanted: SettlementFilter) -> int:
        """Count the settlements of a list, no further than its limit."""
        ...

    async def life(self, settlement_id: UUID) -> list[Moved]:
        """Return all moves of a settlement, oldest first."""
        ...

    async def list_settlements(self, wanted: SettlementFilter) -> list[Settlement]:
        """Return settlements, newest first."""
        ...
