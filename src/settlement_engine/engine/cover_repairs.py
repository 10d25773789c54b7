"""A person's order to repair the cover of a payment: another message to FROM, under the same UETR.

Promises: only FROM's own no to the last cover allows another one, by which it stands when it is asked once more; and
each is ordered once, whoever asks. The order is
durable when the call returns; the engine that owns the settlement sends the cover, once TO still has the payment. Must
never: send a cover itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.covers import LegSays, check_repair, check_still_refused
from settlement_engine.domain.lifecycle import Ask
from settlement_engine.engine.asker import question_of
from settlement_engine.engine.external_timeout import external_timeout
from settlement_engine.errors import Contention, NotFound, WrongState
from settlement_engine.messages.errors import MessageError
from settlement_engine.ports import CoverRail, NewCover

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from uuid import UUID

    from settlement_engine.domain.covers import Cover
    from settlement_engine.ports import CoverStore, Question, SendRail, SettlementStore


ANSWER_SECONDS: Final = 20.0
"""How long FROM is waited for; a person waits meanwhile."""


class CoverRepairs:
    """Takes the orders of one engine's callers."""

    def __init__(
        self,
        settlements: SettlementStore,
        covers: CoverStore,
        rails: Mapping[str, SendRail],
        read_directory: Callable[[], Awaitable[None]],
    ) -> None:
        """``read_directory`` makes what the engine knows of the bank directory current."""
        self._settlements = settlements
        self._covers = covers
        self._rails = rails
        self._read_directory = read_directory

    async def repair(self, settlement_id: UUID, who: str, reason: str) -> Cover:
        """Order another cover, and return it. Raises NotFound, WrongState, Contention, Unavailable."""
        settlement = (await self._settlements.load([settlement_id])).get(settlement_id)
        if settlement is None:
            raise NotFound(f"there is no settlement {settlement_id}", listed_by="list")
        attempt = settlement.attempt
        key = (settlement_id, attempt.number if attempt is not None else 0)
        failed = (await self._covers.latest([key])).get(settlement_id)
        check_repair(settlement, failed)
        assert attempt is not None, "a cover that was refused was sent"
        assert failed is not None, "there is a cover that was refused"
        rail = self._rails.get(attempt.route.rail)
        if not isinstance(rail, CoverRail):
            what = f"this engine does not have the rail {attempt.route.rail}"
            raise WrongState(what, why="it cannot write the cover", todo="Ask another engine.")
        question = question_of(settlement, Ask.ENQUIRE)
        await self._read_directory()
        check_still_refused(await _asked(rail, question, failed))
        try:
            cover = rail.repair(question, failed, who, reason)
        except MessageError as error:
            what = "the cover cannot be written"
            raise WrongState(what, why=str(error), todo="Mend the bank directory.") from error
        ordered = NewCover(settlement_id=settlement_id, attempt=attempt.number, cover=cover)
        if not await self._covers.order(ordered):
            what = "the settlement has changed, or somebody else has ordered the cover"
            raise Contention(what, todo="Look at it, and try again if it is still needed.")
        return cover


async def _asked(rail: CoverRail, question: Question, failed: Cover) -> LegSays:
    """Ask FROM about the cover once more; whatever goes wrong out there is silence."""
    try:
        async with external_timeout(ANSWER_SECONDS):
            return await rail.ask_cover(question, failed)
    except TimeoutError:
        return LegSays.SILENT
