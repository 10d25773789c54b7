"""What must hold at the end of a soak, whatever happened: the twenty invariants, and the bank's ledger.

Each check uses external sources: the tables, the bank's file, JetStream, the consumer's effects and the
callers' responses. Invariants that this version does not have yet are listed, not omitted.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import asyncpg
import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from settlement_engine.domain.lifecycle import STATUS, State
from settlement_engine.rails.mock_book import MockBook
from settlement_engine.rails.scripts import LATE_REJECTION
from settlement_engine.store.audit import PostgresAuditor
from settlement_engine.store.database import DatabaseSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.soak_consumer import Consumer
    from tests.support.soak_installation import Installation
    from tests.support.soak_load import Load

STREAM = "settlement-events"
FETCH = 1_000
FETCH_SECONDS = 10.0
ANNOUNCED_SECONDS_MAX = 120.0
LIES_RARELY = 2_000
"""Of so many settlements, for one only the second report of a self-contradicting bank may be recorded."""

LIES = """
    SELECT settlement_id::text AS id FROM moves
    WHERE settlement_id = ANY ($1::text[]::uuid[]) AND from_state <> to_state
        AND to_state = 'rolled_back' AND event = 'rejected' AND detail->>'text' = $2
"""
CATCH_UP_SECONDS_MAX = 1_200.0
"""A consumer that was often killed may have much to catch up with; making no progress is a failure."""
SHOWN_MAX = 10

PROVED_BY = {
    "I1 debits equal credits": ("conservation", "transfers_have_accounts"),
    "I2 balances are sums of transfers": ("balances",),
    "I3 no overdraft": ("no_overdraft",),
    "I4 what is held is the sum of open holds": ("held",),
    "I5 holds follow histories": (
        "locks_follow_histories",
        "locks_have_histories",
        "locks_have_accounts",
    ),
    "I6 completed means posted once": ("postings_follow_histories", "attempts_follow_histories"),
    "I9 moves are in the transition table, final states are final": (
        "histories_are_whole",
        "open_are_open",
    ),
    "I12 the stream of moves is gapless": ("stream_is_whole",),
}
"""The checks of ``prove`` that belong to an invariant; some invariants have a further check."""

LOOKS = {
    "I7 rolled back means evidence": """
        SELECT settlement_id::text AS subject FROM moves WHERE to_state = 'rolled_back'
        AND from_state <> 'rolled_back'
        AND event NOT IN ('rejected', 'abandoned', 'recalled', 'attested_not_settled')
    """,
    "I9 moves are in the transition table, final states are final": """
        SELECT m.settlement_id || ' ' || m.from_state || ' ' || m.event AS subject FROM moves AS m
        LEFT JOIN page AS p ON p.from_state = m.from_state AND p.event = m.event::text
            AND p.to_state = m.to_state WHERE p.event IS NULL
    """,
    "I10 moves are numbered, in time": """
        SELECT settlement_id::text AS subject FROM (
            SELECT settlement_id, seq, at, position, lag(seq, 1, 0) OVER w AS seq_before,
                lag(at, 1, at) OVER w AS at_before, lag(position, 1, 0::bigint) OVER w AS place_before
            FROM moves WINDOW w AS (PARTITION BY settlement_id ORDER BY seq)
        ) AS x WHERE seq <> seq_before + 1 OR at < at_before OR position <= place_before
    """,
    "I11 epochs never go back": """
        SELECT settlement_id::text AS subject FROM (
            SELECT settlement_id, epoch, to_state, lag(epoch, 1, 0::bigint) OVER w AS before
            FROM moves WINDOW w AS (PARTITION BY settlement_id ORDER BY seq)
        ) AS x WHERE epoch < before AND epoch <> 0
    """,
    "I14 one key, one settlement": """
        SELECT key_hash::text AS subject FROM settlement_transactions
        GROUP BY key_hash HAVING count(*) > 1
    """,
    "I17 one payment for a settlement": """
        SELECT settlement_id::text AS subject FROM attempts GROUP BY settlement_id
        HAVING count(*) > 1
    """,
    "I18 money is whole numbers": """
        SELECT table_name || '.' || column_name AS subject FROM information_schema.columns
        WHERE table_schema = 'public' AND (column_name LIKE '%amount_minor' OR column_name IN
            ('debits_posted', 'credits_posted', 'held', 'credit_limit'))
            AND data_type <> 'bigint' AND NOT (data_type = 'numeric' AND numeric_scale = 0)
            AND domain_name IS DISTINCT FROM 'account_side' AND table_name IN
            (SELECT tablename FROM pg_tables WHERE schemaname = 'public')
    """,
    "I19 nothing waits for nobody": "SELECT settlement_id::text AS subject FROM open_settlements",
    "no failover has happened": "SELECT era || ' ' || step AS subject FROM openings WHERE era > 0",
}

NOT_YET = {
    "I15 the audit log is sealed": "this version seals no log yet",
    "I16 our books and the statements differ by the open items": "here is no bank that writes statements",
}

QUIET_SECONDS_MAX = 60.0
LOOK_SECONDS = 0.1


async def until_quiet(installation: Installation, seconds: float = QUIET_SECONDS_MAX) -> None:
    """Wait until everything that was accepted has ended."""
    deadline = time.monotonic() + seconds
    while True:
        installation.watch()
        connection = await installation.connect()
        try:
            left = await connection.fetchval("SELECT count(*) FROM open_settlements")
        finally:
            await connection.close()
        if not left:
            return
        assert time.monotonic() < deadline, f"{left} settlements have not ended"
        await asyncio.sleep(LOOK_SECONDS)


def bank_book(installation: Installation) -> dict[str, Any]:
    """Read the bank's ledger, by settlement."""
    book = MockBook(installation.book_file)
    book.open()
    try:
        entries = list(book.ledger(int(datetime.now(UTC).timestamp() * 1000)))
    finally:
        book.close()
    found = {entry["settlement_id"]: entry for entry in entries}
    assert len(found) == len(entries), "the bank knows a settlement under two references"
    return found


