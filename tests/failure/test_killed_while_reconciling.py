"""A reconciliation that is killed at any statement and run again ends as one that was never killed."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from settlement_engine.domain.lifecycle import State
from tests.support.bank_statements import BankDay, Booked, debit, take
from tests.support.histories import Scene
from tests.support.stores import PostgresStores

if TYPE_CHECKING:
    from tests.support.databases import Databases

KILLS = 8
SEED = 16
PROCESS_SECONDS = 60.0

RESULTS = {
    "matches": "SELECT m.account_id, m.matched_by, m.settled_on, ARRAY(SELECT p.group_id || '/' || p.leg FROM"
    " match_postings AS p WHERE p.match_id = m.id ORDER BY 1), ARRAY(SELECT e.statement_id || '/' ||"
    " e.entry_number FROM match_entries AS e WHERE e.match_id = m.id ORDER BY 1) FROM matches AS m",
    "open postings": "SELECT account_id, group_id, leg, amount_minor, keys FROM open_postings",
    "keys": "SELECT k.account_id, k.key, p.group_id FROM open_posting_keys AS k"
    " JOIN open_postings AS p ON p.id = k.posting_id",
    "open entries": "SELECT * FROM open_entries",
    "days": "SELECT * FROM reconciliation_days",
    "timing postings": "SELECT account_id, span, settled_on, group_id, posting, leg, booked_on FROM timing_postings",
    "timing entries": "SELECT account_id, span, settled_on, statement_id, entry_number, booked_on FROM timing_entries",
    "statements": "SELECT * FROM matched_statements",
    "breaks": "SELECT b.account_id, b.kind, b.amount_minor, b.fingerprint FROM breaks AS b"
    " JOIN open_breaks AS o ON o.break_id = b.id",
    "proofs": "SELECT DISTINCT ON (account_id, booking_date) account_id, booking_date, our_closing_minor,"
    " unmatched_theirs_minor, unmatched_ours_minor, opening_difference_minor, difference_minor,"
    " their_closing_minor, is_zero FROM proofs ORDER BY account_id, booking_date, id DESC",
    "suggestions": "SELECT account_id, fingerprint FROM match_suggestions",
    "accounts": "SELECT kind, bank, account_number, debits_posted, credits_posted, last_reconciled_at"
    " FROM accounts",
    "differences": "SELECT t.group_id, t.leg, t.amount_minor, d.bank, c.bank FROM transfers AS t"
    " JOIN accounts AS d ON d.id = t.debit_id JOIN accounts AS c ON c.id = t.credit_id WHERE t.leg > 13",
}


async def results(url: str) -> dict[str, list[Any]]:
    connection = await asyncpg.connect(url)
    try:
        return {
            name: sorted((tuple(row) for row in await connection.fetch(statement)), key=repr)
            for name, statement in RESULTS.items()
        }
    finally:
        await connection.close()


async def reconciled(url: str, last: int = 0) -> tuple[int, bytes]:
    """Run a process; return its exit code and its output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.reconcilekill", url, str(last)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), PROCESS_SECONDS)
    assert process.returncode is not None
    return process.returncode, out


async def copy_of(databases: Databases, url: str) -> str:
    name = urlsplit(url).path.removeprefix("/")
    copy = await databases.empty()
    await databases.drop(copy)
    administrator = await asyncpg.connect(databases.server.url("postgres"))
    try:
        target = urlsplit(copy).path.removeprefix("/")
        await administrator.execute(f"CREATE DATABASE {target} TEMPLATE {name}")
    finally:
        await administrator.close()
    return copy


async def made(databases: Databases) -> str:
    """Two accounts with two days each: matches, breaks of several kinds, differences that the rules close."""
    url = await databases.migrated()
    stores = PostgresStores(url)
    for _ in range(2):
        scene = await Scene.open(stores, funds_minor=10_000)
        paid = [await scene.bring(State.COMPLETED, minor=100 + n) for n in range(6)]
        account = await scene.source()
        charged = [debit(paid[1], minor=-251), debit(paid[2], minor=-101)]
        entries = [debit(paid[0]), *charged, debit(paid[0], servicer="AGAIN"), Booked(minor=-7)]
        first = BankDay(account=account, opening=10_000, entries=entries)
        second = first.next(*map(debit, paid[3:5]), Booked(minor=9, text="unknown"))
        await take(stores, first, second)
    await stores.close()
    return url


@pytest.mark.timeout(300)
async def test_a_killed_run_that_is_run_again_ends_as_one_that_was_never_killed(databases):
    template = await made(databases)
    never = await copy_of(databases, template)
    code, out = await reconciled(never)
    assert code == 0
    expected = await results(never)
    assert len(expected["matches"]) >= 8
    assert [minor for _, _, minor, *_ in expected["differences"]].count(150) == 2
    assert len(expected["differences"]) == 4
    assert {kind for _, kind, *_ in expected["breaks"]} >= {"UNKNOWN_DEBIT", "MISSING_THEIRS"}
    statements = int(out)
    points = random.Random(SEED).sample(range(3, statements + 1), KILLS)
    for last in sorted(points):
        url = await copy_of(databases, template)
        code, _ = await reconciled(url, last)
        assert code == -signal.SIGKILL, last
        code, _ = await reconciled(url)
        assert code == 0, last
        assert await results(url) == expected, f"killed before statement {last} of {statements}"
        await databases.drop(url)


@pytest.mark.timeout(300)
async def test_two_processes_at_once_end_as_one(databases):
    template = await made(databases)
    alone = await copy_of(databases, template)
    await reconciled(alone)
    together = await copy_of(databases, template)
    codes = [code for code, _ in await asyncio.gather(*(reconciled(together) for _ in range(2)))]
    assert 0 in codes  # the other one finds the run going on, or runs after it
    assert await results(together) == await results(alone)
