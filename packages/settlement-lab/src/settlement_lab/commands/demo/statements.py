"""The statements of the demo: the bank simulator writes them with planted differences, and they are reconciled.

Promises: it uses only the public APIs of the engine and of the simulator. Every account that the simulator has moved
gets a statement for each day of the demo. Must never: read our books for what the bank's statements should say.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
import grpc
import msgspec

from settlement_engine.app.development.simulator import (
    DOLLAR_FILES,
    SETTLEMENT_ACCOUNTS,
    SETTLEMENT_AGENT,
)
from settlement_engine.cli.acting import ACTOR
from settlement_engine.cli.connection import CHANNEL_OPTIONS
from settlement_engine.cli.development.sample import FUNDED_UNITS, FUNDING_REFERENCE
from settlement_engine.cli.development.sample_banks import SAMPLE_BANKS
from settlement_engine.cli.statements import parts_of
from settlement_engine.errors import Unavailable
from settlement_engine.proto import settlement_pb2 as wire
from settlement_engine.proto import settlement_pb2_grpc
from settlement_lab.bench.listing import all_items
from settlement_lab.commands.demo.payments import ACH_BANK, RAIL_BANKS, RAILS
from settlement_lab.commands.demo.statement_checks import (
    AccountProof,
    ClosedDifference,
    FoundDifference,
    StatementEvidence,
    ToldDifference,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

DIFFERENCES: Final = (
    *("tariff", "rounding", "missing", "extra", "amount", "date", "duplicate", "unknown_debit"),
    *("unknown_credit", "reversal", "charge", "batch", "split"),
)
"""The kinds of differences; each statement gets at most one of each. The first ones are the most probable."""

WHERE: Final = {"duplicate": SETTLEMENT_AGENT}
"""A second debit at a bank is evidence as soon as it is read: it is booked to suspense, and is no break any more."""

ONE_IN: Final = 4
"""A difference of a kind is considered for about every fourth entry, so that they are spread."""

DIFFERENCE_ACCOUNTS: Final = {
    (wire.FEES, "control"): "fees control",
    (wire.FX, "rounding"): "fx rounding",
}
"""The accounts into which the rules of matching close differences, by their kind and number."""

CURRENCIES: Final = tuple(sorted(set(RAILS.values())))
METADATA: Final = ((ACTOR, "demo"),)
CALL_SECONDS: Final = 30.0
RECONCILED_SECONDS: Final = 60.0
AGAIN_SECONDS: Final = 0.1
NOT_FOUND: Final = 404


async def prepare_statements(simulator: str, seed: int) -> None:
    """Have the simulator plant differences, and book there what our accounts were funded with."""
    script = {
        "seed": seed,
        "differences": [
            {"kind": kind, "one_in": ONE_IN, "most": 1, "bank": WHERE.get(kind, "")}
            for kind in DIFFERENCES
        ],
        "banks": {DOLLAR_FILES["routing_number"]: ACH_BANK},
    }
    async with _session() as session:
        async with session.put(f"{simulator}/admin/script", json=script) as answer:
            answer.raise_for_status()
        for bank in RAIL_BANKS:
            for currency in CURRENCIES:
                booking = {
                    "bank": bank,
                    "currency": currency,
                    "amount": f"{FUNDED_UNITS}.00",
                    "text": FUNDING_REFERENCE,
                    "once": True,
                }
                async with session.post(f"{simulator}/admin/bookings", json=booking) as answer:
                    answer.raise_for_status()


async def reconcile_statements(target: str, simulator: str, began_at: float) -> StatementEvidence:
    """Import the simulator's statements of the days of the demo, reconcile them, and collect what was found."""
    async with grpc.aio.insecure_channel(target, CHANNEL_OPTIONS) as channel, _session() as session:
        calls = _Calls(channel)
        accounts = await calls.accounts()
        outcomes: list[str] = []
        entries = 0
        for account in _at_the_simulator(accounts):
            for day in _days(began_at):
                file = await _fetch(session, simulator, account, day)
                if file is None:
                    continue
                name = f"{'-'.join(account)}-{day}.xml"
                for found in await calls.import_statement(name, file):
                    outcomes.append(wire.StatementOutcome.Name(found.outcome))
                    entries += found.entries
        await calls.reconcile()
        return StatementEvidence(
            outcomes=outcomes,
            entries=entries,
            planted=await _planted(session, simulator),
            found=[_found(each) for each in await calls.breaks()],
            closed=[each async for each in calls.closed()],
            proofs=[_proof(each, accounts) for each in await calls.proofs()],
        )


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_SECONDS))


class _AtBank(NamedTuple):
    """An account of ours as the bank names it."""

    bank: str
    number: str
    currency: str


def _at_the_simulator(accounts: Iterable[wire.Account]) -> Iterator[_AtBank]:
    """Find our accounts that the simulator moves: at the banks, and at the settlement agent of each rail."""
    numbers = {bank.code: bank.ours for bank in SAMPLE_BANKS}
    for account in accounts:
        is_ours = account.bank in RAIL_BANKS and account.currency in CURRENCIES
        if account.kind == wire.NOSTRO and is_ours:
            yield _AtBank(account.bank, numbers[account.bank], account.currency)
        elif account.kind == wire.SETTLEMENT and account.bank in SETTLEMENT_ACCOUNTS:
            number = SETTLEMENT_ACCOUNTS[account.bank]
            yield _AtBank(SETTLEMENT_AGENT, number, account.currency)


