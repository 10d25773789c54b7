"""Transitions as the parallel arrays of one call (``store/settlements.py``).

Promises: the order is that of the statement ``apply``. Must never: leave a transition out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from settlement_engine.domain.lifecycle import Do, is_recorded
from settlement_engine.store import arrays

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from settlement_engine.domain.settlement import Attempt
    from settlement_engine.ports import TransitionCommand

T = TypeVar("T")


def json_of(value: Mapping[str, str]) -> str | None:
    """Encode texts by name; None if there are none."""
    return msgspec.json.encode(value).decode() if value else None


def touched_accounts(steps: Sequence[TransitionCommand]) -> str:
    """List every account whose row the transitions may change; the database locks them in order."""
    touched: set[int] = set()
    for step in steps:
        attempt = step.attempt or step.settlement.attempt
        if step.transition.do in (Do.LOCK, Do.POST, Do.RELEASE, Do.REVERSE) and attempt is not None:
            touched.add(attempt.route.source_id)
            touched.add(attempt.route.target_id)
        for transfer in step.transfers:
            touched.add(transfer.debit_id)
            touched.add(transfer.credit_id)
    return arrays.integers(sorted(touched))


def step_arrays(steps: Sequence[TransitionCommand]) -> tuple[str, ...]:
    """Encode what the database compares and records of each transition."""
    settlements = [step.settlement for step in steps]
    refusals = [step.refusal for step in steps]
    return (
        arrays.uuids([settlement.id for settlement in settlements]),
        arrays.integers([settlement.seq for settlement in settlements]),
        arrays.integers([settlement.fencing_token for settlement in settlements]),
        arrays.words([settlement.state for settlement in settlements]),
        arrays.words([step.event for step in steps]),
        arrays.words([step.transition.state for step in steps]),
        arrays.words([step.transition.do for step in steps]),
        arrays.booleans([is_recorded(step.settlement.state, step.transition) for step in steps]),
        arrays.integers([_attempt_number(step) for step in steps]),
        arrays.seconds([step.due_seconds for step in steps]),
        arrays.texts([json_of(step.detail) for step in steps]),
        arrays.texts([refusal.code.value if refusal else None for refusal in refusals]),
        arrays.texts([json_of(refusal.detail) if refusal else None for refusal in refusals]),
        arrays.texts([step.rail_reference or None for step in steps]),
        arrays.texts([step.confirmation or None for step in steps]),
    )


def _attempt_number(step: TransitionCommand) -> int:
    attempt = step.attempt or step.settlement.attempt
    return attempt.number if attempt else 0


def lock_arrays(steps: Sequence[TransitionCommand]) -> tuple[str, ...]:
    """Encode the send intents of the transitions that hold funds."""
    numbers = [
        number for number, step in enumerate(steps, start=1) if step.transition.do is Do.LOCK
    ]
    locks = [steps[number - 1] for number in numbers]
    attempts = [_present(lock.attempt) for lock in locks]
    window_openings = [_present(lock.window_opening) for lock in locks]
    routes = [attempt.route for attempt in attempts]
    names = [attempt.references for attempt in attempts]
    amounts = [lock.settlement.instruction.amount for lock in locks]
    return (
        arrays.integers(numbers),
        arrays.integers([attempt.number for attempt in attempts]),
        arrays.texts([route.rail for route in routes]),
        arrays.integers([route.source_id for route in routes]),
        arrays.integers([route.agent_id for route in routes]),
        arrays.integers([route.clearing_id for route in routes]),
        arrays.integers([route.target_id for route in routes]),
        arrays.uuids([name.uetr for name in names]),
        arrays.texts([name.end_to_end_id for name in names]),
        arrays.texts([name.message_id for name in names]),
        _traces(attempts),
        arrays.octets([attempt.payload for attempt in attempts]),
        arrays.instants([attempt.valid_until for attempt in attempts]),
        arrays.words([route.delivery for route in routes]),
        arrays.integers([amount.minor for amount in amounts]),
        arrays.texts([amount.currency for amount in amounts]),
        arrays.instants([window_opening.opens_at for window_opening in window_openings]),
        arrays.instants([window_opening.closes_at for window_opening in window_openings]),
    )


def _traces(attempts: Sequence[Attempt]) -> str:
    """List the traces; nothing if no payment has one, as on most rails."""
    if not any(attempt.trace for attempt in attempts):
        return arrays.texts(())
    return arrays.texts([attempt.trace or None for attempt in attempts])


def transfer_arrays(steps: Sequence[TransitionCommand]) -> tuple[str, ...]:
    """Encode the transfers, each with the number of its transition."""
    pairs = [
        (number, transfer)
        for number, step in enumerate(steps, start=1)
        for transfer in step.transfers
    ]
    transfers = [transfer for _, transfer in pairs]
    return (
        arrays.integers([number for number, _ in pairs]),
        arrays.integers([transfer.leg.value for transfer in transfers]),
        arrays.integers([transfer.debit_id for transfer in transfers]),
        arrays.integers([transfer.credit_id for transfer in transfers]),
        arrays.integers([transfer.amount_minor for transfer in transfers]),
        arrays.texts([transfer.currency for transfer in transfers]),
    )


def _present(value: T | None) -> T:
    assert value is not None, "a lock has its attempt and its window opening, an answer its verdict"
    return value
