"""Engines killed with SIGKILL while they import statements, search them for evidence and match them.

Each trial has a group of its own: a bank with payments that only its statement ends, and one with long statements of
entries that nobody knows. All groups are alike, so that the books of a trial are those of a group that was never
disturbed, but for names; ``dump`` leaves the names out.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
import urllib.parse
import urllib.request
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import grpc

from settlement_engine.cli.acting import ACTOR
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.statements import parts_of
from settlement_engine.proto import settlement_pb2 as pb
from settlement_engine.proto import settlement_pb2_grpc as rpc
from tests.e2e.test_command_line import run
from tests.e2e.test_rails import direct
from tests.e2e.world import World, payment_request, until
from tests.support.statement_files import chain, file_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


ROUTES: Final = ("command line", "stream", "inbox")
DAY_MS: Final = 86_400_000
PAYMENTS: Final = 60
FIRST_UNITS: Final = 101
"""The amount of the first payment of a group; each one after it is a unit more, so that amounts are names."""

LONG_DAYS: Final = 12
LONG_ENTRIES: Final = 250
SECONDS: Final = 90.0
CALL_SECONDS: Final = 30.0
METADATA: Final = ((ACTOR, "ada"),)
NEVER_CONFIRMED: Final = {
    "steps": [{"status": "ACSP"}, {"status": "ACSC", "after_ms": 20, "told_after_ms": DAY_MS}],
    "silent_for_ms": DAY_MS,
}
UNTOLD: Final = {"returns": [{"after_ms": 20, "percent": 40, "is_told": False}]}

GROUP: Final = "SELECT id FROM accounts WHERE bank = ANY ($1) AND kind = 'nostro'"
_NUMBERED: Final = (
    "(SELECT right(s.obligation_id, 2) FROM settlement_transactions AS s WHERE s.id = {})"
)
DUMPED: Final = {
    "statements": "SELECT ends, source, outcome, opening_minor, closing_minor, (SELECT count(*) FROM"
    " statement_entries AS e WHERE e.statement_id = s.id) FROM statements AS s WHERE is_kept AND account_id IN ({})",
    "evidence": f"SELECT {_NUMBERED.format('e.settlement_id')}, e.kind, e.says, e.amount_minor, e.nth, e.is_counted"
    " FROM statement_evidence AS e JOIN statements AS s ON s.id = e.statement_id WHERE s.account_id IN ({})",
    "settlements": "SELECT right(obligation_id, 2), state, is_frozen FROM settlement_transactions"
    " WHERE from_bank = ANY ($1)",
    "money": f"SELECT {_NUMBERED.format('t.group_id')}, t.leg, t.posting, t.amount_minor, t.debit_id IN ({{0}})"
    " FROM transfers AS t WHERE t.debit_id IN ({0}) OR t.credit_id IN ({0})",
    "matched": "SELECT p.amount_minor, p.leg, m.settled_on FROM match_postings AS p JOIN matches AS m"
    " ON m.id = p.match_id WHERE m.account_id IN ({0}) UNION ALL SELECT e.amount_minor, NULL, m.settled_on"
    " FROM match_entries AS e JOIN matches AS m ON m.id = e.match_id WHERE m.account_id IN ({0})",
    "unequal matches": "SELECT m.matched_by FROM matches AS m WHERE m.account_id IN ({}) AND (SELECT"
    " sum(p.amount_minor) FROM match_postings AS p WHERE p.match_id = m.id) <> (SELECT sum(e.amount_minor)"
    " FROM match_entries AS e WHERE e.match_id = m.id)",
    "breaks": "SELECT b.kind, b.amount_minor, b.business_date FROM breaks AS b JOIN open_breaks AS o ON"
    " o.break_id = b.id WHERE b.account_id IN ({})",
    "open entries": "SELECT booked_on, amount_minor FROM open_entries WHERE account_id IN ({})",
    "open postings": "SELECT booked_on, amount_minor FROM open_postings WHERE account_id IN ({})",
    "proofs": "SELECT DISTINCT ON (account_id, booking_date) booking_date, our_closing_minor,"
    " unmatched_theirs_minor, unmatched_ours_minor, opening_difference_minor, difference_minor,"
    " their_closing_minor, held_back_by, is_zero FROM proofs WHERE account_id IN ({})"
    " ORDER BY account_id, booking_date, id DESC",
    "not searched": "SELECT u.statement_id FROM unsearched_statements AS u JOIN statements AS s ON"
    " s.id = u.statement_id WHERE s.account_id IN ({})",
    "cases": f"SELECT {_NUMBERED.format('x.settlement_id')}, x.kind FROM exceptions AS x JOIN"
    " settlement_transactions AS s ON s.id = x.settlement_id WHERE s.from_bank = ANY ($1)",
}
"""What of a group's books must be the same; the names of its accounts, payments and statements are left out.

