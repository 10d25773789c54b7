"""The checks after the demo: the bank's ledger, our books and the consumed events must agree.

Pure: it reads the collected data and does no I/O. ``tests/unit/lab/demo/test_checks.py`` shows for each
check that it can fail.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMPLETED: Final = "COMPLETED"
ENDS: Final = frozenset({COMPLETED, "FAILED", "ROLLED_BACK", "RETURNED"})
EXAMPLES_MAX: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BankEntry:
    """An entry of the bank's ledger; ``reference`` is the payment's end-to-end id."""

    reference: str
    settlement_id: str
    obligation_id: str
    state: str
    times_received: int
    times_debited: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OurSettlement:
    """A settlement as our books have it."""

    settlement_id: str
    obligation_id: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSeen:
    """An announcement as the consumer processed it."""

    event_id: str
    settlement_id: str
    seq: int
    position: int
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The data that was collected after the load.

    ``held`` are the accounts on which funds are still held; ``differences`` are those of ``prove``;
    ``tail`` has the last event ids by position, from the engine's own event stream.
    """

    obligations: frozenset[str]
    bank: Sequence[BankEntry]
    ours: Sequence[OurSettlement]
    held: Mapping[str, str]
    open_holds: int
    differences: Sequence[str]
    events: Sequence[EventSeen]
    deliveries: int
    tail: Mapping[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseCheck:
    """A guarantee, whether it held, and the numbers."""

    promise: str
    is_true: bool
    detail: str


def check_all(evidence: Evidence) -> list[PromiseCheck]:
    """Run all checks."""
    return [
        _accepted_ended(evidence),
        _never_twice(evidence),
        _completed_is_debited(evidence),
        _conserved(evidence),
        _nothing_held(evidence),
        _each_move_once(evidence),
        _events_end_as_we_do(evidence),
    ]


def check(promise: str, wrong: Sequence[str], detail: str) -> PromiseCheck:
    """Return a check that held if nothing is wrong; of what is wrong, it says the first few."""
    if not wrong:
        return PromiseCheck(promise=promise, is_true=True, detail=detail)
    more = f" and {len(wrong) - EXAMPLES_MAX:,} more" if len(wrong) > EXAMPLES_MAX else ""
    return PromiseCheck(
        promise=promise, is_true=False, detail="; ".join(wrong[:EXAMPLES_MAX]) + more
    )


def _accepted_ended(evidence: Evidence) -> PromiseCheck:
    """Every accepted settlement has ended; none is missing and none is unknown."""
    found = Counter(settlement.obligation_id for settlement in evidence.ours)
    wrong = [f"{name} has no settlement" for name in sorted(evidence.obligations - set(found))]
    wrong += [f"{name} was never sent" for name in sorted(set(found) - evidence.obligations)]
    wrong += [f"{name} has {count} settlements" for name, count in found.items() if count > 1]
    wrong += [f"{s.settlement_id} is {s.status}" for s in evidence.ours if s.status not in ENDS]
    detail = f"{len(evidence.obligations):,} sent, {len(evidence.ours):,} ended"
    return check("every accepted settlement has ended", wrong, detail)


def _never_twice(evidence: Evidence) -> PromiseCheck:
    """Check that no obligation is debited twice at the bank."""
    debits: Counter[str] = Counter()
    for entry in evidence.bank:
        debits[entry.obligation_id] += entry.times_debited
    wrong = [f"{name} was debited {count} times" for name, count in debits.items() if count > 1]
    again = sum(entry.times_received > 1 for entry in evidence.bank)
    return check(
        "each obligation was debited at most once in the bank's ledger",
        wrong,
        f"{debits.total():,} debits, {len(debits):,} payments, {again:,} received more than once",
    )


def _completed_is_debited(evidence: Evidence) -> PromiseCheck:
    """Check that COMPLETED settlements, and no others, have exactly one debit at the bank."""
    debits: Counter[str] = Counter()
    for entry in evidence.bank:
        debits[entry.settlement_id] += entry.times_debited
    status = {settlement.settlement_id: settlement.status for settlement in evidence.ours}
    wrong = [
        f"{name} is {word} and has {debits[name]} debits"
        for name, word in status.items()
        if debits[name] != (1 if word == COMPLETED else 0)
    ]
    wrong += [f"the bank has {name}, our books do not" for name in debits if name not in status]
    completed = sum(word == COMPLETED for word in status.values())
    return check("exactly the completed settlements were debited", wrong, f"{completed:,} of both")


def _conserved(evidence: Evidence) -> PromiseCheck:
    """Money is conserved: every balance matches the transfers, and debits equal credits."""
    return check("money is conserved", list(evidence.differences), "every balance recomputed")


def _nothing_held(evidence: Evidence) -> PromiseCheck:
    """No hold is left after its settlement has ended."""
    wrong = [f"{amount} held on {account}" for account, amount in evidence.held.items()]
    if evidence.open_holds:
        wrong.append(f"{evidence.open_holds} holds are open")
    return check("no funds are left on hold", wrong, "0 holds")


def _each_move_once(evidence: Evidence) -> PromiseCheck:
    """Each move was announced exactly once, without a gap and in order per settlement."""
    wrong: list[str] = []
    positions = sorted(event.position for event in evidence.events)
    if positions != list(range(1, len(positions) + 1)):
        wrong.append(f"{len(positions)} events have gaps in the positions 1 to {positions[-1:]}")
    if len({event.event_id for event in evidence.events}) != len(evidence.events):
        wrong.append("an event was processed twice")
    seen: defaultdict[str, list[int]] = defaultdict(list)
    for event in evidence.events:
        seen[event.settlement_id].append(event.seq)
    wrong += [
        f"{name} has moves {numbers}"
        for name, numbers in seen.items()
        if numbers != list(range(numbers[0], numbers[0] + len(numbers)))
    ]
    by_position = {event.position: event.event_id for event in evidence.events}
    wrong += [
        f"position {position} is {event_id} in the engine and {by_position.get(position)} outside"
        for position, event_id in evidence.tail.items()
        if by_position.get(position) != event_id
    ]
    if evidence.tail and max(evidence.tail) != max(by_position, default=0):
        wrong.append(
            f"the engine is at {max(evidence.tail)}, the events at {max(by_position, default=0)}"
        )
    detail = f"{len(evidence.events):,} events, {evidence.deliveries:,} deliveries"
    return check("each move was announced exactly once, in order", wrong, detail)


def _events_end_as_we_do(evidence: Evidence) -> PromiseCheck:
    """Check that the last event of each settlement has the status of our books."""
    heard: dict[str, tuple[int, str]] = {}
    for event in evidence.events:
        heard[event.settlement_id] = max(
            heard.get(event.settlement_id, (-1, "")), (event.seq, event.status)
        )
    wrong = [
        f"{s.settlement_id} is {s.status}, the events say {heard.get(s.settlement_id, (0, None))[1]}"
        for s in evidence.ours
        if heard.get(s.settlement_id, (0, ""))[1] != s.status
    ]
    return check("the events agree with the books", wrong, f"{len(heard):,} settlements agree")
