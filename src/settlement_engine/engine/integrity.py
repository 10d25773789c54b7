"""Integrity: what was read back from the database is compared with what was committed, before it is used.

Promises: each difference freezes the settlement and opens one critical case; questions that must not be asked are
answered with NO_ANSWER, which releases nothing. What this process wrote itself and keeps in memory is not compared
again. Must never: send or recall an altered payment, hold funds for an altered instruction, or post or release on
references, a route or an amount that differ from what was committed.
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
"""The text of the answer to a question that is not asked."""

_BOOKING: Final = frozenset({AlteredPart.INSTRUCTION, AlteredPart.REFERENCES, AlteredPart.ROUTE})
_NAMING: Final = frozenset({AlteredPart.INSTRUCTION, AlteredPart.REFERENCES})

NEEDS: Final[Mapping[Do, frozenset[AlteredPart]]] = {
    Do.LOCK: frozenset({AlteredPart.INSTRUCTION}),
    Do.POST: _BOOKING,
    Do.REVERSE: _BOOKING,
    Do.SUSPEND: _BOOKING,
    Do.RELEASE: _NAMING,
}
"""What must be unaltered for each kind of work. The bytes are not included: altered bytes are never sent, so what
the bank reports on our references is about the payment that was committed."""


class Integrity:
    """Compares settlements with what was committed, and reports differences."""

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
        """Return the differences of a settlement before a question is asked, and report them."""
        found = self._compare(settlement)
        if found:
            self._report(settlement, found, f"before {question.value}")
        return found

    def of_step(self, step: TransitionCommand, said: Event) -> bool:
        """Say whether a transition may be written; if not, the differences are reported."""
        needed = NEEDS.get(step.transition.do) if step.transition.do is not None else None
        settlement = step.settlement
        if needed is None or settlement.recorded is None:
            return True
        if step.transition.do is Do.LOCK and settlement.is_frozen:
            return False
        if step.event is Event.ATTESTED_NOT_SETTLED:
            return True  # two people attested about the settlement itself, and only its hold is released
        if step.event is Event.ABANDONED:
            needed = _BOOKING  # given up because its validity ended, by the time that was read back
        found = [each for each in self._compare(settlement) if each.part in needed]
        if found:
            self._report(settlement, found, f"on {said.value}")
        return not found

    def _compare(self, settlement: Settlement) -> tuple[Alteration, ...]:
        """Compare; data that cannot be compared counts as different."""
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
        """Freeze and open the case; if that fails, the next check finds the same difference again."""
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
    """Make the answer NO_ANSWER for a question that was not asked, or a status that is not booked."""
    number = settlement.attempt.number if settlement.attempt is not None else 0
    return Answer(settlement_id=settlement.id, event=Event.NO_ANSWER, attempt=number, text=ALTERED)


def may_be_put(question: Ask, settlement: Settlement, found: Iterable[Alteration]) -> bool:
    """Say whether a question may be asked.

    A question that can move money needs a payment without any difference, now and earlier. An enquiry only
    contains our references, and is harmless while these are unaltered.
    """
    if question in (Ask.SEND, Ask.RECALL):
        return not settlement.is_frozen and not list(found)
    return all(each.part is AlteredPart.MESSAGE for each in found)