async def bank_differences(
    installation: Installation, accepted: Mapping[str, str] | None = None
) -> list[str]:
    """Compare the bank's ledger with our final states (I8): one debit for each completed, none for others.

    A bank that contradicts itself debits, reports it, and then reports a rejection. If only its second
    report was ever recorded (the first was on its way to a process that crashed), nobody can know better
    than the bank's own rejection: that is outside the fault model, and no difference. Everything else is
    one.
    """
    await until_quiet(installation)
    connection = await installation.connect()
    try:
        rows = await connection.fetch(
            "SELECT id::text AS id, state::text AS state FROM settlement_transactions"
        )
        book = bank_book(installation)
        states = {row["id"]: row["state"] for row in rows}
        wrong = {}
        for settlement_id, state in states.items():
            debits = book[settlement_id]["times_debited"] if settlement_id in book else 0
            if debits != int(state == "completed"):
                wrong[settlement_id] = debits
        took_back = [key for key in wrong if states[key] == "rolled_back"]
        lied = {row["id"] for row in await connection.fetch(LIES, took_back, LATE_REJECTION.text)}
    finally:
        await connection.close()
    assert len(lied) <= max(1, len(states) // LIES_RARELY), f"the bank lied too often: {lied}"
    found = [
        f"{key} is {states[key]}, and the bank debited {debits} times"
        for key, debits in wrong.items()
        if key not in lied
    ]
    found += [f"{each} is at the bank and not in the books" for each in book.keys() - states.keys()]
    found += [
        f"{each} was accepted and is lost" for each in (accepted or {}).keys() - states.keys()
    ]
    return found


async def announced(installation: Installation) -> list[tuple[str, int]]:
    """Read the whole stream: id and position of every announcement, in the order of the stream."""
    connection = await nats.connect(installation.nats_url, allow_reconnect=False)
    try:
        jetstream = connection.jetstream()
        count = (await jetstream.stream_info(STREAM)).state.messages
        wanted = ConsumerConfig(ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL)
        subscription = await jetstream.pull_subscribe("", stream=STREAM, config=wanted)
        found: list[tuple[str, int]] = []
        read = 0
        while read < count:
            for message in await subscription.fetch(FETCH, timeout=FETCH_SECONDS):
                read += 1
                headers = message.headers or {}
                if "ce-sequence" in headers:  # the others are notices
                    found.append((headers["ce-id"], int(headers["ce-sequence"])))
        return found
    finally:
        await connection.close()


async def until_announced(installation: Installation, consumer: Consumer) -> None:
    """Wait until JetStream has all moves and the consumer has processed them, while it makes progress."""
    began = progress_at = time.monotonic()
    before = (-1, -1)
    ours, theirs = await installation.connect(), await asyncpg.connect(consumer.url)
    try:
        head = await ours.fetchval("SELECT position FROM stream_head")
        while True:
            installation.watch()
            published = await ours.fetchval("SELECT published FROM stream_head")
            handled = await theirs.fetchval("SELECT count(DISTINCT event_id) FROM effects")
            if published >= head and handled >= head:
                return
            if (published, handled) != before:
                before, progress_at = (published, handled), time.monotonic()
            told = f"{published} published, {handled} handled of {head}"
            assert time.monotonic() < progress_at + ANNOUNCED_SECONDS_MAX, told
            assert time.monotonic() < began + CATCH_UP_SECONDS_MAX, told
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        await ours.close()
        await theirs.close()


async def broken_promises(
    installation: Installation, load: Load, consumer: Consumer
) -> dict[str, list[str]]:
    """Check every invariant; return the violations of each, empty if there are none."""
    found: dict[str, list[str]] = {}

    def add(name: str, more: list[str]) -> None:
        found.setdefault(name, []).extend(more)

    proof = await PostgresAuditor(DatabaseSettings(url=installation.database_url)).prove()
    named = {check for checks in PROVED_BY.values() for check in checks}
    for name, checks in PROVED_BY.items():
        add(name, [f"{d.check} {d.subject}" for d in proof.differences if d.check in checks])
    add("prove", [f"{d.check} {d.subject}" for d in proof.differences if d.check not in named])
    add(
        "I8 the bank debited once what completed",
        await bank_differences(installation, load.script_of),
    )
    connection = await installation.connect()
    try:
        for name, statement in LOOKS.items():
            add(name, [row["subject"] for row in await connection.fetch(statement)])
        add("I12 the stream of moves is gapless", await _stream(installation, connection))
        add("I20 an end stays what callers saw", await _ends(connection, load))
    finally:
        await connection.close()
    add(
        "I13 each announcement had its effect once, in order",
        await _effects(consumer, proof.settlements),
    )
    add("I14 one key, one settlement", [each for each in load.broken if each.startswith("I14")])
    add(
        "I20 an end stays what callers saw",
        [each for each in load.broken if each.startswith("I20")],
    )
    return dict(sorted(found.items(), key=_number))


def _number(item: tuple[str, object]) -> tuple[int, str]:
    word = item[0].split()[0]
    return (int(word[1:]) if word[1:].isdecimal() else len(PROVED_BY) + len(LOOKS) * 2, item[0])


async def _stream(installation: Installation, connection: asyncpg.Connection[Any]) -> list[str]:
    """Compare JetStream with the moves: the same, each once, in order (I12)."""
    rows = await connection.fetch(
        "SELECT settlement_id::text || '.' || seq AS id, position FROM moves ORDER BY position"
    )
    wanted = [(row["id"], row["position"]) for row in rows]
    stored = await announced(installation)
    if stored == wanted:
        return []
    pairs = zip(stored, wanted, strict=False)
    first = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(stored), len(wanted)))
    return [f"{len(stored)} announcements for {len(wanted)} moves, different from {first} on"]


