"""Asks both banks of cover payments, and reports one event for each pair (``domain/covers.py``).

Promises: a cover is stored before its send intent, and leaves only for the question that has its hash; what either bank
says of its message alone is never reported as the end of the pair. Must never: decide what the two answers mean
(``domain/decisions/pairs.py`` does).
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from settlement_engine.domain.covers import LegSays, names_of_cover
from settlement_engine.domain.decisions.pairs import (
    cover_outcome,
    may_send_cover,
    recalls_cover,
)
from settlement_engine.domain.lifecycle import Event
from settlement_engine.ports import NewCover
from settlement_engine.rails.pair_answers import (
    Pairs,
    at_seq,
    failed,
    is_due,
    key_of,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from uuid import UUID

    from settlement_engine.domain.covers import Cover
    from settlement_engine.ports import Answer, Clock, CoverStore, Question, RailCapabilities
    from settlement_engine.ports.messages import Keep
    from settlement_engine.ports.rails import Report

    Ask = Callable[[Sequence[Question], Report], Awaitable[None]]

EXCHANGES: Final = 3
"""The most exchanges, one after the other, in one question about a pair."""

_TAKEN: Final = frozenset({Event.ACKNOWLEDGED, Event.SETTLED})


class Legs(Protocol):
    """What sends one message, enquires about it and recalls it: the bank that it goes to is named in its bytes."""

    @property
    def capabilities(self) -> RailCapabilities:
        """The rules that hold with each bank."""
        ...

    async def send(self, questions: Sequence[Question], report: Report) -> None:
        """Send messages; see ``ports.SendRail``."""
        ...

    async def enquire(self, questions: Sequence[Question], report: Report) -> None:
        """Enquire about messages; see ``ports.EnquiryRail``."""
        ...

    async def recall(self, questions: Sequence[Question], report: Report) -> None:
        """Recall messages; see ``ports.RecallRail``."""
        ...


class PairAsker:
    """Asks about the pairs of one rail; ``first`` builds the first cover of a payment from its bytes.

    ``keep`` stores messages, and ``covers`` keeps covers; both are set before anything is asked.
    """

    def __init__(self, legs: Legs, first: Callable[[Question], Cover | None], clock: Clock) -> None:
        self._legs = legs
        self._first = first
        self._clock = clock
        self.keep: Keep | None = None
        self.covers: CoverStore | None = None

    # --- the questions ------------------------------------------------------------------------------

    async def send(self, questions: Sequence[Question], report: Report) -> None:
        """Send payments to TO; one that TO has taken has its cover due.

        Other answers to a first transmission are TO's: its cover cannot have left.
        """
        pairs = Pairs(questions)

        def hear(answers: Sequence[Answer]) -> None:
            for answer in answers:
                again = pairs.of(answer).is_possible_duplicate
                if answer.event is Event.UNDELIVERED:
                    report([answer])
                elif again or answer.event in _TAKEN:
                    pairs.payments[answer.settlement_id] = answer
                else:
                    report([at_seq(answer, pairs.of(answer))])

        await self._legs.send(questions, hear)
        answered = [each for each in questions if each.settlement_id in pairs.payments]
        again = [each for each in answered if each.is_possible_duplicate]
        if again:
            pairs.covers = dict(await self._store.latest([key_of(each) for each in again]))
            await self._find_forgotten(again, pairs)
        first = [each for each in answered if not each.is_possible_duplicate]
        pairs.covers |= await self._recorded(first, pairs)
        for each in answered:
            pairs.covers_said.setdefault(each.settlement_id, pairs.said_of_cover(each))
        await self._conclude(answered, pairs, report)

    async def enquire(self, questions: Sequence[Question], report: Report) -> None:
        """Send the covers that are due to FROM; about all others, ask both banks."""
        covers = await self._store.latest([key_of(each) for each in questions])
        due = [each for each in questions if is_due(each, covers)]
        sent = {each.settlement_id for each in due}
        asked = [each for each in questions if each.settlement_id not in sent]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_covers(due, Pairs(due, covers), report))
            group.create_task(self._ask_both(asked, Pairs(asked, covers), report))

    async def recall(self, questions: Sequence[Question], report: Report) -> None:
        """Ask TO for payments back, and then FROM for the covers of those that TO has given back."""
        pairs = Pairs(questions, await self._store.latest([key_of(each) for each in questions]))
        pairs.payments = await self._hear(self._legs.recall, questions)
        await self._find_forgotten([each for each in questions if not each.has_ended], pairs)
        refused: list[Question] = []
        others: list[Question] = []
        for each in questions:
            cover = pairs.left(each)
            is_back = recalls_cover(pairs.said_of_payment(each), has_left=cover is not None)
            if cover is not None and is_back and not each.has_ended:
                (refused if cover.refusal else others).append(self._of_cover(each, cover))
        # A refused cover is asked about, and not recalled: FROM may have taken its refusal back.
        pairs.answers_of_covers |= await self._hear(self._legs.recall, others)
        pairs.answers_of_covers |= await self._hear(self._legs.enquire, refused)
        await self._store_messages(pairs.answers)
        for each in questions:
            event = pairs.said_of_payment(each)
            if not each.has_ended:
                event = pairs.outcome_of_recall(each)
            if event is not None:
                report([pairs.answer(each, event)])

    async def ask_cover(self, question: Question, cover: Cover) -> LegSays:
        """Ask FROM about a cover, and return what it says now."""
        found = await self._hear(self._legs.enquire, [self._of_cover(question, cover)])
        await self._store_messages(found.values())
        return Pairs([question]).hears_of_cover(question, found.get(question.settlement_id))

    async def _send_covers(
        self, questions: Sequence[Question], pairs: Pairs, report: Report
    ) -> None:
        """Transmit covers whose send intent was just recorded. TO has the payment, whatever FROM says."""
        sent = [self._of_cover(each, pairs.covers[each.settlement_id]) for each in questions]
        said = await self._hear(self._legs.send, sent)
        answered = [each for each in questions if each.settlement_id in said]
        for each in answered:
            pairs.covers_said[each.settlement_id] = pairs.hears_of_cover(
                each, said[each.settlement_id]
            )
        await self._store_messages(list(said.values()))
        await self._store.note([*pairs.undelivered(answered), *pairs.refusals(answered)])
        for each in answered:
            report([pairs.answer(each, Event.ACKNOWLEDGED)])

    async def _ask_both(self, questions: Sequence[Question], pairs: Pairs, report: Report) -> None:
        left = [
            self._of_cover(each, cover)
            for each in questions
            if (cover := pairs.left(each)) is not None
        ]
        async with asyncio.TaskGroup() as group:
            payments = group.create_task(self._hear(self._legs.enquire, questions))
            covers = group.create_task(self._hear(self._legs.enquire, left))
        pairs.payments, pairs.answers_of_covers = payments.result(), covers.result()
        await self._find_forgotten(questions, pairs)
        for each in questions:
            pairs.covers_said.setdefault(each.settlement_id, pairs.said_of_cover(each))
        await self._conclude(questions, pairs, report)

    async def _find_forgotten(self, questions: Sequence[Question], pairs: Pairs) -> None:
        """Ask FROM for covers that are not recorded, once TO has answered: before a restore they may have been sent."""
        unknown = [
            each
            for each in questions
            if each.settlement_id not in pairs.covers and each.settlement_id in pairs.payments
        ]
        if not unknown:
            return
        covers = {each.settlement_id: self._first(each) for each in unknown}
        asked = [
            self._of_cover(each, cover)
            for each in unknown
            if (cover := covers[each.settlement_id]) is not None
        ]
        found = await self._hear(self._legs.enquire, asked)
        is_definite = self._legs.capabilities.is_not_found_definite
        for each in unknown:
            says = pairs.hears_of_cover(each, found.get(each.settlement_id))
            # What was sent once, and by no restored database, would be recorded if it had left.
            never_left = says is LegSays.UNKNOWN and (is_definite or each.sends <= 1)
            pairs.covers_said[each.settlement_id] = LegSays.UNSENT if never_left else says
        known = [
            each
            for each in unknown
            if each.settlement_id in found
            and (pairs.said_of_payment(each) in _TAKEN or pairs.was_found(each))
        ]
        pairs.covers |= await self._recorded(known, pairs)

    async def _conclude(self, questions: Sequence[Question], pairs: Pairs, report: Report) -> None:
        """Store what both banks have said of each pair, and what is proved by it; then report it."""
        outcomes = {}
        for each in questions:
            cover = pairs.covers.get(each.settlement_id)
            may_send = cover is not None and self._may_send(each, cover)
            says = pairs.covers_said[each.settlement_id]
            outcomes[each.settlement_id] = cover_outcome(
                pairs.says_of_payment(each), says, may_send=may_send
            )
        await self._store_messages(pairs.answers)
        await self._store.note(pairs.refusals(questions))
        await self._store.open_failed(
            [
                failed(each, problem, pairs)
                for each in questions
                if (problem := outcomes[each.settlement_id].problem) is not None
            ]
        )
        for each in questions:
            event = outcomes[each.settlement_id].event
            if event is not None:
                report([pairs.answer(each, event)])

    def _may_send(self, question: Question, cover: Cover) -> bool:
        """Say whether a cover may leave, by the database's clock: that of the machine which wrote it may be wrong."""
        now, rules = question.asked_at or self._clock.now(), self._legs.capabilities
        ends_at = cover.recorded_at + timedelta(seconds=rules.validity_seconds)
        return now < ends_at and may_send_cover(cover, rules, now)

    # --- one message of a pair ----------------------------------------------------------------------

    @property
    def _store(self) -> CoverStore:
        assert self.covers is not None, "the rail is told where covers are kept before it is asked"
        return self.covers

    async def _recorded(self, questions: Sequence[Question], pairs: Pairs) -> dict[UUID, Cover]:
        """Store the first covers of payments that TO has taken; returns the last cover of each."""
        new = [
            NewCover(
                settlement_id=each.settlement_id,
                attempt=each.attempt,
                cover=msgspec.structs.replace(cover, is_found=pairs.was_found(each)),
            )
            for each in questions
            if (cover := self._first(each)) is not None
        ]
        await self._store.record(new)
        return dict(await self._store.latest([key_of(each) for each in questions]))

    def _of_cover(self, question: Question, cover: Cover) -> Question:
        """Make the question about a cover; every transmission but the first may be a duplicate."""
        return msgspec.structs.replace(
            question,
            references=names_of_cover(question.references, cover),
            payload=cover.content,
            valid_until=cover.valid_until,
            recorded_at=cover.recorded_at,
            is_possible_duplicate=cover.sends - cover.undelivered > 1,
        )

    async def _hear(self, ask: Ask, questions: Sequence[Question]) -> dict[UUID, Answer]:
        """Ask about one message of each pair, and return the answers by settlement."""
        found: dict[UUID, Answer] = {}
        if questions:
            await ask(
                questions, lambda answers: found.update((a.settlement_id, a) for a in answers)
            )
        return found

    async def _store_messages(self, answers: Iterable[Answer]) -> None:
        """Store the responses of both banks: a transition stores one message only."""
        messages = [each.message for each in answers if each.message is not None]
        if messages and self.keep is not None:
            await self.keep(messages)
