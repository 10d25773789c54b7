"""The auditor of a world: it takes the bank's ledger as the truth and compares everything with it.

It shares no code with the engine except the names of states and events. A world is over only when the
bank has decided everything that it has, because an error of the engine may show long after its last step.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.announcement import event_id
from settlement_engine.domain.lifecycle import ENDS, TRANSITIONS, State, is_recorded
from settlement_engine.domain.recalls import ASKING, RECALL_TRANSITIONS, RecallState
from settlement_engine.events.announce import ID_HEADER, NOTICE_HEADER
from settlement_lab.worlds.charges import billed_minor
from settlement_lab.worlds.compensations import paid_back
from settlement_lab.worlds.recalls import PROMISED, REFUSED

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from uuid import UUID

    from settlement_engine.domain.recalls import RecallRequest
    from settlement_engine.domain.settlement import Moved, Settlement
    from settlement_lab.worlds.bank import Bank
    from settlement_lab.worlds.bus import Bus, SimulatedConsumer
    from settlement_lab.worlds.people import Caller

NEVER: Final = (
    "admission_broken",
    "answer_without_settlement",
    "not_decided",
    "outbox_gap",
    "rail_missing",
    "step_broken",
    "stream_behind",
    "stream_disagrees",
    "stream_foreign",
)
"""Counters of the engine that must stay 0, whatever faults occur around it."""


def money(
    bank: Bank,
    histories: dict[UUID, Settlement],
    moves: Sequence[Moved] = (),
    torn: Collection[UUID] = (),
) -> Iterator[str]:
    """Compare every settlement with the bank's ledger.

    Where funds were held for a compensation, a return may be an exception; and a late report may be one about a pair
    that is ``torn``: two people have attested its outcome, because one of its messages was paid and the other not.
    """
    compensated = paid_back(histories, moves)
    for key, history in histories.items():
        paid = bank.debits.get(key, 0)
        is_completed = history.state in (State.COMPLETED, State.RETURNED)
        if paid > 1:
            yield f"{_name(key)}: the bank paid {paid} times"
        if is_completed and paid != 1:
            yield f"{_name(key)}: {history.state}, and the bank paid {paid} times"
        if history.state in ENDS and not is_completed and paid:
            yield f"{_name(key)}: {history.state}, and the bank paid"
        if history.state not in ENDS:
            yield f"{_name(key)}: still {history.state}"
        if len(bank.arrived.get(key, ())) > 1:
            yield f"{_name(key)}: other bytes or references were sent: {bank.arrived[key]}"
        is_explained = key in bank.contradicted or key in compensated or key in torn
        if history.is_frozen and not is_explained:
            yield f"{_name(key)}: frozen, and the bank never contradicted itself"
        yield from _returns(bank, key, history, is_paid_back=key in compensated)
    for key in bank.debits.keys() - histories.keys():
        yield f"{_name(key)}: the bank paid without an instruction"


def _returns(bank: Bank, key: UUID, history: Settlement, *, is_paid_back: bool) -> Iterator[str]:
    """Compare the recorded returns with what the bank has sent back."""
    whole, sent_back = history.instruction.amount.minor, bank.returned.get(key, 0)
    booked = sum(back.part_minor for back in history.returns)
    if is_paid_back and history.is_frozen and booked < sent_back:
        return  # the rest is an exception: its money has been paid back by a compensation
    if (history.state is State.RETURNED) != (sent_back == whole):
        yield f"{_name(key)}: {history.state}; the bank returned {sent_back} of {whole}"
    for back in history.returns:
        due = billed_minor(history, back)
        if back.rebilled_minor != due:
            yield f"{_name(key)}: {back.rebilled_minor} of {back.charges_minor} billed, not {due}"
    if booked != sent_back:
        yield f"{_name(key)}: {history.returns}; the bank returned {sent_back}"


def paths(histories: dict[UUID, Settlement], moves: Sequence[Moved]) -> Iterator[str]:
    """Check that each settlement's moves are a gapless path of the state machine; likewise positions."""
    at: dict[UUID, tuple[int, State]] = {}
    last = None
    for number, moved in enumerate(moves, start=1):
        if moved.position != number:
            yield f"position {moved.position} has index {number}"
        if last is not None and moved.at < last:
            yield f"position {moved.position} was made before the one before it"
        last = moved.at
        seq, state = at.get(moved.settlement_id, (0, State.PENDING))
        row = TRANSITIONS[state].get(moved.event)
        name = _name(moved.settlement_id)
        if (moved.seq, moved.from_state) != (seq + 1, state):
            yield f"{name}: move {moved.seq} from {moved.from_state} follows {seq}, {state}"
        if row is None or row.state is not moved.to_state or not is_recorded(state, row):
            yield f"{name}: {state} + {moved.event} to {moved.to_state} is not a transition"
        at[moved.settlement_id] = (moved.seq, moved.to_state)
    for key, history in histories.items():
        if at.get(key) != (history.seq, history.state):
            yield f"{_name(key)}: its moves end at {at.get(key)}, it has {history.seq}, {history.state}"


