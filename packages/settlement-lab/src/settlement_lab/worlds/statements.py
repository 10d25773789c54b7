"""The bank's statements in a world: a second road by which the engines hear what has become of a payment.

A world has statements only where its rates ask for them. The bank then writes what it has booked, what it only
announces, and now and then an amount that it has never paid; and every payment that a statement lacks is told absent,
although nobody should believe that. Some money comes back of which only a statement tells, some payments are booked
a second time, and some debits have a charge of the bank's tariff inside, or differ within the tolerance. What the
engines make of it is compared with the bank's ledger, as always.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from settlement_engine.domain.closed_differences import CHARGES_ACCOUNT, ROUNDING_ACCOUNT
from settlement_engine.domain.continuity import StatementOutcome
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.ledger import Leg
from settlement_engine.domain.lifecycle import HOLDING, State
from settlement_engine.domain.matching.values import Charge, Rules, Tolerance
from settlement_engine.domain.statement_evidence import EntrySays
from settlement_engine.domain.statement_import import ImportedStatement
from settlement_engine.domain.statements import (
    Entry,
    EntryStatus,
    Source,
    Statement,
    StatementAccount,
    StatementReferences,
)
from settlement_engine.ports.statement_evidence import AbsentPayment, absence_of
from settlement_lab.memory import MemoryEvidence, Records
from settlement_lab.memory.records import KeptStatement
from settlement_lab.worlds.bank import OPEN, SETTLED
from settlement_lab.worlds.faults import (
    STATEMENT_CLOSED,
    STATEMENT_RETURNS,
    STATEMENT_SECOND_DEBITS,
    STATEMENTS,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Mapping
    from random import Random
    from typing import Any
    from uuid import UUID

    from settlement_engine.domain.settlement import Settlement
    from settlement_lab.worlds.bank import Bank, SimulatedPayment
    from settlement_lab.worlds.faults import Faults

FIRST_DAY: Final = date(2026, 3, 2)
BETWEEN_SECONDS: Final = 9.0
STATEMENTS_MAX: Final = 16
ROWS_MAX: Final = 3
"""So few rows are searched at once that a statement takes several steps."""

OTHER_AMOUNT_SHARE: Final = 0.15
CLOSED_SHARE: Final = 0.3
UNTOLD_RETURN_SHARE: Final = 0.06
SECOND_DEBIT_SHARE: Final = 0.04
"""How many of the payments that were booked before have such an entry in a statement."""


CHARGE_MINOR: Final = 7
TOLERANCE_MINOR: Final = 2
OTHER_MINOR: Final = TOLERANCE_MINOR + 1
"""By how much an entry differs of which a person has to be told."""

OTHER: Final = EntrySays.OTHER_AMOUNT.value

RULES: Final = Rules(
    version="world",
    charges=(Charge("EUR", CHARGE_MINOR, CHARGES_ACCOUNT),),
    tolerances=(Tolerance("EUR", TOLERANCE_MINOR, ROUNDING_ACCOUNT),),
)


class StatementsWorld(Protocol):
    """The world, as far as its statements know it."""

    faults: Faults
    bank: Bank
    ground: Any


class BankStatements:
    """Writes the statements, and lets them be searched as every engine does."""

    def __init__(self, world: StatementsWorld, chance: Random) -> None:
        self._world = world
        self._chance = chance
        self._told: set[UUID] = set()
        self._wrong: set[UUID] = set()
        self._closed: set[UUID] = set()
        self._touched: set[UUID] = set()
        self._twice: set[UUID] = set()
        self._number = 0
        records = getattr(world.ground, "records", None)
        is_drawn = chance.random() < world.faults.rates[STATEMENTS]
        self._records = records if is_drawn and isinstance(records, Records) else None

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """Return the work of the bank; none in a world without statements, whose turns stay what they are."""
        return [self._run()] if self._records is not None else []

    async def _run(self) -> None:
        """Write a statement of each account now and then."""
        for _ in range(STATEMENTS_MAX):
            await asyncio.sleep(BETWEEN_SECONDS)
            self._world.faults.note(STATEMENTS)
            for account_id, payments in self._by_account().items():
                await self._write(account_id, payments)

    def faults(self, histories: Mapping[UUID, Settlement]) -> Iterator[str]:
        """Check that nothing was settled on an entry of another amount without a person being told."""
        for key in self._wrong:
            if not histories[key].is_frozen:
                yield f"settlement {key.int}: a statement had another amount, and nobody was told"
        if self._records is None:
            return
        for case in self._records.cases.values():
            if case.settlement_id in self._closed and case.detail.get("statement_says") == OTHER:
                yield f"settlement {case.settlement_id.int}: the rules close what a person was told"
        booked = Counter(
            each.group_id
            for each in self._records.transfers.values()
            if each.leg is Leg.SECOND_DEBIT
        )
        told = {
            each.settlement_id
            for each in self._records.cases.values()
            if each.kind is CaseKind.SECOND_DEBIT
        }
        for key in self._twice | booked.keys():
            # One that our account does not cover is told, and is not booked.
            if booked[key] + (key in told) != int(key in self._twice):
                yield f"settlement {key.int}: a second debit was booked {booked[key]} times"

    def _by_account(self) -> dict[int, list[SimulatedPayment]]:
        assert self._records is not None, "this world has statements"
        found: dict[int, list[SimulatedPayment]] = {}
        for payment in self._world.bank.book.values():
            history = self._records.histories.get(payment.settlement_id)
            if history is not None and history.attempt is not None:
                found.setdefault(history.attempt.route.source_id, []).append(payment)
        return found

    async def _write(self, account_id: int, payments: list[SimulatedPayment]) -> None:
        """Write one statement, tell what it lacks, and search it."""
        assert self._records is not None, "this world has statements"
        self._number += 1
        entries = [entry for each in payments if (entry := self._entry(each)) is not None]
        numbered = tuple(_numbered(entry, place) for place, entry in enumerate(entries, start=1))
        day = FIRST_DAY + timedelta(days=self._number)
        said = Statement(
            source=Source.CAMT053,
            account=StatementAccount("own", "OTHER", "EUR"),
            id=f"S{self._number}",
            entries=numbered,
            balances=(),
            begins=day,
            ends=day,
        )
        result = ImportedStatement(
            outcome=StatementOutcome.IMPORTED.value,
            reason="",
            place="",
            file_sha256=b"\x00" * 32,
            id=len(self._records.statements) + 1,
            account_id=account_id,
            day=day,
        )
        self._records.statements.append(KeptStatement(replace(result), said, is_kept=True))
        evidence = MemoryEvidence(self._records)
        for each in payments:
            self._tell_absent(evidence, each, result.id)
        while await evidence.search_next(ROWS_MAX, RULES) is not None:
            pass

    def _entry(self, payment: SimulatedPayment) -> Entry | None:
        """Return the entry of a payment: announced while it is open, booked once it is settled."""
        key = payment.settlement_id
        minor = self._world.bank.amount_of(key)
        if payment.state == OPEN:
            return _entry(payment, -minor, EntryStatus.PENDING)
        if payment.state != SETTLED:
            return None
        if key in self._told:
            return self._later(payment, minor)
        self._told.add(key)
        return _entry(payment, -self._booked(key, minor), EntryStatus.BOOKED)

    def _booked(self, key: UUID, minor: int) -> int:
        """Return the amount of a debit: now and then another one, and sometimes one that the rules close."""
        drawn = self._chance.random()
        if minor > OTHER_MINOR and drawn < OTHER_AMOUNT_SHARE:
            self._wrong.add(key)
            self._world.bank.contradicted.add(key)
            return minor - OTHER_MINOR
        if minor > 2 * TOLERANCE_MINOR and drawn > 1 - CLOSED_SHARE:
            self._closed.add(key)
            self._world.faults.note(STATEMENT_CLOSED)
            return minor + self._chance.choice((CHARGE_MINOR, TOLERANCE_MINOR, -TOLERANCE_MINOR))
        return minor

    def _later(self, payment: SimulatedPayment, minor: int) -> Entry | None:
        """Return another entry of a payment whose booking was told: its return, or a second debit; mostly none."""
        key = payment.settlement_id
        assert self._records is not None, "this world has statements"
        is_completed = self._records.histories[key].state is State.COMPLETED
        if (
            key in self._wrong | self._touched
            or not is_completed
            or self._world.bank.returned.get(key)
        ):
            return None
        drawn = self._chance.random()
        if drawn < UNTOLD_RETURN_SHARE:
            self._touched.add(key)
            self._world.bank.returned[key] = minor
            self._world.faults.note(STATEMENT_RETURNS)
            return _entry(payment, minor, EntryStatus.BOOKED)
        if drawn < UNTOLD_RETURN_SHARE + SECOND_DEBIT_SHARE:
            self._touched.add(key)
            self._twice.add(key)
            self._world.bank.contradicted.add(key)
            self._world.faults.note(STATEMENT_SECOND_DEBITS)
            charge = self._chance.choice((0, CHARGE_MINOR))
            return _entry(payment, -minor - charge, EntryStatus.BOOKED)
        return None

    def _tell_absent(
        self, evidence: MemoryEvidence, payment: SimulatedPayment, statement: int
    ) -> None:
        """Tell that the statement lacks a payment, which may be booked a moment later."""
        assert self._records is not None, "this world has statements"
        history = self._records.histories[payment.settlement_id]
        if payment.settlement_id not in self._told and history.state in HOLDING:
            # One that the bank settles before the report is worked off is an exception: a person is told.
            self._world.bank.contradicted.add(history.id)
            content, report = absence_of(AbsentPayment(history.id, payment.attempt, statement))
            evidence.store(content, [(history.id, payment.attempt, report)], "")


def _entry(payment: SimulatedPayment, minor: int, status: EntryStatus) -> Entry:
    return Entry(
        number=1,
        minor=minor,
        currency="EUR",
        status=status,
        booking_date=FIRST_DAY,
        value_date=FIRST_DAY,
        is_reversal=False,
        references=StatementReferences(end_to_end=payment.reference),
        code="PMNT",
        text="",
    )


def _numbered(entry: Entry, number: int) -> Entry:
    fields = {name: getattr(entry, name) for name in entry.__struct_fields__}
    return Entry(**{**fields, "number": number})