Matched are the same items. Those of equal amounts may be matched together, or one after the other as they come to be
known.
"""

OVERLAPPING: Final = (
    "SELECT count(*) FROM (SELECT started_at, lag(ended_at) OVER (ORDER BY started_at) AS before FROM"
    " reconciliation_runs JOIN reconciliation_run_ends ON run_id = id) AS r WHERE started_at < before"
)


@dataclass(slots=True)
class Group:
    """One bank with payments, and one with long statements."""

    world: World
    number: int
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def banks(self) -> list[str]:
        """The codes of the two banks."""
        return [f"KILADE{self.number:02d}", f"LONGDE{self.number:02d}"]

    def prepare(self) -> None:
        """Open the accounts, send the payments, and fetch the statements."""
        paying, long = self.banks
        self.world.open_bank(paying, "USD", "100000.00")
        number = f"LONG{self.number:08d}"
        opening = pb.OpenAccountRequest(
            kind=pb.NOSTRO, bank=long, currency="EUR", account_number=number
        )
        self.world.accounts.OpenAccount(opening, timeout=CALL_SECONDS)
        booking = {"bank": paying, "currency": "USD", "amount": "100000.00", "text": "FUNDS"}
        self._ask("POST", "admin/bookings", booking)
        day = datetime.now(UTC).date().isoformat()
        self._pay(paying)
        asked = {"bank": paying, "account": self.world.nostro(paying, "USD").account_number}
        query = urllib.parse.urlencode(asked | {"currency": "USD", "date": day})
        self.files = {f"{paying}.xml": self._ask("GET", f"statements?{query}")}
        for each in chain(number, LONG_DAYS, entries=LONG_ENTRIES):
            self.files[f"{long}-{each.number:02d}.sta"] = file_of(each)

    def _pay(self, bank: str) -> None:
        requests = [
            payment_request(
                rail="swift",
                currency="USD",
                from_bank=bank,
                to_bank="CHASUS33",
                amount=f"{FIRST_UNITS + place}.00",
                obligation_id=f"KILL-{self.number:02d}-{place:02d}",
                delivery=pb.DELIVERY_PAY_OUT,
            )
            for place in range(PAYMENTS)
        ]
        wanted = pb.SubmitSettlementsRequest(settlements=requests)
        results = self.world.settlements.SubmitSettlements(wanted, timeout=CALL_SECONDS).results
        sent = {each.settlement.settlement_id for each in results}

        def is_done() -> bool:
            lines = [x for x in self.world.simulator_ledger() if x["settlement_id"] in sent]
            is_booked = sum(each["times_debited"] for each in lines) == PAYMENTS
            returned = sum(each["returned_amount"] != "0.00" for each in lines)
            return bool(is_booked) and returned == PAYMENTS // 3

        until(is_done, SECONDS, "the bank to have booked each payment")

    def _ask(self, method: str, path: str, said: object = None) -> bytes:
        url = f"{self.world.address['simulator']}/{path}"
        data = None if said is None else json.dumps(said).encode()
        request = urllib.request.Request(url, data, method=method)
        with urllib.request.urlopen(request, timeout=CALL_SECONDS) as answer:
            return bytes(answer.read())

    # --- the books --------------------------------------------------------------------------------

    async def _select(self, statement: str) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(self.world.address["database_url"])
        try:
            rows = await connection.fetch(statement.format(GROUP), self.banks)
            return sorted((_plain(row) for row in rows), key=repr)
        finally:
            await connection.close()

    def select(self, statement: str) -> list[tuple[Any, ...]]:
        """Read the group's rows."""
        return asyncio.run(self._select(statement))

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """Read the group's books."""
        return {name: self.select(statement) for name, statement in DUMPED.items()}

    def is_begun(self) -> bool:
        """Say whether a statement of the group is kept."""
        return bool(self.select("SELECT 1 FROM statements WHERE account_id IN ({}) LIMIT 1"))

    def is_decided(self) -> bool:
        """Say whether all is imported and searched, and what was found is decided on."""
        [(statements, unsearched, ended)] = self.select(
            "SELECT (SELECT count(*) FROM statements WHERE is_kept AND account_id IN ({0})), (SELECT count(*) FROM"
            " unsearched_statements JOIN statements ON id = statement_id WHERE account_id IN ({0})), (SELECT count(*)"
            " FROM settlement_transactions WHERE from_bank = ANY ($1) AND state = 'completed')"
        )
        return (statements, unsearched, ended) == (len(self.files), 0, PAYMENTS)

    def is_matched(self) -> bool:
        """Say whether every statement was matched to its end, too."""
        matched = self.select(
            "SELECT m.statement_id FROM matched_statements AS m WHERE m.account_id IN ({}) AND entries_done ="
            " (SELECT count(*) FROM statement_entries AS e WHERE e.statement_id = m.statement_id)"
        )
        return len(matched) == len(self.files) and self.is_decided()

    def reconcile(self) -> None:
        """Reconcile both accounts, after a run that goes on already."""
        for bank in self.banks:
            wanted = pb.ReconcileRequest(bank=bank)

            def is_run(wanted: pb.ReconcileRequest = wanted) -> bool:
                with suppress(grpc.RpcError):
                    self.world.settlements.ReconcileAccounts(
                        wanted, timeout=CALL_SECONDS, metadata=METADATA
                    )
                    return True
                return False

            until(is_run, SECONDS, "a run of the account")

    # --- the three routes --------------------------------------------------------------------------

    def begin(self, route: str, folder: Path, inbox: Path) -> threading.Thread:
        """Begin to import the files; what an engine that dies does not answer is no matter."""
        place = inbox if route == "inbox" else folder
        place.mkdir(exist_ok=True)
        for name, content in self.files.items():
            hidden = place / f".{name}.tmp"
            hidden.write_bytes(content)
            hidden.rename(place / name)
        work = {
            "command line": lambda: self.by_command(folder),
            "stream": self._by_stream_until_it_ends,
            "inbox": lambda: None,
        }[route]
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def by_command(self, folder: Path) -> int:
        """Import the folder by the command line; return the exit code."""
        done = run(self.world, "statements", "import", str(folder), "--as", "ada", "--json")
        if done.code == ExitCode.OK:
            outcomes = {json.loads(line)["outcome"] for line in done.out.splitlines()}
            assert outcomes <= {"IMPORTED", "ALREADY_IMPORTED"}, outcomes
        return done.code

    def _by_stream_until_it_ends(self) -> None:
        with suppress(grpc.RpcError):
            self.by_stream()

    def by_stream(self) -> None:
        """Import each file by a client stream."""
        with grpc.insecure_channel(self.world.address["grpc"]) as channel:
            stub = rpc.StatementServiceStub(channel)
            for name, content in self.files.items():
                answer = stub.ImportStatement(
                    parts_of(name, content), timeout=CALL_SECONDS, metadata=METADATA
                )
                for each in answer.statements:
                    assert each.outcome in (
                        pb.STATEMENT_OUTCOME_IMPORTED,
                        pb.STATEMENT_OUTCOME_ALREADY_IMPORTED,
                    ), each

    def again(self, route: str, folder: Path, inbox: Path) -> None:
        """Import the files again as a person does; what is in the inbox needs nobody."""
        if route == "command line":
            assert self.by_command(folder) == ExitCode.OK
        elif route == "stream":
            self.by_stream()
        else:
            until(lambda: self._is_taken(inbox), SECONDS, "the inbox to be empty")

    def _is_taken(self, inbox: Path) -> bool:
        return not any((inbox / name).exists() for name in self.files)


