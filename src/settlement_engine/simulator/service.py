"""The bank in its own thread, with a clock that can be advanced, and with outages of its connections.

Promises: all access to the ledger happens in that thread, one call at a time. Clock, script and outage are
stored in the ledger, so that a bank that was killed continues with them.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum, auto
from functools import partial
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import msgspec

from settlement_engine.simulator.account_books import AccountGiven, BookingGiven, parse_signed
from settlement_engine.simulator.balances import line_of
from settlement_engine.simulator.bank import FAILED, BankResponse, ReceivedMessage, ScriptedBank
from settlement_engine.simulator.ledger import Ledger
from settlement_engine.simulator.ledger_lines import LedgerLine, ledger_line
from settlement_engine.simulator.scenarios import Rule, ScenarioScript
from settlement_engine.simulator.statement_issuing import written

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from settlement_engine.simulator.balances import BalanceLine
    from settlement_engine.simulator.statement_issuing import (
        DueStatement,
        PlantedLine,
        StatementFormat,
        StatementWanted,
    )

MS_PER_SECOND: Final = 1_000
ADVANCE_MS_MAX: Final = 400 * 86_400_000
"""The clock is advanced by at most this at a time."""

BATCH_MAX: Final = 200
"""At most so many messages share a transaction."""

WAITING_MAX: Final = 10_000
"""While so many messages are waiting, another one gets a server error and is not received."""

P = ParamSpec("P")
R = TypeVar("R")


class OutageKind(StrEnum):
    """What fails on all connections to the bank."""

    TLS_FAILURE = auto()  # no handshake succeeds
    SERVER_ERROR = auto()  # every message gets a server error
    LOST_REQUESTS = auto()  # nothing is received, and the connection ends
    SILENT = auto()  # nothing is received, and the connection stays open without a response


class Outage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An outage, until a time of the bank's clock, or until a call ends it."""

    kind: OutageKind
    until_ms: int | None = None


