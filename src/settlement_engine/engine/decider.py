"""From an answer to a transition: collects the data for the decision, and for the transition that it chose.

Promises: it reads what a decision depends on (the rail's rules, accounts, windows, room in the lane) and what the
transition writes. Must never: choose an event (``domain/decisions`` does), ask anybody, or write.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from settlement_engine.domain.decisions.after_the_end import UNPOSTED, is_unposted, stated_in
from settlement_engine.domain.decisions.before_the_end import (
    decide,
    is_return_to_come,
    may_be_cancelled,
)
from settlement_engine.domain.decisions.reasons import WITHOUT_MONEY_MOVED, reason_of
from settlement_engine.domain.decisions.resending import is_too_late_to_send
from settlement_engine.domain.decisions.screened import SCREENED, decide_screened
from settlement_engine.domain.decisions.taken_over import decide_taken_over
from settlement_engine.domain.identifiers import references
from settlement_engine.domain.intent import intent_detail
from settlement_engine.domain.ledger import AccountKind, settle
from settlement_engine.domain.lifecycle import ENDS, Do, transition_for
from settlement_engine.domain.preconditions import (
    Refusal,
    RefusalCode,
    refuse_accounts,
    refuse_window,
)
from settlement_engine.domain.readable import plain
from settlement_engine.domain.returns import NOT_STATED
from settlement_engine.domain.routing import RouteReason
from settlement_engine.domain.settlement import Attempt
from settlement_engine.engine.filing import Filing
from settlement_engine.engine.postings import COMING_BACK, transfers_back
from settlement_engine.engine.schedule import EnquirySchedule, until_window_opens
from settlement_engine.ports import Answer, TransitionCommand

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from random import Random

    from settlement_engine.domain.decisions.chosen import ChosenEvent
    from settlement_engine.domain.decisions.taken_over import TakenOver
    from settlement_engine.domain.ledger import Transfer
    from settlement_engine.domain.lifecycle import Transition
    from settlement_engine.domain.routing import RouteDecision
    from settlement_engine.domain.settlement import Moved, Settlement
    from settlement_engine.engine.directory import Directory
    from settlement_engine.engine.gate import Gate
    from settlement_engine.engine.router import Router
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import Claimed, RailCapabilities, SendRail, Unreadable


class Decider:
    """Turns answers into transitions."""

    def __init__(
        self,
        settings: EngineSettings,
        rails: Mapping[str, SendRail],
        directory: Directory,
        router: Router,
        chance: Random,
    ) -> None:
        self._settings = settings
        self._rails = rails
        self._directory = directory
        self._router = router
        self._schedule = EnquirySchedule(settings, rails, chance)
        self._filing = Filing(rails)

    async def prefetch(
        self, settlements: Sequence[Settlement], now: datetime
    ) -> list[RouteDecision]:
        """Decide the routes of screened settlements, one each in order, and look up their accounts.

        ``decide`` gets the same routes, so that it finds the accounts of the rail that the funds are held for.
        """
        await self._router.make_current()
        routes = self._router.routes(settlements, now)
        if self._filing.is_used:
            routes = await self._filing.with_traces(settlements, routes)
        rails = [route.rail or None for route in routes]
        await self._directory.prefetch(zip(settlements, rails, strict=True))
        return routes

    def forget_accounts(self, settlement: Settlement) -> None:
        """Look this settlement's accounts up again next time."""
        self._directory.forget(settlement)

    async def prefetch_suspense(self, settlements: Sequence[Settlement]) -> None:
        """Look up the suspense accounts of ended settlements, opened on first need."""
        await self._directory.prefetch_suspense(settlements)

    async def prefetch_fees(self, settlements: Sequence[Settlement]) -> None:
        """Look up the fees accounts of the paying banks, opened on first need."""
        await self._directory.prefetch_fees(settlements)

    def decide(
        self,
        settlement: Settlement,
        answer: Answer,
        now: datetime,
        history: Sequence[Moved] = (),
        route: RouteDecision | None = None,
    ) -> TransitionCommand | None:
        """Return the transition that the answer leads to; None when it changes nothing.

        ``history`` are the moves so far, if the answer needs them (``engine/lookups.py``); ``route`` is the
        decision made with ``prefetch``, if the settlement was screened.
        """
        rules = self._rules(settlement.attempt)
        chosen = decide(settlement, answer, rules, self._settings.sends_max, now)
        if chosen is None:
            return None
        if chosen.event in SCREENED:
            assert route is not None, "what was screened has had its route decided"
            return self._screened(settlement, answer, now, route)
        if is_return_to_come(answer, chosen.event):
            answer = Answer(
                settlement_id=settlement.id,
                event=chosen.event,
                attempt=answer.attempt,
                entry=answer.entry,
            )  # code and amounts are those of the return
        return self.step(settlement, chosen, answer, history)

    def _rules(self, attempt: Attempt | None) -> RailCapabilities | None:
        """Return the rules of the payment's rail; None for a rail that was removed."""
        if attempt is None:
            return None
        rail = self._rails.get(attempt.route.rail)
        return rail.capabilities if rail is not None else None

    def is_too_late_to_send(self, attempt: Attempt, now: datetime) -> bool:
        """Say whether the bytes may no longer be sent, although a send is due."""
        return is_too_late_to_send(attempt, self._rules(attempt), now)

    def may_be_cancelled(self, settlement: Settlement) -> bool:
        """Say whether a caller's request to cancel can have an effect."""
        return may_be_cancelled(settlement, self._rules(settlement.attempt))

    async def without_unfiled(
        self, claimed: Sequence[Claimed | Unreadable]
    ) -> Sequence[Claimed | Unreadable]:
        """Return the claims; a payment that is in no closed file counts as not asked. Raises Unavailable."""
        return await self._filing.without_unfiled(claimed)

    def withdraw(self, settlement: Settlement) -> bool:
        """Take a payment out of the open file of this process; False if it is not in it."""
        return self._filing.withdraw(settlement)

    def may_be_unfiled(self, settlement: Settlement, gate: Gate) -> bool:
        """Say whether the store may prove that a payment, in whichever engine it waits, has never left."""
        return self._filing.may_be_unfiled(settlement, gate)

    def take_over(self, claim: Claimed, now: datetime) -> TakenOver:
        """Choose how a claimed settlement continues."""
        settlement = claim.settlement
        rules = self._rules(settlement.attempt)
        return decide_taken_over(settlement, rules, now, was_asked=claim.was_asked)

    def _screened(
        self, settlement: Settlement, answer: Answer, now: datetime, route: RouteDecision
    ) -> TransitionCommand:
        """Apply our own preconditions, in their order of precedence, to the answer of screening."""
        refusal = self._refuse_sides(settlement) or self._refuse_route(settlement, route)
        chosen = decide_screened(answer, refusal, may_lock_now=route.waits_for is None)
        if chosen.refusal is not None:
            return self.step(settlement, chosen, answer)
        if route.waits_for is RouteReason.WINDOW_CLOSED:
            return until_window_opens(settlement, route, now)
        if route.waits_for is not None:
            return self._schedule.until_lane_has_room(settlement, route)
        attempt = self._attempt(settlement, self._rails[route.rail], now, route.trace)
        return TransitionCommand(
            settlement=settlement,
            event=chosen.event,
            transition=transition_for(settlement.state, chosen.event),
            attempt=attempt,
            window_opening=route.window_opening,
            detail=intent_detail(attempt) | (route.words() if route.rejected else {}),
        )

    def _refuse_route(self, settlement: Settlement, route: RouteDecision) -> Refusal | None:
        """Refuse a payment that no rail carries, or that may not wait until its rail's window opens."""
        currency = settlement.instruction.amount.currency
        if not route.rail:
            field = {"field": route.field} if route.field else {}
            detail = {"currency": currency, **field, **route.words()}
            return Refusal(code=RefusalCode.NO_ROUTE, detail=detail)
        if route.waits_for is not RouteReason.WINDOW_CLOSED:
            return None
        if self._settings.is_queueing and route.opens_at is not None:
            return None
        refusal = refuse_window(currency, route.opens_at)
        field = {"field": route.field} if route.field else {}
        return Refusal(code=refusal.code, detail={**refusal.detail, **field, **route.words()})

    def _refuse_sides(self, settlement: Settlement) -> Refusal | None:
        if self._directory.are_both_active(settlement):
            return None
        instruction = settlement.instruction
        currency = instruction.amount.currency
        return refuse_accounts(
            self._directory.facts(AccountKind.NOSTRO, instruction.from_bank, currency),
            self._directory.facts(AccountKind.VOSTRO, instruction.to_bank, currency),
        )

    def _attempt(
        self, settlement: Settlement, rail: SendRail, now: datetime, trace: str
    ) -> Attempt:
        """Make the attempt with the exact bytes that will be sent."""
        number = (settlement.attempt.number if settlement.attempt else 0) + 1
        instruction = settlement.instruction
        named = references(instruction.caller, instruction.idempotency_key, number)
        return Attempt(
            number=number,
            route=self._directory.route(settlement, rail.name),
            references=named,
            payload=rail.prepare(settlement, named),
            recorded_at=now,
            valid_until=now + timedelta(seconds=rail.capabilities.validity_seconds),
            trace=trace,
        )

    def step(
        self,
        settlement: Settlement,
        chosen: ChosenEvent,
        answer: Answer,
        history: Sequence[Moved] = (),
    ) -> TransitionCommand:
        """Make the transition of the chosen event, with the data that it needs."""
        transition = transition_for(settlement.state, chosen.event)
        refusal, words = chosen.refusal, _words(answer)
        if refusal is None and transition.state in WITHOUT_MONEY_MOVED:
            refusal = reason_of(chosen.event, transition, answer, history)
        return TransitionCommand(
            settlement=settlement,
            event=chosen.event,
            transition=transition,
            due_seconds=self._due_seconds(settlement, transition, chosen),
            transfers=self._transfers(settlement, chosen),
            refusal=refusal,
            detail=_detail(words, answer, refusal, chosen),
            rail_reference=words.get("rail_reference", ""),
            confirmation=words.get("confirmation", ""),
            back=chosen.back,
        )

    def _due_seconds(
        self, settlement: Settlement, transition: Transition, chosen: ChosenEvent
    ) -> float | None:
        """Return for how many seconds it is parked; what has ended is not, and has no schedule."""
        if transition.state in ENDS or chosen.asks_now:
            return None
        return self._schedule.due_seconds(settlement, chosen.event)

    def _transfers(self, settlement: Settlement, chosen: ChosenEvent) -> tuple[Transfer, ...]:
        """Return the transfers that the chosen event's action posts."""
        transition = transition_for(settlement.state, chosen.event)
        if transition.do is Do.POST:
            assert settlement.attempt is not None, "what is posted was locked"
            amount = settlement.instruction.amount
            return settle(settlement.id, settlement.attempt.route, amount.minor, amount.currency)
        if transition.do in COMING_BACK:
            return transfers_back(self._directory, settlement, chosen.event, chosen.back)
        return ()


def _words(answer: Answer) -> dict[str, str]:
    """Return the texts of an answer that say something, printable and bounded."""
    words = {
        "code": answer.code,
        "text": answer.text,
        "rail_reference": answer.rail_reference,
        "confirmation": answer.confirmation,
    }
    return _plain(words)


def _detail(
    words: dict[str, str], answer: Answer, refusal: Refusal | None, chosen: ChosenEvent
) -> dict[str, str]:
    """Return the details of the move: the sender's texts, the return, and the refusal."""
    found = dict(words)
    if answer.entry is not None:
        found |= answer.entry.words()
    if answer.papers:
        found |= _plain(answer.papers)
    if answer.stated is not NOT_STATED:
        found |= _plain(stated_in(answer).words())
    if chosen.kind is not None:
        found |= {"exception": chosen.kind.value, "said": answer.event.value}
        if is_unposted(answer, chosen):
            found["why"] = UNPOSTED
    if chosen.back is not None:
        found |= chosen.back.words()
    if refusal is not None:
        found["refusal"] = refusal.code.value
        found.update(refusal.detail)
    return found


def _plain(words: Mapping[str, str]) -> dict[str, str]:
    return {name: plain(text) for name, text in words.items() if text}
