"""The scenario of reconciliation: as many transfers as entries of statements, with planted differences.

The settlements are real ones of the engine. The statements are camt.053 files that are made from them, with about
2 % planted differences, and 1 % of the entries booked several as one. Measured are the import, and the
run that matches them and reports; every planted difference must be found and rightly named, and nothing else. Charges
of the tariff and roundings must be closed by the run.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
from typing_extensions import override

from settlement_engine.cli.acting import ACTOR
from settlement_engine.cli.statements import parts_of
from settlement_engine.domain.money import format_amount
from settlement_engine.domain.statement_import import FILES_AT_ONCE
from settlement_engine.domain.statements import (
    BalanceType,
    Entry,
    EntryDetail,
    EntryStatus,
    Source,
    Statement,
    StatementAccount,
    StatementBalance,
    StatementReferences,
)
from settlement_engine.messages.camt053_building import CAMT053, build_camt053
from settlement_engine.proto import settlement_pb2 as wire
from settlement_engine.proto import settlement_pb2_grpc
from settlement_engine.simulator.differences import (
    TARIFF_MINOR,
    DifferenceKind,
    DifferenceRule,
    Planting,
)
from settlement_engine.store.database import DatabaseSettings
from settlement_lab.baseline.server import ServerMeter
from settlement_lab.bench import processes
from settlement_lab.bench.callers import OPTIONS, connected
from settlement_lab.bench.listing import all_items
from settlement_lab.bench.measure import MICRO, measure
from settlement_lab.bench.planted_differences import CLOSED_AS, expected_of, mistakes_of, named
from settlement_lab.bench.stress import BULK, MEGA, SEED, StressResult
from settlement_lab.bench.workload import AMOUNT_MINOR_MAX, CURRENCY, FUNDS, LoadSpread, Workload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from settlement_engine.simulator.differences import PlantedDifference
    from settlement_lab.baseline.server import DebitAtBank
    from settlement_lab.bench.ground import Ground
    from settlement_lab.bench.planted_differences import NamedDifference

BOOKS: Final = 50
"""So many accounts at banks share the transfers evenly."""

NAMES: Final = tuple(f"BOOK{number:04}" for number in range(1, BOOKS + 1))
FILL_SECONDS: Final = (0.1, 2.0)
FILL_PER_SECOND: Final = 10_000  # more than are settled: the last measurements are short
CALL_SECONDS: Final = 60.0
RECONCILE_SECONDS: Final = 1_800.0
ENTRIES_MAX: Final = 100_000
PREFIX: Final = "STATEMENT_OUTCOME_"
METADATA: Final = ((ACTOR, "bench"),)
ONE_IN: Final = 500
"""Each of eleven kinds is put into about one entry of so many: about 2 % in all."""

TARIFFS: Final = ({"currency": CURRENCY, "charge": format_amount(TARIFF_MINOR, CURRENCY)},)
"""What the engine must know of the bank's charges, as its configuration has it."""

BATCH_ONE_IN: Final = 300
"""A batch is three entries: 1 % of them."""

RULES: Final = tuple(
    DifferenceRule(kind=kind, one_in=BATCH_ONE_IN if kind is DifferenceKind.BATCH else ONE_IN)
    for kind in DifferenceKind
    if kind is not DifferenceKind.DUPLICATE
)
"""A second debit is left out: it is evidence, and is booked to suspense at a time that the bench does not know."""

SECONDS_MAX: Final[Mapping[int, float]] = {10_000: 5.0, 1_000_000: 300.0}
"""The aim for each size: import, matching and report together."""

BYTES_MAX: Final = 1024 * MEGA
MISTAKES_SHOWN: Final = 3


