"""Safeguards, taken out one at a time: the same worlds, without one law.

A green simulation says something only because it turns red without any one of these. A mutant changes the
text of a real function, or a row of the page, while worlds are played; ``seed`` names a world that catches
it, and the tests play them all. ``emphasis`` are faults that this world has more of than chance would give
it. When the text is no longer found, the mutant fails: it has to be kept true.

Some guards are second fences, and no world can tell that one of them is missing: the number of the attempt
(a payment has one in this version), owner and epoch (state and sequence turn the same steps down), and that
an old "not found" is no answer to a new question (the bank knows the same bytes again), and that what waited in a
lane is looked at again before it leaves. The unit, contract and model tests hold these: ``test_safeguards.py``,
``test_dispatcher.py``, ``test_store_claims.py``, ``model_mutations.py``.
"""

from __future__ import annotations

from typing import Final

from settlement_engine.domain.lifecycle import Ask, Do, Event, State, to
from settlement_lab.mutants.surgery import Cut, Mutant, Turn

_RELEASED: Final = to(State.ROLLED_BACK, Do.RELEASE)
_JUDGE: Final = "settlement_lab.memory.applying:Applying._judge"
_WRITE: Final = "settlement_lab.memory.settlements:MemorySettlements._write"
_MAY: Final = "settlement_engine.domain.decisions.resending:may_send_again"
_FORGETTING: Final = {"road_cut": 0.4, "answer_lost": 0.3, "request_lost": 0.1}

