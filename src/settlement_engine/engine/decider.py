"""From an answer to a step: which row of the page applies, and what the row needs.

Promises: the page decides; this module only chooses the event where a rule of ours stands between the
answer and the page (a refusal, a wait, the last resend), and gathers what the row's work needs. It asks
nobody and writes nothing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.contradiction import LateWord, judge
from settlement_engine.domain.exceptions import MatterKind
from settlement_engine.domain.identifiers import references
from settlement_engine.domain.intent import intent_detail
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import (
    ENDS,
    LIFE,
    Event,
    State,
    follow,
)
from settlement_engine.domain.preconditions import (
    Refusal,
    RefusalCode,
    refuse_accounts,
    refuse_window,
)
from settlement_engine.domain.returns import NOT_STATED
from settlement_engine.domain.routing import RouteReason
from settlement_engine.domain.settlement import Attempt
from settlement_engine.engine.lookups import recalled_as
from settlement_engine.engine.postings import transfers_of
from settlement_engine.engine.schedule import Schedule, until_window_opens
from settlement_engine.ports import Answer, RailClass, Step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from random import Random
    from uuid import UUID

    from settlement_engine.domain.returns import StatedAmount
    from settlement_engine.domain.routing import RouteDecision
    from settlement_engine.domain.settlement import Moved, Settlement
    from settlement_engine.engine.directory import Directory
    from settlement_engine.engine.router import Router
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import Rail, RailCapabilities

_REFUSED_AS: Final = {
    Event.CANCELLED: RefusalCode.CANCELLED_BY_CALLER,
    Event.REJECTED: RefusalCode.RAIL_REJECTED,
    Event.ABANDONED: RefusalCode.UNDELIVERED,
    Event.DECLINED: RefusalCode.DECLINED,
    Event.LAPSED: RefusalCode.LAPSED,
    Event.ATTESTED_NOT_SETTLED: RefusalCode.ATTESTED_NOT_SETTLED,
}

WORDS_MAX: Final = 500
"""No more is kept of what a bank says in one field."""

RAIL_WORDS: Final = frozenset(
    {
        Event.ACKNOWLEDGED,
        Event.SETTLED,
        Event.REJECTED,
        Event.NOT_FOUND,
        Event.UNDELIVERED,
        Event.RECALLED,
        Event.RECALL_REFUSED,
    }
)
"""What a rail may answer: in a state whose page does not know it, it answers nothing."""

_UNCOVERED: Final = {
    Event.RETURNED: Event.UNCOVERED,
    Event.PARTLY_RETURNED: Event.PARTLY_UNCOVERED,
}
"""What a return is when the receiver's account does not cover it."""

_QUIET: Final = frozenset({Event.NO_ANSWER, Event.ACKNOWLEDGED, Event.NOT_FOUND})
"""Answers that leave a payment where it is, so that the rail's own limit may apply."""


