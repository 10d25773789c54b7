"""A whole engine with the rail swift, against the scripted bank, whose ledger is the judge."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import msgspec
import pytest
from aiohttp import web

from settlement_engine.domain.kept_messages import MessageDirection
from settlement_engine.domain.recalls import RecallState
from settlement_engine.domain.reconciliation import (
    AccountOutcome,
    AccountResult,
    ReconciliationRun,
    StartedFor,
)
from settlement_engine.engine.balance_fetch import BalanceFetch
from settlement_engine.engine.reconciliation import Reconciliation
from settlement_engine.engine.statement_fetch import StatementFetch
from settlement_engine.engine.statement_import import StatementImport
from settlement_engine.messages.envelope import opened
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.naming import name_of
from settlement_engine.ports.statements import FetchOutcome
from settlement_engine.rails.transport.http import HttpSettings
from settlement_engine.simulator.account_books import AccountGiven
from settlement_lab.memory.accounts import MemoryAccounts
from settlement_lab.memory.reconciliation import MemoryReconciliation
from settlement_lab.memory.statements import MemoryStatements
from tests.support.isorails import agreed_profile, connection, iso_rail
from tests.support.scriptedbank import ScriptedBank
from tests.support.stores import CountedIds
from tests.support.waiting import until
from tests.unit.engine.engine_world import EngineWorld, RealClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from settlement_engine.rails.iso20022.rail import IsoRail

FROM, TO = "DEUTDEFF", "CHASUS33"
FUNDS = 100_000


class World:
    """An engine, its rail, and the bank."""

    def __init__(self, bank: ScriptedBank, engine_world: EngineWorld, rail: IsoRail) -> None:
        self.bank, self.engine_world, self.rail = bank, engine_world, rail

    async def settle(self, scenario: str, wait_seconds: float = 20):
        """Settle a payment that the bank treats so; the amount names the scenario."""
        bank = self.bank.service._bank
        bank.script = msgspec.structs.replace(bank.script, default=scenario)
        return await self.engine_world.settle(
            scenario, wait_seconds=wait_seconds, from_bank=FROM, to_bank=TO
        )

    async def state(self, settlement, *states: str) -> str:
        """Wait until a settlement has come to one of these states."""

        async def reached() -> str:
            history = await self.engine_world.history(settlement)
            return history[-1] if history[-1] in states else ""

        return str(await until(reached))

    async def held(self) -> int:
        return (await self.engine_world.nostro(FROM)).held


@asynccontextmanager
async def callbacks(take) -> AsyncIterator[str]:
    """An address to be called back at: what was stored is acknowledged, and nothing else."""

    async def answer(request: web.Request) -> web.Response:
        try:
            await take(await request.read())
        except MessageError:
            return web.Response(status=400)
        return web.Response(status=200)

    app = web.Application()
    app.add_routes([web.post("/inbound", answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/inbound"
    await runner.cleanup()


def rail_to(endpoint: str) -> IsoRail:
    http = HttpSettings(endpoint=endpoint, timeout_seconds=4.0, connect_timeout_seconds=2.0)
    return iso_rail(RealClock(), connection(agreed_profile(), http, states_balances=True))


@pytest.fixture
async def world(tmp_path: Path):
    rails: list[IsoRail] = []

    async def take(body: bytes) -> None:
        await rails[0].take(body, {"bank"})

    async with callbacks(take) as url:
        bank = ScriptedBank(tmp_path, callback_url=url)
        await bank.open()
        rail = rail_to(bank.endpoint)
        rails.append(rail)
        engine_world = EngineWorld(
            rail=cast("Any", rail), lease_seconds=5.0, heartbeat_seconds=0.5, sends_max=100_000
        )
        await engine_world.open_bank(FROM, FUNDS)
        await engine_world.open_bank(TO, 0)
        await rail.start()
        await engine_world.start()
        yield World(bank, engine_world, rail)
        await engine_world.crash()
        await rail.stop()
        await bank.close()


@pytest.mark.parametrize(
    ("scenario", "state", "debits", "receipts"),
    [
        ("settle", "completed", 1, 1),
        ("accept_then_settle", "completed", 1, 1),
        ("settle_by_callback", "completed", 1, 1),
        ("out_of_order", "completed", 1, 1),
        ("twice", "completed", 1, 1),
        ("reject", "rolled_back", 0, 1),
        ("accept_then_reject", "rolled_back", 0, 1),
        ("lost_request", "completed", 1, 1),
        ("lost_answer", "completed", 1, 1),
        ("half_response", "completed", 1, 1),
        ("wrong_reference", "completed", 1, 1),
    ],
)
async def test_each_end_is_that_of_the_banks_ledger(
    world, scenario, state, debits, receipts
) -> None:
    settlement = await world.settle(scenario)
    assert await world.state(settlement, "completed", "rolled_back") == state
    assert await world.held() == 0
    (line,) = await world.bank.ledger()
    assert (line.times_debited, line.times_received) == (debits, receipts)
    assert line.settlement_id == str(settlement.id)


RECALLS = [
    ("settle", RecallState.RETURNED, "returned"),
    ("settle_recall_delayed", RecallState.RETURNED, "returned"),
    ("settle_recall_refused", RecallState.REFUSED, "completed"),
]

ACCEPTED = ("IN", "", 202)
TRANSFER = ("OUT", "pacs.009.001.08", 0)
ENQUIRY = ("OUT", "pacs.028.001.03", 0)
STATUS = ("IN", "pacs.002.001.10", 200)
UNASKED = ("IN", "pacs.002.001.10", 0)


async def messages_of(world, settlement) -> list[tuple[str, str, int]]:
    listed = await world.engine_world.messages.messages_of(settlement.id, 1_000)
    return [
        (
            each.direction.name,
            each.type if each.type is not None else name_of(each.content).type,
            each.response_status,
        )
        for each in listed
    ]


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ("settle", [TRANSFER, STATUS]),
        ("reject", [TRANSFER, STATUS]),
        ("settle_by_callback", [TRANSFER, ACCEPTED, UNASKED]),
        ("lost_answer", [TRANSFER, ENQUIRY, STATUS]),
    ],
)
async def test_every_message_is_kept(world, scenario, expected) -> None:
    settlement = await world.settle(scenario)
    await world.state(settlement, "completed", "rolled_back")
    found = await messages_of(world, settlement)
    # How often the bank is asked before it says the end, and what it then answers, depends on the machine.
    first_of_each = [each for number, each in enumerate(found) if each not in found[:number]]
    waits = scenario == "settle_by_callback"
    asked = {ENQUIRY, STATUS} if waits else set()
    assert [each for each in first_of_each if each not in asked] == expected


async def test_a_repeated_transmission_is_kept_with_its_mark(world) -> None:
    settlement = await world.settle("lost_request")
    assert await world.state(settlement, "completed") == "completed"
    listed = await world.engine_world.messages.messages_of(settlement.id, 1_000)
    first, *others = [each for each in listed if each.direction is MessageDirection.OUT]
    [again] = [each for each in others if each.type == "pacs.009.001.08"]
    head = opened(again.content).head
    assert head is not None
    assert head.is_possible_duplicate
    assert opened(again.content).content == opened(first.content).content
    assert first.message_id == again.message_id


async def test_a_response_that_says_nothing_is_kept_as_well(world) -> None:
    settlement = await world.settle("wrong_reference")
    assert await world.state(settlement, "completed") == "completed"
    assert (await messages_of(world, settlement))[:2] == [TRANSFER, STATUS]


@pytest.mark.parametrize(("scenario", "state", "end"), RECALLS)
async def test_a_recall_ends_in_a_return_or_a_refusal(world, scenario, state, end) -> None:
    """The bank promises first, and its pacs.004 is the money; a refusal leaves everything as it is."""
    settlement = await world.settle(scenario)
    assert await world.state(settlement, "completed") == "completed"
    engine_world = world.engine_world
    before = (await engine_world.nostro(FROM)).posted
    await engine_world.recaller.request(settlement.id, "ada", "paid twice")

    async def reached() -> bool:
        recall = await engine_world.recalls.recall(settlement.id)
        return recall.state is state

    await until(reached)
    assert await world.state(settlement, end) == end
    returned = 100 if end == "returned" else 0
    assert (await engine_world.nostro(FROM)).posted == before + returned
    recall = await engine_world.recalls.recall(settlement.id)
    if state is RecallState.REFUSED:
        assert recall.steps[-1].detail["code"]
    assert ("OUT", "camt.056.001.08", 0) in await messages_of(world, settlement)
    assert not engine_world.records.histories[settlement.id].is_frozen


async def test_nothing_is_released_while_the_bank_is_silent(world) -> None:
    settlement = await world.settle("silent_for_a_day", wait_seconds=0.1)
    assert await world.state(settlement, "in_doubt") == "in_doubt"
    assert await world.held() == 100
    await world.bank.service.advance(2 * 86_400_000)
    assert await world.state(settlement, "completed") == "completed"
    (line,) = await world.bank.ledger()
    assert line.times_debited == 1


async def test_another_amount_than_was_sent_posts_nothing(world) -> None:
    settlement = await world.settle("other_amount", wait_seconds=1)
    assert await world.state(settlement, "sent") == "sent"
    assert await world.held() == 100
    (line,) = await world.bank.ledger()
    assert (line.amount, line.debited_amount) == ("1.00", "0.99")


async def test_money_that_comes_back_later_is_booked(world) -> None:
    settlement = await world.settle("late_return")
    assert await world.state(settlement, "returned") == "returned"
    (line,) = await world.bank.ledger()
    assert (line.times_debited, line.state) == (1, "returned")


async def test_nothing_that_never_left_is_in_doubt(world) -> None:
    """The bank's port is shut: every sending is proved undelivered, and is tried again."""
    await world.bank._server.stop()
    settlement = await world.settle("settle", wait_seconds=0.5)
    assert set(await world.engine_world.history(settlement)) <= {"pending", "validating", "locked"}
    assert await world.held() == 100
    port = int(world.bank.endpoint.rpartition(":")[2])
    await world.bank._server.listen("127.0.0.1", port)
    assert await world.state(settlement, "completed") == "completed"
    (line,) = await world.bank.ledger()
    assert (line.times_received, line.times_debited) == (1, 1)


