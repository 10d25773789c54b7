"""When a file may be closed, and which bytes it has. Pure: the time comes in as an argument.

Promises: the same payments, parties, time and modifier give the same bytes; entries are in the order of their traces;
the modifiers of a day last until its end, because the last ones are spread over what is left of it.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.messages.nacha.building import build_file
from settlement_engine.messages.nacha.credits import CreditBatch, CreditFile
from settlement_engine.messages.nacha.model import FILE_ID_MODIFIERS
from settlement_engine.rails.ach.same_day import date_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import date

    from settlement_engine.messages.nacha.credits import CreditEntry
    from settlement_engine.rails.ach.orders import AchOrder
    from settlement_engine.rails.ach.party import AchParty
    from settlement_engine.rails.ach.same_day import BatchDate, SameDayRules

SPREAD_MODIFIERS: Final = 6
"""So many of a day's 36 modifiers are kept for the rest of it: one for each equal part of the time that is left."""


class NumberedOrder(NamedTuple):
    """A payment that goes into a file, with its trace."""

    order: AchOrder
    trace: str


def free_modifier(used: Collection[str]) -> str | None:
    """Return the next modifier of the day; None when all are used."""
    return next((each for each in FILE_ID_MODIFIERS if each not in used), None)


def wait_seconds(used: Collection[str], now: datetime, last_closed: datetime | None) -> float:
    """Return for how long the next file may not be closed yet; ``now`` is in the zone of the file's day."""
    midnight = datetime.combine(now.date() + timedelta(days=1), time(), now.tzinfo)
    left_seconds = max((midnight - now).total_seconds(), 0.0)
    free = len(FILE_ID_MODIFIERS) - len(used)
    if free <= 0:
        return left_seconds
    if free > SPREAD_MODIFIERS or last_closed is None:
        return 0.0
    since_seconds = (now - last_closed).total_seconds()
    return max(left_seconds / free - since_seconds, 0.0)


def party_prefix(party: AchParty) -> str:
    """Return how the names of all files of two parties begin; by name they are in the order of their days."""
    return f"{party.origin}-{party.destination}-"


def file_prefix(party: AchParty, created_on: date) -> str:
    """Return how the names of a day's files begin."""
    return f"{party_prefix(party)}{created_on:%Y%m%d}-"


def file_name(party: AchParty, created_on: date, modifier: str) -> str:
    """Return the name of a file: as unique as what the operator knows it by."""
    return f"{file_prefix(party, created_on)}{modifier}.ach"


def modifier_in(name: str, party: AchParty, day: date) -> str | None:
    """Return the modifier in the name of a file of this day; None for any other file."""
    modifier = name[-len("A.ach") : -len(".ach")]
    return modifier if modifier and name == file_name(party, day, modifier) else None


def content_of(
    items: Sequence[NumberedOrder],
    party: AchParty,
    modifier: str,
    created: datetime,
    same_day: SameDayRules | None = None,
) -> bytes:
    """Build a file: a batch for each effective date and class. Raises MessageError with the faulty field."""
    divided: dict[tuple[BatchDate, str], list[CreditEntry]] = {}
    for item in sorted(items, key=lambda each: each.trace):
        order = item.order
        dates = date_of(order.effective_date, created, same_day, is_same_day=order.same_day)
        divided.setdefault((dates, order.entry_class), []).append(order.entry(item.trace))
    batches = [
        _batch(party, key, number, entries)
        for number, (key, entries) in enumerate(sorted(divided.items()), 1)
    ]
    outgoing = CreditFile(
        destination=party.destination,
        destination_name=party.destination_name,
        origin=party.origin,
        origin_name=party.origin_name,
        created=created,
        modifier=modifier,
        batches=tuple(batches),
    )
    return build_file(outgoing).data


def _batch(
    party: AchParty, key: tuple[BatchDate, str], number: int, entries: Iterable[CreditEntry]
) -> CreditBatch:
    (day, descriptive), entry_class = key
    return CreditBatch(
        entry_class=entry_class,
        company_name=party.company_name,
        company_id=party.company_id,
        description=party.description,
        effective_date=day,
        institution=party.institution,
        batch_number=number,
        entries=tuple(entries),
        descriptive_date=descriptive,
    )