class Decider:
    """Turns answers into steps."""

    def __init__(
        self,
        settings: EngineSettings,
        rails: Mapping[str, Rail],
        directory: Directory,
        router: Router,
        chance: Random,
    ) -> None:
        self._settings = settings
        self._rails = rails
        self._directory = directory
        self._router = router
        self._schedule = Schedule(settings, rails, chance)

    async def prefetch(
        self, settlements: Sequence[Settlement], now: datetime
    ) -> dict[UUID, RouteDecision]:
        """Decide the routes of what was screened, and look up the accounts that they need.

        ``decide`` is given the same routes, so that it finds the accounts of the rail that it locks for.
        """
        routes = {each.id: self._router.route(each, now) for each in settlements}
        wanted = ((each, routes[each.id].rail or None) for each in settlements)
        await self._directory.prefetch(wanted)
        return routes

    async def prefetch_suspense(self, settlements: Sequence[Settlement]) -> None:
        """Look up the suspense accounts of ended settlements, opened on first need."""
        await self._directory.prefetch_suspense(settlements)

    async def prefetch_fees(self, settlements: Sequence[Settlement]) -> None:
        """Look up the accounts for charges of the banks that were to pay, opened on first need."""
        await self._directory.prefetch_fees(settlements)

    def is_disproof(self, settlement: Settlement, answer: Answer) -> bool:
        """Say whether the answer proves people wrong who have attested the end."""
        word = _late_word(settlement, answer) if settlement.is_ended else None
        return word is not None and word.event is Event.DISPROVED

    def decide(
        self,
        settlement: Settlement,
        answer: Answer,
        now: datetime,
        history: Sequence[Moved] = (),
        route: RouteDecision | None = None,
    ) -> Step | None:
        """Return the step that the answer leads to; None when it says nothing new.

        ``history`` are the moves so far, where the answer needs them (``engine/lookups.py``); ``route`` is what
        was decided with ``prefetch``, for what was screened.

        An answer that the page does not know in this state answers nothing: it counts as silence.
        """
        if settlement.state in ENDS:
            return self._after_the_end(settlement, answer)
        if not _speaks_of(answer, settlement):
            return None
        event = self._event(settlement, answer, now)
        if event not in LIFE[settlement.state]:
            if answer.event not in RAIL_WORDS or not answer.attempt:
                return None  # a wish that came too late, or screening told twice: nothing to doubt
            event = Event.NO_ANSWER
        if event not in LIFE[settlement.state]:
            return None
        if event in (Event.CLEARED, Event.REFUSED):
            assert route is not None, "what was screened has had its route decided"
            return self._screened(settlement, answer, now, route)
        refusal = None
        if event is Event.RECALLED:
            refusal = _refusal_of(event, answer, recalled_as(history))
        kind = MatterKind.AMOUNT_DIFFERS if event is Event.AMOUNT_DIFFERED else None
        return self._step(settlement, LateWord(event, kind), answer, refusal)

    def _event(self, settlement: Settlement, answer: Answer, now: datetime) -> Event:
        """Choose the event where a limit of ours or the rail's has been reached."""
        attempt = settlement.attempt
        if attempt is None:
            return answer.event
        if answer.event is Event.SETTLED:
            return _settled(settlement, answer)
        rail = self._rails.get(attempt.route.rail)
        if rail is None:
            return answer.event  # a rail that is gone has no rules to ask; its word still counts
        return self._within_limits(settlement, attempt, answer, rail.capabilities, now)

    def _within_limits(
        self,
        settlement: Settlement,
        attempt: Attempt,
        answer: Answer,
        rules: RailCapabilities,
        now: datetime,
    ) -> Event:
        """Choose the event where a limit of the rail's has been reached."""
        if answer.event is Event.UNDELIVERED:
            return self._undelivered(attempt, rules, now, is_held_back=answer.is_held_back)
        is_doubted = settlement.state is State.IN_DOUBT and answer.event is Event.NOT_FOUND
        if is_doubted and (settlement.is_frozen or not may_send_again(attempt, rules, now)):
            return Event.NO_ANSWER
        limit = rules.overdue_after_seconds
        is_waiting = settlement.state is State.SENT and answer.event in _QUIET
        if is_waiting and limit is not None and not settlement.is_frozen:
            is_overdue = now - attempt.recorded_at > timedelta(seconds=limit)
            return Event.OVERDUE if is_overdue else answer.event
        return answer.event

    def _undelivered(
        self, attempt: Attempt, rules: RailCapabilities, now: datetime, *, is_held_back: bool
    ) -> Event:
        """Resend what never left, give up what never left at all, doubt what may have left before.

        What this engine held back is not given up for having been held back often: no send has failed.
        """
        is_late = is_too_late_to_send(attempt, rules, now)
        if not is_late and (is_held_back or attempt.sends < self._settings.sends_max):
            return Event.UNDELIVERED
        if attempt.sends == attempt.undelivered + 1:
            return Event.ABANDONED
        return Event.NO_ANSWER if is_late else Event.UNDELIVERED

    def is_too_late_to_send(self, attempt: Attempt, now: datetime) -> bool:
        """Say whether a sending that is due now may no longer leave."""
        rail = self._rails.get(attempt.route.rail)
        if rail is None:
            return now >= attempt.valid_until
        return is_too_late_to_send(attempt, rail.capabilities, now)

    def _after_the_end(self, settlement: Settlement, answer: Answer) -> Step | None:
        """Late word: a repeat says nothing new, a contradiction is for a person."""
        word = _late_word(settlement, answer)
        if word is None or word.event not in LIFE[settlement.state]:
            return None
        return self._step(settlement, word, answer)

    def uncovered(self, settlement: Settlement, answer: Answer) -> Step | None:
        """Take a return from suspense that the receiver's account does not cover."""
        word = _late_word(settlement, answer)
        if word is None or word.event not in _UNCOVERED:
            return self._after_the_end(settlement, answer)
        event, kind = _UNCOVERED[word.event], MatterKind.UNCOVERED_RETURN
        return self._step(settlement, word._replace(event=event, kind=kind), answer)

    def _screened(
        self, settlement: Settlement, answer: Answer, now: datetime, route: RouteDecision
    ) -> Step:
        """Apply our own preconditions, in their order of precedence, to what screening said."""
        refusal = self._refuse_sides(settlement) or self._refuse_route(settlement, route)
        refusal = refusal or answer.refusal
        if refusal is None and answer.event is Event.REFUSED:
            refusal = Refusal(code=RefusalCode.COMPLIANCE_BLOCKED)  # a no without a reason is a no
        if refusal is not None:
            return self._step(settlement, LateWord(Event.REFUSED), answer, refusal)
        if route.waits_for is RouteReason.WINDOW_CLOSED:
            return until_window_opens(settlement, route, now)
        if route.waits_for is not None:
            return self._schedule.until_lane_has_room(settlement, route)
        attempt = self._attempt(settlement, self._rails[route.rail], now)
        return Step(
            settlement=settlement,
            event=Event.CLEARED,
            row=follow(settlement.state, Event.CLEARED),
            attempt=attempt,
            session=route.session,
            detail=intent_detail(attempt) | route.words(),
        )

    def _refuse_route(self, settlement: Settlement, route: RouteDecision) -> Refusal | None:
        """Refuse what no rail carries, and what may not wait until its rail's window opens."""
        currency = settlement.instruction.amount.currency
        if not route.rail:
            return Refusal(
                code=RefusalCode.NO_ROUTE, detail={"currency": currency, **route.words()}
            )
        if route.waits_for is not RouteReason.WINDOW_CLOSED:
            return None
        if self._settings.is_queueing and route.opens_at is not None:
            return None
        refusal = refuse_window(currency, route.opens_at)
        return Refusal(code=refusal.code, detail={**refusal.detail, **route.words()})

    def _refuse_sides(self, settlement: Settlement) -> Refusal | None:
        if self._directory.are_both_active(settlement):
            return None
        wish = settlement.instruction
        currency = wish.amount.currency
        return refuse_accounts(
            self._directory.facts(AccountKind.NOSTRO, wish.from_bank, currency),
            self._directory.facts(AccountKind.VOSTRO, wish.to_bank, currency),
        )

    def _attempt(self, settlement: Settlement, rail: Rail, now: datetime) -> Attempt:
        """Write down what is going to be sent, to the byte."""
        number = (settlement.attempt.number if settlement.attempt else 0) + 1
        wish = settlement.instruction
        named = references(wish.caller, wish.idempotency_key, number)
        return Attempt(
            number=number,
            route=self._directory.route(settlement, rail.name),
            references=named,
            payload=rail.prepare(settlement, named),
            recorded_at=now,
            valid_until=now + timedelta(seconds=rail.capabilities.validity_seconds),
        )

    def refused(self, settlement: Settlement, refusal: Refusal) -> Step:
        """Refuse what the ledger did not cover."""
        answer = Answer(settlement_id=settlement.id, event=Event.REFUSED)
        return self._step(settlement, LateWord(Event.REFUSED), answer, refusal)

    def _step(
        self,
        settlement: Settlement,
        word: LateWord,
        answer: Answer,
        refusal: Refusal | None = None,
    ) -> Step:
        row = follow(settlement.state, word.event)
        if refusal is None and row.state in ENDS and row.state is not State.COMPLETED:
            refusal = answer.refusal or _refusal_of(word.event, answer)
        return Step(
            settlement=settlement,
            event=word.event,
            row=row,
            rest_seconds=self._schedule.rest_seconds(settlement, word.event),
            transfers=transfers_of(self._directory, settlement, row, word.back),
            refusal=refusal,
            detail=_detail(answer, refusal, word),
            rail_reference=plain(answer.rail_reference),
            confirmation=plain(answer.confirmation),
            back=word.back,
        )


