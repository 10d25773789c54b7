"""Applies one batch of steps in memory: judge, grant holds, check, and only then write.

All checks that can refuse run before the first write, so that a refused batch changes nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from math import isinf
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import (
    ENDS,
    Do,
    Event,
    State,
    is_recorded,
    is_repeated_question,
)
from settlement_engine.domain.settlement import Attestation, Moved
from settlement_engine.ports import Result, TransitionResult
from settlement_lab.memory.guards import (
    TOLD_OTHERWISE,
    entry_of,
    left_to_give_back,
    require_account,
    require_balance,
    require_cover,
    require_hold,
    require_legal,
    require_released,
    require_return,
    require_unfiled,
)
from settlement_lab.memory.records import NOBODY, Lock, Quiet, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from uuid import UUID

    from settlement_engine.domain.ledger import Account, Transfer
    from settlement_engine.domain.settlement import Route
    from settlement_engine.ports import TransitionCommand
    from settlement_lab.memory.records import Open, Records

T = TypeVar("T")

ANSWER_DETAILS_MAX: Final = 100
"""So many different answers about one settlement keep the bank's text; others keep the event only."""

RESOLVED_AS: Final = {Do.POST: "posted", Do.RELEASE: "released"}
ATTESTED_BY: Final = {
    Event.ATTESTED_SETTLED: Attestation.STANDS,
    Event.ATTESTED_NOT_SETTLED: Attestation.STANDS,
    Event.DISPROVED: Attestation.DISPROVED,
}


