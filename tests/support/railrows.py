"""A whole engine with one rail of ISO 20022, against the scripted bank over HTTP, whose ledger is the judge."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import msgspec
from aiohttp import web

from settlement_engine.domain.lifecycle import ENDS, Event, State
from settlement_engine.domain.money import Money
from settlement_engine.messages.errors import MessageError
from settlement_engine.rails.transport.http import HttpSettings
from settlement_engine.simulator.scenarios import Scenario
from tests.support.isorails import agreed_profile, connection, iso_rail, profile_of
from tests.support.scriptedbank import ScriptedBank
from tests.support.waiting import until
from tests.unit.engine.engine_world import EngineWorld, RealClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.rails.iso20022.rail import IsoRail
    from settlement_engine.simulator.ledger_lines import LedgerLine

FROM, TO = "DEUTDEFF", "CHASUS33"
AMOUNT, FUNDS = 100, 100_000
CURRENCIES = {"swift": "USD", "sepa_sct": "EUR", "sepa_inst": "EUR", "realtime": "USD"}
EXCHANGE_SECONDS = 1.0
ENGINE: dict[str, Any] = {"lease_seconds": 5.0, "heartbeat_seconds": 0.5, "sends_max": 100_000}

EVIDENCE = frozenset({Event.REJECTED, Event.RECALLED, Event.ABANDONED})
"""What may release funds after the send intent: the bank's no, its giving back, or the proof that nothing left."""

OWN = "own"
"""The name of the scenario that a test writes itself."""