async def test_a_statement_is_fetched_from_the_bank_and_imported(world) -> None:
    settlement = await world.settle("settle")
    await world.state(settlement, "completed")
    store = MemoryStatements(world.engine_world.records)
    importer = StatementImport(store)
    fetch = StatementFetch(store, importer, {"swift": world.rail}, RealClock())
    today = datetime.now(UTC).date()
    found = {each.bank: each for each in await fetch.fetch("", today, "ada")}
    assert found[FROM].outcome is FetchOutcome.FETCHED
    [statement] = found[FROM].statements
    assert (statement.outcome, statement.entries, statement.source) == ("IMPORTED", 1, "camt.053")
    assert found[TO].outcome is FetchOutcome.NOT_GIVEN
    assert "no such account" in found[TO].reason
    kept = await store.statement(statement.id, entries_max=10)
    assert kept is not None
    assert kept.entries[0].references.instruction == settlement.id.hex
    [again] = await fetch.fetch(FROM, today, "ada")
    assert [each.outcome for each in again.statements] == ["ALREADY_IMPORTED"]
    await world.bank.close()
    [lost] = await fetch.fetch(FROM, today, "ada")
    assert lost.outcome is FetchOutcome.NOT_REACHED


async def test_balances_are_compared_over_the_rail_and_a_wrong_one_is_told(world) -> None:
    settlement = await world.settle("settle")
    await world.state(settlement, "completed")
    records, bank = world.engine_world.records, world.bank.service
    await bank.open_account(AccountGiven(bank=FROM, currency="EUR", opening="1000.00"))
    fetch = BalanceFetch(MemoryStatements(records), {"swift": world.rail}, RealClock())
    reconciliation = Reconciliation(
        MemoryReconciliation(records, MemoryAccounts(records, CountedIds())), balances=fetch
    )

    async def compared() -> dict[str, AccountResult]:
        run = ReconciliationRun(
            id=uuid4(), started_for=StartedFor.DEMAND, who="ada", rules_version=""
        )
        return {each.bank: each for each in await reconciliation.reconcile(run)}

    found = (await compared())[FROM]
    assert found.outcome is AccountOutcome.COMPARED
    assert found.comparison is not None
    assert found.comparison.their_minor == found.comparison.our_minor == FUNDS - 100
    assert found.comparison.source == "swift"
    assert (await compared())[
        TO
    ].outcome is AccountOutcome.PENDING  # the bank keeps no such account
    bank._bank.script = msgspec.structs.replace(bank.script, balances_off_minor={FROM: -7})
    wrong = (await compared())[FROM]
    assert (wrong.outcome, wrong.discrepancy_minor) == (AccountOutcome.UNRESOLVED, -7)
    await world.bank.close()
    assert (await compared())[FROM].outcome is AccountOutcome.PENDING
