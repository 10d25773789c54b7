"""What the database itself refuses of decisions about statements: also to a superuser, and in replica mode."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.contract.test_store_reconciliation import FUNDED, Books
from tests.contract.test_store_statement_decisions import ASIDE, RESTORE, approve, change, propose
from tests.support.bank_statements import Booked, debit, take
from tests.support.stores import PostgresStores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DECIDE = (
    "INSERT INTO statement_decisions (proposal_id, decision, decided_by, role, signed_sha256)"
    " VALUES ($1, 'approved', $2, 'lead', $3)"
)
NAME = "INSERT INTO statement_proposal_statements (proposal_id, statement_id) VALUES ($1, $2)"
TABLES = ("statement_proposals", "statement_proposal_statements", "statement_decisions")


@pytest.fixture
async def stores(database_url: str) -> AsyncIterator[PostgresStores]:
    made = PostgresStores(database_url)
    yield made
    await made.close()


@pytest.fixture
async def connection(stores: PostgresStores) -> AsyncIterator[asyncpg.Connection]:
    made = await asyncpg.connect(stores.url)
    yield made
    await made.close()


async def kept(stores: PostgresStores) -> list[int]:
    """Two kept statements of one account."""
    books = await Books.open(stores)
    first = await books.day(FUNDED)
    found = await take(stores, first, first.next(Booked(minor=-1)))
    return [each.id for each in found]


async def refused(connection: asyncpg.Connection, statement: str, *values: object) -> str:
    with pytest.raises(asyncpg.PostgresError) as error:
        await connection.execute(statement, *values)
    return str(getattr(error.value, "constraint_name", "") or error.value.sqlstate)


@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_the_guards_hold_for_everybody(stores, connection, role):
    one, other = await kept(stores)
    [foreign, _] = await kept(stores)
    proposal = await propose(stores, one)
    number, signed = proposal.id, proposal.content_sha256
    await connection.execute(f"SET session_replication_role = {role}")

    # Two people, who sign what was proposed.
    for who, content in (("ada", signed), ("ADA", signed), ("Ada/", signed), ("ben", b"x" * 32)):
        found = await refused(connection, DECIDE, number, who, content)
        assert found == "two_people_decide_on_a_statement"

    # A proposal names kept statements of its account, and none more once it is decided.
    assert await refused(connection, NAME, number, foreign) == "proposals_name_kept_statements"
    assert await refused(connection, NAME, number, 10**9) == "proposals_name_kept_statements"
    await approve(stores, proposal)
    assert await refused(connection, NAME, number, other) == "proposals_name_kept_statements"

    # Nobody else says what counts.
    insert = "INSERT INTO set_aside_statements SELECT $1, account_id, decision_id FROM set_aside_statements"
    assert await refused(connection, insert, other) == "set_aside_follows_decisions"
    for act in (
        "DELETE FROM set_aside_statements",
        "UPDATE set_aside_statements SET account_id = 1",
    ):
        assert await refused(connection, act) == "set_aside_follows_decisions"
    assert await refused(connection, "TRUNCATE set_aside_statements")

    # What was written is never changed.
    for table in TABLES:
        for act in (f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
            assert await refused(connection, act), act
    assert await refused(connection, "UPDATE statement_proposals SET reason = 'x'")
    assert await refused(connection, "UPDATE statement_decisions SET decided_at = now()")
    assert await stores.differences() == []


async def test_an_approval_that_changes_nothing_is_refused(stores, connection):
    """Two proposals about one statement cannot both be carried out, whatever an engine has checked."""
    [one, _] = await kept(stores)
    first = await propose(stores, one)
    await connection.execute(
        "WITH p AS (INSERT INTO statement_proposals"
        " (account_id, change, reason, proposed_by, content_sha256, expires_at)"
        " SELECT account_id, change, 'again', 'cleo', content_sha256, expires_at"
        " FROM statement_proposals WHERE id = $1 RETURNING id)"
        " INSERT INTO statement_proposal_statements SELECT p.id, $2 FROM p",
        first.id,
        one,
    )
    second = await connection.fetchval("SELECT max(id) FROM statement_proposals")
    await approve(stores, first)
    found = await refused(connection, DECIDE, second, "ben", first.content_sha256)
    assert found == "decisions_change_statements"
    # The made-up proposal has no fingerprint of its own, and nothing else is wrong.
    wrong = {each.check for each in (await stores.auditor.prove()).differences}
    assert wrong == {"statement_proposals_have_their_hash"}


async def test_an_approval_of_nothing_and_a_late_one_are_refused(stores, connection):
    [one, _] = await kept(stores)
    known = await propose(stores, one)
    empty = await connection.fetchval(
        "INSERT INTO statement_proposals (account_id, change, reason, proposed_by, content_sha256, expires_at)"
        " SELECT account_id, change, 'x', 'ada', content_sha256, expires_at"
        " FROM statement_proposals WHERE id = $1 RETURNING id",
        known.id,
    )
    found = await refused(connection, DECIDE, empty, "ben", known.content_sha256)
    assert found == "two_people_decide_on_a_statement"
    late = (
        "INSERT INTO statement_decisions (proposal_id, decision, decided_by, role, signed_sha256, decided_at)"
        " SELECT id, 'approved', 'ben', 'lead', content_sha256, expires_at FROM statement_proposals"
        " WHERE id = $1"
    )
    assert await refused(connection, late, known.id) == "two_people_decide_on_a_statement"


async def test_the_books_are_proved_between_a_decision_and_the_run_after_it(stores):
    """The proofs are made again by the decisions of which they know."""
    books = await Books.open(stores)
    [paid] = await books.settled(100)
    day = await books.day(FUNDED, debit(paid))
    found = await take(stores, day, day.next(Booked(minor=-1)))
    one, other = (each.id for each in found)
    await books.reconcile()
    for to, numbers in ((ASIDE, [other]), (ASIDE, [one]), (RESTORE, [one, other])):
        await change(stores, *numbers, to=to)
        assert not (await stores.auditor.prove()).differences
        await books.reconcile()
        assert not (await stores.auditor.prove()).differences


async def test_two_engines_that_approve_at_once_decide_once(stores):
    """The lock of the account's statements lets one go first; the other one finds it decided."""
    [one, _] = await kept(stores)
    proposal = await propose(stores, one)
    beside = stores.beside()
    try:
        results = await asyncio.gather(
            approve(stores, proposal), approve(beside, proposal), return_exceptions=True
        )
    finally:
        await beside.close()
    assert all(not isinstance(each, BaseException) for each in results), results
    assert len({each.decided_at for each in results}) == 1  # type: ignore[union-attr]
    assert await stores.differences() == []
