"""Balances of the past in memory (``ports.PastBalances``)."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from settlement_engine.domain.past_balances import BOOKING_SECONDS_MAX, QUARTER, PastBalance
from settlement_engine.store.past_balances import quarters_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from settlement_engine.domain.ledger import Transfer
    from settlement_lab.memory.records import Records

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class MemoryPastBalances:
    """See ``ports.PastBalances``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def complete_until(self) -> datetime:
        """Return the instant before which every booking is visible."""
        return self._records.clock.now() - timedelta(seconds=BOOKING_SECONDS_MAX)

    async def balances_at(self, account_ids: Sequence[int], at: datetime) -> list[PastBalance]:
        """Return for each account the sums of all its transfers before the instant."""
        sums = balances_before(self._transfers(before=at))
        return [sums.get(each) or PastBalance(account_id=each) for each in account_ids]

    async def record_balances(self) -> int:
        """Record the balances of a few quarters that have passed; return how many they were."""
        complete = await self.complete_until()
        last = self._last(complete)
        until = quarters_until(last, complete)
        moments = list(_quarters(last, until))
        for moment in moments:
            booked = {
                side
                for each in self._transfers(before=moment)
                if each.at is not None and each.at >= moment - QUARTER
                for side in (each.debit_id, each.credit_id)
            }
            sums = balances_before(self._transfers(before=moment))
            for account_id in booked:
                self._records.past_balances[account_id, moment] = sums[account_id]
        self._records.balance_moments.extend(moments)
        return len(moments)

    def _last(self, complete: datetime) -> datetime:
        if self._records.balance_moments:
            return self._records.balance_moments[-1]
        oldest = min((each.at for each in self._transfers() if each.at), default=complete)
        return oldest - (oldest - EPOCH) % QUARTER

    def _transfers(self, before: datetime | None = None) -> Iterator[Transfer]:
        for each in self._records.transfers.values():
            if before is None or (each.at is not None and each.at < before):
                yield each


def balances_before(transfers: Iterator[Transfer]) -> dict[int, PastBalance]:
    """Add up the debits and credits of each account."""
    sums: dict[int, PastBalance] = {}
    totals: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
    for each in transfers:
        totals[each.debit_id][0] += each.amount_minor
        totals[each.credit_id][1] += each.amount_minor
    for account_id, (debits, credits_) in totals.items():
        sums[account_id] = PastBalance(
            account_id=account_id, debits_posted=debits, credits_posted=credits_
        )
    return sums


def _quarters(last: datetime, until: datetime) -> Iterator[datetime]:
    while last < until:
        last += QUARTER
        yield last