class BankService:
    """The bank's calls for use in an event loop."""

    def __init__(self, file: Path, script: ScenarioScript | None, *, calls_back: bool) -> None:
        """``script`` replaces the stored script; None keeps it."""
        self._ledger = Ledger(file)
        self._given = script
        self._bank = ScriptedBank(self._ledger, script or ScenarioScript(), calls_back=calls_back)
        self._thread: ThreadPoolExecutor | None = None
        self._offset_ms = 0
        self._outage: Outage | None = None
        self._waiting: list[tuple[ReceivedMessage, asyncio.Future[BankResponse]]] = []
        self._dealing: asyncio.Task[None] | None = None
        self.is_woken = asyncio.Event()

    async def start(self) -> None:
        """Open the ledger. Raises Misconfigured."""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bank")
        await self._in_thread(self._open)

    async def stop(self) -> None:
        """Close it."""
        if self._thread is not None:
            await self._in_thread(self._ledger.close)
            self._thread.shutdown()
            self._thread = None

    async def _in_thread(self, work: Callable[P, R], *given: P.args, **named: P.kwargs) -> R:
        assert self._thread is not None, "the bank is not started"
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(work, *given, **named))

    def _open(self) -> None:
        self._ledger.open()
        self._offset_ms = int(self._ledger.setting("clock_offset_ms") or 0)
        outage = self._ledger.setting("outage")
        self._outage = msgspec.json.decode(outage, type=Outage | None) if outage else None
        if self._given is not None:
            self._keep("script", self._given)
        else:
            stored = self._ledger.setting("script")
            self._bank.script = (
                msgspec.json.decode(stored, type=ScenarioScript) if stored else ScenarioScript()
            )

    def _keep(self, name: str, value: object) -> None:
        self._ledger.set(name, msgspec.json.encode(value).decode())

    def now_ms(self) -> int:
        """Return the bank's time."""
        return int(time.time() * MS_PER_SECOND) + self._offset_ms

    # --- messages -----------------------------------------------------------------------------------

    async def receive(self, body: bytes, rail: str = "") -> BankResponse:
        """Process a message, in one batch with others that arrived while the batch before was processed.

        ``rail`` is the one over which it came, if its path names it.
        """
        if len(self._waiting) >= WAITING_MAX:
            return FAILED
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[BankResponse] = loop.create_future()
        self._waiting.append((ReceivedMessage(body, rail), answered))
        if self._dealing is None or self._dealing.done():
            self._dealing = loop.create_task(self._deal())
        return await answered

    async def _deal(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
            messages = [message for message, _ in batch]
            try:
                responses = await self._in_thread(self._bank.receive_all, messages, self.now_ms())
            except Exception as error:  # noqa: BLE001 -- whoever waits has to get it
                for _, answered in batch:
                    if not answered.done():
                        answered.set_exception(error)
                continue
            for (_, answered), response in zip(batch, responses, strict=True):
                if not answered.done():  # cancelled, if the sender closed the connection
                    answered.set_result(response)
            self.is_woken.set()

    async def receive_file(self, name: str, content: bytes) -> bytes | None:
        """Process a file; returns its acknowledgement, or None if the sender receives none."""
        now_ms = self.now_ms()
        said = await self._in_thread(self._bank.receive_file, name, content, now_ms)
        self.is_woken.set()
        return said

    async def work(self) -> list[sqlite3.Row]:
        """Carry out the steps that are due; returns the call-backs that are due."""
        now_ms = self.now_ms()

        def work() -> list[sqlite3.Row]:
            self._bank.work(now_ms)
            return self._ledger.due_callbacks(now_ms)

        return await self._in_thread(work)

    async def seconds_to_next(self) -> float | None:
        """Return the time until the next step or call-back is due; None if there is none."""
        due_ms = await self._in_thread(self._ledger.next_due_ms)
        return None if due_ms is None else max(0, due_ms - self.now_ms()) / MS_PER_SECOND

    async def delivered(self, callback_id: int) -> None:
        """Record that a call-back was delivered."""
        await self._in_thread(self._ledger.callback_delivered, callback_id)

    async def not_delivered(self, callback_id: int, pause_ms: int, attempts_max: int) -> None:
        """Record a failed delivery; the next one is after ``pause_ms``, if ``attempts_max`` allows one."""
        due_at_ms = self.now_ms() + pause_ms
        await self._in_thread(self._ledger.callback_failed, callback_id, due_at_ms, attempts_max)

    # --- statements ---------------------------------------------------------------------------------

    async def statement(self, wanted: StatementWanted, form: StatementFormat) -> bytes:
        """Return the statement of a day. Raises NoStatement, and MessageError for what ``form`` cannot say."""
        now_ms = self.now_ms()

        def issue() -> bytes:
            self._bank.work(now_ms)
            with self._ledger.writing():
                found = self._bank.issuer.statement(wanted, self._bank.script, now_ms)
            return written(found, form)

        return await self._in_thread(issue)

    async def balance(self, wanted: StatementWanted) -> BalanceLine:
        """Return the balance of an account now. Raises NoStatement."""
        now_ms = self.now_ms()

        def tell() -> BalanceLine:
            self._bank.work(now_ms)
            return line_of(self._bank.teller.report(wanted, self._bank.script, now_ms), wanted.bank)

        return await self._in_thread(tell)

    async def planted(self, after_id: int) -> tuple[list[PlantedLine], int]:
        """Return a page of the differences in the statements, and the last id in it."""
        return await self._in_thread(self._bank.issuer.planted, after_id)

    async def open_account(self, given: AccountGiven) -> None:
        """Open an account, or set what it begins with. Raises ValueError."""

        def set_opening() -> None:
            minor = parse_signed(given.opening, given.currency)
            with self._ledger.writing():
                account_id = self._bank.books.account(given.bank, given.account, given.currency)
                self._bank.books.set_opening(account_id, minor)

        await self._in_thread(set_opening)

    async def book(self, given: BookingGiven) -> None:
        """Book an amount that no order has caused. Raises ValueError."""
        now_ms = self.now_ms()

        def book() -> None:
            minor = parse_signed(given.amount, given.currency)
            with self._ledger.writing():
                account_id = self._bank.books.account(given.bank, given.account, given.currency)
                books = self._bank.books
                if not (given.once and books.is_booked_by_hand(account_id, minor, given.text)):
                    books.by_hand(account_id, minor, given.text, now_ms)

        await self._in_thread(book)

    async def statements_for_folder(self) -> list[DueStatement]:
        """Return yesterday's statements of the accounts that pay files, unless they were delivered."""
        now_ms = self.now_ms()

        def due() -> list[DueStatement]:
            with self._ledger.writing():
                return self._bank.issuer.for_folder(self._bank.script, now_ms)

        return await self._in_thread(due)

    async def statement_delivered(self, due: DueStatement) -> None:
        """Record that a statement is in the folder."""
        await self._in_thread(self._bank.issuer.delivered, due)

    # --- what is shown and set ----------------------------------------------------------------------

    async def ledger_page(self, after_id: int) -> tuple[list[LedgerLine], int]:
        """Return a page of the ledger, and the last id in it."""
        page = await self._in_thread(self._ledger.page, after_id)
        return [ledger_line(payment) for payment in page], page[-1].id if page else after_id

    @property
    def script(self) -> ScenarioScript:
        """The script in use."""
        return self._bank.script

    async def set_script(self, script: ScenarioScript) -> None:
        """Replace the script; payments that were received before keep their scenario."""
        await self._in_thread(self._keep, "script", script)
        self._bank.script = script

    async def add_rule(self, rule: Rule) -> None:
        """Add a rule before the others. Raises Misconfigured."""
        rules = (rule, *self.script.rules)
        await self.set_script(msgspec.structs.replace(self.script, rules=rules).checked())

    async def advance(self, by_ms: int) -> None:
        """Advance the clock. Raises ValueError."""
        if not 0 <= by_ms <= ADVANCE_MS_MAX:
            message = f"the clock goes forward by at most {ADVANCE_MS_MAX} ms"
            raise ValueError(message)
        self._offset_ms += by_ms
        await self._in_thread(self._keep, "clock_offset_ms", self._offset_ms)
        self.is_woken.set()

    @property
    def outage(self) -> OutageKind | None:
        """The present outage, if there is one."""
        outage = self._outage
        if outage is None or (outage.until_ms is not None and self.now_ms() >= outage.until_ms):
            return None
        return outage.kind

    async def set_outage(self, outage: Outage | None) -> None:
        """Begin an outage, or end it with None."""
        await self._in_thread(self._keep, "outage", outage)
        self._outage = outage

    async def waiting_callbacks(self) -> list[dict[str, Any]]:
        """List waiting call-backs."""
        return await self._in_thread(self._ledger.waiting_callbacks)

    async def drop_callbacks(self, end_to_end_id: str) -> int:
        """Drop waiting call-backs; returns how many."""
        return await self._in_thread(self._ledger.drop_callbacks, end_to_end_id)