class BooksWorkload(Workload):
    """Makes instructions from each of the accounts in turn."""

    def __init__(self, seed: int) -> None:
        super().__init__(LoadSpread.MANY, seed)
        self._made = 0

    @override
    def one(self) -> wire.SettlementRequest:
        """Make one instruction."""
        self._made += 1
        place = self._made % BOOKS
        minor = 2 + int(self._chance.random() * AMOUNT_MINOR_MAX)
        return wire.SettlementRequest(
            obligation_id=f"{self._chance.getrandbits(128):032x}",
            from_bank=NAMES[place],
            to_bank=NAMES[place - 1],
            amount=format_amount(minor, CURRENCY),
            currency=CURRENCY,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reconciled:
    """What one measurement has found."""

    entries: int
    import_seconds: float
    match_seconds: float
    engine_us: float
    postgres_us: float
    peak_bytes: int
    mistakes: Sequence[str]
    proofs: int
    zero: int


@dataclass(slots=True, kw_only=True)
class _Imported:
    """The statements that were made and imported, and what had been spent before the import."""

    files: list[Path] = field(default_factory=list)
    entries: int = 0
    planted: list[NamedDifference] = field(default_factory=list)
    closings: int = 0
    """How many of the planted differences the rules of matching close."""
    seconds: float = 0.0
    spent_before: processes.Spent = field(default_factory=processes.Spent)


async def books(ground: Ground, _seconds: float, transfers: int) -> StressResult:
    """Settle so many transfers, and reconcile as many entries."""
    async with grpc.aio.insecure_channel(ground.target, OPTIONS) as channel:
        numbers = await _open(channel)
        await _settle(ground, transfers)
        found = await _reconcile(ground, channel, numbers)
    seconds = found.import_seconds + found.match_seconds
    limit = SECONDS_MAX.get(transfers)
    aim = f" (aim {limit:,.0f} s)" if limit else ""
    each_us = found.engine_us + found.postgres_us
    is_good = not found.mistakes and found.zero == found.proofs == BOOKS
    return StressResult(
        name="books",
        lines=[
            (
                f"{transfers:,} transfers, {found.entries:,} entries: imported in"
                f" {found.import_seconds:.1f} s, matched and reported in {found.match_seconds:.1f} s,"
                f" {seconds:.1f} s in all{aim}"
            ),
            (
                f"an entry costs {each_us:,.0f} µs (engine {found.engine_us:,.0f}, PostgreSQL"
                f" {found.postgres_us:,.0f}); engine's peak {found.peak_bytes / MEGA:,.0f} MB"
            ),
            (
                f"{len(found.mistakes)} differences not rightly named; the proof of"
                f" {found.zero} of {found.proofs} accounts is zero"
            ),
            *found.mistakes[:MISTAKES_SHOWN],
        ],
        figures={
            "transfers": transfers,
            "entries": found.entries,
            "import_seconds": found.import_seconds,
            "match_seconds": found.match_seconds,
            "engine_us": found.engine_us,
            "postgres_us": found.postgres_us,
            "peak_bytes": found.peak_bytes,
        },
        is_good=is_good and found.peak_bytes <= BYTES_MAX,
    )


# --- the books -------------------------------------------------------------------------------------


async def _open(channel: grpc.aio.Channel) -> dict[str, str]:
    """Open and fund the accounts; returns the id of each account at a bank by its number there."""
    stub = settlement_pb2_grpc.AccountServiceStub(channel)
    numbers: dict[str, str] = {}
    for bank in NAMES:
        for kind in (wire.NOSTRO, wire.VOSTRO):
            opening = wire.OpenAccountRequest(
                kind=kind, bank=bank, currency=CURRENCY, account_number=f"{bank}/{kind}"
            )
            account = await stub.OpenAccount(opening, timeout=CALL_SECONDS)
            if kind == wire.NOSTRO:
                numbers[opening.account_number] = account.id
        funding = wire.FundAccountRequest(
            bank=bank, currency=CURRENCY, amount=FUNDS, reference=_funding(bank)
        )
        await stub.FundAccount(funding, timeout=CALL_SECONDS)
    return numbers


def _funding(bank: str) -> str:
    return f"FUNDING{bank}"


async def _settle(ground: Ground, transfers: int) -> None:
    settled = 0
    async with connected(ground.target) as callers:
        load = replace(BULK, name="filling")
        while settled < transfers:
            workload = BooksWorkload(SEED + settled)
            seconds = sorted((*FILL_SECONDS, (transfers - settled) / FILL_PER_SECOND))[1]
            settled += (await measure(ground, callers, load, workload, seconds)).settlements


# --- the statements --------------------------------------------------------------------------------


async def _reconcile(
    ground: Ground, channel: grpc.aio.Channel, numbers: Mapping[str, str]
) -> _Reconciled:
    imported = await _import_all(ground, channel, numbers)
    pids = ground.pids()
    began = time.monotonic()
    settlements = settlement_pb2_grpc.SettlementServiceStub(channel)
    report = await settlements.ReconcileAccounts(
        wire.ReconcileRequest(), timeout=RECONCILE_SECONDS, metadata=METADATA
    )
    match_seconds = time.monotonic() - began
    before, after = imported.spent_before, processes.spent(pids)
    peak_bytes = processes.peak_bytes(pids)
    mistakes = mistakes_of(imported.planted, await _breaks(channel))
    closed = sum(each.closed_differences for each in report.totals)
    if closed != imported.closings:
        mistakes.append(f"{closed} differences were closed, and {imported.closings} were to be")
    proofs = await _proofs(channel)
    return _Reconciled(
        entries=imported.entries,
        import_seconds=imported.seconds,
        match_seconds=match_seconds,
        engine_us=(after.engine - before.engine) / imported.entries * MICRO,
        postgres_us=(after.postgres - before.postgres) / imported.entries * MICRO,
        peak_bytes=peak_bytes,
        mistakes=mistakes,
        proofs=len(proofs),
        zero=sum(each.is_zero for each in proofs),
    )


async def _import_all(
    ground: Ground, channel: grpc.aio.Channel, numbers: Mapping[str, str]
) -> _Imported:
    """Make the statement of each account, and import them, a few side by side."""
    with tempfile.TemporaryDirectory(dir=ground.data_dir) as folder:
        made = await _make_all(ground, numbers, Path(folder))
        waiting = iter(made.files)

        async def work() -> None:
            for file in waiting:
                await _import(channel, file.stem, await asyncio.to_thread(file.read_bytes))

        pids = ground.pids()
        processes.forget_peaks(pids)
        before = processes.spent(pids)
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(FILES_AT_ONCE):
                group.create_task(work())
        return replace(made, seconds=time.monotonic() - began, spent_before=before)


async def _make_all(ground: Ground, numbers: Mapping[str, str], folder: Path) -> _Imported:
    """Write the file of each account's statement; they have to be on disk, as a million entries fill a gigabyte."""
    made = _Imported()
    meter = ServerMeter(
        DatabaseSettings(
            url=ground.database_url,
            statement_timeout_seconds=CALL_SECONDS,
            transaction_timeout_seconds=CALL_SECONDS,
        )
    )
    try:
        for number, account_id in numbers.items():
            rows = await meter.debits_at_bank(int(account_id), ENTRIES_MAX)
            count, content, told = await asyncio.to_thread(_file_of, number, rows)
            file = folder / f"{number.replace('/', '-')}.xml"
            await asyncio.to_thread(file.write_bytes, content)
            made.files.append(file)
            made.planted += _named(number, told)
            made.closings += sum(each.kind.value in CLOSED_AS for each in told)
            made.entries += count
    finally:
        await meter.close()
    return made


def _named(number: str, told: Sequence[PlantedDifference]) -> list[NamedDifference]:
    """Name the breaks of what was planted into the statement of an account."""
    bank = number.partition("/")[0]
    return [
        key
        for each in told
        for key in expected_of(bank, each.kind.value, Decimal(each.amount_minor))
    ]


def _file_of(
    number: str, rows: Sequence[DebitAtBank]
) -> tuple[int, bytes, list[PlantedDifference]]:
    """Make the statement of an account; returns its entries' count, the file, and what was planted."""
    bank = number.partition("/")[0]
    day = datetime.now(UTC).date()
    paid_in = _entry(1, day, int(Decimal(FUNDS) * 100), StatementReferences(), _funding(bank))
    paid = [
        _entry(
            place,
            row.value_date,
            -row.amount_minor,
            StatementReferences(end_to_end=row.end_to_end_id, uetr=row.uetr, servicer=f"B{place}"),
        )
        for place, row in enumerate(rows, start=2)
    ]
    planting = Planting(RULES, SEED)
    entries = planting.planted([paid_in, *paid])
    closing = sum(each.minor for each in entries)
    statement = Statement(
        source=Source.CAMT053,
        account=StatementAccount(number, "OTHER", CURRENCY, ""),
        id=f"STM{day:%Y%m%d}",
        entries=tuple(entries),
        balances=(
            StatementBalance(BalanceType.OPENING, 0, CURRENCY, day),
            StatementBalance(BalanceType.CLOSING, closing, CURRENCY, day),
        ),
        sequence=1,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        version=CAMT053,
        message_id=f"STM-{bank}",
    )
    return len(entries), build_camt053(statement), planting.told


def _entry(
    number: int, day: date, minor: int, references: StatementReferences, text: str = ""
) -> Entry:
    detail = EntryDetail(references=references, minor=minor)
    return Entry(
        number=number,
        minor=minor,
        currency=CURRENCY,
        status=EntryStatus.BOOKED,
        booking_date=datetime.now(UTC).date(),
        value_date=day,
        is_reversal=False,
        references=references,
        code="PMNT/ICDT/XBCT",
        text=text,
        details=(detail,) if references.ours() else (),
    )


async def _import(channel: grpc.aio.Channel, name: str, content: bytes) -> None:
    stub = settlement_pb2_grpc.StatementServiceStub(channel)
    parts = parts_of(f"{name}.xml", content)
    answer = await stub.ImportStatement(parts, timeout=RECONCILE_SECONDS, metadata=METADATA)
    outcomes = {
        wire.StatementOutcome.Name(each.outcome)[len(PREFIX) :] for each in answer.statements
    }
    assert outcomes == {"IMPORTED"}, f"{name}: {answer.statements[0].reason}"


async def _breaks(channel: grpc.aio.Channel) -> list[NamedDifference]:
    stub = settlement_pb2_grpc.ReconciliationServiceStub(channel)
    found = await all_items(stub.ListBreaks, wire.ListBreaksRequest(), "breaks", CALL_SECONDS)
    return [
        named(
            each.bank,
            wire.BreakKind.Name(each.kind).removeprefix("BREAK_KIND_"),
            Decimal(each.amount) * 100,
        )
        for each in found
    ]


async def _proofs(channel: grpc.aio.Channel) -> Sequence[wire.BalanceProof]:
    stub = settlement_pb2_grpc.ReconciliationServiceStub(channel)
    return await all_items(stub.ListProofs, wire.ListProofsRequest(), "proofs", CALL_SECONDS)