async def _ends(connection: asyncpg.Connection[Any], load: Load) -> list[str]:
    """Compare the callers' responses with the stored states (I20)."""
    rows = await connection.fetch(
        "SELECT id::text AS id, state::text AS state FROM settlement_transactions"
    )
    kept = {row["id"]: STATUS[State(row["state"])].value for row in rows}
    return [
        f"{key}: a caller saw {status}, it is {kept.get(key)}"
        for key, status in load.ends.items()
        if kept.get(key) != status
    ]


async def _effects(consumer: Consumer, settlements: int) -> list[str]:
    """Check the consumer's effects: each once, and in the order of its settlement (I13)."""
    connection = await asyncpg.connect(consumer.url)
    try:
        doubles = await connection.fetch(
            "SELECT event_id AS subject FROM effects GROUP BY event_id HAVING count(*) > 1"
        )
        odd = await connection.fetch("""
            SELECT settlement_id::text AS subject FROM (
                SELECT settlement_id, seq, row_number() OVER w AS nth
                FROM effects WINDOW w AS (PARTITION BY settlement_id ORDER BY id)
            ) AS x WHERE seq <> nth
        """)
        histories = await connection.fetchval("SELECT count(DISTINCT settlement_id) FROM effects")
    finally:
        await connection.close()
    found = [f"twice: {row['subject']}" for row in doubles]
    found += [f"out of order: {row['subject']}" for row in odd]
    if histories != settlements:
        found.append(f"{histories} histories of {settlements} settlements")
    return found
