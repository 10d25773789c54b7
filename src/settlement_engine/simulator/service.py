"""The bank in one thread of its own, with a clock that can be put forward, and the outages of its connections.

Promises: everything that touches the ledger happens in that thread, one thing after the other. Clock, script and
outage are kept in the ledger, so that a bank that was killed goes on as it was.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum, auto
from functools import partial
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import msgspec

from settlement_engine.simulator.bank import FAILED, BankResponse, ScriptedBank
from settlement_engine.simulator.ledger import Ledger
from settlement_engine.simulator.ledger_lines import LedgerLine, ledger_line
from settlement_engine.simulator.scenarios import Rule, ScenarioScript

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

MS_PER_SECOND: Final = 1_000
ADVANCE_MS_MAX: Final = 400 * 86_400_000
"""The clock is put forward by no more than this at a time."""

BATCH_MAX: Final = 200
"""No more messages than this share a transaction."""

WAITING_MAX: Final = 10_000
"""With as many messages before it, another one meets a server's error and is not received."""

P = ParamSpec("P")
R = TypeVar("R")


class OutageKind(StrEnum):
    """What is wrong with all connections to the bank."""

    TLS_FAILURE = auto()  # no handshake succeeds
    SERVER_ERROR = auto()  # every message is answered with a server's error
    LOST_REQUESTS = auto()  # nothing is received, and the connection ends
    SILENT = auto()  # nothing is received, and nothing comes


class Outage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An outage, until an instant of the bank's clock, or until it is ended."""

    kind: OutageKind
    until_ms: int | None = None


class BankService:
    """The bank for callers in an event loop."""

    def __init__(self, file: Path, script: ScenarioScript | None, *, calls_back: bool) -> None:
        """Take ``script`` for the stored one, if there is one given."""
        self._ledger = Ledger(file)
        self._given = script
        self._bank = ScriptedBank(self._ledger, script or ScenarioScript(), calls_back=calls_back)
        self._thread: ThreadPoolExecutor | None = None
        self._offset_ms = 0
        self._outage: Outage | None = None
        self._waiting: list[tuple[bytes, asyncio.Future[BankResponse]]] = []
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

    async def receive(self, body: bytes) -> BankResponse:
        """Deal with a message: together with those that come while others are being dealt with."""
        if len(self._waiting) >= WAITING_MAX:
            return FAILED
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[BankResponse] = loop.create_future()
        self._waiting.append((body, answered))
        if self._dealing is None or self._dealing.done():
            self._dealing = loop.create_task(self._deal())
        return await answered

    async def _deal(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
            bodies = [body for body, _ in batch]
            try:
                responses = await self._in_thread(self._bank.receive_all, bodies, self.now_ms())
            except Exception as error:  # noqa: BLE001 -- whoever waits has to get it
                for _, answered in batch:
                    if not answered.done():
                        answered.set_exception(error)
                continue
            for (_, answered), response in zip(batch, responses, strict=True):
                if not answered.done():  # the sender may have gone
                    answered.set_result(response)
            self.is_woken.set()

    async def receive_file(self, name: str, content: bytes) -> bytes | None:
        """Deal with a file; returns its acknowledgement, if the sender receives one."""
        now_ms = self.now_ms()
        said = await self._in_thread(self._bank.receive_file, name, content, now_ms)
        self.is_woken.set()
        return said

    async def work(self) -> list[sqlite3.Row]:
        """Let happen what has fallen due; returns the call-backs whose time has come."""
        now_ms = self.now_ms()

        def work() -> list[sqlite3.Row]:
            self._bank.work(now_ms)
            return self._ledger.due_callbacks(now_ms)

        return await self._in_thread(work)

    async def seconds_to_next(self) -> float | None:
        """Return how long nothing falls due; None when nothing will."""
        due_ms = await self._in_thread(self._ledger.next_due_ms)
        return None if due_ms is None else max(0, due_ms - self.now_ms()) / MS_PER_SECOND

    async def delivered(self, callback_id: int) -> None:
        """Note that a call-back was taken."""
        await self._in_thread(self._ledger.callback_delivered, callback_id)

    async def not_delivered(self, callback_id: int, pause_ms: int, attempts_max: int) -> None:
        """Note that a call-back was not taken."""
        due_at_ms = self.now_ms() + pause_ms
        await self._in_thread(self._ledger.callback_failed, callback_id, due_at_ms, attempts_max)

    # --- what is shown and set ----------------------------------------------------------------------

    async def ledger_page(self, after_id: int) -> tuple[list[LedgerLine], int]:
        """Return a page of the ledger, and the last id in it."""
        page = await self._in_thread(self._ledger.page, after_id)
        return [ledger_line(payment) for payment in page], page[-1].id if page else after_id

    @property
    def script(self) -> ScenarioScript:
        """What the bank does."""
        return self._bank.script

    async def set_script(self, script: ScenarioScript) -> None:
        """Do something else from now on."""
        await self._in_thread(self._keep, "script", script)
        self._bank.script = script

    async def add_rule(self, rule: Rule) -> None:
        """Put a rule before the others. Raises Misconfigured."""
        rules = (rule, *self.script.rules)
        await self.set_script(msgspec.structs.replace(self.script, rules=rules).checked())

    async def advance(self, by_ms: int) -> None:
        """Put the clock forward. Raises ValueError."""
        if not 0 <= by_ms <= ADVANCE_MS_MAX:
            message = f"the clock goes forward by at most {ADVANCE_MS_MAX} ms"
            raise ValueError(message)
        self._offset_ms += by_ms
        await self._in_thread(self._keep, "clock_offset_ms", self._offset_ms)
        self.is_woken.set()

    @property
    def outage(self) -> OutageKind | None:
        """What is wrong now."""
        outage = self._outage
        if outage is None or (outage.until_ms is not None and self.now_ms() >= outage.until_ms):
            return None
        return outage.kind

    async def set_outage(self, outage: Outage | None) -> None:
        """Begin or end an outage."""
        await self._in_thread(self._keep, "outage", outage)
        self._outage = outage

    async def waiting_callbacks(self) -> list[dict[str, Any]]:
        """List call-backs that wait."""
        return await self._in_thread(self._ledger.waiting_callbacks)

    async def drop_callbacks(self, end_to_end_id: str) -> int:
        """Lose call-backs that wait."""
        return await self._in_thread(self._ledger.drop_callbacks, end_to_end_id)
