"""The mailbox: one answer at a time for each settlement, in order, within bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from unittest.mock import Mock

import pytest

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.engine.batching import Batcher
from settlement_engine.engine.mailbox import (
    ANSWERS_WAITING_MAX,
    REPORTS_WAITING_MAX,
    Mailbox,
    PendingTransition,
)
from tests.support.decided import answer, settlement

if TYPE_CHECKING:
    from settlement_engine.ports import Answer


class Fixture:
    """A mailbox, and records of all its calls to others."""

    def __init__(self) -> None:
        self.inbound, self.meter, self.asker = Mock(), Mock(), Mock()
        store, lease = Mock(), Mock()
        self.spawned = lease.spawn
        self.mailbox = Mailbox(store, self.asker, self.inbound, lease, self.meter)

        async def work(_batch: Any) -> None:
            return None

        self.queue: Batcher[PendingTransition] = Batcher(work, batch_max=100)
        self.kept: list[Answer] = []
        self.mailbox.attach(self.queue, self.kept.append)
        self.sent = settlement(State.SENT)
        self.mailbox.carry(self.sent)

    def taken(self) -> list[Answer]:
        return [pending.answer for pending in self.queue.drain()]


@pytest.fixture
def post() -> Fixture:
    return Fixture()


def test_the_message_of_a_dropped_answer_is_kept(post: Fixture) -> None:
    dropped = [answer(Event.ACKNOWLEDGED) for _ in range(ANSWERS_WAITING_MAX + 3)]
    post.mailbox.hear(dropped)
    assert post.kept == dropped[ANSWERS_WAITING_MAX + 1 :]
    post.kept.clear()
    post.mailbox.drop_all()
    assert post.kept == dropped[: ANSWERS_WAITING_MAX + 1]


def test_answers_of_one_settlement_are_taken_one_at_a_time_and_in_order(post: Fixture) -> None:
    said = [answer(event) for event in (Event.ACKNOWLEDGED, Event.SETTLED, Event.RETURNED)]
    post.mailbox.hear(said)
    [first] = post.queue.drain()
    [second] = post.mailbox.finish(first)
    [third] = post.mailbox.finish(second)
    assert [first.answer, second.answer, third.answer] == said
    assert post.mailbox.finish(third) == []
    assert not post.mailbox.finish(third), "a slot is freed once"


def test_open_settlements_are_processed_before_new_ones(post: Fixture) -> None:
    begun = settlement(State.VALIDATING, id=post.sent.id)
    post.mailbox.carry(begun)
    post.mailbox.hear([answer(Event.CLEARED, attempt=0)])
    other = settlement(State.SENT, id=_other())
    post.mailbox.carry(other)
    post.mailbox.hear([_of(other.id, Event.SETTLED)])
    assert [each.event for each in post.taken()] == [Event.SETTLED, Event.CLEARED]


def test_waiting_answers_are_bounded_and_dropped_ones_are_counted(post: Fixture) -> None:
    post.mailbox.hear([answer(Event.NO_ANSWER)] * (ANSWERS_WAITING_MAX + 2))
    [first] = post.queue.drain()
    assert len(first.waiting) == ANSWERS_WAITING_MAX
    post.meter.invariant_warning.assert_called_once_with("late_answer_dropped")


def test_a_stored_report_without_capacity_is_handed_back_and_never_dropped(post: Fixture) -> None:
    reports = [answer(Event.SETTLED, report_id=number) for number in range(1, 9)]
    post.mailbox.hear(reports)
    [first] = post.queue.drain()
    assert first.waiting == reports[1 : 1 + REPORTS_WAITING_MAX]
    released = [call.args[0] for call in post.inbound.released.call_args_list]
    assert released == [[each] for each in reports[1 + REPORTS_WAITING_MAX :]]
    post.meter.invariant_warning.assert_not_called()


def test_a_waiting_request_is_not_added_twice(post: Fixture) -> None:
    for _ in range(3):
        post.mailbox.request(post.sent, Event.CANCELLED)
    [first] = post.queue.drain()
    assert [each.event for each in first.waiting] == [Event.CANCELLED]
    post.meter.invariant_warning.assert_not_called()


def test_a_settlement_that_is_no_longer_owned_hands_its_waiting_reports_back(post: Fixture) -> None:
    report = answer(Event.SETTLED, report_id=7)
    post.mailbox.hear([answer(Event.ACKNOWLEDGED), report])
    [first] = post.queue.drain()
    assert post.mailbox.give_up(first) == []
    assert not post.mailbox.is_carried(post.sent.id)
    post.inbound.released.assert_called_once_with([report])


def test_a_settlement_that_is_claimed_again_keeps_its_answers(post: Fixture) -> None:
    post.mailbox.hear([answer(Event.ACKNOWLEDGED), answer(Event.SETTLED)])
    [first] = post.queue.drain()
    anew = settlement(State.SENT)
    post.mailbox.carry(anew)
    [following] = post.mailbox.give_up(first)
    assert following.settlement is anew
    assert post.mailbox.settlement(anew.id) is anew


def test_a_time_out_of_a_settlement_that_is_not_carried_is_ignored(post: Fixture) -> None:
    post.mailbox.let_go(post.sent)
    post.mailbox.hear([answer(Event.NO_ANSWER)])
    post.spawned.assert_not_called()
    post.mailbox.hear([answer(Event.SETTLED)])
    post.spawned.assert_called_once()
    cast("Any", post.spawned.call_args.args[0]).close()


def test_clearing_the_mailbox_removes_everything(post: Fixture) -> None:
    post.mailbox.hear([answer(Event.ACKNOWLEDGED), answer(Event.SETTLED)])
    post.mailbox.drop_all()
    assert (post.mailbox.carried_count, post.mailbox.backlog) == (0, 0)
    assert not post.mailbox.is_carried(post.sent.id)
    post.inbound.forget.assert_called_once_with()


def _other() -> Any:
    from uuid import UUID

    return UUID(int=2)


def _of(settlement_id: Any, event: Event) -> Answer:
    import msgspec

    return msgspec.structs.replace(answer(event), settlement_id=settlement_id)
