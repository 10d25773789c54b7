"""Mutants of the announcements, from the commit to the consumer."""

from __future__ import annotations

from typing import Final

from settlement_lab.mutants.patching import Cut, Mutant

EVENTS_MUTANTS: Final[dict[str, Mutant]] = {
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
        "an announcement is published without the expected last sequence",
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
        seed=90,
    ),
    "published_unacknowledged": Mutant(
        "an unacknowledged announcement counts as published",
        (
            Cut(
                "settlement_engine.events.publisher:Publisher._append_batch",
                "(ack,) = await self._exchange(self._batch_frames(messages, after), wanted=1)",
                "await self._connection.write(self._batch_frames(messages, after))\n"
                "    return len(messages), after + len(messages)",
            ),
        ),
        seed=3,
    ),
    "notice_not_looked_for": Mutant(
        "the recorded place of the last notice is not compared with the stream",
        (
            Cut(
                "settlement_engine.events.notice_relay:NoticeRelay.look",
                "await self._cursor.find(jetstream, known)",
                "known",
            ),
        ),
        emphasis={"recalls": 1.0, "bus_answer_lost": 0.5, "crash": 0.6},
        seed=1,
    ),
    "recalled_unnoticed": Mutant(
        "a step of a recall may be committed without its notice",
        (
            Cut(
                "settlement_lab.memory.recalls:MemoryRecalls.step_recall",
                "        notice_recall(self._records, made)\n",
            ),
        ),
        emphasis={"recalls": 1.0},
        seed=0,
    ),
    "consumer_without_inbox": Mutant(
        "a consumer processes every redelivery",
        (
            Cut(
                "settlement_client.inbox:MemoryInbox.take", "if event_id in self._ids:", "if False:"
            ),
        ),
        seed=0,
    ),
}