def _speaks_of(answer: Answer, settlement: Settlement) -> bool:
    """Say whether the answer is about this attempt, and about what has not changed since."""
    if answer.seq not in (0, settlement.seq):
        return False
    attempt = settlement.attempt.number if settlement.attempt is not None else None
    return answer.attempt in (0, attempt)


def may_send_again(attempt: Attempt, rules: RailCapabilities, now: datetime) -> bool:
    """Say whether "not found" lets the same bytes go out again, by the rail's own rules.

    Only where the rail's "not found" is definite, its class allows a resend, the bytes are still valid
    and the rail still recognises them should they have arrived after all.
    """
    return (
        rules.is_not_found_definite
        and rules.rail_class in (RailClass.A, RailClass.B)
        and now < attempt.valid_until
        and _is_recognised(attempt, rules, now)
    )


def is_too_late_to_send(attempt: Attempt, rules: RailCapabilities, now: datetime) -> bool:
    """Say whether the bytes may not leave any more, the latest sending not having left.

    They are no longer valid; or an earlier sending may have arrived, and the rail would not recognise
    another one as the same payment.
    """
    is_the_only_one = attempt.sends == attempt.undelivered + 1
    is_safe = is_the_only_one or _is_recognised(attempt, rules, now)
    return now >= attempt.valid_until or not is_safe


