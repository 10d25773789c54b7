"""The scenarios of the real rails: messages built and read, and settlements over HTTP against the bank simulator.

Rates are reported, not required: they are those of all processes together, the simulator's included.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from settlement_engine.cli.development.sample import BANKS, open_sample_accounts
from settlement_engine.proto import settlement_pb2 as wire
from settlement_lab.bench import message_rates
from settlement_lab.bench.callers import connected
from settlement_lab.bench.load import Load, Way
from settlement_lab.bench.measure import measure
from settlement_lab.bench.scenarios import WARM_UP_SECONDS
from settlement_lab.bench.stress import StressResult, line_of
from settlement_lab.bench.workload import LoadSpread, Workload

if TYPE_CHECKING:
    from settlement_lab.bench.ground import Ground

RAIL: Final = "swift"
CURRENCY: Final = "USD"
IN_FLIGHT: Final = 500
BATCH_ITEMS: Final = 100
AMOUNT_MINOR_MAX: Final = 9_999
MINOR: Final = 100
SEED: Final = 7
BUILT_PER_SECOND_AIM: Final = 3_000
READ_PER_SECOND_AIM: Final = 7_000
SETTLED_PER_SECOND_AIM: Final = 300


class RailWorkload(Workload):
    """Makes instructions between the sample banks over one rail."""

    def __init__(self, seed: int) -> None:
        super().__init__(LoadSpread.MANY, seed)
        self._draw_from = Random(f"{seed} {RAIL}")

    @override
    def one(self) -> wire.SettlementRequest:
        """Make one instruction."""
        source, target = self._draw_from.sample(BANKS, 2)
        minor = self._draw_from.randrange(1, AMOUNT_MINOR_MAX)
        return wire.SettlementRequest(
            obligation_id=f"{self._draw_from.getrandbits(128):032x}",
            from_bank=source,
            to_bank=target,
            amount=f"{minor // MINOR}.{minor % MINOR:02}",
            currency=CURRENCY,
            rail=RAIL,
        )


async def messages(_ground: Ground, seconds: float) -> StressResult:
    """Build pacs.009 and read pacs.002 on one core."""
    found = await asyncio.to_thread(message_rates.measure, seconds)
    return StressResult(
        name="messages",
        lines=[
            f"pacs.009 built {found.built_pacs009:,.0f}/s of one core (aim {BUILT_PER_SECOND_AIM:,})",
            f"pacs.002 read {found.read_pacs002:,.0f}/s of one core (aim {READ_PER_SECOND_AIM:,})",
        ],
        figures=found._asdict(),
    )


async def over_http(ground: Ground, seconds: float) -> StressResult:
    """Settle over SWIFT against the bank simulator, which answers at once."""
    await asyncio.to_thread(open_sample_accounts, ground.target)
    load = Load(
        name=RAIL,
        way=Way.BATCH,
        spread=LoadSpread.MANY,
        in_flight=IN_FLIGHT,
        batch_items=BATCH_ITEMS,
    )
    async with connected(ground.target) as callers:
        await measure(ground, callers, load, RailWorkload(SEED), WARM_UP_SECONDS)
        found = await measure(ground, callers, load, RailWorkload(SEED + 1), seconds)
    return StressResult(
        name="rail",
        lines=[
            line_of(found),
            f"aim {SETTLED_PER_SECOND_AIM:,}/s; {found.commits:.3f} commits each (aim 0.1)",
        ],
        figures={"per_second": found.completed_per_second, "commits": found.commits},
        is_good=not found.faults,
    )
