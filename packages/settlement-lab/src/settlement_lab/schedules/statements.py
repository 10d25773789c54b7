"""The bank's statements in a schedule: files that the engines import, search and reconcile, on real PostgreSQL.

The bank writes a file now and then, and sends it to one engine or to two at once, again until one has answered; a
file may repeat what an earlier one had. Some money comes back of which only a statement tells, and some payments are
booked a second time. At the end what is kept, matched and proved is compared with the bank's ledger.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final
from uuid import UUID

from settlement_engine.domain.continuity import KEPT, StatementOutcome
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.reconciliation import AccountOutcome, ReconciliationRun, StartedFor
from settlement_engine.domain.statement_import import ReceivedFile
from settlement_lab.schedules.bank_account import StatedAccount, StatedBooking, file_of
from settlement_lab.schedules.statement_stores import RunLocks
from settlement_lab.worlds.bank import SETTLED
from settlement_lab.worlds.faults import (
    STATEMENT_RETURNS,
    STATEMENT_SECOND_DEBITS,
    STATEMENTS,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from random import Random

    from settlement_engine.domain.reconciliation import AccountResult
    from settlement_engine.domain.settlement import Moved, Settlement
    from settlement_engine.domain.statement_import import ImportedStatement
    from settlement_lab.schedules.bank_account import AccountBank
    from settlement_lab.schedules.callers import Callers
    from settlement_lab.schedules.engine import ScheduledEngine
    from settlement_lab.schedules.postgres_ground import PostgresGround
    from settlement_lab.schedules.statement_stores import RunLockConnection
    from settlement_lab.schedules.statement_work import StatementWork
    from settlement_lab.worlds.faults import Faults

BETWEEN_SECONDS: Final = (5.0, 15.0, 40.0)
FILES_MAX: Final = 4
"""With the last one they are of so many days that an entry is still near enough to its posting."""

TRIES_MAX: Final = 60
ANSWER_SECONDS: Final = 40.0
AGAIN_SECONDS: Final = 2.0
TWICE_SHARE: Final = 0.5
REPEATING_SHARE: Final = 0.4
UNTOLD_RETURN_SHARE: Final = 0.2
SECOND_DEBIT_SHARE: Final = 0.2
LOCK_LOST_RATE_MAX: Final = 0.5
PAUSED_SHARE: Final = 0.5
LOOKS_MAX: Final = 60
LOOK_SECONDS: Final = 2.0

_GOOD: Final = frozenset(KEPT | {StatementOutcome.ALREADY_IMPORTED}) - {
    StatementOutcome.REISSUED,
    StatementOutcome.UNBALANCED,
    StatementOutcome.OVERLAP,
}


class ScheduledStatements:
    """See the module."""

    def __init__(
        self,
        bank_name: str,
        bank: AccountBank,
        faults: Faults,
        *,
        chance: Random,
        ground: PostgresGround,
    ) -> None:
        self.bank_name = bank_name
        self.faults = faults
        self.locks = RunLocks()
        self.last_run: list[AccountResult] = []
        self.pause: Callable[[RunLockConnection], None] = lambda _: None
        self._bank = bank
        self._chance = chance
        self._ground = ground
        self._twice: set[UUID] = set()
        self._wrong: list[str] = []
        self._run_ids = 0
        rate = LOCK_LOST_RATE_MAX * chance.random() ** 2
        faults.rates["run_lock_lost"] = faults.rates["run_lock_lost"] or rate

    def open(self, currency: str, funds: int) -> None:
        """Open our account at the bank, with its funding."""
        number = (
            f"schedule {self.bank_name}"  # as ``sql/schema.sql`` names the account and its funding
        )
        funding = StatedBooking(minor=funds, reference=number)
        self._bank.account = StatedAccount(number, currency, funding)
        self._ground.begin_statements()

    @property
    def account(self) -> StatedAccount:
        """Our account, as the bank keeps it."""
        assert self._bank.account is not None, "the account is open"
        return self._bank.account

    # --- the bank's files -------------------------------------------------------------------------

    async def run(self, callers: Callers) -> None:
        """Write files and have them imported, while there are faults."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._lose_runs())
            for _ in range(1 + int(self._chance.random() * FILES_MAX)):
                await asyncio.sleep(self._seconds())
                self._book_untold()
                file = self._file()
                times = 2 if self._chance.random() < TWICE_SHARE else 1
                for _ in range(times):
                    group.create_task(self._deliver(file, callers))
                if times > 1:
                    self.faults.note("statement_imported_twice")

    async def _lose_runs(self) -> None:
        """End now and then the session that holds a run, whose engine goes on, at once or after a pause."""
        for _ in range(LOOKS_MAX):
            await asyncio.sleep(LOOK_SECONDS * self._chance.random())
            for line in tuple(self.locks.held):
                if self.faults.happens("run_lock_lost"):
                    self._bank.chronicle.note("a run loses the session that holds it")
                    line.end()
                    if self._chance.random() < PAUSED_SHARE:
                        self.pause(line)

    def _seconds(self) -> float:
        place = int(self._chance.random() * len(BETWEEN_SECONDS))
        return BETWEEN_SECONDS[place] * (0.5 + self._chance.random())

    def _file(self) -> ReceivedFile:
        """Write the next statement, perhaps in a file with the one before it."""
        self.faults.note(STATEMENTS)
        before = self.account.written[-1:]
        statement = self.account.write()
        is_repeating = before and self._chance.random() < REPEATING_SHARE
        content = file_of([*before, statement] if is_repeating else [statement])
        return ReceivedFile(name=f"{statement.id}.xml", content=content, who="schedule")

    async def _deliver(self, file: ReceivedFile, callers: Callers) -> None:
        """Have a file imported by any engine; without an answer it is sent again."""
        for _ in range(TRIES_MAX):
            found = await callers.ask(
                lambda engine: _work(engine).importer.import_file(file), ANSWER_SECONDS
            )
            if isinstance(found, list):
                self._look_at(found)
                return
            await asyncio.sleep(AGAIN_SECONDS)  # an engine that died may hold its locks for a while
        raise AssertionError(f"{file.name} was never imported")

    def _look_at(self, found: Sequence[ImportedStatement]) -> None:
        for each in found:
            if each.outcome not in _GOOD:
                self._wrong.append(f"{each.bank_statement_id}: {each.outcome}, {each.reason}")
            if each.outcome == StatementOutcome.ALREADY_IMPORTED:
                self.faults.note("statement_known")

    def _book_untold(self) -> None:
        """Book what only a statement will tell: a return, or a payment for the second time."""
        for payment in list(self._bank.book.values()):
            key = payment.settlement_id
            is_free = key not in self._twice and not self._bank.returned.get(key)
            is_told = payment.state == SETTLED and self.account.is_told(payment)
            if not (is_free and is_told and self._bank.state_of(key) is State.COMPLETED):
                continue
            drawn = self._chance.random()
            if drawn < UNTOLD_RETURN_SHARE:
                self.faults.note(STATEMENT_RETURNS)
                self._bank.return_untold(payment)
            elif drawn < UNTOLD_RETURN_SHARE + SECOND_DEBIT_SHARE:
                self.faults.note(STATEMENT_SECOND_DEBITS)
                self._twice.add(key)
                self._bank.debit_again(payment)

    # --- the end ----------------------------------------------------------------------------------

    async def finish(self, callers: Callers) -> bool:
        """Take the next step towards the end: state all, search all, reconcile all; True if nothing is left."""
        if not self.account.is_stated:
            await self._deliver(self._file(), callers)
            return False
        if self._ground.ask("unsearched")[0]["statements"]:
            return False
        self._run_ids += 1
        run = ReconciliationRun(
            id=_numbered(self._run_ids),
            started_for=StartedFor.DEMAND,
            who="schedule",
            rules_version="",
        )
        found = await callers.ask(
            lambda engine: _work(engine).reconciler.reconcile(run), ANSWER_SECONDS
        )
        if not isinstance(found, list) or not found:
            return False
        self.last_run = found
        return all(each.outcome is not AccountOutcome.FAILED for each in found)

    def note_ended_doubts(self, moves: Sequence[Moved]) -> None:
        """Count the doubts that an entry of a statement has ended."""
        for moved in moves:
            if moved.event is Event.SETTLED and "statement_says" in moved.detail:
                self.faults.note("statement_ended_doubt")

    def violations(self, histories: Mapping[UUID, Settlement]) -> Iterator[str]:
        """Compare what is kept, matched and proved with the bank's ledger."""
        yield from self._wrong
        yield from self.locks.violations
        if not self.last_run:
            yield "the statements were never reconciled to the end"
        yield from self._kept()
        yield from self._second_debits(histories)
        yield from self._matched()
        yield from self._proved()

    def _kept(self) -> Iterator[str]:
        rows = self._ground.ask("kept_statements", self.bank_name, self.account.number)
        kept = {row["bank_statement_id"]: row for row in rows}
        for statement in self.account.written:
            row = kept.pop(statement.id, None)
            if row is None or row["times"] != 1:
                yield f"statement {statement.id} is kept {row['times'] if row else 0} times"
                continue
            names = [each.details[0].references.end_to_end for each in statement.entries]
            ours = sum(name in self._bank.book for name in names)
            counts = (row["entries"], row["written"], row["mentions"])
            if counts != (len(statement.entries), len(statement.entries), ours):
                yield f"statement {statement.id}: {counts} of {len(statement.entries)} entries"
        for name in kept:
            yield f"statement {name} is kept, and the bank has not written it"

    def _second_debits(self, histories: Mapping[UUID, Settlement]) -> Iterator[str]:
        for row in self._ground.ask("second_debits", sorted(histories)):
            key = row["id"]
            # One that our account does not cover is told, and is not booked.
            if row["booked"] + (row["told"] > 0) != int(key in self._twice):
                yield f"settlement {key.int}: a second debit was booked {row['booked']} times"

    def _unbooked(self) -> int:
        rows = self._ground.ask("second_debits", sorted(self._twice))
        return sum(not row["booked"] for row in rows)

    def _matched(self) -> Iterator[str]:
        rows = self._ground.ask("items", self.bank_name, self.account.number)
        found = Counter(dict(rows[0]))
        left = self._unbooked()
        matched = len(self.account.booked) - left
        due = Counter(ours=matched, theirs=matched, doubled=0, ours_open=0, theirs_open=left)
        if found != due:
            yield f"the items of our account are {dict(found)}, and not {dict(due)}"

    def _proved(self) -> Iterator[str]:
        rows = self._ground.ask("last_proof", self.bank_name, self.account.number)
        if not rows:
            yield "nothing is proved of our account"
            return
        [proof] = rows
        closing, day = self.account.balance_minor, self.account.written[-1].ends
        if (proof["booking_date"], proof["their_closing_minor"]) != (day, closing):
            yield f"the last proof is {dict(proof)}; the bank closed with {closing} on {day}"
        if proof["difference_minor"] or proof["opening_difference_minor"] or proof["held_back_by"]:
            yield f"the last proof is not zero: {dict(proof)}"


def _work(engine: ScheduledEngine) -> StatementWork:
    assert engine.statements is not None, "the engines of this schedule know statements"
    return engine.statements


def _numbered(number: int) -> UUID:
    return UUID(int=number)
