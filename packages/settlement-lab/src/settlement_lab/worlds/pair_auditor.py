"""The auditor of cover payments in a world: what the banks have of each message, compared with how the pair ended.

Promises: it compares with the banks' ledger and with the recorded covers and moves, and shares no code with what asks
the banks. Must never: take one message's end for the pair's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.covers import COVER, is_pair
from settlement_engine.domain.lifecycle import ENDS, Event, State
from settlement_engine.domain.settlement import Attestation
from settlement_lab.worlds.bank import SETTLED
from settlement_lab.worlds.leg_bank import NOT_TAKEN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from uuid import UUID

    from settlement_engine.domain.covers import Cover
    from settlement_engine.domain.settlement import Moved, Settlement
    from settlement_engine.ports import Question
    from settlement_lab.memory import Records
    from settlement_lab.worlds.leg_bank import LegBank


class Departures:
    """Every message of a pair that leaves an engine, compared with what is recorded of it at that moment."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self.left: dict[str, int] = {}

    def permitted(self, question: Question) -> str:
        """Return what is wrong with a message that leaves; empty if nothing is wrong."""
        history = self._records.histories.get(question.settlement_id)
        attempt = history.attempt if history is not None else None
        if attempt is None:
            return "sent before the intent was recorded"
        name = question.references.message_id
        self.left[name] = self.left.get(name, 0) + 1
        if (question.references, question.payload) == (attempt.references, attempt.payload):
            return ""
        covers = self._covers(question.settlement_id, attempt.number)
        cover = next((each for each in covers if each.message_id == name), None)
        if cover is None or question.payload != cover.content:
            return "sent other bytes than were recorded"
        if question.references.uetr != attempt.references.uetr:
            return "sent a cover with another UETR than its payment's"
        if self.left[name] > self.intents(question.settlement_id, cover.number):
            return "sent a cover before its intent was recorded, or twice for one intent"
        return ""

    def intents(self, settlement_id: UUID, number: int) -> int:
        """Count the recorded send intents of a cover."""
        return sum(
            moved.event is Event.COVER_DUE and moved.detail[COVER] == str(number)
            for moved in self._records.moves_of.get(settlement_id, [])
        )

    def _covers(self, settlement_id: UUID, attempt: int) -> Sequence[Cover]:
        return self._records.covers.stored.get((settlement_id, attempt), [])


def pairs(
    bank: LegBank,
    histories: Mapping[UUID, Settlement],
    moves: Sequence[Moved],
    covers: Mapping[tuple[UUID, int], Sequence[Cover]],
) -> Iterator[str]:
    """Compare every pair with what both banks have of it; the debits are compared with those of all payments."""
    events: dict[UUID, list[Moved]] = {}
    for moved in moves:
        events.setdefault(moved.settlement_id, []).append(moved)
    for key, history in histories.items():
        attempt = history.attempt
        if attempt is None or not is_pair(attempt.route.rail):
            continue
        name = f"pair {key.int}"
        found = [
            *_ends(bank, history),
            *_covers(bank, covers.get((key, attempt.number), [])),
            *_paths(events[key]),
        ]
        yield from (f"{name}: {each}" for each in found)
    for name, count in bank.credits.items():
        if count > 1:
            yield f"TO has paid {name} {count} times"


def _ends(bank: LegBank, history: Settlement) -> Iterator[str]:
    """Check that a pair ends only by what both banks have done, or by what two people have found out."""
    payment = bank.payments.get(history.id)
    is_paid = payment is not None and payment.state == SETTLED
    debited = [each for each in bank.covers.get(history.id, ()) if each.state == SETTLED]
    is_disproved = history.attestation is Attestation.DISPROVED
    if is_disproved and history.id not in bank.contradicted:
        yield "what two people attested is disproved, and no bank has contradicted itself"
    if history.state in ENDS and history.attestation:
        return
    is_returned = bool(history.returns)  # what TO has refused after its cover had come, comes back
    if history.state in (State.COMPLETED, State.RETURNED) and not (is_paid or is_returned):
        yield f"{history.state}, and TO has not paid its customer"
    if history.state in (State.COMPLETED, State.RETURNED) and len(debited) != 1:
        yield f"{history.state}, and FROM has debited {len(debited)} covers"
    if history.state is State.ROLLED_BACK and is_paid:
        yield f"{history.state}, and TO has paid its customer"
    if history.state is State.ROLLED_BACK and debited:
        yield f"{history.state}, and FROM has debited {len(debited)} covers"


def _covers(bank: LegBank, covers: Sequence[Cover]) -> Iterator[str]:
    """Check that a cover was repaired only after FROM's own no to the one before."""
    for cover in covers[:-1]:
        leg = bank.book.get(cover.message_id)
        if leg is None or leg.state not in NOT_TAKEN:
            state = leg.state if leg is not None else "not there"
            yield f"cover {cover.number} is {state} at FROM, and there is another one"


def _paths(moves: Sequence[Moved]) -> Iterator[str]:
    """Check that no payment may leave after TO has taken it, and no cover before."""
    is_taken = False
    for moved in moves:
        if is_taken and moved.to_state is State.LOCKED:
            yield "its payment may leave again after TO had taken it"
        is_taken = is_taken or moved.to_state is State.SENT
