"""Integrity: what was read back from the database is compared with what was committed, before it counts.

Promises: an altered payment is neither sent nor recalled, an altered instruction is not locked, and nothing
is posted or released on references, a route or an amount that differ from what was committed. Each
difference freezes the settlement and opens a critical exception, once; the questions that cannot be put are
answered with silence, which releases nothing. What this process wrote itself, and holds in memory since,
is not compared again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.domain.intent import (
    Alteration,
    AlteredPart,
    alteration_fingerprint,
    alterations,
)
from settlement_engine.domain.lifecycle import Ask, Do, Event
from settlement_engine.errors import Broken, Contention, Unavailable
from settlement_engine.ports import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from uuid import UUID

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.engine.lease import EngineLease
    from settlement_engine.ports import CaseStore, Meter, SendRail, TransitionCommand

log = structlog.get_logger(__name__)

ALTERED: Final = "what was recorded of this payment was altered: it is not sent"
"""The answer to a question that is not put."""

_BOOKING: Final = frozenset({AlteredPart.INSTRUCTION, AlteredPart.REFERENCES, AlteredPart.ROUTE})
_NAMING: Final = frozenset({AlteredPart.INSTRUCTION, AlteredPart.REFERENCES})

NEEDS: Final[Mapping[Do, frozenset[AlteredPart]]] = {
    Do.LOCK: frozenset({AlteredPart.INSTRUCTION}),
    Do.POST: _BOOKING,
    Do.REVERSE: _BOOKING,
    Do.SUSPEND: _BOOKING,
    Do.RELEASE: _NAMING,
}
"""What must be unaltered for each kind of work. The bytes need not be: once they differ they are never
sent, so that what the bank says of our references is about the payment that was committed."""


class Integrity:
    """Compares, and reports what differs."""

    def __init__(
        self,
        rails: Mapping[str, SendRail],
        lease: EngineLease,
        meter: Meter,
        cases: CaseStore | None,
    ) -> None:
        self._rails = rails
        self._lease = lease
        self._meter = meter
        self._cases = cases

    def of_question(self, settlement: Settlement, question: Ask) -> tuple[Alteration, ...]:
        """Return what differs of a settlement about which a question is to be put, and report it."""
        found = self._compare(settlement)
        if found:
            self._report(settlement, found, f"before {question.value}")
        return found

    def of_step(self, step: TransitionCommand, said: Event) -> bool:
        """Say whether a step may be written as it is; if not, what differs is reported."""
        needed = NEEDS.get(step.transition.do) if step.transition.do is not None else None
        settlement = step.settlement
        if needed is None or settlement.recorded is None:
            return True
        if step.transition.do is Do.LOCK and settlement.is_frozen:
            return False
        if step.event is Event.ATTESTED_NOT_SETTLED:
            return True  # two people speak of the settlement, and the hold is what they release
        if step.event is Event.ABANDONED:
            needed = _BOOKING  # given up because it is valid no longer, by what was read back
        found = [each for each in self._compare(settlement) if each.part in needed]
        if found:
            self._report(settlement, found, f"on {said.value}")
        return not found

    def _compare(self, settlement: Settlement) -> tuple[Alteration, ...]:
        """Compare; what cannot be compared differs."""
        if settlement.recorded is None:
            return ()
        attempt = settlement.attempt
        rail = self._rails.get(attempt.route.rail) if attempt is not None else None
        try:
            return alterations(settlement, rail.read if rail is not None else None)
        except Exception:
            log.exception("payment_not_compared", settlement=str(settlement.id))
            return (Alteration(AlteredPart.MESSAGE, "the bytes cannot be compared"),)

    def _report(self, settlement: Settlement, found: Sequence[Alteration], when: str) -> None:
        detail = {
            "altered": ", ".join(sorted({each.part.value for each in found})),
            "text": "; ".join(each.text for each in found),
            "found": when,
        }
        if not settlement.is_frozen:
            settlement.is_frozen = True
            self._meter.invariant_warning("altered_payment")
            log.critical("altered_payment", settlement=str(settlement.id), **detail)
        if self._cases is not None:
            fingerprint = alteration_fingerprint(settlement, found)
            self._lease.spawn(self._write_down(self._cases, settlement.id, fingerprint, detail))

    async def _write_down(
        self,
        cases: CaseStore,
        settlement_id: UUID,
        fingerprint: str,
        detail: Mapping[str, str],
    ) -> None:
        """Freeze and open the exception; whoever looks next finds the same difference again."""
        while True:
            try:
                await cases.open_altered(settlement_id, fingerprint, detail)
            except (Unavailable, Contention):
                await self._lease.pause()
            except Broken as error:
                log.exception("altered_payment_not_reported", why=error.why or error.what)
                return
            else:
                return


def silence(settlement: Settlement) -> Answer:
    """Answer a question that was not put, or a word that nothing is booked on."""
    number = settlement.attempt.number if settlement.attempt is not None else 0
    return Answer(settlement_id=settlement.id, event=Event.NO_ANSWER, attempt=number, text=ALTERED)


def may_be_put(question: Ask, settlement: Settlement, found: Iterable[Alteration]) -> bool:
    """Say whether a question may be put.

    What moves money needs a payment in which nothing differs and never has. An enquiry names our
    references, and is harmless as long as these are the right ones.
    """
    if question in (Ask.SEND, Ask.RECALL):
        return not settlement.is_frozen and not list(found)
    return all(each.part is AlteredPart.MESSAGE for each in found)
