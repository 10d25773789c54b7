"""Inbound messages: stored before they are acknowledged, then processed by the engine that owns the payment.

Promises: ``receive`` returns only after the commit. A call-back about a payment of another rail or bank is refused
and changes nothing. Every stored report is passed to the mailbox of its settlement
in the order of receipt, and again until it has led to a transition or was found to change nothing; the end of a
process only delays it. An unknown payment becomes a case. Must never: decide what a report means, or close a report
that was not decided.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from settlement_engine.domain.decisions.before_the_end import NEVER_UNASKED
from settlement_engine.errors import Broken, Contention, NotPermitted, Unavailable
from settlement_engine.ports import Answer, Receipt, ReportClosing, ReportOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from uuid import UUID

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.engine.lease import EngineLease
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import InboundMessage, InboundStore, Meter, OpenReport

log = structlog.get_logger(__name__)


class InboundWorker:
    """Stores messages and processes their reports."""

    def __init__(
        self,
        settings: EngineSettings,
        store: InboundStore,
        lease: EngineLease,
        meter: Meter,
    ) -> None:
        self._settings = settings
        self._store = store
        self._lease = lease
        self._meter = meter
        self._has_work = asyncio.Event()
        self._hear: Callable[[Iterable[Answer]], None] = _nobody
        self._in_flight: dict[int, UUID | None] = {}
        self._decided: dict[int, ReportOutcome] = {}
        self._stale: dict[int, int] = {}

    def attach(self, hear: Callable[[Iterable[Answer]], None]) -> None:
        """Set the function that receives the reports as answers."""
        self._hear = hear

    async def receive(self, messages: Sequence[InboundMessage]) -> None:
        """Store messages; they may be acknowledged when this returns.

        Raises Unavailable, Contention, and NotPermitted when one of them names a payment that is not its sender's.
        """
        receipts = await self._store.record(messages)
        repeated = receipts.count(Receipt.REPEATED)
        if repeated:
            self._meter.invariant_warning("inbound_message_repeated", repeated)
        self._has_work.set()
        if Receipt.REFUSED in receipts:
            self._refuse(messages[receipts.index(Receipt.REFUSED)], receipts.count(Receipt.REFUSED))

    def _refuse(self, message: InboundMessage, count: int) -> None:
        """Log and count call-backs about payments of others, and refuse them to their sender."""
        self._meter.invariant_warning("inbound_of_another_bank", count)
        log.warning("inbound_refused", rail=message.rail, sender=message.sender, messages=count)
        what = f"the message names a payment that was not sent to this bank over {message.rail}"
        raise NotPermitted(what, todo="Nothing was changed. Send it to the bank that it is for.")

    async def run(self) -> None:
        """Process open reports for ever."""
        while True:
            try:
                await self._close_decided()
                count = await self._take_up()
            except (Unavailable, Contention, Broken) as error:
                log.warning("inbound_not_read", why=error.why or error.what)
                await self._lease.pause()
                continue
            if count < self._settings.inbound_batch_max:
                await self._until_work()

    async def _until_work(self) -> None:
        """Wait until a message arrived or a report was decided here, or may have arrived at another engine."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.inbound_poll_seconds):
                await self._has_work.wait()
        self._has_work.clear()

    async def _take_up(self) -> int:
        """Pass on the reports that may be processed now; returns how many.

        While a payment has reports in flight, no further ones are passed on, so that the order is kept.
        """
        room = self._settings.inbound_in_flight_max - len(self._in_flight)
        limit = min(self._settings.inbound_batch_max, room)
        if limit <= 0:
            return 0
        found = await self._store.open_reports(
            self._lease.engine_id, limit, sorted(self._in_flight)
        )
        busy = set(self._in_flight.values()) - {None}
        taken = [each for each in found if each.settlement_id not in busy]
        self._in_flight |= {each.id: each.settlement_id for each in taken}
        answers = [answer for each in taken if (answer := self._answer(each)) is not None]
        self._hear(answers)
        return len(taken)

    def _answer(self, found: OpenReport) -> Answer | None:
        """Turn a report into an answer; a report without a decision to make is closed."""
        report = found.report
        if found.settlement_id is None:
            self._meter.invariant_warning("inbound_unknown_payment")
            self._close_soon(found.id, ReportOutcome.UNKNOWN_PAYMENT)
            return None
        if found.is_known:
            self._close_soon(found.id, ReportOutcome.NO_NEWS)
            return None
        if report.event in NEVER_UNASKED and report.entry is None:
            self._close_soon(found.id, ReportOutcome.NOT_HEARD)
            return None
        return Answer(
            settlement_id=found.settlement_id,
            event=report.event,
            attempt=found.attempt,
            code=report.code,
            text=report.text,
            rail_reference=report.references.rail_reference,
            confirmation=report.confirmation,
            stated=report.stated,
            promises_return=report.promises_return,
            entry=report.entry,
            report_id=found.id,
            is_of_earlier_cover=found.is_of_earlier_cover,
        )

    # --- results ------------------------------------------------------------------------------------

    def decided(self, answer: Answer, *, is_applied: bool) -> None:
        """Note that an answer was decided; its report, if there is one, is closed soon."""
        if answer.report_id:
            outcome = ReportOutcome.APPLIED if is_applied else ReportOutcome.NO_NEWS
            self._close_soon(answer.report_id, outcome)

    def _close_soon(self, report_id: int, outcome: ReportOutcome) -> None:
        self._decided[report_id] = outcome
        self._has_work.set()

    def released(self, answers: Iterable[Answer]) -> None:
        """Note that answers were dropped undecided: their reports are passed on again."""
        for answer in answers:
            self._in_flight.pop(answer.report_id, None)

    def heard_again(self, answer: Answer) -> None:
        """Note that an answer was decided in part: its report is passed on again at once."""
        self.released([answer])
        self._has_work.set()

    def turned_stale(self, answer: Answer, settlement: Settlement) -> None:
        """Note that the transition of an answer was stale: the record in the store had changed.

        The answer is decided again on the current record. If an ended settlement without owner refuses it
        twice in the same state, the case that it would have opened exists: it is a repetition.
        """
        report_id = answer.report_id
        if report_id and settlement.is_ended and self._stale.get(report_id) == settlement.seq:
            self.decided(answer, is_applied=False)
            return
        if report_id:
            self._stale[report_id] = settlement.seq
        self.released([answer])

    def forget(self) -> None:
        """Discard the reports in flight: another engine continues, or this one with a new id."""
        self._in_flight.clear()
        self._decided.clear()
        self._stale.clear()

    async def _close_decided(self) -> None:
        decided = dict(list(self._decided.items())[: self._settings.inbound_batch_max])
        if not decided:
            return
        await self._store.close_reports(
            [ReportClosing(report_id=key, outcome=outcome) for key, outcome in decided.items()]
        )
        for report_id in decided:
            self._decided.pop(report_id, None)
            self._in_flight.pop(report_id, None)
            self._stale.pop(report_id, None)


def _nobody(_answers: Iterable[Answer]) -> None:
    message = "inbound messages are worked off by nobody"
    raise AssertionError(message)