def prepare(world: World) -> None:
    """Tell the bank how to treat the payments: a third is never confirmed, a third comes back in part, untold."""
    rules = [
        {
            "scenario": ("settle", "never_confirmed", "untold")[place % 3],
            "amount": f"{FIRST_UNITS + place}.00",
        }
        for place in range(PAYMENTS)
    ]
    scenarios = {"never_confirmed": NEVER_CONFIRMED, "untold": UNTOLD}
    twice = {"kind": "duplicate", "entry_minor": FIRST_UNITS * 100}
    direct(world, {"rules": rules, "scenarios": scenarios, "differences": [twice]})
    world.open_bank("CHASUS33", "USD")


def undisturbed(
    group: Group, route: str, folder: Path, inbox: Path
) -> tuple[dict[str, Any], float]:
    """Import, search and match without a kill; return the group's books, and the seconds that it took."""
    group.prepare()
    group.begin(route, folder, inbox)
    until(group.is_begun, SECONDS, "the first statement")
    began = time.monotonic()
    until(group.is_matched, SECONDS, "the statements to be imported, searched and matched")
    seconds = time.monotonic() - began
    group.reconcile()
    return group.dump(), seconds


def kill_engines(world: World, victims: int) -> None:
    """Kill so many engines, and wait until others run in their place."""
    before = world.engine_pids()
    for pid in before[:victims]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def is_back() -> bool:
        now = world.engine_pids()
        return len(now) == len(before) and not set(now) & set(before[:victims])

    until(is_back, SECONDS, "other engines")
    world.close_channel()
    grpc.channel_ready_future(world.channel).result(timeout=SECONDS)