def _days(began_at: float) -> Iterator[str]:
    """List the days since the demo began: more than one if it runs over midnight."""
    day = datetime.fromtimestamp(began_at, UTC).date()
    today = datetime.now(UTC).date()
    while day <= today:
        yield day.isoformat()
        day += timedelta(days=1)


async def _fetch(
    session: aiohttp.ClientSession, simulator: str, account: _AtBank, day: str
) -> bytes | None:
    """Get a statement; None where the account was not open on that day."""
    bank, number, currency = account
    asked = {"bank": bank, "account": number, "currency": currency, "date": day}
    async with session.get(f"{simulator}/statements", params=asked) as answer:
        if answer.status == NOT_FOUND:
            return None
        answer.raise_for_status()
        return await answer.read()


async def _planted(session: aiohttp.ClientSession, simulator: str) -> list[ToldDifference]:
    """Read the planted differences; those at the settlement agent are named by the rail, as our accounts are."""
    async with session.get(f"{simulator}/statements/planted") as answer:
        answer.raise_for_status()
        lines = (await answer.read()).splitlines()
    told = [msgspec.json.decode(line, type=ToldDifference) for line in lines]
    rails = {number: rail for rail, number in SETTLEMENT_ACCOUNTS.items()}
    return [msgspec.structs.replace(each, bank=rails.get(each.account, each.bank)) for each in told]


def _found(found: wire.ReconciliationBreak) -> FoundDifference:
    return FoundDifference(
        bank=found.bank,
        currency=found.currency,
        kind=wire.BreakKind.Name(found.kind).removeprefix("BREAK_KIND_"),
        amount=found.amount,
    )


def _proof(found: wire.BalanceProof, accounts: Iterable[wire.Account]) -> AccountProof:
    account = next(each for each in accounts if each.id == found.account_id)
    return AccountProof(
        account=f"{account.bank} {account.currency}",
        day=found.booking_date,
        is_zero=found.is_zero,
        reason=found.held_back_by or f"{found.difference} is not explained",
    )


class _Calls:
    """The engine's calls about accounts, statements and reconciliation."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._accounts = settlement_pb2_grpc.AccountServiceStub(channel)
        self._settlements = settlement_pb2_grpc.SettlementServiceStub(channel)
        self._statements = settlement_pb2_grpc.StatementServiceStub(channel)
        self._reconciliation = settlement_pb2_grpc.ReconciliationServiceStub(channel)

    async def accounts(self) -> list[wire.Account]:
        """Read all accounts."""
        wanted = wire.ListAccountsRequest()
        return await all_items(self._accounts.ListAccounts, wanted, "accounts", CALL_SECONDS)

    async def import_statement(self, name: str, content: bytes) -> list[wire.Statement]:
        """Import a file, and return its statements."""
        called = self._statements.ImportStatement(
            parts_of(name, content), timeout=CALL_SECONDS, metadata=METADATA
        )
        return list((await called).statements)

    async def reconcile(self) -> None:
        """Reconcile all accounts, after a run that goes on already. Raises Unavailable."""
        deadline = time.monotonic() + RECONCILED_SECONDS
        while True:
            try:
                await self._settlements.ReconcileAccounts(
                    wire.ReconcileRequest(), timeout=CALL_SECONDS, metadata=METADATA
                )
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.ABORTED or time.monotonic() > deadline:
                    what = "the statements were not reconciled"
                    raise Unavailable(what, why=error.details() or error.code().name) from error
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return

    async def breaks(self) -> list[wire.ReconciliationBreak]:
        """Read all open breaks."""
        wanted = wire.ListBreaksRequest()
        return await all_items(self._reconciliation.ListBreaks, wanted, "breaks", CALL_SECONDS)

    async def closed(self) -> AsyncIterator[ClosedDifference]:
        """Read what the rules have closed: the transfers of differences on the accounts that take them."""
        for account in await self.accounts():
            if (account.kind, account.account_number) not in DIFFERENCE_ACCOUNTS:
                continue
            wanted = wire.ListTransfersRequest(account_id=account.id)
            for each in await all_items(
                self._accounts.ListTransfers, wanted, "transfers", CALL_SECONDS
            ):
                if each.leg == wire.TRANSFER_LEG_DIFFERENCE:
                    yield ClosedDifference(
                        bank=account.bank,
                        currency=account.currency,
                        account=DIFFERENCE_ACCOUNTS[account.kind, account.account_number],
                        amount=each.amount,
                    )

    async def proofs(self) -> list[wire.BalanceProof]:
        """Read the last proof of each account."""
        wanted = wire.ListProofsRequest()
        return await all_items(self._reconciliation.ListProofs, wanted, "proofs", CALL_SECONDS)
