"""The proof of compensations in memory: the checks of ``sql/queries/proof_compensations.sql``, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.compensation import compensated_minor
from settlement_engine.domain.lifecycle import Event, State
from settlement_lab.memory.guards import has_release, left_to_give_back

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from settlement_engine.domain.settlement import Settlement
    from settlement_lab.memory.records import Records

    Found = Iterator[tuple[object, object, object]]

_HAS_MOVED: Final = frozenset({State.COMPLETED, State.RETURNED})


def _compensations(records: Records) -> Iterator[Settlement]:
    for keys in records.compensating.values():
        yield from (records.histories[key] for key in keys)


def _compensations_pay_back(records: Records) -> Found:
    """Compare banks, currency and time of a compensation with those of what it compensates."""
    for each in _compensations(records):
        made = each.instruction
        assert made.compensates is not None, "it is a compensation"
        before = records.histories.get(made.compensates)
        if before is None:
            yield each.id, "a settlement", f"none with id {made.compensates}"
            continue
        paid = before.instruction
        expected = (folded_bank(paid.to_bank), folded_bank(paid.from_bank), paid.amount.currency)
        found = (folded_bank(made.from_bank), folded_bank(made.to_bank), made.amount.currency)
        is_after = before.ended_at is not None and each.created_at >= before.ended_at
        if expected != found or before.state not in _HAS_MOVED or not is_after:
            yield each.id, (*expected, before.ended_at), (*found, each.created_at)


def _compensations_are_covered(records: Records) -> Found:
    """Compare what compensations pay back with the amount of what they compensate."""
    for key in records.compensating:
        if key not in records.histories:
            continue
        settlement = records.copy(key)
        total = compensated_minor(settlement.compensations)
        if total > settlement.instruction.amount.minor:
            yield key, f"at most {settlement.instruction.amount.minor}", total


def _no_more_comes_back(records: Records) -> Found:
    """Compare returns and what compensations have paid back together with the amount of the settlement."""
    for key in records.compensating:
        left = left_to_give_back(records, key)
        if left < 0:
            whole = records.histories[key].instruction.amount.minor
            yield key, f"at most {whole} comes back", f"{-left} more"


def _compensations_are_released(records: Records) -> Found:
    """Two people released each compensation before funds were held for it, and neither had submitted it."""
    for each in _compensations(records):
        for moved in records.moves_of.get(each.id, []):
            is_lock = moved.event is Event.CLEARED and moved.to_state is State.LOCKED
            if is_lock and not has_release(each, records, before_seq=moved.seq):
                yield each.id, "a release by two people", "none"


CHECKS: Final[Mapping[str, Callable[[Records], Found]]] = {
    "compensations_pay_back": _compensations_pay_back,
    "compensations_are_covered": _compensations_are_covered,
    "no_more_comes_back": _no_more_comes_back,
    "compensations_are_released": _compensations_are_released,
}
"""Each yields subject, expected and found where something is wrong."""