def _is_recognised(attempt: Attempt, rules: RailCapabilities, now: datetime) -> bool:
    """Say whether the rail still knows the reference of everything that was sent so far."""
    return (now - attempt.recorded_at).total_seconds() < rules.deduplicates_seconds


def plain(text: str) -> str:
    """Bound foreign words, and replace what cannot be printed: it is kept for people to read."""
    if text.isprintable() and len(text) <= WORDS_MAX:
        return text
    return "".join(letter if letter.isprintable() else "?" for letter in text[:WORDS_MAX])


def _refusal_of(event: Event, answer: Answer, code: RefusalCode | None = None) -> Refusal | None:
    code = code or _REFUSED_AS.get(event)
    if code is None:
        return None
    detail = {"code": answer.code, "text": answer.text}
    return Refusal(code=code, detail={name: plain(text) for name, text in detail.items() if text})


def _stated(answer: Answer) -> StatedAmount:
    """Return the amounts of an answer, with the sender's name of a return as we keep it."""
    stated = answer.stated
    reference = plain(stated.reference)
    if reference == stated.reference:
        return stated
    return msgspec.structs.replace(stated, reference=reference)


def _settled(settlement: Settlement, answer: Answer) -> Event:
    """Say what *settled* means: with another amount than was sent nothing is posted.

    That is told once; on what is frozen the same answer brings no news, and releases nothing.
    """
    if not answer.stated.differs_from(settlement.instruction.amount):
        return Event.SETTLED
    return Event.NO_ANSWER if settlement.is_frozen else Event.AMOUNT_DIFFERED


def _late_word(settlement: Settlement, answer: Answer) -> LateWord | None:
    """Judge what is said about a settlement that has ended."""
    return judge(settlement, answer.event, answer.confirmation, _stated(answer))


def _detail(answer: Answer, refusal: Refusal | None, word: LateWord) -> dict[str, str]:
    """Keep the words of whoever answered, what came back, and the refusal, with the move."""
    words = {
        "code": answer.code,
        "text": answer.text,
        "rail_reference": answer.rail_reference,
        "confirmation": answer.confirmation,
        **(answer.papers or {}),
    }
    if answer.stated is not NOT_STATED:
        words |= _stated(answer).words()
    if word.kind is not None:
        words |= {"exception": word.kind.value, "said": answer.event.value}
    found = {name: plain(text) for name, text in words.items() if text}
    if word.back is not None:
        found |= word.back.words()
    if refusal is not None:
        found["refusal"] = refusal.code.value
        found.update(refusal.detail)
    return found
