"""The proof detects changes that bypass the guards: each check is made to fail, alone or with others."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from msgspec.structs import replace

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.errors import InvariantViolated
from settlement_engine.ports import CoverResult
from settlement_engine.store.audit import DIFFERENCES_MAX, all_checks
from settlement_lab.memory.audit import CHECKS
from tests.support.histories import Scene
from tests.support.made_covers import new_cover
from tests.support.stores import MemoryStores, PostgresStores
from tests.support.tampering import TAMPERED
from tests.support.tampering_history import TAMPERED_HISTORY, TAMPERED_RECONCILED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from settlement_engine.domain.settlement import Settlement

GUARDED = (
    "moves",
    "transfers",
    "answers",
    "settlement_transactions",
    "fund_locks",
    "attempts",
    "accounts",
    "idempotent_calls",
    "returns",
    "payment_details",
    "balance_moments",
    "past_balances",
    "matches",
    *("break_decisions", "break_proposals", "breaks", "reconciliation_runs", "recall_steps"),
    *("covers", "cover_results"),
)

_HALF = len(TAMPERED) // 2
PARTS = {
    "accounts": dict(list(TAMPERED.items())[:_HALF]),
    "records": dict(list(TAMPERED.items())[_HALF:]),
    "history": TAMPERED_HISTORY,
}
"""Each part is a test of its own, so that none takes long on a busy machine."""


@pytest.fixture
async def scene(database_url: str) -> AsyncIterator[Scene]:
    """One settlement completed, one in progress, one sent twice and rejected, and one whose cover was refused."""
    stores = PostgresStores(database_url)
    made = await Scene.open(stores)
    doubted = await made.bring(State.IN_DOUBT)
    await made.move(await made.move(doubted, Event.NOT_FOUND), Event.REJECTED)
    await reject_with_its_cover(made)
    await made.bring(State.COMPLETED)
    sent = await made.bring(State.SENT)
    await made.move(sent, Event.NO_ANSWER, due_seconds=0.0)
    yield made
    await stores.close()


async def reject_with_its_cover(scene: Scene) -> Settlement:
    """Make a cover payment: its cover was sent twice, once undelivered, refused and repaired; then it was rejected."""
    settlement = await scene.bring(State.LOCKED)
    for _ in range(2):
        settlement = await scene.move(settlement, Event.COVER_DUE)
    of_cover: dict[str, Any] = {"settlement_id": settlement.id, "attempt": 1, "number": 1}
    await scene.stores.covers.note([CoverResult(**of_cover, undelivered=1)])
    await scene.stores.covers.note([CoverResult(**of_cover, code="AC04", text="closed")])
    assert await scene.stores.covers.order(new_cover(settlement, 2))
    return await scene.move(settlement, Event.REJECTED)


@pytest.mark.parametrize("changes", PARTS.values(), ids=PARTS)
async def test_each_check_notices_what_is_done_behind_the_guards(scene, changes):
    """One database for all: after each change the rows are put back as they were."""
    assert list((await scene.stores.auditor.prove()).differences) == []
    connection = await asyncpg.connect(scene.stores.url)
    try:
        await without_guards(connection)
        for what, (change, expected) in changes.items():
            kept = await keep(connection)
            await connection.execute(change)
            proof = await scene.stores.auditor.prove()
            assert {each.check for each in proof.differences} == expected, what
            assert all(each.expected != each.found for each in proof.differences), what
            assert all(each.subject for each in proof.differences), what
            await restore(connection, kept)
            assert await keep(connection) == kept, what
    finally:
        await connection.close()


OF_COVERS = {
    "the bytes of a cover were rewritten": lambda kept, key: kept.stored[key].__setitem__(
        0, replace(kept.stored[key][0], content=b"other")
    ),
    "a cover that was sent is missing": lambda kept, key: (
        kept.undelivered.clear(),
        kept.stored.pop(key),
    ),
    "a cover was refused before it was sent": lambda kept, key: kept.refused_at.update(
        {(*key, 1): kept.refused_at[*key, 1] - timedelta(hours=1)}
    ),
    "a cover was repaired that nobody had refused": lambda kept, _: kept.refused_at.clear(),
    "proofs that a cover has not left were made up": lambda kept, key: kept.undelivered[
        *key, 1
    ].update({2, 3}),
}
"""The same done to the store in memory, whose moves nothing can rewrite."""


@pytest.mark.parametrize("what", OF_COVERS)
async def test_the_store_in_memory_notices_what_is_done_to_covers(what):
    stores = MemoryStores()
    settlement = await reject_with_its_cover(await Scene.open(stores))
    assert await stores.differences() == []
    OF_COVERS[what](stores.records.covers, (settlement.id, 1))
    found = await stores.differences()
    assert {each.check for each in found} == {"covers_follow_history"}
    assert all(each.expected != each.found for each in found)


async def without_guards(connection):
    """Disable the guards, as only a superuser can."""
    for table in GUARDED:
        await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
    await connection.execute("ALTER TABLE accounts DROP CONSTRAINT no_overdraft")


KEPT = (*GUARDED, "open_settlements", "stream_head", "notice_head")


async def keep(connection):
    return {
        table: await connection.fetch(f"SELECT t.*::text AS row FROM {table} AS t ORDER BY 1")
        for table in KEPT
    }


async def restore(connection, kept):
    async with connection.transaction():
        for table, rows in kept.items():
            await connection.execute(f"DELETE FROM {table}")
            await connection.execute(
                f"INSERT INTO {table} OVERRIDING SYSTEM VALUE"
                f" SELECT (r::{table}).* FROM unnest($1::text[]) AS r",
                [row["row"] for row in rows],
            )


def test_every_check_is_made_to_fail():
    tampered = TAMPERED | TAMPERED_HISTORY | TAMPERED_RECONCILED
    noticed = {check for _, expected in tampered.values() for check in expected}
    assert noticed == set(all_checks())


def test_the_store_in_memory_knows_the_same_checks():
    assert list(CHECKS) == all_checks()


@pytest.mark.parametrize("event", [Event.SETTLED, Event.REJECTED])
async def test_a_payment_whose_hold_is_missing_is_not_ended(scene, event):
    """The state machine alone cannot know it: the hold may have been deleted despite the guards."""
    settlement = await scene.bring(State.LOCKED)
    connection = await asyncpg.connect(scene.stores.url)
    try:
        await without_guards(connection)
        await connection.execute("DELETE FROM fund_locks WHERE settlement_id = $1", settlement.id)
    finally:
        await connection.close()
    before = await scene.everything(settlement)
    with pytest.raises(InvariantViolated) as refused:
        await scene.apply(scene.step(settlement, event))
    assert "holds to resolve" in refused.value.why
    assert await scene.everything(settlement) == before


async def test_the_number_of_listed_differences_is_limited(scene):
    connection = await asyncpg.connect(scene.stores.url)
    try:
        await without_guards(connection)
        await connection.execute(
            "INSERT INTO fund_locks SELECT gen_random_uuid(), 1, 1, 'EUR', now(), now(), 'released'"
            " FROM generate_series(1, $1)",
            DIFFERENCES_MAX + 5,
        )
    finally:
        await connection.close()
    proof = await scene.stores.auditor.prove()
    found = [each for each in proof.differences if each.check == "locks_have_histories"]
    assert len(found) == DIFFERENCES_MAX
