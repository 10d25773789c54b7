"""Further scenarios by name, and the installations that each of them needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from settlement_lab.bench import books, endurance, outages, rails, saga, stress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from settlement_lab.bench.stress import StressTest

SLOW_RAIL: Final = {"banks.mock_latency_ms": 500}
SLOWER_RAIL: Final = {"banks.mock_latency_ms": 4_000, "banks.mock_answer_timeout_ms": 20_000}
"""With such a slow rail nearly all of ten thousand settlements wait at the bank, on any machine."""

LATE_RAIL: Final = {"banks.mock_latency_ms": 45_000, "banks.mock_answer_timeout_ms": 90_000}
WITHOUT_NATS: Final = {"nats.enabled": False}
BY_DEMAND: Final = {
    "nats.enabled": False,
    "reconciliation.on_arrival": False,
    "reconciliation.tariffs": books.TARIFFS,
}
MILLION: Final = 1_000_000
HISTORIES: Final = (10_000, MILLION)
HISTORIES_LONG: Final = (10_000, MILLION, 10 * MILLION)
ENGINES: Final = (1, 2, 4)


def _never() -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One installation and what is measured on it. ``skipped`` is a reason, or empty.

    With ``has_simulator`` payments go to the bank simulator, over HTTP, and not to the mock bank.
    """

    run: StressTest
    settings: Mapping[str, Any] = field(default_factory=dict)
    engines: int = 1
    has_simulator: bool = False
    skipped: Callable[[], str] = _never


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A further scenario."""

    name: str
    about: str
    variants: Sequence[Variant]


def _books(transfers: int) -> Variant:
    return Variant(run=partial(books.books, transfers=transfers), settings=BY_DEMAND)


_ALL: Final = (
    Trial(
        name="overload-2x",
        about="twice the capacity, and clients that never read",
        variants=[Variant(run=partial(stress.overload, times=2.0))],
    ),
    Trial(
        name="overload-10x",
        about="ten times the capacity, and clients that never read",
        variants=[Variant(run=partial(stress.overload, times=10.0))],
    ),
    Trial(
        name="slow-rail",
        about="10,000 in flight over rails that answer after half a second and after four",
        variants=[
            Variant(run=stress.slow_rail, settings=settings)
            for settings in (SLOW_RAIL, SLOWER_RAIL)
        ],
    ),
    Trial(
        name="recovery",
        about="kill -9 with 10,000 open: time until all are enquired about",
        variants=[Variant(run=outages.recovery, settings=LATE_RAIL)],
    ),
    Trial(
        name="nats-down",
        about="NATS unavailable, and available again",
        variants=[
            Variant(run=partial(outages.troubled_nats, name="nats-down", trouble=outages.nats_gone))
        ],
    ),
    Trial(
        name="nats-slow",
        about="NATS stopped for nine tenths of the time",
        variants=[
            Variant(
                run=partial(outages.troubled_nats, name="nats-slow", trouble=outages.nats_stalling)
            )
        ],
    ),
    Trial(
        name="engines",
        about="1, 2 and 4 engines on one database",
        variants=[Variant(run=stress.engines, engines=count) for count in ENGINES],
    ),
    Trial(
        name="growth",
        about="the cost over 10 thousand and a million settlements of history",
        variants=[
            Variant(
                run=partial(endurance.growth, histories=HISTORIES),
                settings=WITHOUT_NATS,
            )
        ],
    ),
    Trial(
        name="growth-long",
        about="the same with ten million: an hour and 40 GB",
        variants=[
            Variant(
                run=partial(endurance.growth, histories=HISTORIES_LONG),
                settings=WITHOUT_NATS,
            )
        ],
    ),
    Trial(
        name="messages",
        about="pacs.009 built and pacs.002 read, per second of one core",
        variants=[Variant(run=rails.messages)],
    ),
    Trial(
        name="rail",
        about="settlements over SWIFT, by HTTP, against the bank simulator",
        variants=[Variant(run=rails.over_http, has_simulator=True)],
    ),
    Trial(
        name="books",
        about="10,000 and 100,000 transfers reconciled with as many entries of camt.053 statements",
        variants=[_books(10_000), _books(100_000)],
    ),
    Trial(
        name="books-long",
        about="a million of each: a quarter of an hour, and 10 GB",
        variants=[_books(MILLION)],
    ),
    Trial(
        name="dbos",
        about="the same settlement as a workflow of DBOS, if that package is installed",
        variants=[Variant(run=stress.beside_dbos, skipped=saga.missing)],
    ),
    Trial(
        name="soak",
        about="half of the capacity for --seconds: only the history may grow",
        variants=[Variant(run=endurance.soak)],
    ),
)
LONG: Final = frozenset({"growth-long", "soak", "books-long"})
"""These take long on any machine and run only if they are named."""

TRIALS: Final[Mapping[str, Trial]] = {trial.name: trial for trial in _ALL}