class Applying:
    """One call of ``SettlementStore.apply``."""

    def __init__(
        self, records: Records, steps: Sequence[TransitionCommand], engine_id: int
    ) -> None:
        self._records = records
        self._steps = steps
        self._engine_id = engine_id
        self._at = records.clock.now()
        self._results = [self._judge(step) for step in steps]
        self._available = [0] * len(steps)

    def run(self) -> list[TransitionResult]:
        """Apply the steps that the guards accept; return one result for each step, in order."""
        self._require_left()
        self._grant_holds()
        self._cover_returns()
        applied = [
            step
            for step, result in zip(self._steps, self._results, strict=True)
            if result is Result.APPLIED
        ]
        filed = {item.settlement_id for _, items in self._records.rail_files for item in items}
        for step in applied:
            require_legal(step)
            require_return(step)
            require_unfiled(step, filed)
            require_released(step, self._records)
            require_cover(step, self._records)
        accounts = self._post(applied)
        self._write_money(applied, accounts)
        for step in applied:
            self._write_history(step)
        for step in self._steps:
            if step.message is not None:
                self._records.keep(step.message)
        return [
            TransitionResult(result=result, at=self._at, available_minor=available)
            for result, available in zip(self._results, self._available, strict=True)
        ]

    # --- guards ---------------------------------------------------------------------------------

    def _judge(self, step: TransitionCommand) -> Result:
        """Return whether the state that the caller assumed is still the current one."""
        believed = step.settlement
        history = self._records.histories.get(believed.id)
        if history is None or history.state is not believed.state or history.seq != believed.seq:
            return Result.STALE
        parked = self._records.open.get(believed.id)
        if step.transition.do in (Do.EXCEPT, Do.SUSPEND) and self._is_on_file(step):
            return Result.STALE
        if parked is None:
            return Result.APPLIED
        is_ours = (
            parked.engine_id in (self._engine_id, NOBODY)
            and parked.fencing_token == believed.fencing_token
        )
        return Result.APPLIED if is_ours and self._is_proved(step, parked) else Result.STALE

    def _is_on_file(self, step: TransitionCommand) -> bool:
        """Return whether the same contradiction was reported before: two reports are one exception.

        A second debit is booked or, if our account does not cover it, only told: one of the two.
        """
        key, (kind, fingerprint) = step.settlement.id, _case(step)
        if (key, kind, fingerprint) in self._records.cases:
            return True
        other, entry = TOLD_OTHERWISE.get(kind), entry_of(step.detail)
        return (
            other is not None
            and entry[0] is not None
            and any(
                case.kind is other and case.settlement_id == key and entry_of(case.detail) == entry
                for case in self._records.cases.values()
            )
        )

    def _is_proved(self, step: TransitionCommand, parked: Open) -> bool:
        """Return whether a statement that a send did not leave holds.

        Giving up requires the proof that no send ever left: this one and all before it. Each send is
        proved once: a parked settlement, or one with as many proofs as sends, has no send in flight.
        """
        attempt = self._records.histories[step.settlement.id].attempt
        if attempt is None:
            return True
        if step.event is Event.ABANDONED:
            return attempt.sends == attempt.undelivered + 1
        if step.event is Event.UNDELIVERED:
            return parked.engine_id != NOBODY and attempt.undelivered < attempt.sends
        return True

    def _require_left(self) -> None:
        """Refuse returns and compensations of more than is left, in the batch's order."""
        given: dict[UUID, int] = {}
        for place, step in enumerate(self._steps):
            if step.gives_back is None or self._results[place] is not Result.APPLIED:
                continue
            settlement_id, minor = step.gives_back
            left = left_to_give_back(self._records, settlement_id) - given.get(settlement_id, 0)
            if minor > left:
                self._results[place] = Result.LESS_LEFT
            else:
                given[settlement_id] = given.get(settlement_id, 0) + minor

    def _grant_holds(self) -> None:
        """Grant holds in the order of the batch, as far as the available funds of each account suffice."""
        rest: dict[int, Account] = {}
        for place, step in enumerate(self._steps):
            if step.transition.do is not Do.LOCK:
                continue
            attempt, window_opening = _present(step.attempt), _present(step.window_opening)
            amount = step.settlement.instruction.amount.minor
            source = rest.get(attempt.route.source_id)
            source = source or self._records.accounts.get(attempt.route.source_id)
            target = self._records.accounts.get(attempt.route.target_id)
            if self._results[place] is not Result.APPLIED:
                continue
            if not (source and source.is_active and target and target.is_active):
                self._results[place] = Result.INACTIVE
            elif self._is_full(attempt.route):
                self._results[place] = Result.FULL
            elif not window_opening.holds(self._at):
                self._results[place] = Result.SHUT
            elif not source.has_room_for(amount):
                self._results[place] = Result.SHORT
                self._available[place] = source.available
            else:
                rest[source.id] = replace(source, held=source.held + amount)

    def _is_full(self, route: Route) -> bool:
        """Return whether a balance could exceed its maximum if the bank paid."""
        sides = (route.source_id, route.agent_id, route.clearing_id, route.target_id)
        found = (self._records.accounts.get(side) for side in sides)
        return any(account is not None and account.is_full for account in found)

    def _cover_returns(self) -> None:
        """Debit the receivers' accounts for returns, in the batch's order, as far as their funds suffice."""
        left: dict[int, int] = {}
        for place, step in enumerate(self._steps):
            if step.transition.do is not Do.REVERSE or self._results[place] is not Result.APPLIED:
                continue
            for account_id, amount_minor in _taken(step).items():
                account = self._records.accounts.get(account_id)
                if account is None or account.kind is not AccountKind.VOSTRO or amount_minor <= 0:
                    continue
                room = left.get(account.id, account.available)
                if amount_minor > room + account.credit_limit:
                    self._results[place] = Result.SHORT
                    self._available[place] = room
                else:
                    left[account.id] = room - amount_minor

    # --- money ----------------------------------------------------------------------------------

    def _post(self, applied: Iterable[TransitionCommand]) -> dict[int, Account]:
        """Return the accounts as they are after the steps; raise if a balance would be invalid."""
        changed: dict[int, Account] = {}
        for step in applied:
            for account_id, debits, credits_, held in self._changes(step):
                account = changed.get(account_id) or self._records.accounts.get(account_id)
                known = require_account(account, account_id)
                changed[account_id] = replace(
                    known,
                    debits_posted=known.debits_posted + debits,
                    credits_posted=known.credits_posted + credits_,
                    held=known.held + held,
                )
        for account in changed.values():
            require_balance(account)
        return changed

    def _changes(self, step: TransitionCommand) -> Iterator[tuple[int, int, int, int]]:
        """Return the changes of a step: account id, debits, credits, held (minor units)."""
        if step.transition.do is Do.LOCK:
            amount = step.settlement.instruction.amount.minor
            yield _present(step.attempt).route.source_id, 0, 0, amount
        elif step.transition.do in RESOLVED_AS:
            lock = self._records.locks.get(step.settlement.id)
            require_hold(is_standing=lock is not None and not lock.outcome)
            hold = _present(lock)
            yield hold.account_id, 0, 0, -hold.amount_minor
        for transfer in _transfers(step):
            yield transfer.debit_id, transfer.amount_minor, 0, 0
            yield transfer.credit_id, 0, transfer.amount_minor, 0

    def _write_money(
        self, applied: Iterable[TransitionCommand], accounts: dict[int, Account]
    ) -> None:
        self._records.accounts.update(accounts)
        for step in applied:
            key = step.settlement.id
            if step.transition.do is Do.LOCK:
                amount = step.settlement.instruction.amount
                self._records.locks[key] = Lock(
                    account_id=_present(step.attempt).route.source_id,
                    amount_minor=amount.minor,
                    currency=amount.currency,
                    locked_at=self._at,
                )
            elif step.transition.do in RESOLVED_AS:
                self._records.locks[key].outcome = RESOLVED_AS[step.transition.do]
                self._records.locks[key].resolved_at = self._at
            for transfer in _transfers(step):
                made = msgspec.structs.replace(transfer, group_id=key, at=self._at)
                self._records.transfers[key, transfer.posting, transfer.leg] = made

    # --- histories ------------------------------------------------------------------------------

    def _write_history(self, step: TransitionCommand) -> None:
        key = step.settlement.id
        is_move = is_recorded(step.settlement.state, step.transition)
        parked = self._records.open.get(key)
        if step.transition.state in ENDS:
            self._records.open.pop(key, None)
        elif parked is not None:
            self._park(
                step, parked, is_counted=not is_move or is_repeated_question(step.transition)
            )
        self._count(step)
        if step.transition.do in (Do.EXCEPT, Do.SUSPEND):
            kind, fingerprint = _case(step)
            self._records.open_case(kind, key, fingerprint, step.detail, self._at)
        if is_move:
            self._move(step)
        else:
            self._note(step, asked=parked.asked if parked else 0)

    def _park(self, step: TransitionCommand, parked: Open, *, is_counted: bool) -> None:
        """Keep ownership of the settlement, or park it until it is due."""
        parked.asked = parked.asked + 1 if is_counted else 0
        parked.engine_id = self._engine_id if step.due_seconds is None else NOBODY
        if step.due_seconds is not None:
            is_endless = isinf(step.due_seconds)
            due_at = None if is_endless else self._at + timedelta(seconds=step.due_seconds)
            parked.due_at = due_at

    def _count(self, step: TransitionCommand) -> None:
        """Count a send that is proved not to have left, or one more send: of the payment, or of its cover."""
        is_sent = step.transition.state is State.LOCKED and step.event is Event.NOT_FOUND
        if is_sent or step.event is Event.COVER_DUE:
            self._records.count(step.settlement.id, sends=1)
        elif step.transition.state is State.LOCKED and step.event is Event.UNDELIVERED:
            self._records.count(step.settlement.id, undelivered=1)

    def _move(self, step: TransitionCommand) -> None:
        history = self._records.histories[step.settlement.id]
        from_state, history.state = history.state, step.transition.state
        history.seq += 1
        history.is_frozen = history.is_frozen or step.transition.do in (Do.EXCEPT, Do.SUSPEND)
        history.attestation = ATTESTED_BY.get(step.event, history.attestation)
        history.rail_reference = step.rail_reference or history.rail_reference
        history.confirmation = step.confirmation or history.confirmation
        if step.back is not None:
            history.returns = (*history.returns, step.back)
        if step.transition.state in ENDS:
            history.ended_at = history.ended_at or self._at
        if step.transition.do is Do.LOCK:
            attempt = _present(step.attempt)
            self._records.attempts.append((history.id, attempt))
            history.attempt = msgspec.structs.replace(
                attempt, recorded_at=self._at, sends=1, undelivered=0
            )
        if step.refusal is not None:
            history.refusal_code = step.refusal.code.value
            history.refusal_detail = dict(step.refusal.detail) or history.refusal_detail
        self._records.append(
            Moved(
                position=self._records.head + 1,
                settlement_id=history.id,
                seq=history.seq,
                from_state=from_state,
                event=step.event,
                to_state=history.state,
                at=self._at,
                detail=dict(step.detail),
            )
        )

    def _note(self, step: TransitionCommand, asked: int) -> None:
        """Count an answer that was received before, or store a new one."""
        history = self._records.histories[step.settlement.id]
        number = history.attempt.number if history.attempt else 0
        own = self._records.answers.setdefault(history.id, {})
        said = words(step.detail) if step.detail and len(own) < ANSWER_DETAILS_MAX else ""
        key = (history.seq, number, step.transition.state, step.event, said)
        known = own.get(key)
        if known is None:
            own[key] = Quiet(
                attempt=number,
                state=step.transition.state,
                event=step.event,
                asked=asked,
                at=self._at,
                last_at=self._at,
                detail=dict(step.detail) if said else {},
            )
        else:
            known.times += 1
            known.asked = asked
            known.last_at = max(known.last_at, self._at)


def _transfers(step: TransitionCommand) -> tuple[Transfer, ...]:
    return step.transfers if step.transition.do in (Do.POST, Do.REVERSE, Do.SUSPEND) else ()


def _taken(step: TransitionCommand) -> Counter[int]:
    """Return what a step takes from each account; what it gives back to the same account is subtracted."""
    taken: Counter[int] = Counter()
    for transfer in step.transfers:
        taken[transfer.debit_id] += transfer.amount_minor
        taken[transfer.credit_id] -= transfer.amount_minor
    return taken


def _case(step: TransitionCommand) -> tuple[CaseKind, str]:
    """Return kind and fingerprint of the case that a step opens; money goes to suspense once only."""
    kind = CaseKind(step.detail.get("exception", CaseKind.CONTRADICTION))
    is_once = step.transition.do is Do.SUSPEND and step.event is not Event.PARTLY_UNCOVERED
    return kind, step.event.value if is_once else words(step.detail)


def _present(value: T | None) -> T:
    assert value is not None, "a lock comes with its attempt and its session"
    return value
