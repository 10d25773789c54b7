"""The desk's tables refuse by themselves what the engine must never write."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import pytest_asyncio

from settlement_engine.domain.exceptions import Finding, MatterKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.ports import DoubtLimit, ProposalSpec
from tests.support.lives import Scene
from tests.support.stores import PostgresStores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.databases import Databases

pytestmark = pytest.mark.asyncio(loop_scope="module")

AT_ONCE = [DoubtLimit(rail="", in_doubt_seconds=0.0, overdue_seconds=0.0)]
EVIDENCE = b"<Document/>"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stores(databases: Databases) -> AsyncIterator[PostgresStores]:
    made = PostgresStores(await databases.migrated())
    yield made
    assert await made.differences() == []
    await made.close()
    await databases.drop(made.url)


@pytest_asyncio.fixture(loop_scope="module")
async def scene(stores: PostgresStores) -> Scene:
    return await Scene.open(stores)


@pytest_asyncio.fixture(loop_scope="module")
async def connection(stores: PostgresStores) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A superuser's connection: what stops it stops everybody."""
    made = await asyncpg.connect(stores.url)
    yield made
    await made.close()


async def proposed(scene: Scene, who: str = "ada") -> Any:
    settlement = await scene.bring(State.IN_DOUBT)
    spec = ProposalSpec(
        settlement_id=settlement.id,
        finding=Finding.SETTLED,
        reason="entry 12",
        evidence_name="camt.xml",
        evidence=EVIDENCE,
        who=who,
        valid_seconds=60.0,
    )
    return await scene.stores.resolutions.propose(spec)


@pytest.mark.parametrize("who", ["ada", "ADA", "Ada"])
async def test_nobody_approves_alone_whoever_writes_it(scene, connection, who):
    proposal = await proposed(scene)
    with pytest.raises(asyncpg.CheckViolationError, match="approved_by_another"):
        await connection.execute(
            "UPDATE resolutions SET decision = 'approved', decided_by = $2,"
            " decided_at = clock_timestamp() WHERE id = $1",
            proposal.id,
            who,
        )


async def test_nothing_is_approved_after_its_time(scene, connection):
    proposal = await proposed(scene)
    with pytest.raises(asyncpg.CheckViolationError, match="approved_in_time"):
        await connection.execute(
            "UPDATE resolutions SET decision = 'approved', decided_by = 'grace',"
            " decided_at = expires_at WHERE id = $1",
            proposal.id,
        )


async def test_evidence_is_what_its_hash_says(scene, connection):
    proposal = await proposed(scene)
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute(
            "UPDATE resolutions SET evidence = 'other' WHERE id = $1", proposal.id
        )
    row = await connection.fetchrow("SELECT * FROM resolutions WHERE id = $1", proposal.id)
    assert bytes(row["evidence_sha256"]) == hashlib.sha256(EVIDENCE).digest()


@pytest.mark.parametrize(
    "change",
    [
        "reason = 'another'",
        "finding = 'not_settled'",
        "proposed_by = 'mallory'",
        "expires_at = expires_at + interval '1 day'",
        "content_sha256 = sha256('x')",
        "evidence = 'x', evidence_sha256 = sha256('x')",
    ],
)
async def test_what_was_proposed_is_never_edited(scene, connection, change):
    proposal = await proposed(scene)
    with pytest.raises(asyncpg.PostgresError, match="append-only"):
        await connection.execute(f"UPDATE resolutions SET {change} WHERE id = {proposal.id}")


async def test_what_was_decided_is_decided_once(scene, connection):
    proposal = await proposed(scene)
    await scene.stores.resolutions.approve(proposal.id, "grace", proposal.content_sha256)
    for change in ("decision = 'declined'", "decided_by = 'edsger'", "decided_at = now()"):
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await connection.execute(f"UPDATE resolutions SET {change} WHERE id = {proposal.id}")


async def test_one_proposal_of_a_settlement_is_alive(scene, connection):
    proposal = await proposed(scene)
    with pytest.raises(asyncpg.UniqueViolationError, match="one_resolution_at_a_time"):
        await connection.execute(
            "INSERT INTO resolutions (settlement_id, finding, reason, evidence_name, evidence,"
            " evidence_sha256, content_sha256, proposed_by, proposed_at, expires_at, state, sends)"
            " SELECT settlement_id, finding, 'x', evidence_name, evidence, evidence_sha256,"
            " content_sha256, 'x', proposed_at, expires_at, state, sends FROM resolutions WHERE id = $1",
            proposal.id,
        )


@pytest.mark.parametrize("table", ["resolutions", "exceptions"])
async def test_nothing_of_the_desk_is_deleted(scene, connection, table):
    await proposed(scene)
    await scene.stores.matters.open_doubts(AT_ONCE, 1_000)
    for statement in (f"DELETE FROM {table}", f"TRUNCATE {table}"):
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await connection.execute(statement)


async def test_money_in_suspense_is_never_closed_alone(scene, connection):
    settlement = await scene.bring(State.IN_DOUBT)
    settlement = await scene.move(settlement, Event.ATTESTED_SETTLED)
    await scene.move(settlement, Event.DISPROVED)
    number = await connection.fetchval(
        "SELECT id FROM exceptions WHERE settlement_id = $1", settlement.id
    )
    closing = (
        "UPDATE exceptions SET closed_at = now(), closed_by = $2, close_reason = 'x' WHERE id = $1"
    )
    with pytest.raises(asyncpg.CheckViolationError, match="suspense_needs_four_eyes"):
        await connection.execute(closing, number, "ada")
    await scene.stores.matters.acknowledge(number, "ada")
    with pytest.raises(asyncpg.CheckViolationError, match="suspense_needs_four_eyes"):
        await connection.execute(closing, number, "Ada")
    await connection.execute(closing, number, "grace")
    for change in ("closed_by = 'edsger'", "closed_at = NULL", "acknowledged_by = 'x'"):
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await connection.execute(f"UPDATE exceptions SET {change} WHERE id = {number}")


async def test_what_was_found_is_not_rewritten(scene, connection):
    await scene.bring(State.IN_DOUBT)
    await scene.stores.matters.open_doubts(AT_ONCE, 1_000)
    for change in ("detail = '{}'", "kind = 'contradiction'", "opened_at = now()"):
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await connection.execute(f"UPDATE exceptions SET {change}")


async def test_every_kind_of_matter_is_one_that_the_table_takes(connection):
    text = await connection.fetchval(
        "SELECT string_agg(pg_get_constraintdef(oid), ' ') FROM pg_constraint"
        " WHERE conrelid = 'exceptions'::regclass AND conname LIKE 'exceptions_kind%'"
    )
    assert all(f"'{kind.value}'" in text for kind in MatterKind)
