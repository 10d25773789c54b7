"""A payment that was altered in the database between the lock and the takeover never leaves.

The guards refuse the UPDATE; here they are switched off, as only the tables' owner can who means it.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from settlement_engine.domain.exceptions import CaseKind, Severity
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.engine.case_worker import EngineCases
from settlement_engine.engine.service import SettlementService
from settlement_engine.engine.settings import EngineSettings
from settlement_engine.ports import CaseFilter
from tests.support.histories import funding, spec
from tests.support.stores import CountedIds, PostgresStores
from tests.support.waiting import until
from tests.unit.engine.engine_world import (
    SETTINGS,
    RealClock,
    ScriptedRail,
    ScriptedScreening,
    Tally,
    payment_request,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TIMEOUT_SECONDS = 20.0

ALTERED = {
    "another bank and amount": (
        "UPDATE attempts SET payload = replace(replace(convert_from(payload, 'UTF8'), 'BBB', 'EVIL'),"
        " E'\\t100\\t', E'\\t9900\\t')::bytea"
    ),
    "one byte": "UPDATE attempts SET payload = payload || ' '::bytea",
    "bytes and instruction, alike": (
        "UPDATE attempts SET payload = replace(convert_from(payload, 'UTF8'), 'BBB', 'EVIL')::bytea;"
        "UPDATE settlement_transactions SET to_bank = 'EVIL'"
    ),
    "all but the move": (
        "UPDATE attempts SET payload = replace(convert_from(payload, 'UTF8'), 'BBB', 'EVIL')::bytea,"
        " target_id = source_id;"
        r"UPDATE settlement_transactions SET to_bank = 'EVIL', content_hash = '\x00'"
    ),
    "the key": "UPDATE settlement_transactions SET idempotency_key = 'another'",
    "a second attempt": (
        "INSERT INTO attempts SELECT settlement_id, 2, rail, source_id, agent_id, clearing_id, target_id,"
        " uetr, 'E2', message_id, payload, valid_until, 1, 0, now() FROM attempts;"
        "UPDATE settlement_transactions SET attempt = 2"
    ),
    "the references": "UPDATE attempts SET end_to_end_id = 'E2', uetr = gen_random_uuid()",
    "the account that is credited": "UPDATE attempts SET target_id = source_id",
    "the rail": "UPDATE attempts SET rail = 'elsewhere'",
}


def engine(stores: PostgresStores, rail: ScriptedRail) -> SettlementService:
    settings = EngineSettings(**(SETTINGS | {"lease_seconds": 5.0}))
    rails: dict[str, Any] = {"scripted": rail}
    return SettlementService(
        settings,
        store=stores.settlements,
        accounts=stores.accounts,
        stream=stores.stream,
        registry=stores.registry,
        rails=rails,
        screening=ScriptedScreening(),
        inbound=stores.inbound,
        clock=RealClock(),
        ids=CountedIds(),
        chance=random.Random(1),
        meter=Tally(),
        case_management=EngineCases(settings, stores.cases, stores.resolutions, rails),
    )


@asynccontextmanager
async def running(stores: PostgresStores, rail: ScriptedRail) -> AsyncIterator[SettlementService]:
    made = engine(stores, rail)
    await made.join()
    task = asyncio.get_running_loop().create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def sent_and_left(stores: PostgresStores) -> Any:
    """Send a payment from an engine that dies before it hears of it."""
    for kind, bank in ((AccountKind.NOSTRO, "AAA"), (AccountKind.VOSTRO, "BBB")):
        await stores.accounts.open_account(spec(kind, bank))
    await stores.accounts.fund(funding(10_000, bank="AAA"))
    rail = ScriptedRail()
    rail.answer_delay_seconds = TIMEOUT_SECONDS
    async with running(stores, rail) as first:
        [accepted] = await first.submit([payment_request()])
        assert not isinstance(accepted, Exception)
        await until(lambda: rail.asked)
    return accepted.id


@pytest.mark.parametrize("what", ALTERED)
async def test_an_altered_payment_is_not_sent_after_a_takeover(database_url, what):
    stores, others = PostgresStores(database_url), PostgresStores(database_url)
    settlement_id = await sent_and_left(stores)
    await stores.close()
    connection = await asyncpg.connect(database_url)
    for table in ("attempts", "settlement_transactions"):
        await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
    await connection.execute(ALTERED[what])
    rail = ScriptedRail()
    rail.enquiries.extend([Event.NOT_FOUND] * 10_000)
    wanted = CaseFilter(kinds=frozenset({CaseKind.ALTERED_PAYMENT}))
    async with running(others, rail) as second:
        await until(lambda: others.cases.cases(wanted))
        # Another payment is settled meanwhile, so that the engine had the time to send this one too.
        other = await second.settle(payment_request("k2"), TIMEOUT_SECONDS)
        assert other.state is State.COMPLETED
    [case] = await others.cases.cases(wanted)
    assert (case.settlement_id, case.severity) == (settlement_id, Severity.CRITICAL)
    assert [word for word, _, _ in rail.asked].count("send") == 1, "only the other one was sent"
    found = (await others.settlements.load([settlement_id]))[settlement_id]
    assert (found.state, found.is_frozen) == (State.IN_DOUBT, True)
    outcome = await connection.fetchval("SELECT outcome FROM fund_locks")
    assert outcome is None, "nobody's money is released"
    await connection.close()
    await others.close()


async def test_an_unaltered_payment_is_sent_again(database_url):
    stores, others = PostgresStores(database_url), PostgresStores(database_url)
    settlement_id = await sent_and_left(stores)
    await stores.close()
    rail = ScriptedRail()
    rail.enquiries.append(Event.NOT_FOUND)
    async with running(others, rail) as second:
        ended = await second.wait(settlement_id, TIMEOUT_SECONDS)
    assert ended.state is State.COMPLETED
    assert "send" in [word for word, _, _ in rail.asked]
    await others.close()
