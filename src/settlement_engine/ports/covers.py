"""What the engine asks of the store and of rails about cover payments (``domain/covers.py``).

Promises: a cover is stored before its send intent, and its send intent is a move of its settlement. Must never: be
changed after it was stored, or be repaired without its bank's own no to the one before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

from settlement_engine.domain.covers import Cover, CoverProblem, LegSays  # noqa: TC001 - msgspec reads them

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from settlement_engine.domain.bank_directory import CorrespondentRoute
    from settlement_engine.ports.rails import Question

    AttemptKey = tuple[UUID, int]


class NewCover(msgspec.Struct, frozen=True, kw_only=True):
    """A cover to store; its ``recorded_at`` is set by the store."""

    settlement_id: UUID
    attempt: int
    cover: Cover


class CoverResult(msgspec.Struct, frozen=True, kw_only=True):
    """What is proved of a cover: that transmission ``undelivered`` did not leave (from 1 on), or its bank's no."""

    settlement_id: UUID
    attempt: int
    number: int
    undelivered: int = 0
    code: str = ""
    text: str = ""


class FailedCover(msgspec.Struct, frozen=True, kw_only=True):
    """A cover payment of which one message failed; ``cover`` is the last one, 0 for none."""

    settlement_id: UUID
    attempt: int
    problem: CoverProblem
    cover: int
    detail: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """One exception for each of these."""
        return f"{self.attempt}/{self.cover}/{self.problem.value}"


class CoverStore(Protocol):
    """Keeps covers. Every call is one transaction, durable when it returns. Raises Unavailable, Contention."""

    async def latest(self, keys: Sequence[AttemptKey]) -> Mapping[UUID, Cover]:
        """Return the last cover of each attempt, by settlement; an attempt without one is left out."""
        ...

    async def record(self, covers: Sequence[NewCover]) -> None:
        """Store first covers; one that is stored already changes nothing."""
        ...

    async def note(self, results: Sequence[CoverResult]) -> None:
        """Store what is proved of covers; repeated, it changes nothing."""
        ...

    async def open_failed(self, failed: Sequence[FailedCover]) -> None:
        """Open an exception for each, once, while the settlement is open."""
        ...

    async def order(self, repair: NewCover) -> bool:
        """Store a repair, and have both banks asked at once; False if it is not possible any more.

        It is possible while the settlement is SENT or IN_DOUBT and not frozen, once for each number.
        """
        ...


class CoverOrders(Protocol):
    """What the API uses of cover payments."""

    async def repair(self, settlement_id: UUID, who: str, reason: str) -> Cover:
        """Order another cover, and return it. Raises NotFound, WrongState, Contention, Unavailable."""
        ...


@runtime_checkable
class CoverRail(Protocol):
    """The part of a rail that sends cover payments."""

    def keep_covers(self, covers: CoverStore) -> None:
        """Set where covers are kept."""
        ...

    def know_covers(self, route: Callable[[str, str], CorrespondentRoute | None]) -> None:
        """Set the look-up of how a bank is covered, by bank and currency. It answers from memory."""
        ...

    async def ask_cover(self, question: Question, cover: Cover) -> LegSays:
        """Ask FROM about a cover, and return what it says now."""
        ...

    def repair(self, question: Question, failed: Cover, who: str, reason: str) -> Cover:
        """Build the next cover of a payment, from what the bank directory says now."""
        ...
