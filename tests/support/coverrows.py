"""Cover payments in the world of the decision table's rows: FROM and TO are two connections to one simulated bank."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import msgspec

from settlement_engine.domain.bank_directory import CorrespondentRoute
from settlement_engine.domain.lifecycle import ENDS, State
from settlement_engine.domain.money import Money
from settlement_engine.domain.payment import PaymentAccount, PaymentDetails, PaymentParty
from settlement_engine.engine.cover_repairs import CoverRepairs
from settlement_engine.rails.iso20022.connections import Connections
from settlement_engine.rails.iso20022.cover_rail import CoverPaymentRail
from settlement_engine.rails.iso20022.rail import IsoRail
from settlement_engine.rails.transport.http import HttpSettings
from settlement_engine.simulator.scenarios import Scenario
from settlement_lab.memory import MemoryCovers
from tests.support.isorails import NOWHERE, agreed_profile, connection, profile_of
from tests.support.railrows import (
    AMOUNT,
    ENGINE,
    EVIDENCE,
    EXCHANGE_SECONDS,
    FROM,
    FUNDS,
    TO,
    RowWorld,
    row_world,
)
from tests.unit.engine.engine_world import EngineWorld, RealClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from settlement_engine.domain.settlement import Settlement

CORRESPONDENT = "CITIUS33"
ROUTE = CorrespondentRoute(
    correspondent=CORRESPONDENT, account=PaymentAccount(other_id="TO-AT-CITI")
)
PAYMENT = PaymentDetails(
    debtor=PaymentParty(name="Ada Ltd", account=PaymentAccount(iban="DE02120300000000202051")),
    creditor=PaymentParty(name="Charles Inc", account=PaymentAccount(other_id="0123456789")),
    remittance="Invoice 7",
)


class CoverWorld(RowWorld):
    """An engine with the rails swift and swift_cover. Both banks are played by one simulator."""

    def __init__(self, folder: Path, rail_name: str = "swift", *, is_agreed: bool) -> None:
        super().__init__(folder, rail_name, is_agreed=is_agreed)
        self.route: CorrespondentRoute | None = ROUTE
        self.scopes: dict[str, tuple[str, ...]] = {"from": (FROM,), "to": (TO,)}
        self.is_from_listening = True

    async def start(self, previous: EngineWorld | None = None) -> None:
        """Start an engine: a first one with funded accounts, or one that goes on after ``previous``."""
        make = agreed_profile if self.is_agreed else profile_of
        profile = make("swift", **self.profile_changes)
        reached = Connections(
            [
                replace(connection(profile, self._http(name), name=name, banks=banks), covers=True)
                for name, banks in self.scopes.items()
            ]
        )
        self._rail = IsoRail("swift", reached, RealClock())
        self.cover_rail = CoverPaymentRail("swift", reached, RealClock())
        self.cover_rail.know_covers(lambda bank, _: self.route if bank == TO else None)
        records = None if previous is None else previous.records
        rails = cast("Any", self.cover_rail), cast("Any", self._rail)
        self._engine = EngineWorld(
            records, rail=rails[0], others=rails[1:], **(ENGINE | self.engine_changes)
        )
        covers = MemoryCovers(self._engine.records)
        self.cover_rail.keep_covers(covers)
        self.repairs = CoverRepairs(
            self._engine.store,
            covers,
            {"swift_cover": rails[0]},
            self._engine.engine.router.make_current,
        )
        if previous is None:
            await self._engine.open_bank(FROM, FUNDS, self.currency)
            await self._engine.open_bank(TO, 0, self.currency)
        await self._rail.start()
        await self._engine.start()

    def _http(self, name: str) -> HttpSettings:
        is_listening = name != "from" or self.is_from_listening
        return HttpSettings(
            endpoint=f"{self.bank.endpoint}/swift" if is_listening else NOWHERE,
            timeout_seconds=EXCHANGE_SECONDS,
            connect_timeout_seconds=EXCHANGE_SECONDS,
        )

    def is_proved_undelivered(self, settlement: Settlement) -> bool:
        """Say whether some transmission of the cover is proved not to have left."""
        proofs = self.engine.records.covers.undelivered
        return any(key[0] == settlement.id for key in proofs)

    async def take(self, body: bytes) -> None:
        assert self._rail is not None, "the rail is made first"
        await self._rail.take(body, set(self.scopes))

    # --- what is asked of both sides ----------------------------------------------------------------

    def treats(self, payment: str | Scenario = "settle", cover: str | Scenario = "settle") -> None:
        """Let TO treat payments so, and FROM their covers."""
        bank = self.bank.service._bank
        given = {"payment": payment, "cover": cover}
        own = {f"own_{leg}": each for leg, each in given.items() if isinstance(each, Scenario)}
        names = {
            leg: each if isinstance(each, str) else f"own_{leg}" for leg, each in given.items()
        }
        bank.script = msgspec.structs.replace(
            bank.script,
            scenarios={**bank.script.scenarios, **own},
            leg_defaults=cast("Any", names),
        )

    async def pay(
        self,
        payment: str | Scenario = "settle",
        cover: str | Scenario = "settle",
        *,
        wait_seconds: float = 0.05,
    ) -> Settlement:
        """Ask for a payment of a customer at TO, of which both banks treat their message so."""
        self.treats(payment, cover)
        return await self.engine.settle(
            "k",
            wait_seconds=wait_seconds,
            amount=Money(AMOUNT, self.currency),
            from_bank=FROM,
            to_bank=TO,
            payment=PAYMENT,
        )

    async def legs(self) -> Counter[str]:
        """Count the messages that the banks have received, by leg."""
        return Counter(line.leg for line in await self.received())

    async def times(self, leg: str) -> list[int]:
        """Return how often each message of a leg was received."""
        return [line.times_received for line in await self.received() if line.leg == leg]

    # --- the judge ----------------------------------------------------------------------------------

    async def judge(self, settlement: Settlement) -> None:
        """Never two debits; no end but on both banks' words; and what ended agrees with the banks' ledger."""
        lines = await self.received()
        assert len([line for line in lines if line.leg == "payment"]) <= 1, "TO has one payment"
        assert all(line.times_debited == 0 for line in lines if line.leg == "payment")
        debits = sum(line.times_debited for line in lines)
        assert debits <= 1
        assert len({line.uetr for line in lines}) <= 1, "all of it has one UETR"
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
            assert [line.state for line in lines if line.leg == "payment"] == ["settled"]
        elif has_intent:
            assert ended.event in EVIDENCE
            assert debits == 0
            assert not any(line.state == "settled" for line in lines)


@asynccontextmanager
async def cover_world(folder: Path, *, is_agreed: bool) -> AsyncIterator[CoverWorld]:
    """The banks with their call-backs; the test starts the engine."""
    async with row_world(folder, "swift", is_agreed=is_agreed, kind=CoverWorld) as world:
        yield cast("CoverWorld", world)
