"""The tables of case management refuse what the engine must never write."""

from __future__ import annotations

import asyncio
import hashlib
import random
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import pytest_asyncio

from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.identity import person_of
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.proposals import Finding
from settlement_engine.ports import DoubtLimit, ProposalSpec, Result
from tests.support.histories import Scene
from tests.support.stores import PostgresStores
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.ports import TransitionCommand
    from tests.support.databases import Databases

pytestmark = pytest.mark.asyncio(loop_scope="module")

AT_ONCE = [DoubtLimit(rail="", in_doubt_seconds=0.0, overdue_seconds=0.0)]
EVIDENCE = b"<Document/>"
TIMEOUT_SECONDS = 30.0
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    " AND datname = current_database()"
)


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
    """A superuser's connection: what stops a superuser stops everybody."""
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


ALICE = "spiffe://bank/alice"
SPELLINGS = [ALICE, "spiffe://bank/alice/", "SPIFFE://Bank/alice//", "spiffe://bank/%61lice"]


@pytest.mark.parametrize(
    ("proposer", "who"),
    [("ada", who) for who in ("ada", "ADA", "Ada")] + [(ALICE, who) for who in SPELLINGS],
)
async def test_the_database_refuses_approval_by_the_proposer(scene, connection, proposer, who):
    proposal = await proposed(scene, proposer)
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


async def test_evidence_must_match_its_hash(scene, connection):
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
async def test_a_proposal_is_never_edited(scene, connection, change):
    proposal = await proposed(scene)
    with pytest.raises(asyncpg.PostgresError, match="append-only"):
        await connection.execute(f"UPDATE resolutions SET {change} WHERE id = {proposal.id}")


async def test_a_decision_cannot_be_changed(scene, connection):
    proposal = await proposed(scene)
    await scene.stores.resolutions.approve(proposal.id, "grace", proposal.content_sha256)
    for change in ("decision = 'declined'", "decided_by = 'edsger'", "decided_at = now()"):
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await connection.execute(f"UPDATE resolutions SET {change} WHERE id = {proposal.id}")


async def test_a_settlement_has_one_open_proposal(scene, connection):
    proposal = await proposed(scene)
    with pytest.raises(asyncpg.UniqueViolationError, match="one_resolution_at_a_time"):
        await connection.execute(
            "INSERT INTO resolutions (settlement_id, finding, reason, evidence_name, evidence,"
            " evidence_sha256, content_sha256, proposed_by, proposed_at, expires_at, state, sends)"
            " SELECT settlement_id, finding, 'x', evidence_name, evidence, evidence_sha256,"
            " content_sha256, 'x', proposed_at, expires_at, state, sends FROM resolutions WHERE id = $1",
            proposal.id,
        )


async def test_the_database_reduces_names_as_the_engine_does(connection):
    """Including every byte in percent-encoding, and random names."""
    chance = random.Random(1)
    odd = "%%%%//::aAzZ09.@?#_~ fFéİ\n\\\t"
    names = [
        *SPELLINGS,
        *(f"a%{byte:02x}%{byte:02X}b" for byte in range(256)),
        *("".join(chance.choices(odd, k=chance.randrange(16))) for _ in range(2_000)),
    ]
    found = await connection.fetch(
        "SELECT person_of(name) AS person FROM unnest($1::text[]) WITH ORDINALITY AS x (name, place)"
        " ORDER BY place",
        names,
    )
    assert [row["person"] for row in found] == [person_of(name) for name in names]


@pytest.mark.parametrize("table", ["resolutions", "exceptions"])
async def test_cases_and_proposals_cannot_be_deleted(scene, connection, table):
    await proposed(scene)
    await scene.stores.cases.open_doubts(AT_ONCE, 1_000)
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
    await scene.stores.cases.acknowledge(number, "ada")
    with pytest.raises(asyncpg.CheckViolationError, match="suspense_needs_four_eyes"):
        await connection.execute(closing, number, "Ada")
    with pytest.raises(asyncpg.CheckViolationError, match="suspense_needs_four_eyes"):
        await connection.execute(closing, number, "%61d%41/")
    await connection.execute(closing, number, "grace")
    for change in ("closed_by = 'edsger'", "closed_at = NULL", "acknowledged_by = 'x'"):
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await connection.execute(f"UPDATE exceptions SET {change} WHERE id = {number}")


