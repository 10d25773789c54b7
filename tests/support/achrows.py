"""A whole engine with the rail ach, against the scripted bank as the operator of its folders, whose ledger judges."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast
from zoneinfo import ZoneInfo

import msgspec

from settlement_engine.domain.lifecycle import ENDS, State
from settlement_engine.domain.money import Money
from settlement_engine.messages.nacha.model import FILE_ID_MODIFIERS
from settlement_engine.rails.ach.closing import file_name
from settlement_engine.simulator.ach_files import AchAdvice, Item, refusal
from settlement_engine.simulator.scenarios import ScenarioScript
from settlement_lab.memory import MemoryRailFiles, Records
from tests.support.achrails import AchOperator, ach_rail, connection, party, profile
from tests.support.jumpingloop import LoopClock
from tests.support.railrows import AMOUNT, ENGINE, EVIDENCE, FROM, FUNDS, OWN, TO
from tests.support.waiting import until
from tests.unit.engine.engine_world import EngineWorld, RealClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from settlement_engine.domain.settlement import Attempt, Settlement
    from settlement_engine.rails.ach.rail import AchRail, BankFiles
    from settlement_engine.simulator.ledger_lines import LedgerLine
    from settlement_engine.simulator.scenarios import Scenario

ALL_DAY_SECONDS = 86_400.0
BOTH_IN_ONE_FILE_SECONDS = 2.0
"""A file stays open for so long: enough for two payments on a busy machine."""


class AchRowWorld:
    """An engine, its folders, and the operator, which may be away. The engine may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.operator = AchOperator(folder, ScenarioScript(default="settle"))
        self.rules: dict[str, Any] = {"acknowledged_seconds": 2, "validity_seconds": 100_000}
        self.close_after_seconds = 0.05
        self._rail: AchRail | None = None
        self._engine: EngineWorld | None = None
        self._beside: list[tuple[EngineWorld, AchRail]] = []
        self._is_open = False

    @property
    def engine(self) -> EngineWorld:
        assert self._engine is not None, "the engine is started first"
        return self._engine

    @property
    def files(self) -> BankFiles:
        assert self._rail is not None, "the rail is made first"
        return self._rail._files["bank"]

    # --- starting and killing -----------------------------------------------------------------------

    async def start(self, previous: EngineWorld | None = None) -> None:
        """Start an engine: a first one with funded accounts, or one that goes on after ``previous``."""
        records = Records(clock=LoopClock()) if previous is None else previous.records
        self._rail = self._made_rail(records)
        self._engine = EngineWorld(records, rail=cast("Any", self._rail), **ENGINE)
        if previous is None:
            await self._engine.open_bank(FROM, FUNDS, "USD")
            await self._engine.open_bank(TO, 0, "USD")
        await self._rail.start()
        await self._engine.start()

    def _made_rail(self, records: Records) -> AchRail:
        reached = connection(
            self.folder,
            profile=profile(**self.rules),
            close_after_seconds=self.close_after_seconds,
        )
        return ach_rail(RealClock(), MemoryRailFiles(records), reached)

    async def start_beside(self) -> EngineWorld:
        """Start a further engine on the same database and the same folders."""
        rail = self._made_rail(self.engine.records)
        engine = EngineWorld(self.engine.records, rail=cast("Any", rail), **ENGINE)
        self._beside.append((engine, rail))
        await rail.start()
        await engine.start()
        return engine

    async def kill(self) -> EngineWorld:
        """End the engine as a crash does; returns what is left of it."""
        killed = self.engine
        await killed.crash()
        assert self._rail is not None, "an engine has a rail"
        await self._rail.stop()
        self._engine = None
        return killed

    async def restart(self) -> None:
        await self.start(await self.kill())

    async def comes(self, *, is_working: bool = True) -> None:
        """Let the operator begin its work, or only be there for what a test has it do."""
        assert not self._is_open, "it is there already"
        self._is_open = True
        await self.operator.open(is_working=is_working)

    async def goes(self) -> None:
        self._is_open = False
        await self.operator.close()
        script = self.operator.service._bank.script
        self.operator = AchOperator(self.folder, script)

    async def stop(self) -> None:
        for engine, rail in self._beside:
            await engine.crash()
            await rail.stop()
        if self._engine is not None:
            await self.kill()
        if self._is_open:
            await self.operator.close()

    # --- what is asked of both sides ----------------------------------------------------------------

    def treats(self, scenario: str | Scenario) -> None:
        """Let the operator treat all further entries so."""
        bank = self.operator.service._bank
        if isinstance(scenario, str):
            bank.script = msgspec.structs.replace(bank.script, default=scenario)
        else:
            bank.script = msgspec.structs.replace(
                bank.script, default=OWN, scenarios={OWN: scenario}
            )

    async def settle(
        self, scenario: str | Scenario, key: str = "k", wait_seconds: float = 0.05, **fields: Any
    ) -> Settlement:
        """Ask for a settlement that the operator treats so, and wait for no longer than that."""
        self.treats(scenario)
        return await self.engine.settle(
            key,
            wait_seconds=wait_seconds,
            amount=Money(AMOUNT, "USD"),
            from_bank=FROM,
            to_bank=TO,
            **fields,
        )

    async def state(self, settlement: Settlement) -> State:
        return State((await self.engine.history(settlement))[-1])

    async def comes_to(self, settlement: Settlement, *states: State) -> State:
        """Wait until a settlement is in one of these states."""

        async def there() -> State | None:
            state = await self.state(settlement)
            return state if state in states else None

        return State(await until(there, f"{settlement.id} came to none of {states}"))

    async def ends(self, settlement: Settlement) -> State:
        return await self.comes_to(settlement, *ENDS)

    async def attempt(self, settlement: Settlement) -> Attempt:
        found = (await self.engine.store.load([settlement.id]))[settlement.id].attempt
        assert found is not None, "it has a send intent"
        return found

    async def held(self) -> int:
        return (await self.engine.nostro(FROM)).held

    async def posted(self) -> int:
        return (await self.engine.nostro(FROM)).posted

    def cases(self) -> list[str]:
        return sorted(case.kind.value for case in self.engine.records.cases.values())

    async def received(self) -> list[LedgerLine]:
        return await self.operator.ledger()

    # --- files --------------------------------------------------------------------------------------

    async def placed(self, count: int = 1) -> list[Path]:
        """Wait until so many files are in the outbox, and return them."""

        def found() -> list[Path]:
            files = sorted((self.folder / "outbox").glob("*.ach"))
            return files if len(files) >= count else []

        return cast("list[Path]", await until(found, f"{count} files were not placed"))

    def uses_up_the_day(self) -> None:
        """Let all files of the day and of the next one be placed already: no other may be closed."""
        sent = self.folder / "archive" / "sent"
        sent.mkdir(parents=True, exist_ok=True)
        today = datetime.now(ZoneInfo(party().zone)).date()
        for day in (today, today + timedelta(days=1)):
            for modifier in FILE_ID_MODIFIERS:
                (sent / file_name(party(), day, modifier)).write_bytes(b"another")

    def tells(self, name: str, content: bytes) -> None:
        """Put a file into our inbox, as the operator's connector does."""
        hidden = self.folder / "inbox" / f".{name}"
        hidden.write_bytes(content)
        hidden.rename(self.folder / "inbox" / name)

    def refuses(self, file: Path, reason: str) -> None:
        """Take a file, and refuse it whole."""
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        self.tells("refused.json", refusal(file.name, digest, reason))
        file.unlink()

    def advises(self, name: str, trace: str, status: str, amount_cents: int = AMOUNT) -> None:
        """Report on one entry, whatever the ledger says."""
        item = Item(trace=trace, status=status, amount_cents=amount_cents)
        kind = "acknowledgement" if status == "accepted" else "settlement"
        advice = AchAdvice(kind=kind, sha256="0" * 64, status=status, items=(item,))
        self.tells(name, msgspec.json.encode(advice))

    async def has_heard_all(self) -> None:
        """Wait until the inbox is empty, and what came in is worked off."""

        def is_heard() -> bool:
            records = self.engine.records
            is_empty = not [
                each for each in (self.folder / "inbox").iterdir() if not each.name.startswith(".")
            ]
            return is_empty and len(records.closed_reports) == len(records.inbound_reports)

        await until(is_heard, "not all was heard")

    # --- the judge ----------------------------------------------------------------------------------

    async def judge(self, *settlements: Settlement) -> None:
        """Never two debits; no release without evidence; and what ended agrees with the operator's ledger."""
        lines = await self.received()
        assert all(line.times_debited <= 1 for line in lines)
        assert len({line.trace for line in lines}) == len(lines)
        held = 0
        for settlement in settlements:
            held += await self._judge_one(settlement, lines)
        assert await self.held() == held

    async def _judge_one(self, settlement: Settlement, lines: list[LedgerLine]) -> int:
        """Judge one settlement, and return what has to be held for it."""
        moves = await self.engine.store.history(settlement.id)
        has_intent = any(move.to_state is State.LOCKED for move in moves)
        trace = (await self.attempt(settlement)).trace if has_intent else ""
        debits = sum(line.times_debited for line in lines if line.trace == trace)
        if moves[-1].to_state not in ENDS:
            return AMOUNT if has_intent else 0
        ended = next(move for move in moves if move.to_state in ENDS)
        if ended.to_state is State.COMPLETED:
            assert debits == 1
        elif has_intent:
            assert ended.event in EVIDENCE
            assert debits == 0 or self.cases(), "a debit that we released is somebody's case"
        else:
            assert debits == 0
        return 0


@asynccontextmanager
async def ach_row_world(folder: Path) -> AsyncIterator[AchRowWorld]:
    """The folders and the operator; the test starts both."""
    world = AchRowWorld(folder)
    try:
        yield world
    finally:
        await world.stop()
