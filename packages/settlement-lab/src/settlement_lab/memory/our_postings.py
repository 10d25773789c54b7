"""Our postings on accounts at banks, in memory: read as open items, with the references that a bank may state."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec

from settlement_engine.domain.ledger import AccountKind, Leg
from settlement_engine.domain.matching.values import Ours
from settlement_engine.domain.payment import Delivery
from settlement_engine.domain.proof import DaySums
from settlement_engine.domain.reconciliation import OurItem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from settlement_engine.domain.ledger import Transfer
    from settlement_lab.memory.reconciled import Reconciled
    from settlement_lab.memory.records import Records

AT_BANKS = frozenset({AccountKind.NOSTRO, AccountKind.SETTLEMENT})


class MemoryPostings:
    """Reads postings, each once, and counts them in the sums of the days."""

    _records: Records
    _kept: Reconciled

    def _read_outside(self, account_id: int, zone: str) -> None:
        for transfer in list(self._records.transfers.values()):
            is_on = account_id in (transfer.debit_id, transfer.credit_id)
            if is_on and transfer.group_id not in self._records.histories:
                self._take_in(transfer, account_id, zone)

    def _take_in(self, transfer: Transfer, account_id: int, zone: str) -> None:
        account = self._records.accounts[account_id]
        key = (transfer.group_id, transfer.posting, transfer.leg, account_id)
        if account.kind not in AT_BANKS or key in self._kept.taken:
            return
        if account.kind is AccountKind.SETTLEMENT and self._is_paid_out(transfer):
            return
        self._kept.taken.add(key)
        assert transfer.at is not None, "what was posted has an instant"
        day = transfer.at.astimezone(ZoneInfo(zone)).date()
        if (
            transfer.leg is Leg.OPENING_CORRECTION
        ):  # it counts for the day before the first statement
            day = self._kept.begins_of(transfer.group_id) - timedelta(days=1)
        item = self._ours(transfer, account_id, day)
        self._open_ours(account_id, OurItem(0, day, item))
        self.count(account_id, [DaySums(day=day, ours_minor=item.minor, ours=1)])

    def _is_paid_out(self, transfer: Transfer) -> bool:
        """Say whether the settlement agent is passed in the books only."""
        settlement = self._records.histories.get(transfer.group_id)
        attempt = settlement.attempt if settlement is not None else None
        return attempt is not None and attempt.route.delivery is Delivery.PAY_OUT

    def _open_ours(self, account_id: int, ours: OurItem) -> None:
        self._kept.postings += 1
        opened = msgspec.structs.replace(ours, posting_id=self._kept.postings)
        self._kept.ours[account_id, ours.item.id] = opened

    def _ours(self, transfer: Transfer, account_id: int, day: date) -> Ours:
        settlement = self._records.histories.get(transfer.group_id)
        attempt = settlement.attempt if settlement is not None else None
        returns = settlement.returns if settlement is not None else ()
        back = next((each for each in returns if each.posting == transfer.posting), None)
        value_date = settlement.value_date if settlement is not None else None
        if back is not None:
            value_date = back.value_date
        references = [str(transfer.group_id), transfer.reference, back.reference if back else ""]
        if attempt is not None:
            references.append(attempt.trace)
        return Ours(
            id=f"{transfer.group_id}/{transfer.posting}/{int(transfer.leg)}",
            account=str(account_id),
            minor=transfer.amount_minor * (1 if transfer.debit_id == account_id else -1),
            currency=transfer.currency,
            value_date=value_date or day,
            references=tuple(each for each in references if each),
            end_to_end=attempt.references.end_to_end_id if attempt else "",
            rail_references=tuple(
                each
                for each in (
                    str(attempt.references.uetr) if attempt else "",
                    (settlement.rail_reference or "") if settlement else "",
                )
                if each
            ),
            batch=attempt.references.message_id if attempt else "",
        )

    def count(self, account_id: int, changes: Iterable[DaySums]) -> None:
        """Add to the sums of an account's days."""
        names = [name for name in DaySums.__struct_fields__ if name != "day"]
        for change in changes:
            key = (account_id, change.day)
            known = self._kept.days.get(key, DaySums(day=change.day))
            sums = {name: getattr(known, name) + getattr(change, name) for name in names}
            self._kept.days[key] = DaySums(day=change.day, **sums)
            first = date.min if is_of_any_day(change) else change.day
            known_first = self._kept.changed_since_proof.get(account_id, first)
            self._kept.changed_since_proof[account_id] = min(first, known_first)


def is_of_any_day(change: DaySums) -> bool:
    """Say whether a change may change the proof of any day: an entry or a match, and not only a posting."""
    only_ours = DaySums(day=change.day, ours_minor=change.ours_minor, ours=change.ours)
    return change != only_ours
