"""Mutants of the path to the rails: sending, enquiring, receiving, storing and queueing."""

from __future__ import annotations

from typing import Final

from settlement_lab.mutants.patching import Cut, Mutant

_MAY: Final = "settlement_engine.domain.decisions.resending:may_send_again"
_FORGETTING: Final = {"network_cut": 0.4, "answer_lost": 0.3, "request_lost": 0.1}
_LATE_IN_A_QUEUE: Final = {
    # A first transmission arrives late, and the next one waits behind others until it is too late to send.
    "rush": 1.0,
    "request_lingers": 0.5,
    **dict.fromkeys(("answer_lost", "network_cut", "request_lost", "bank_rejects"), 0.0),
    **dict.fromkeys(("screening_refuses", "screening_parks", "caller_cancels"), 0.0),
    "account_switched_off": 0.0,
}

_RECALLER: Final = "settlement_engine.engine.recaller:Recaller"
_RECALLING: Final = {"recalls": 1.0}
_STATEMENTS: Final = {"statements": 1.0, "answer_lost": 0.5, "bank_slow": 0.3}

RAILS_MUTANTS: Final[dict[str, Mutant]] = {
    # --- inbound messages ----------------------------------------------------------------------
    "acknowledged_before_stored": Mutant(
        "a message is acknowledged before it is stored",
        (
            Cut(
                "settlement_engine.engine.inbound:InboundWorker.receive",
                "    receipts = await self._store.record(messages)\n",
                "    async def store():\n"
                "        with suppress(Unavailable, Contention):\n"
                "            await self._store.record(messages)\n"
                "    self._lease.spawn(store())\n"
                "    receipts = [Receipt.STORED]\n",
            ),
        ),
        seed=1,
        emphasis={"bank_returns": 0.8, "crash": 0.6, "commit_never_came": 0.4},
    ),
    "report_closed_before_decided": Mutant(
        "a report is closed when it is read, not when it was decided on",
        (
            Cut(
                "settlement_engine.engine.inbound:InboundWorker._answer",
                "    return Answer(\n",
                "    self._close_soon(found.id, ReportOutcome.APPLIED)\n    return Answer(\n",
            ),
        ),
        seed=5,
        emphasis={"bank_returns": 0.8, "crash": 0.6, "commit_never_came": 0.4},
    ),
    # --- statements -----------------------------------------------------------------------------
    "absence_is_believed": Mutant(
        "what a statement lacks counts as rejected",
        (
            Cut(
                "settlement_engine.domain.decisions.booked:booked_event",
                "    return BOOKED.get(state, {}).get(says)\n",
                "    if says is EntrySays.ABSENT and state in HOLDING:\n"
                "        return Event.REJECTED\n"
                "    return BOOKED.get(state, {}).get(says)\n",
            ),
        ),
        seed=1,
        emphasis=_STATEMENTS,
    ),
    "another_amount_is_settled": Mutant(
        "a debit of another amount counts as the payment's",
        (
            Cut(
                "settlement_engine.domain.mention_counts:_is_equal",
                "(mention.amount_minor, mention.currency) == sent",
                "True",
            ),
        ),
        seed=1,
        emphasis=_STATEMENTS,
    ),
    "closed_difference_is_another_amount": Mutant(
        "the evidence of a statement does not know the rules by which matching closes differences",
        (
            Cut(
                "settlement_engine.domain.mention_counts:_closing",
                "    return found if found is not None and found.is_sure else None\n",
                "    return None\n",
            ),
        ),
        seed=1,
        emphasis=_STATEMENTS,
    ),
    "tolerance_has_no_limit": Mutant(
        "a tolerance covers a difference of any size",
        (
            Cut(
                "settlement_engine.domain.matching.closing:_accounts",
                "rule.minor >= minor",
                "True",
            ),
        ),
        seed=1,
        emphasis=_STATEMENTS,
    ),
    "announced_entry_is_believed": Mutant(
        "an entry that is only announced counts as booked",
        (
            Cut(
                "settlement_engine.domain.statement_evidence:mentions_of",
                " if row.entry.status is EntryStatus.BOOKED",
            ),
        ),
        seed=1,
        emphasis=_STATEMENTS,
    ),
    "return_of_a_statement_is_not_booked": Mutant(
        "a return counts only if a message tells of it",
        (
            Cut(
                "settlement_engine.domain.decisions.after_the_end:judge",
                "    if event is Event.RETURNED:\n",
                "    if event is Event.RETURNED and answer.entry is None:\n",
            ),
        ),
        seed=3,
        emphasis=_STATEMENTS,
    ),
    "second_debit_is_not_noticed": Mutant(
        "a second booked debit counts as the first one told again",
        (
            Cut(
                "settlement_engine.domain.mention_counts:_says",
                "    if nth == 1:\n",
                "    if nth >= 1:\n",
            ),
        ),
        seed=1,
        emphasis=_STATEMENTS,
    ),
    # --- recalls after completion ---------------------------------------------------------------
    "promise_is_money": Mutant(
        "an accepted recall is booked as if the money had come back",
        (
            Cut(
                f"{_RECALLER}._hear",
                "        if event is not None:\n",
                "        if event is Event.RECALLED:\n"
                "            msgspec = __import__('msgspec')\n"
                "            self._mailbox.hear([msgspec.structs.replace(answer, event=Event.RETURNED)])\n"
                "        if event is not None:\n",
            ),
        ),
        seed=34,
        emphasis=_RECALLING,
    ),
    "silence_refuses_a_recall": Mutant(
        "a recall without an answer counts as refused",
        (
            Cut(
                f"{_RECALLER}._hear",
                "        if event is not None:\n",
                "        if answer.event is Event.NO_ANSWER:\n"
                "            event = Event.RECALL_REFUSED\n"
                "        if event is not None:\n",
            ),
        ),
        seed=2,
        emphasis=_RECALLING,
    ),
    "returns_end_no_recall": Mutant(
        "a recall that was refused is not looked at again when money comes back",
        (
            Cut(
                f"{_RECALLER}.take",
                "        await self._lease.until_reached(lambda: self._recalls.expect_returns(returned))\n",
                "        pass\n",
            ),
        ),
        seed=14,
        emphasis={**_RECALLING, "bank_returns": 1.0},
    ),
    "overdue_recall_is_asked_for_ever": Mutant(
        "the time limit of a recall is not looked at",
        (
            Cut(
                f"{_RECALLER}._without_answer",
                "return event_without_answer(recall, settlement, until, self._lease.now())",
                "return event_without_answer(recall, settlement, None, self._lease.now())",
            ),
        ),
        seed=2,
        emphasis=_RECALLING,
    ),
    # --- requests and answers --------------------------------------------------------------------
    "failure_is_a_no": Mutant(
        "an error of the rail's client counts as a rejection",
        (
            Cut(
                "settlement_engine.engine.asker:Asker._listen_for",
                "event=Event.NO_ANSWER",
                "event=Event.REJECTED",
            ),
        ),
        seed=1,
    ),
    "sent_before_recorded": Mutant(
        "the bytes leave before the intent to send is committed",
        (
            Cut(
                "settlement_engine.engine.executor:Executor._write",
                "    outcomes = await self._apply([step for _, step in pairs])\n",
                "    for _, step in pairs:\n"
                "        if step.attempt is not None:\n"
                "            early = replace(step.settlement, attempt=step.attempt,"
                " state=step.transition.state)\n"
                "            self._asker.ask([early])\n"
                "    outcomes = await self._apply([step for _, step in pairs])\n",
            ),
        ),
        seed=0,
    ),
    "new_reference_on_resend": Mutant(
        "a resend gets a new reference",
        (
            Cut(
                "settlement_engine.engine.asker:question_of",
                "references=attempt.references,",
                "references=__import__('msgspec').structs.replace(attempt.references,"
                " end_to_end_id=f'{attempt.references.end_to_end_id}{attempt.sends}'),",
            ),
        ),
        seed=1,
    ),
    "new_bytes_on_resend": Mutant(
        "a resend has other bytes",
        (
            Cut(
                "settlement_engine.engine.asker:question_of",
                "payload=attempt.payload,",
                "payload=attempt.payload + bytes(attempt.sends - 1),",
            ),
        ),
        seed=4,
    ),
    "validity_ignored": Mutant(
        "expired bytes are sent again",
        (Cut(_MAY, "and now < attempt.valid_until", "and True"),),
        emphasis=_FORGETTING,
        seed=46,
    ),
    "window_of_recognition_ignored": Mutant(
        "a payment that the bank no longer recognises is sent again",
        (Cut(_MAY, "and _is_recognised(attempt, rules, now)", "and True"),),
        emphasis=_FORGETTING,
        seed=40,
    ),
    "rail_class_ignored": Mutant(
        "a rail that does not recognise a resend gets one",
        (
            Cut(_MAY, "rules.is_not_found_definite\n", "True\n"),
            Cut(_MAY, "and rules.rail_class in RESENDABLE", "and True"),
        ),
        seed=73,
    ),
    "takeover_sends_again": Mutant(
        "a dead engine's payment is sent again instead of enquired about",
        (
            Cut(
                "settlement_engine.domain.decisions.taken_over:decide_taken_over",
                "if was_asked:",
                "if False:",
            ),
        ),
        seed=9,
    ),
    "abandoned_without_proof": Mutant(
        "a payment whose send may have left is given up",
        (
            Cut(
                "settlement_engine.domain.decisions.before_the_end:_undelivered",
                "if attempt.sends == attempt.undelivered + 1:",
                "if True:",
            ),
            Cut(
                "settlement_lab.memory.applying:Applying._is_proved",
                "return attempt.sends == attempt.undelivered + 1",
                "return True",
            ),
        ),
        emphasis={"undelivered": 0.4, "request_lost": 0.2, "request_lingers": 0.3},
        seed=79,
    ),
    "clock_of_its_own": Mutant(
        "an engine uses its own clock",
        (
            Cut(
                "settlement_engine.engine.lease:EngineLease.now",
                "if self._seen is None:",
                "if True:",
            ),
        ),
        seed=262,
    ),
    # --- lanes ---------------------------------------------------------------------------------
    "held_back_without_proof": Mutant(
        "a payment that waits in a lane counts as never sent, whatever was sent before",
        (
            Cut(
                "settlement_engine.domain.decisions.before_the_end:_undelivered",
                "if attempt.sends == attempt.undelivered + 1:",
                "if is_held_back or attempt.sends == attempt.undelivered + 1:",
            ),
            Cut(
                "settlement_lab.memory.applying:Applying._is_proved",
                "return attempt.sends == attempt.undelivered + 1",
                "return True",
            ),
        ),
        emphasis=_LATE_IN_A_QUEUE,
        seed=30,
    ),
}
