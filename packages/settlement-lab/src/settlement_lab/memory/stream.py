"""The event stream, the engines' leases and the gauges in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from datetime import timedelta
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING

from settlement_engine.domain.announcement import waiting
from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.deadletters import COUNTED_MAX
from settlement_engine.domain.ledger import GUARDED
from settlement_engine.domain.lifecycle import State
from settlement_engine.ports import Announcement, Balance, Gauges
from settlement_lab.memory.notices import MemoryNotices
from settlement_lab.memory.records import NOBODY, EngineRecord

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.ledger import Account, AccountKind
    from settlement_engine.domain.settlement import Moved
    from settlement_lab.memory.records import Records


class MemoryStream:
    """See ``ports.Stream``. There is one process, so that each caller is the leader."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self.notices = MemoryNotices(records)

    async def read(
        self, after: int, limit: int, settlement_id: UUID | None = None
    ) -> list[Announcement]:
        """Return announcements after the position, oldest first."""
        if settlement_id is None:
            moves = self._records.moves
            start = bisect_right(moves, after, key=attrgetter("position"))
            found = moves[start : start + limit]
        else:
            own = self._records.moves_of.get(settlement_id, ())
            found = list(islice((moved for moved in own if moved.position > after), limit))
        return [self._announcement(moved) for moved in found]

    def _announcement(self, moved: Moved) -> Announcement:
        history = self._records.histories[moved.settlement_id]
        request = history.instruction
        return Announcement(
            moved=moved,
            obligation_id=request.obligation_id,
            from_bank=request.from_bank,
            to_bank=request.to_bank,
            amount=request.amount,
            value_date=history.value_date,
            priority=request.priority.value,
            compensates=request.compensates,
            delivery=request.delivery,
        )

    async def head(self) -> int:
        """Return the last position."""
        return self._records.head

    async def published(self) -> int:
        """Return the position up to which JetStream is known to have everything."""
        return self._records.published

    async def mark_published(self, position: int) -> None:
        """Record this position; it never goes back."""
        self._records.published = max(self._records.published, position)

    async def is_leader(self) -> bool:
        """Return whether this process publishes."""
        return True


class MemoryRegistry:
    """See ``ports.EngineRegistry``: a session and a lease show that an engine is running."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def now(self) -> datetime:
        """Return the time of the records' clock."""
        return self._records.clock.now()

    async def join(self, lease_seconds: float) -> int:
        """Register an engine and hold its session."""
        engine_id = max(self._records.engines, default=0) + 1
        self._records.sessions.hold(engine_id)
        self._records.engines[engine_id] = EngineRecord(
            lease_until=self._records.clock.now() + timedelta(seconds=lease_seconds)
        )
        return engine_id

    async def renew(self, engine_id: int, lease_seconds: float) -> bool:
        """Renew the lease and hold the session, also after it was lost."""
        self._records.sessions.hold(engine_id)
        engine = self._records.engines.get(engine_id)
        if engine is None or engine.is_gone:
            return False
        engine.lease_until = self._records.clock.now() + timedelta(seconds=lease_seconds)
        return True

    async def leave(self, engine_id: int) -> None:
        """End the session."""
        engine = self._records.engines.get(engine_id)
        if engine is not None:
            engine.is_gone = True
            engine.gone_at = engine.gone_at or self._records.clock.now()
        self._records.sessions.kill(engine_id)


class MemoryGauges:
    """See ``ports.GaugeSource``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def _without_next_action(self) -> int:
        return sum(
            parked.engine_id == NOBODY
            and parked.due_at is None
            and self._records.histories[key].state is not State.HELD
            for key, parked in self._records.open.items()
        )

    def _open_settlements(self, now: datetime) -> tuple[dict[str, int], dict[str, float]]:
        counts: dict[str, int] = {}
        oldest: dict[str, float] = {}
        for key in self._records.open:
            history = self._records.histories[key]
            state = history.state.value
            age = (now - history.created_at).total_seconds()
            counts[state] = counts.get(state, 0) + 1
            oldest[state] = max(oldest.get(state, age), age)
        return counts, oldest

    def _open_cases(self, now: datetime) -> tuple[dict[str, int], dict[str, float]]:
        counts: dict[str, int] = {}
        oldest: dict[str, float] = {}
        for case in self._records.cases.values():
            if case.closed_at is None:
                kind, age = case.kind.value, (now - case.opened_at).total_seconds()
                counts[kind] = counts.get(kind, 0) + 1
                oldest[kind] = max(oldest.get(kind, age), age)
        return counts, oldest

    async def gauges(self, accounts_max: int) -> Gauges:
        """Measure what cannot be counted while it happens."""
        now = self._records.clock.now()
        counts, oldest = self._open_settlements(now)
        cases, oldest_cases = self._open_cases(now)
        dead_letters = [
            (now - dead_letter.received_at).total_seconds()
            for dead_letter in self._records.dead_letters
            if dead_letter.ending is None
        ]
        reports = [
            (now - report.received_at).total_seconds()
            for number, report in self._records.inbound_reports.items()
            if number not in self._records.closed_reports
        ]
        balances, left_out = _balances(self._records.accounts.values(), accounts_max)
        return Gauges(
            open_by_state=counts,
            oldest_open_seconds=max(oldest.values(), default=0.0),
            oldest_in_doubt_seconds=oldest.get(State.IN_DOUBT.value, 0.0),
            outbox_backlog=waiting(self._records.published, self._records.head)
            + waiting(self._records.notices_published[0], self._records.notice_head),
            without_next_action=self._without_next_action(),
            balances=balances,
            accounts_left_out=left_out,
            open_cases=cases,
            oldest_cases_seconds=oldest_cases,
            open_dead_letters=min(len(dead_letters), COUNTED_MAX),
            oldest_dead_letter_seconds=max(dead_letters, default=0.0),
            open_inbound_reports=min(len(reports), COUNTED_MAX),
            oldest_inbound_report_seconds=max(reports, default=0.0),
            open_recalls=Counter(
                self._records.recalls[key].state.value for key in self._records.open_recalls
            ),
            discrepancies_minor=_discrepancies(self._records),
        )


def _discrepancies(records: Records) -> Counter[str]:
    """Sum the differences of each account's last day, without signs, by currency."""
    sums: Counter[str] = Counter()
    for account_id, kept in records.reconciled.proofs.items():
        if not kept:
            continue
        last = max(enumerate(kept), key=lambda each: (each[1].booking_date, each[0]))[1]
        differing = abs(last.their_closing_minor - last.our_closing_minor)
        sums[records.accounts[account_id].currency] += differing
    return sums


def _balances(accounts: Iterable[Account], accounts_max: int) -> tuple[list[Balance], int]:
    """Return the balances of ``accounts_max`` accounts, and the number of the others."""
    if accounts_max <= 0:
        return [], 0
    guarded = [each for each in accounts if each.kind in GUARDED]
    sums: Counter[tuple[AccountKind, str, str]] = Counter()
    for account in guarded[:accounts_max]:
        sums[account.kind, folded_bank(account.bank), account.currency] += account.posted
    balances = [
        Balance(kind=kind, bank=bank, currency=currency, posted_minor=minor)
        for (kind, bank, currency), minor in sums.items()
    ]
    return balances, len(guarded[accounts_max : 2 * accounts_max])
