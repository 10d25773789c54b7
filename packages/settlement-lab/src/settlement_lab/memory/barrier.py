"""The failover barrier's records in memory: system epochs and the steps of each recovery.

A test that simulates another server, or an older state of the same, changes ``Records.server`` or goes on
from a copy of older records, as a restored database would.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.announcement import POSITIONS_PER_EPOCH, SYSTEM_EPOCH_MAX, event_id
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import HOLDING
from settlement_engine.errors import InvariantViolated
from settlement_engine.ports import Announced, BarrierState, KnownPayment
from settlement_engine.store.watch import ServerWatch
from settlement_lab.memory.records import EngineRecord, SystemEpoch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.exceptions import ExceptionCase
    from settlement_engine.ports import BankPayment, Server, StaleDatabase
    from settlement_lab.memory.records import Records

NUMBERS_PER_EPOCH: Final = 1_000_000
FIRST: Final = "first"


class MemoryBarrierStore:
    """See ``ports.BarrierStore``. There is one process, so that each caller is the leader."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._watch = ServerWatch()

    async def look(self) -> tuple[Server, BarrierState | None]:
        """Return the identity of this server, and the current recovery if there is one."""
        last = self._records.system_epochs[-1] if self._records.system_epochs else None
        return self._records.server, last.opening if last else None

    async def shut(
        self, believed: UUID | None, stale_database: StaleDatabase, server: Server
    ) -> None:
        """Begin a new system epoch with sending paused; see the port."""
        records = self._records
        last = records.system_epochs[-1].opening if records.system_epochs else None
        if (last.epoch_id if last else None) != believed:
            return
        system_epoch = 0
        if stale_database.why != FIRST:
            system_epoch = max(
                (last.system_epoch if last else 0) + 1, stale_database.system_epoch_min
            )
        if system_epoch > SYSTEM_EPOCH_MAX:
            what = "the database refused a write that violates a rule of the books"
            raise InvariantViolated(
                what, why=f"system epoch {system_epoch} is above the maximum, {SYSTEM_EPOCH_MAX}"
            )
        opening = BarrierState(
            system_epoch=system_epoch,
            epoch_id=uuid.uuid5(uuid.NAMESPACE_OID, f"{id(records)} {len(records.system_epochs)}"),
            is_open=stale_database.why == FIRST,
            why=stale_database.why,
            server=server,
            since=self._since(stale_database) if stale_database.why != FIRST else None,
            at=records.clock.now(),
        )
        if stale_database.why != FIRST:
            self._begin(system_epoch)
        records.system_epochs.append(SystemEpoch(opening=opening))

    def _since(self, stale_database: StaleDatabase) -> datetime:
        known_to = (
            self._records.head if stale_database.known_to is None else stale_database.known_to
        )
        kept = [moved.at for moved in self._records.moves if moved.position <= known_to]
        found = kept[-1] if kept else self._records.made_at
        return min(found, stale_database.since or found)

    def _begin(self, system_epoch: int) -> None:
        """Invalidate all earlier positions, engine ids and proofs of sends."""
        records = self._records
        now = records.clock.now()
        records.head = system_epoch * POSITIONS_PER_EPOCH
        nobody = max(system_epoch * NUMBERS_PER_EPOCH, max(records.engines, default=0) + 1)
        for engine in records.engines.values():
            engine.is_gone, engine.gone_at = True, engine.gone_at or now
        records.engines[nobody] = EngineRecord(lease_until=now, is_gone=True, gone_at=now)
        for key, parked in records.open.items():
            if records.histories[key].state in HOLDING:
                parked.engine_id = nobody
                records.count(key, sends=1)

    def accept(self, server: Server) -> None:
        """Remember this server as the one that was written to."""
        self._watch.accept(server)

    def doubt(self, server: Server) -> str:
        """Return why this is not the server that this process wrote to last; empty if it is."""
        return self._watch.doubt(server, self._watch.flushed)

    def when_refused(self, call: Callable[[], None]) -> None:
        """Set what is called when a connection was refused: in memory there are none."""
        self._watch.when_refused(call)

    async def lead(self) -> bool:
        """Lead."""
        return True

    async def others_alive(self) -> int:
        """Count engines of earlier epochs whose leases have not expired."""
        system_epoch = self._records.system_epochs[-1].opening.system_epoch
        now = self._records.clock.now()
        return sum(
            engine.lease_until > now
            for number, engine in self._records.engines.items()
            if number < system_epoch * NUMBERS_PER_EPOCH
        )

    async def unclaimed(self) -> int:
        """Count open settlements that engines of earlier epochs have left."""
        living = {0} | {key for key, each in self._records.engines.items() if not each.is_gone}
        return sum(each.engine_id not in living for each in self._records.open.values())

    async def last_written(self) -> datetime:
        """Return the time of the last write."""
        moves = self._records.moves
        return moves[-1].at if moves else self._records.made_at

    async def announced(self, position: int) -> Announced | None:
        """Return what this database announces at a position."""
        for moved in self._records.moves:
            if moved.position == position:
                return Announced(position=position, name=event_id(moved), at=moved.at)
        return None

    async def known(self, references: Sequence[str], since: datetime) -> list[KnownPayment]:
        """Return which of these payments exist in our records."""
        del since
        wanted = set(references)
        found = [
            KnownPayment(
                reference=history.attempt.references.end_to_end_id,
                settlement_id=history.id,
                attempt=history.attempt.number,
                state=history.state,
            )
            for history in self._records.histories.values()
            if history.attempt is not None and history.attempt.references.end_to_end_id in wanted
        ]
        on_file = wanted & {fingerprint for _, fingerprint in self._unknown()}
        return found + [KnownPayment(reference=reference) for reference in sorted(on_file)]

    async def report_unknown(self, payments: Sequence[BankPayment], rail: str) -> int:
        """Open a case for each payment that is not ours; return how many."""
        now = self._records.clock.now()
        return sum(
            self._records.open_case(
                CaseKind.UNKNOWN_PAYMENT, None, payment.reference, _detail(payment, rail), now
            )
            for payment in payments
        )

    async def unknown(self, limit: int) -> list[str]:
        """Return the references of payments that the bank has and we do not."""
        found = [fingerprint for case, fingerprint in self._unknown() if not case.closed_at]
        return found[::-1][:limit]

    def _unknown(self) -> Iterator[tuple[ExceptionCase, str]]:
        for (_, kind, fingerprint), case in self._records.cases.items():
            if kind is CaseKind.UNKNOWN_PAYMENT:
                yield case, fingerprint

    async def is_confirmed(self, epoch_id: UUID) -> bool:
        """Return whether a person has confirmed this recovery."""
        return any(
            system_epoch.opening.epoch_id == epoch_id and "confirmed" in system_epoch.steps
            for system_epoch in self._records.system_epochs
        )

    async def listed(self, epoch_id: UUID) -> frozenset[str]:
        """Return the rails whose banks have been asked in this recovery."""
        found = [
            system_epoch.listed
            for system_epoch in self._records.system_epochs
            if system_epoch.opening.epoch_id == epoch_id
        ]
        return frozenset().union(*found)

    async def note(self, epoch_id: UUID, step: str, detail: Mapping[str, str]) -> bool:
        """Record a step; False if this recovery is over."""
        last = self._records.system_epochs[-1]
        if last.opening.epoch_id != epoch_id or last.opening.is_open:
            return False
        last.steps.append(step)
        if step == "listed":
            last.listed.add(detail["rail"])
        if step == "opened":
            last.opening = msgspec.structs.replace(last.opening, is_open=True)
        return True


def _detail(payment: BankPayment, rail: str) -> dict[str, str]:
    return {
        **payment.facts,
        "rail": rail,
        "reference": payment.reference,
        "said": payment.event.value,
        "received_at": payment.received_at.isoformat(),
    }
