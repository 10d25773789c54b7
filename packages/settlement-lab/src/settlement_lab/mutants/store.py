"""Mutants of the store's guarantees: guards, money and admission."""

from __future__ import annotations

from typing import Final

from settlement_lab.mutants.patching import Cut, Mutant

_COMPENSATING: Final = {"compensations": 1.0}
_JUDGE: Final = "settlement_lab.memory.applying:Applying._judge"
_WRITE: Final = "settlement_lab.memory.settlements:MemorySettlements._write"

STORE_MUTANTS: Final[dict[str, Mutant]] = {
    # --- deliveries ----------------------------------------------------------------------------
    "payout_not_booked": Mutant(
        "what was paid out is booked as if TO had it with us",
        (
            Cut(
                "settlement_engine.domain.ledger:settle",
                "if route.delivery is Delivery.BOOK:",
                "if True:",
            ),
        ),
        seed=1,
    ),
    "payout_not_reversed": Mutant(
        "the return of a payout is taken from TO's account, which never had it",
        (
            Cut(
                "settlement_engine.domain.ledger:reverse",
                "if route.delivery is Delivery.PAY_OUT:",
                "if False:",
            ),
        ),
        seed=9,
    ),
    # --- charges -------------------------------------------------------------------------------
    "charges_not_billed": Mutant(
        "FROM bears the charges of a return and is not billed for them",
        (
            Cut(
                "settlement_engine.domain.charges:rebilled_minor",
                "if bearer == SENDER_BEARS:",
                "if False:",
            ),
        ),
        seed=1,
        emphasis={"bank_returns": 0.5},
    ),
    "charges_billed_to_everybody": Mutant(
        "FROM is billed for charges that the other side bears",
        (
            Cut(
                "settlement_engine.domain.charges:rebilled_minor",
                "if bearer != EACH_BEARS_ITS_OWN:",
                "if False:",
            ),
        ),
        seed=11,
        emphasis={"bank_returns": 0.5},
    ),
    # --- compensations -------------------------------------------------------------------------
    "compensation_not_parked": Mutant(
        "a compensation that screening lets pass waits for nobody",
        (
            Cut(
                "settlement_engine.domain.decisions.history:after_release",
                "if answer.event is Event.CLEARED and compensates is not None and not is_released(history):",
                "if False:",
            ),
        ),
        seed=7,
        emphasis=_COMPENSATING,
    ),
    "more_compensated_than_settled": Mutant(
        "what is left to compensate is looked at by no store and before no hold",
        (
            Cut(
                "settlement_lab.memory.settlements:MemorySettlements._is_left",
                "if request.compensates is None:",
                "if True:",
            ),
            Cut(
                "settlement_engine.domain.compensation_checks:refuse_compensation",
                "if amount.minor <= left:",
                "if True:",
            ),
            Cut(
                "settlement_lab.memory.applying:Applying._require_left",
                "if step.gives_back is None or",
                "if True or",
            ),
        ),
        seed=7,
        emphasis=_COMPENSATING,
    ),
    "compensated_is_returned_too": Mutant(
        "a return of what a compensation has paid back is booked, and no store looks at what is left",
        (
            Cut(
                "settlement_engine.domain.returns:judge_return",
                "<= left - paid_back_minor",
                "<= left",
            ),
            Cut(
                "settlement_lab.memory.applying:Applying._require_left",
                "if step.gives_back is None or",
                "if True or",
            ),
        ),
        seed=7,
        emphasis=_COMPENSATING,
    ),
    # --- guards --------------------------------------------------------------------------------
    "state_guard": Mutant(
        "a transition is written whatever the present state is",
        (
            Cut(
                _JUDGE,
                "    if history is None or history.state is not believed.state"
                " or history.seq != believed.seq:\n        return Result.STALE\n",
            ),
        ),
        seed=1,
    ),
    "two_answers_at_once": Mutant(
        "a settlement processes two answers in one batch",
        (Cut("settlement_engine.engine.mailbox:Mailbox.takes", "if waiting is None:", "if True:"),),
        seed=0,
    ),
    "stale_is_believed": Mutant(
        "an engine believes what the store did not write",
        (
            Cut(
                "settlement_engine.engine.executor:Executor._take_in",
                "elif outcome.result is Result.APPLIED:",
                "elif outcome.result in (Result.APPLIED, Result.STALE):",
            ),
        ),
        seed=39,
    ),
    "own_writing_not_recognised": Mutant(
        "after a lost answer our own write is not recognised, and the settlement is lost from memory",
        (
            Cut(
                "settlement_engine.engine.writer:TransitionWriter._write",
                "list(await self._recognise(steps, outcomes) if is_repeat else outcomes)",
                "list(outcomes)",
            ),
            Cut(
                "settlement_engine.engine.takeover:Takeover.look_after_own",
                "while not self._is_closed:",
                "while False:",
            ),
        ),
        seed=0,
    ),
    "the_dead_are_not_missed": Mutant(
        "settlements of a dead engine are never taken over",
        (
            Cut(
                "settlement_lab.memory.settlements:MemorySettlements._notice_the_dead",
                "engine.is_gone, engine.gone_at = True, now",
                "pass",
            ),
        ),
        seed=6,
    ),
    # --- money ---------------------------------------------------------------------------------
    "hold_without_cover": Mutant(
        "more funds are held than are available",
        (
            Cut(
                "settlement_lab.memory.applying:Applying._grant_holds",
                "elif not source.has_room_for(amount):",
                "elif False:",
            ),
            Cut(
                "settlement_lab.memory.guards:require_balance",
                "is_covered = account.kind not in GUARDED or account.has_room_for(0)",
                "is_covered = True",
            ),
        ),
        seed=0,
    ),
    "hold_not_atomic": Mutant(
        "available funds are read once for the batch, not under the lock",
        (
            Cut(
                "settlement_lab.memory.applying:Applying._grant_holds",
                "rest[source.id] = replace(source, held=source.held + amount)",
                "pass",
            ),
            Cut(
                "settlement_lab.memory.guards:require_balance",
                "is_covered = account.kind not in GUARDED or account.has_room_for(0)",
                "is_covered = True",
            ),
        ),
        seed=39,
    ),
    "hold_is_kept": Mutant(
        "the hold of an ended settlement stays",
        (
            Cut(
                "settlement_lab.memory.applying:Applying._changes",
                "yield hold.account_id, 0, 0, -hold.amount_minor",
                "yield hold.account_id, 0, 0, 0",
            ),
        ),
        seed=1,
    ),
    # --- admission -----------------------------------------------------------------------------
    "key_is_not_unique": Mutant(
        "the same key twice is two settlements",
        (
            Cut(
                _WRITE,
                "is_taken = request.key_hash in records.by_key or key in records.histories",
                "is_taken = key in records.histories",
            ),
            Cut(_WRITE, "records.holder(request.obligation_id) is not None", "False"),
        ),
        seed=0,
    ),
    "obligation_is_not_unique": Mutant(
        "an obligation has two live settlements",
        (Cut(_WRITE, "records.holder(request.obligation_id) is not None", "False"),),
        seed=9,
    ),
    "content_is_not_compared": Mutant(
        "a key that is used again for other content counts as a replay",
        (
            Cut(
                "settlement_lab.memory.settlements:MemorySettlements._answer",
                "is_same = before == request.content_hash",
                "is_same = True",
            ),
        ),
        seed=0,
    ),
}