MUTANTS: Final[dict[str, Mutant]] = {
    # --- the page ---------------------------------------------------------------------------------
    "silence_is_a_no": Mutant(
        "silence after sending releases the money",
        (Turn(State.LOCKED, Event.NO_ANSWER, _RELEASED),),
        seed=1,
    ),
    "doubt_ends_by_itself": Mutant(
        "silence after an enquiry releases the money",
        (Turn(State.IN_DOUBT, Event.NO_ANSWER, _RELEASED),),
        seed=3,
    ),
    "not_found_is_a_no": Mutant(
        "a bank that does not know it yet counts as a bank that refused",
        (Turn(State.IN_DOUBT, Event.NOT_FOUND, _RELEASED),),
        seed=29,
    ),
    "cancel_is_a_no": Mutant(
        "the caller's wish releases what is on its way",
        (
            Turn(State.LOCKED, Event.CANCELLED, _RELEASED),
            Turn(State.IN_DOUBT, Event.CANCELLED, _RELEASED),
            Turn(State.SENT, Event.CANCELLED, _RELEASED),
        ),
        seed=14,
    ),
    "recall_silence_is_a_no": Mutant(
        "a recall that is not answered counts as granted",
        (Turn(State.RECALLING, Event.NO_ANSWER, _RELEASED),),
        seed=30,
    ),
    "refused_recall_is_a_no": Mutant(
        "a recall that is refused releases the money",
        (Turn(State.RECALLING, Event.RECALL_REFUSED, _RELEASED),),
        seed=39,
    ),
    "acknowledged_is_settled": Mutant(
        "what the bank has received counts as paid",
        (Turn(State.LOCKED, Event.ACKNOWLEDGED, to(State.COMPLETED, Do.POST)),),
        seed=2,
    ),
    "doubt_sends_again": Mutant(
        "what got no answer is sent once more instead of asked about",
        (Turn(State.LOCKED, Event.NO_ANSWER, to(State.LOCKED, ask=Ask.SEND)),),
        seed=28,
    ),
    "late_answer_posts_again": Mutant(
        "the same good news twice posts twice",
        (
            Turn(State.COMPLETED, Event.SETTLED, to(State.COMPLETED, Do.POST)),
            Cut(
                "settlement_engine.domain.decisions.before_the_end:decide",
                "    if settlement.state in ENDS:\n",
                "    if answer.event is Event.SETTLED and settlement.state is State.COMPLETED:\n"
                "        return ChosenEvent(answer.event)\n"
                "    if settlement.state in ENDS:\n",
            ),
        ),
        seed=0,
    ),
    "ends_do_not_absorb": Mutant(
        "late word moves what has ended",
        (
            Cut(
                "settlement_engine.domain.decisions.before_the_end:decide",
                "if settlement.state in ENDS:",
                "if False:",
            ),
            Turn(State.COMPLETED, Event.REJECTED, to(State.ROLLED_BACK)),
            Turn(State.ROLLED_BACK, Event.SETTLED, to(State.COMPLETED)),
        ),
        seed=15,
    ),
    # --- inbound messages ---------------------------------------------------------------------------
    "acknowledged_before_stored": Mutant(
        "a message is acknowledged before it is stored",
        (
            Cut(
                "settlement_engine.engine.inbound:InboundWorker.receive",
                "    is_new = await self._store.record(messages)\n",
                "    async def store():\n"
                "        with suppress(Unavailable, Contention):\n"
                "            await self._store.record(messages)\n"
                "    self._presence.spawn(store())\n"
                "    is_new = [True]\n",
            ),
        ),
        seed=5,
        emphasis={"bank_returns": 0.8, "crash": 0.6, "commit_never_came": 0.4},
    ),
    "report_closed_before_decided": Mutant(
        "a report is closed when it is taken up, and not when it was decided on",
        (
            Cut(
                "settlement_engine.engine.inbound:InboundWorker._answer",
                "    return Answer(\n",
                "    self._close_soon(found.id, ReportOutcome.APPLIED)\n    return Answer(\n",
            ),
        ),
        seed=24,
        emphasis={"bank_returns": 0.8, "crash": 0.6, "commit_never_came": 0.4},
    ),
    # --- what is asked, and what is heard -----------------------------------------------------------
    "failure_is_a_no": Mutant(
        "a rail whose client fails counts as a rail that refused",
        (
            Cut(
                "settlement_engine.engine.asker:Asker._listen_for",
                "event=Event.NO_ANSWER",
                "event=Event.REJECTED",
            ),
        ),
        seed=0,
    ),
    "sent_before_recorded": Mutant(
        "the bytes leave before the intent to send is committed",
        (
            Cut(
                "settlement_engine.engine.executor:Executor._write",
                "    outcomes = await self._writer.write([step for _, step in pairs])\n",
                "    for _, step in pairs:\n"
                "        if step.attempt is not None:\n"
                "            early = replace(step.settlement, attempt=step.attempt,"
                " state=step.row.state)\n"
                "            self._asker.ask([early])\n"
                "    outcomes = await self._writer.write([step for _, step in pairs])\n",
            ),
        ),
        seed=0,
    ),
    "new_reference_on_resend": Mutant(
        "what is sent again gets a name of its own",
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
        "what is sent again is not the same to the byte",
        (
            Cut(
                "settlement_engine.engine.asker:question_of",
                "payload=attempt.payload,",
                "payload=attempt.payload + bytes(attempt.sends - 1),",
            ),
        ),
        seed=0,
    ),
    "validity_ignored": Mutant(
        "bytes that are no longer valid are sent again",
        (Cut(_MAY, "and now < attempt.valid_until", "and True"),),
        emphasis=_FORGETTING,
        seed=127,
    ),
    "window_of_recognition_ignored": Mutant(
        "what the bank no longer recognises is sent again",
        (Cut(_MAY, "and _is_recognised(attempt, rules, now)", "and True"),),
        emphasis=_FORGETTING,
        seed=183,
    ),
    "rail_class_ignored": Mutant(
        "a rail that does not recognise a resend gets one",
        (
            Cut(
                _MAY,
                "rules.is_not_found_definite\n        and rules.rail_class in RESENDABLE\n",
                "True\n",
            ),
        ),
        seed=3,
    ),
    "takeover_sends_again": Mutant(
        "what a dead engine may have sent is sent anew instead of asked about",
        (
            Cut(
                "settlement_engine.domain.decisions.taken_over:decide_taken_over",
                "if was_asked:",
                "if False:",
            ),
        ),
        seed=62,
    ),
    "abandoned_without_proof": Mutant(
        "a sending that may have left is given up",
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
        seed=16,
    ),
    "clock_of_its_own": Mutant(
        "an engine believes its own clock",
        (
            Cut(
                "settlement_engine.engine.presence:Presence.now",
                "if self._seen is None:",
                "if True:",
            ),
        ),
        seed=24,
    ),
    # --- lanes --------------------------------------------------------------------------------------
    "held_back_without_proof": Mutant(
        "what waits in a lane counts as never sent, whatever was sent before",
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
        emphasis={"request_lingers": 0.3, "request_lost": 0.2, "road_cut": 0.4, "answer_lost": 0.4},
        seed=1019,
    ),
    # --- guards -------------------------------------------------------------------------------------
    "state_guard": Mutant(
        "a step is written whatever the state is by now",
        (
            Cut(
                _JUDGE,
                "    if life is None or life.state is not believed.state"
                " or life.seq != believed.seq:\n        return Result.STALE\n",
            ),
        ),
        seed=0,
    ),
    "two_answers_at_once": Mutant(
        "a settlement takes two answers in one batch",
        (Cut("settlement_engine.engine.mailbox:Mailbox.takes", "if waiting is None:", "if True:"),),
        seed=3,
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
        seed=3,
    ),
    "own_writing_not_recognised": Mutant(
        "after a lost answer our own writing is taken for somebody else's, and nobody looks after it",
        (
            Cut(
                "settlement_engine.engine.writer:StepWriter.write",
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
        "what a dead engine carried is never taken over",
        (
            Cut(
                "settlement_lab.memory.settlements:MemorySettlements._notice_the_dead",
                "engine.is_gone, engine.gone_at = True, now",
                "pass",
            ),
        ),
        seed=6,
    ),
    # --- money --------------------------------------------------------------------------------------
    "hold_without_cover": Mutant(
        "funds are locked that are not there",
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
        seed=1,
    ),
    "hold_not_atomic": Mutant(
        "what is available is read once for the batch, and not under the lock",
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
        seed=183,
    ),
    "hold_is_kept": Mutant(
        "an ended settlement's hold stays",
        (
            Cut(
                "settlement_lab.memory.applying:Applying._changes",
                "yield hold.account_id, 0, 0, -hold.amount_minor",
                "yield hold.account_id, 0, 0, 0",
            ),
        ),
        seed=1,
    ),
    # --- admission ----------------------------------------------------------------------------------
    "key_is_not_unique": Mutant(
        "the same key twice is two settlements",
        (
            Cut(
                _WRITE,
                "is_taken = wish.key_hash in records.by_key or key in records.lives",
                "is_taken = key in records.lives",
            ),
            Cut(_WRITE, "records.holder(wish.obligation_id) is not None", "False"),
        ),
        seed=0,
    ),
    "obligation_is_not_unique": Mutant(
        "an obligation has two live settlements",
        (Cut(_WRITE, "records.holder(wish.obligation_id) is not None", "False"),),
        seed=10,
    ),
    "content_is_not_compared": Mutant(
        "a key that is used again for other content counts as a replay",
        (
            Cut(
                "settlement_lab.memory.settlements:MemorySettlements._answer",
                "is_same = before == wish.content_hash",
                "is_same = True",
            ),
        ),
        seed=0,
    ),
    # --- events -------------------------------------------------------------------------------------
    "announced_apart": Mutant(
        "a move may be committed without its announcement",
        (
            Cut(
                "settlement_lab.memory.records:Records.append",
                "    self.moves.append(moved)\n",
                "    if moved.to_state is not State.LOCKED:\n        self.moves.append(moved)\n",
            ),
        ),
        seed=1,
    ),
    "published_anywhere": Mutant(
        "an announcement is written wherever the stream ends, known or not",
        (
            Cut(
                "settlement_engine.events.publisher:Publisher._batch_frames",
                "Nats-Expected-Last-Sequence: {after}\\r\\n",
            ),
            Cut(
                "settlement_engine.events.publisher:Publisher._single_frames",
                "Nats-Expected-Last-Sequence: {after + number}\\r\\n",
            ),
        ),
        emphasis={"bus_answer_lost": 0.5, "bus_slow": 0.5, "two_leaders": 0.7},
        seed=40,
    ),
    "published_unacknowledged": Mutant(
        "what got no acknowledgement counts as published",
        (
            Cut(
                "settlement_engine.events.publisher:Publisher._append_batch",
                "(ack,) = await self._exchange(self._batch_frames(messages, after), wanted=1)",
                "await self._connection.write(self._batch_frames(messages, after))\n"
                "    return len(messages), after + len(messages)",
            ),
        ),
        seed=7,
    ),
    "consumer_without_inbox": Mutant(
        "a consumer acts each time it is told",
        (
            Cut(
                "settlement_client.inbox:MemoryInbox.take", "if event_id in self._ids:", "if False:"
            ),
        ),
        seed=7,
    ),
}