def announcements(bus: Bus, consumer: SimulatedConsumer, moves: Sequence[Moved]) -> Iterator[str]:
    """Check that the stream has every move once and in order, and that each message had one effect."""
    everything = [headers[ID_HEADER] for headers in bus.log]
    stored = [headers[ID_HEADER] for headers in bus.log if NOTICE_HEADER not in headers]
    made = [event_id(moved) for moved in moves]
    if stored != made:
        pairs = enumerate(zip(stored, made, strict=False))
        ends = min(len(stored), len(made))
        place = next((number for number, (one, two) in pairs if one != two), ends)
        yield f"the stream has {len(stored)} of {len(made)} moves and differs at {place}"
    if consumer.effects != everything:
        yield f"{len(consumer.effects)} effects of {len(everything)} events, or in another order"


def notices(bus: Bus, recalls: Mapping[UUID, RecallRequest]) -> Iterator[str]:
    """Check that the stream has a notice of each step of each recall, once, and their numbers in order."""
    told = [headers for headers in bus.log if NOTICE_HEADER in headers]
    numbers = [int(headers[NOTICE_HEADER]) for headers in told]
    if numbers != list(range(1, len(told) + 1)):
        yield f"the numbers of the notices are {numbers}"
    found = sorted(headers[ID_HEADER] for headers in told)
    made = sorted(f"recall.{key}.{step.seq}" for key, one in recalls.items() for step in one.steps)
    if found != made:
        yield f"the stream has {len(found)} notices of {len(made)} steps of recalls"


def answers(callers: Sequence[Caller], histories: dict[UUID, Settlement]) -> Iterator[str]:
    """Check that callers were told the truth, and that no status went back to an earlier one."""
    for caller in callers:
        yield from caller.violations
        name = caller.request.idempotency_key
        if caller.settlement_id is None:
            if not caller.conflict:
                yield f"{name}: never answered"
            continue
        history = histories.get(caller.settlement_id)
        if history is None:
            yield f"{name}: was told of {caller.settlement_id}, which does not exist"
            continue
        if history.instruction.content() != caller.request.content():
            yield f"{name}: settled with other content"
        reached = (0, State.PENDING)
        for seen in (*caller.seen, (history.seq, history.state)):
            if seen[0] < reached[0]:
                yield f"{name}: was told {seen} after {reached}"
            if reached[1] in ENDS and seen[1] not in ENDS:
                yield f"{name}: was told {seen[1]} after {reached[1]}"
            reached = max(reached, seen, key=lambda each: each[0])


def obligations(histories: dict[UUID, Settlement]) -> Iterator[str]:
    """Check that each obligation was settled at most once and each key belongs to one settlement."""
    completed: set[str] = set()
    keys: set[str] = set()
    for history in histories.values():
        name, key = history.instruction.obligation_id, history.instruction.idempotency_key
        if history.state is State.COMPLETED:
            if name in completed:
                yield f"obligation {name} was settled twice"
            completed.add(name)
        if key in keys:
            yield f"the key {key} belongs to two settlements"
        keys.add(key)


def recalls(
    bank: Bank,
    known: Mapping[UUID, RecallRequest],
    histories: Mapping[UUID, Settlement],
    overdue: Collection[UUID | None],
) -> Iterator[str]:
    """Check that each recall says what the bank said of it, and that only a return is money."""
    verdicts = bank.recalls.verdicts if bank.recalls is not None else {}
    for key, recall in known.items():
        name, state, verdict = _name(key), recall.state, verdicts.get(key)
        is_declined = verdict in REFUSED or key in bank.declined  # then, or before it completed
        for before, step in pairwise(recall.steps):
            follows = RECALL_TRANSITIONS[before.state].get(step.event) if step.event else None
            if follows is not step.state:
                yield f"{name}: its recall went from {before.state} to {step.state} by {step.event}"
        if (state is RecallState.RETURNED) != (histories[key].state is State.RETURNED):
            yield f"{name}: its recall is {state}, and it is {histories[key].state}"
        if state in ASKING:
            yield f"{name}: its recall is still {state}"
        said = {step.state for step in recall.steps}
        if RecallState.REFUSED in said and not is_declined:
            yield f"{name}: its recall was refused, and the bank's verdict is {verdict}"
        if RecallState.PROMISED in said and verdict not in PROMISED:
            yield f"{name}: its recall was promised, and the bank's verdict is {verdict}"
        if (state is RecallState.OVERDUE) != (key in overdue):
            yield f"{name}: its recall is {state}; exceptions are open for {overdue}"


def engines(invariant_warnings: Counter[str]) -> Iterator[str]:
    """Check the counters of the engines."""
    for kind in NEVER:
        if invariant_warnings[kind]:
            yield f"an engine counted {kind}, {invariant_warnings[kind]} times"


def _name(key: UUID) -> str:
    return f"settlement {key.int}"