def trial(
    group: Group,
    route: str,
    kill: tuple[float, int],
    places: tuple[Path, Path],
    expected: dict[str, Any],
) -> bool:
    """Kill engines while they work on a group, let it be done again, and compare; True if it was under way."""
    group.prepare()
    thread = group.begin(route, *places)
    until(group.is_begun, SECONDS, "the first statement")
    after_seconds, victims = kill
    time.sleep(after_seconds)
    was_under_way = not group.is_matched()
    kill_engines(group.world, victims)
    thread.join(timeout=SECONDS)
    group.again(route, *places)
    until(group.is_decided, SECONDS, "the statements to be imported and searched again")
    until(group.is_matched, SECONDS, "the engines to match the statements by themselves")
    group.reconcile()  # what the search has ended since is matched and proved by the next run
    found = group.dump()
    different = {
        name: [
            *(Counter(found[name]) - Counter(rows)).elements(),
            "instead of",
            *(Counter(rows) - Counter(found[name])).elements(),
        ]
        for name, rows in expected.items()
        if found[name] != rows
    }
    assert different == {}, (route, kill, different)
    return was_under_way


def points(kills: int, seed: int, seconds: float) -> list[tuple[float, int]]:
    """Draw when to kill: one point in each part of the work, and whether one engine dies or both."""
    chance = Random(seed)
    drawn = [
        ((place + chance.random()) / kills * seconds, chance.choice((1, 2)))
        for place in range(kills)
    ]
    chance.shuffle(drawn)
    return drawn


def check_inbox(inbox: Path, groups: Sequence[Group]) -> None:
    """Check that each file that went through the inbox is in the archive once, and none is a problem."""
    taken = Counter(path.name.partition("-")[2] for path in (inbox / "archive").iterdir())
    assert taken == Counter(name for group in groups for name in group.files)
    assert list((inbox / "problems").iterdir()) == []


def check_runs(world: World) -> None:
    """Check that no two runs of reconciliation met."""

    async def overlapping() -> int:
        connection = await asyncpg.connect(world.address["database_url"])
        try:
            return int(await connection.fetchval(OVERLAPPING))
        finally:
            await connection.close()

    assert asyncio.run(overlapping()) == 0


def killed_and_done_again(folder: Path, kills: int, seed: int) -> int:
    """Kill engines so many times over each route; return how often their work was under way."""
    inbox = folder / "inbox"
    inbox.mkdir()
    words = ("--simulator", "--engines", "2", "--set", f"reconciliation.inbox_dir={inbox}")
    with World(folder, *words) as world:
        prepare(world)
        reference = Group(world, 0)
        expected, seconds = undisturbed(reference, ROUTES[0], folder / "0", inbox)
        assert len(expected["matched"]) >= 2 * PAYMENTS
        assert expected["unequal matches"] == []
        groups = [Group(world, number) for number in range(1, kills + 1)]
        under_way = 0
        for group, kill in zip(groups, points(kills, seed, seconds), strict=True):
            places = (folder / str(group.number), inbox)
            under_way += trial(group, route_of(group), kill, places, expected)
        check_inbox(inbox, [group for group in groups if route_of(group) == "inbox"])
        check_runs(world)
        world.prove()
    return under_way


def _plain(row: asyncpg.Record) -> tuple[Any, ...]:
    """Return a row whose lists are tuples, so that rows can be counted."""
    return tuple(tuple(each) if isinstance(each, list) else each for each in row)


def route_of(group: Group) -> str:
    """Return the route of a trial: one after the other."""
    return ROUTES[group.number % len(ROUTES)]