class RowWorld:
    """An engine, its rail, and the bank. The engine may be killed and started again."""

    def __init__(self, folder: Path, rail_name: str, *, is_agreed: bool) -> None:
        self.rail_name = rail_name
        self.is_agreed = is_agreed
        self.currency = CURRENCIES[rail_name]
        self.bank = ScriptedBank(folder, callback_url="http://127.0.0.1:1")
        self.profile_changes: dict[str, Any] = {"answer_seconds_max": 5}
        self.engine_changes: dict[str, Any] = {}
        self._rail: IsoRail | None = None
        self._engine: EngineWorld | None = None

    @property
    def engine(self) -> EngineWorld:
        assert self._engine is not None, "the engine is started first"
        return self._engine

    async def take(self, body: bytes) -> None:
        assert self._rail is not None, "the rail is made first"
        await self._rail.take(body, {"bank"})

    # --- starting and killing -----------------------------------------------------------------------

    async def start(self, previous: EngineWorld | None = None) -> None:
        """Start an engine: a first one with funded accounts, or one that goes on after ``previous``."""
        make = agreed_profile if self.is_agreed else profile_of
        http = HttpSettings(
            endpoint=f"{self.bank.endpoint}/{self.rail_name}",
            timeout_seconds=EXCHANGE_SECONDS,
            connect_timeout_seconds=EXCHANGE_SECONDS,
        )
        reached = connection(make(self.rail_name, **self.profile_changes), http)
        self._rail = iso_rail(RealClock(), reached, name=self.rail_name)
        records = None if previous is None else previous.records
        settings = ENGINE | self.engine_changes
        self._engine = EngineWorld(records, rail=cast("Any", self._rail), **settings)
        if previous is None:
            await self._engine.open_bank(FROM, FUNDS, self.currency)
            await self._engine.open_bank(TO, 0, self.currency)
        await self._rail.start()
        await self._engine.start()

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

    async def stop(self) -> None:
        if self._engine is not None:
            await self.kill()
        await self.bank.close()

    # --- what is asked of both sides ----------------------------------------------------------------

    def treats(self, scenario: str | Scenario) -> None:
        """Let the bank treat all further payments so."""
        bank = self.bank.service._bank
        if isinstance(scenario, Scenario):
            script = msgspec.structs.replace(bank.script, default=OWN, scenarios={OWN: scenario})
        else:
            script = msgspec.structs.replace(bank.script, default=scenario)
        bank.script = script

    async def settle(self, scenario: str | Scenario, wait_seconds: float = 0.05) -> Settlement:
        """Ask for a settlement that the bank treats so, and wait for no longer than that."""
        self.treats(scenario)
        return await self.engine.settle(
            "k",
            wait_seconds=wait_seconds,
            amount=Money(AMOUNT, self.currency),
            from_bank=FROM,
            to_bank=TO,
        )

    async def comes_to(self, settlement: Settlement, *states: State) -> State:
        """Wait until a settlement is in one of these states."""

        async def there() -> State | None:
            state = await self.state(settlement)
            return state if state in states else None

        return State(await until(there, f"{settlement.id} came to none of {states}"))

    async def passes(self, settlement: Settlement, state: State) -> None:
        """Wait until a settlement has been in a state."""

        async def has_been() -> bool:
            return state.value in await self.engine.history(settlement)

        await until(has_been, f"{settlement.id} was never {state}")

    async def state(self, settlement: Settlement) -> State:
        return State((await self.engine.history(settlement))[-1])

    async def ends(self, settlement: Settlement) -> State:
        return await self.comes_to(settlement, *ENDS)

    async def stays(self, settlement: Settlement, state: State) -> None:
        """Come to a state, and be still in it, with the funds held, after the bank was asked again."""
        await self.comes_to(settlement, state)
        before = await self._progress(settlement)

        async def was_asked_again() -> bool:
            return await self._progress(settlement) != before

        await until(was_asked_again, f"nobody asked about {settlement.id} again")
        assert await self.state(settlement) is state
        assert await self.held() == AMOUNT

    async def _progress(self, settlement: Settlement) -> tuple[int, int, int]:
        """Return how often the question of the state was asked, and how often the payment was sent or not."""
        found = (await self.engine.store.load([settlement.id]))[settlement.id]
        attempt = found.attempt
        assert attempt is not None, "funds are held for an attempt"
        return found.asked, attempt.sends, attempt.undelivered

    async def runs_out(self, settlement: Settlement) -> None:
        """Wait until the bytes of the attempt are no longer valid."""
        attempt = (await self.engine.store.load([settlement.id]))[settlement.id].attempt
        assert attempt is not None, "funds are held for an attempt"
        await until(lambda: RealClock().now() > attempt.valid_until, "it stayed valid")

    def is_sending(self) -> bool:
        """Say whether a request to the bank is under way."""
        assert self._rail is not None, "an engine has a rail"
        session = self._rail._connections.all[0].transport._session
        assert session is not None
        assert session.connector is not None
        return bool(session.connector._acquired)

    async def has_heard_all(self) -> bool:
        """Say whether the bank has delivered what it has to say, and the engine has worked it off."""
        records = self.engine.records
        is_all_closed = len(records.closed_reports) == len(records.inbound_reports)
        return is_all_closed and not await self.bank.service.waiting_callbacks()

    async def received(self) -> list[LedgerLine]:
        return await self.bank.ledger()

    async def held(self) -> int:
        return (await self.engine.nostro(FROM)).held

    async def posted(self) -> int:
        return (await self.engine.nostro(FROM)).posted

    def cases(self) -> Counter[str]:
        return Counter(case.kind.value for case in self.engine.records.cases.values())

    # --- the judge ----------------------------------------------------------------------------------

    async def judge(self, settlement: Settlement) -> None:
        """Never two debits; no release without evidence; and what ended agrees with the bank's ledger."""
        lines = await self.received()
        assert len(lines) <= 1, "one payment has one line, however often it was received"
        debits = sum(line.times_debited for line in lines)
        assert debits <= 1
        moves = await self.engine.store.history(settlement.id)
        state = moves[-1].to_state
        has_intent = any(move.to_state is State.LOCKED for move in moves)
        if state not in ENDS:
            assert await self.held() == (AMOUNT if has_intent else 0)
            return
        assert await self.held() == 0
        ended = next(move for move in moves if move.to_state in ENDS)
        if ended.to_state is State.COMPLETED:
            assert debits == 1
        elif has_intent:
            assert ended.event in EVIDENCE
            assert debits == 0 or self.cases(), "a debit that we released is somebody's case"
        else:
            assert debits == 0


@asynccontextmanager
async def row_world(
    folder: Path, rail_name: str, *, is_agreed: bool, kind: type[RowWorld] | None = None
) -> AsyncIterator[RowWorld]:
    """The bank with its call-backs; the test starts the engine."""
    world = (kind or RowWorld)(folder, rail_name, is_agreed=is_agreed)

    async def answer(request: web.Request) -> web.Response:
        try:
            await world.take(await request.read())
        except MessageError:
            return web.Response(status=400)
        except AssertionError:
            return web.Response(status=503)  # no engine now: the bank tries again
        return web.Response(status=200)

    app = web.Application()
    app.add_routes([web.post(f"/rails/{rail_name}/inbound", answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    world.bank = ScriptedBank(
        folder, callback_url=f"http://127.0.0.1:{port}/rails/{{rail}}/inbound"
    )
    await world.bank.open()
    try:
        yield world
    finally:
        await world.stop()
        await runner.cleanup()