async def test_a_returns_remainder_in_suspense_is_never_closed_by_one_person(scene, connection):
    settlement = await scene.bring(State.COMPLETED)
    await scene.move(settlement, Event.UNCOVERED)
    with pytest.raises(asyncpg.CheckViolationError, match="suspense_needs_four_eyes"):
        await connection.execute(
            "UPDATE exceptions SET closed_at = now(), closed_by = 'ada', close_reason = 'x'"
            " WHERE settlement_id = $1",
            settlement.id,
        )


async def test_a_case_is_never_rewritten(scene, connection):
    await scene.bring(State.IN_DOUBT)
    await scene.stores.cases.open_doubts(AT_ONCE, 1_000)
    for change in ("detail = '{}'", "kind = 'contradiction'", "opened_at = now()"):
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await connection.execute(f"UPDATE exceptions SET {change}")


async def test_who_looked_first_is_not_rewritten(scene, connection):
    settlement = await scene.bring(State.IN_DOUBT)
    await scene.stores.cases.open_doubts(AT_ONCE, 1_000)
    number = await connection.fetchval(
        "SELECT id FROM exceptions WHERE settlement_id = $1", settlement.id
    )
    await scene.stores.cases.acknowledge(number, "ada")
    nobody = "acknowledged_at = NULL, acknowledged_by = NULL"
    for change in ("acknowledged_by = 'grace'", "acknowledged_at = now()", nobody):
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await connection.execute(f"UPDATE exceptions SET {change} WHERE id = {number}")


async def test_a_resolution_that_has_ended_ends_no_second_time(scene, connection):
    proposal = await proposed(scene)
    await scene.stores.resolutions.approve(proposal.id, "grace", proposal.content_sha256)
    settlement = (await scene.stores.settlements.load([proposal.settlement_id])).popitem()[1]
    await scene.move(settlement, Event.ATTESTED_SETTLED)
    await scene.stores.cases.close_ended(1_000)
    reopened = "finished_at = NULL, ending = NULL"
    for change in ("ending = 'overtaken'", "finished_at = now()", reopened):
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await connection.execute(f"UPDATE resolutions SET {change} WHERE id = {proposal.id}")


async def test_two_concurrent_reports_after_the_end_are_one_transition_without_error(
    scene, connection
):
    """The second one has to retry: the row is locked while the report is judged."""
    settlement = await scene.bring(State.COMPLETED)
    beside = [scene.stores.beside() for _ in range(2)]
    watching = await asyncpg.connect(scene.stores.url)
    async with asyncio.TaskGroup() as group, connection.transaction():
        await connection.execute(
            "SELECT 1 FROM settlement_transactions WHERE id = $1 FOR UPDATE", settlement.id
        )
        tasks = [
            group.create_task(each.settlements.apply([step], scene.engine_id))
            for each, step in zip(beside, _words(scene, settlement), strict=True)
        ]

        async def are_waiting() -> bool:
            return bool(await watching.fetchval(WAITING) >= len(tasks))

        await until(are_waiting)
    await watching.close()
    found = sorted(outcome.result for task in tasks for outcome in task.result())
    assert found == sorted([Result.APPLIED, Result.STALE])


def _words(scene: Scene, settlement: Settlement) -> list[TransitionCommand]:
    said = ("rejected", "recalled")
    return [scene.step(settlement, Event.CONTRADICTED, detail={"said": word}) for word in said]


async def test_approvals_locked_by_another_engine_are_skipped(scene, connection):
    proposal = await proposed(scene)
    await scene.stores.resolutions.approve(proposal.id, "grace", proposal.content_sha256)
    async with connection.transaction(), asyncio.timeout(TIMEOUT_SECONDS):
        await connection.execute("SELECT 1 FROM resolutions FOR UPDATE")
        assert await scene.stores.resolutions.take_up(0.0, 1_000) == []
    taken = await scene.stores.resolutions.take_up(0.0, 1_000)
    assert proposal.id in [each.id for each in taken]


async def test_only_a_payment_that_we_do_not_know_has_no_settlement(connection):
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute(
            "INSERT INTO exceptions (kind, fingerprint, detail, opened_at)"
            " VALUES ('contradiction', 'x', '{}', now())"
        )


async def test_the_table_accepts_every_kind_of_case(connection):
    text = await connection.fetchval(
        "SELECT string_agg(pg_get_constraintdef(oid), ' ') FROM pg_constraint"
        " WHERE conrelid = 'exceptions'::regclass AND conname LIKE 'exceptions_kind%'"
    )
    assert all(f"'{kind.value}'" in text for kind in CaseKind)
