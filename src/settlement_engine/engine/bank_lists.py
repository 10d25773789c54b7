"""Compares the banks' lists of our payments with what this database knows.

Promises: each payment that a bank has and we do not is reported once, as a case for a person; what contradicts a
final state of ours is passed on. Must never: take a missing response for an empty list, open the gate or move money.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.domain.decisions.after_the_end import contradicts
from settlement_engine.engine.external_timeout import external_timeout
from settlement_engine.errors import Broken, Contention, Unavailable
from settlement_engine.ports import Answer, PaymentLister, StaleDatabase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from settlement_engine.engine.lease import EngineLease
    from settlement_engine.ports import (
        BankPage,
        BankPayment,
        BarrierState,
        BarrierStore,
        KnownPayment,
        Meter,
        Rail,
    )

PAGES_MAX: Final = 1_000_000
"""The most pages of one list; a longer one counts as not delivered."""

CHECK_PAGES_MAX: Final = 50
"""The most pages of a bank's list that are read at the start of an engine."""

CHECK_TRIES_MAX: Final = 2
CHECK_SECONDS: Final = 2.0
"""How long the start of an engine waits for a bank's list."""

CHECK_MARGIN: Final = timedelta(seconds=60)
"""How far a bank's clock may be behind ours, in the check at the start of an engine."""

LIST_MARGIN: Final = timedelta(minutes=10)
"""The same for the list during a recovery, which must be complete."""

LIST_SECONDS: Final = 30.0
"""How long one page may take; then it is requested again."""

TROUBLE: Final = (Unavailable, Contention, Broken)
"""The errors of a database that is unreachable at the moment."""

log = structlog.get_logger(__name__)


class BankLists:
    """Requests the banks' lists, and compares them."""

    def __init__(self, barrier_store: BarrierStore, lease: EngineLease, meter: Meter) -> None:
        self._barrier_store = barrier_store
        self._lease = lease
        self._meter = meter
        self._hear: Callable[[Iterable[Answer]], None] = lambda _: None

    def attach(self, hear: Callable[[Iterable[Answer]], None]) -> None:
        """Name who hears what the banks' lists say of settlements of ours."""
        self._hear = hear

    async def compare(self, opening: BarrierState, rail: Rail) -> dict[str, str] | str:
        """Find the payments that this rail's bank has and we do not.

        Returns the details for the recovery's journal, or why the comparison was not possible.
        """
        assert opening.since is not None, "what was shut says from when on"
        count = 0
        try:
            if not isinstance(rail, PaymentLister):
                return await self._unlisted(opening, rail, "its bank gives no list")
            after = ""
            for _ in range(PAGES_MAX):
                since = opening.since - LIST_MARGIN
                page = await self._page(rail, since, after, LIST_SECONDS)
                count += await self._compare(page, rail.name, opening.since)
                after = page.after
                if not after:
                    break
        except TROUBLE:
            raise
        except Exception as error:  # noqa: BLE001 - whatever goes wrong out there is silence
            return await self._unlisted(opening, rail, repr(error))
        return {"rail": rail.name, "unknown_payments": str(count)}

    async def _unlisted(self, opening: BarrierState, rail: Rail, why: str) -> dict[str, str] | str:
        """Continue without the list if a person has confirmed it."""
        if await self._barrier_store.is_confirmed(opening.epoch_id):
            log.warning("recovery_confirmed", rail=rail.name, why=why)
            return {"rail": rail.name, "without_list": why}
        self._meter.invariant_warning("opening_without_list")
        return f"the rail {rail.name} does not give its payment list: {why}"

    async def _page(
        self, rail: PaymentLister, since: datetime, after: str, seconds: float
    ) -> BankPage:
        async with external_timeout(seconds):
            return await rail.payments_since(since, after)

    async def _compare(self, page: BankPage, rail: str, since: datetime) -> int:
        """Report unknown payments; pass on what contradicts a final state of ours."""
        by_reference = {payment.reference: payment for payment in page.payments}
        known = await self._barrier_store.known(list(by_reference), since)
        missing = by_reference.keys() - {each.reference for each in known}
        unknown = [by_reference[reference] for reference in sorted(missing)]
        if unknown:
            await self._barrier_store.report_unknown(unknown, rail)
            self._meter.invariant_warning("unknown_payment", len(unknown))
        self._hear(
            _answer(each, by_reference[each.reference])
            for each in known
            if each.state is not None
            and contradicts(each.state, by_reference[each.reference].event)
        )
        return len(unknown)

    async def check(self, rails: Iterable[Rail]) -> StaleDatabase | None:
        """Check whether a bank has a payment that this database lacks, because it is an older state of it.

        A bank that does not answer is skipped: this is a second check, and the server is known already.
        """
        written_at = await self._barrier_store.last_written()
        for rail in rails:
            if not isinstance(rail, PaymentLister):
                continue
            for _ in range(CHECK_TRIES_MAX):
                try:
                    missing = await self._missing_since(rail, written_at)
                except TROUBLE:
                    raise
                except Exception as error:  # noqa: BLE001 - the same
                    self._meter.invariant_warning("bank_list_unchecked")
                    log.warning("bank_list_unchecked", rail=rail.name, error=repr(error))
                    await self._lease.pause()
                    continue
                if missing is not None:
                    return StaleDatabase(why="bank_knows_more", since=missing)
                break
        return None

    async def _missing_since(self, rail: PaymentLister, written_at: datetime) -> datetime | None:
        """Return when the bank received the first payment that we do not know."""
        after = ""
        for _ in range(CHECK_PAGES_MAX):
            page = await self._page(rail, written_at - CHECK_MARGIN, after, CHECK_SECONDS)
            known = await self._barrier_store.known(
                [payment.reference for payment in page.payments], written_at
            )
            references = {each.reference for each in known}
            unknown = [each for each in page.payments if each.reference not in references]
            if unknown:
                return min(each.received_at for each in unknown)
            after = page.after
            if not after:
                break
        return None


def _answer(known: KnownPayment, payment: BankPayment) -> Answer:
    assert known.settlement_id is not None, "what has a state is a settlement"
    return Answer(
        settlement_id=known.settlement_id,
        event=payment.event,
        attempt=known.attempt,
        text="the bank's list says so",
    )
