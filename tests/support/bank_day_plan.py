"""How the scripted bank treats the payments of a day, and what it puts into its statements of that day.

Each payment is treated by the last two digits of its amount, so that many payments have the same amount. About some of
them the bank is silent for a day, so that only its statement can tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from settlement_engine.app.development.simulator import DOLLAR_FILES
from settlement_engine.proto import settlement_pb2 as pb
from settlement_lab.commands.demo.payments import ACH_BANK, RAIL_BANKS, RAILS

AGENT: Final = "MARKDEFF"
"""Where each rail's settlement account is."""

DAY_MS: Final = 86_400_000
UNITS_MAX: Final = 5
"""Whole units of an amount: few, so that amounts repeat."""

SILENT: Final[dict[str, Any]] = {"reply": "lost", "silent_for_ms": DAY_MS}
NEVER_CONFIRMED: Final = [
    {"status": "ACSP"},
    {"status": "ACSC", "after_ms": 50, "told_after_ms": DAY_MS},
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """How the bank treats a payment, and how it must have ended before and after its statement was read."""

    scenario: dict[str, Any]
    bank: str = "settled"
    before: int | None = pb.COMPLETED  # None: in doubt
    after: int | None = pb.COMPLETED
    is_carried_by_ach: bool = False

    @property
    def is_silent(self) -> bool:
        """Say whether the bank does not speak of it."""
        return "silent_for_ms" in self.scenario


TREATMENTS: Final[dict[str, Treatment]] = {
    "settled": Treatment(scenario={}, is_carried_by_ach=True),
    "rejected": Treatment(
        scenario={"steps": [{"status": "RJCT", "code": "AC04"}]},
        bank="rejected",
        before=pb.ROLLED_BACK,
        after=pb.ROLLED_BACK,
        is_carried_by_ach=True,
    ),
    "settled_later": Treatment(
        scenario={"steps": [{"status": "ACSP"}, {"status": "ACSC", "after_ms": 200}]}
    ),
    "answer_lost": Treatment(scenario={"reply": "lost"}),
    "returned": Treatment(
        scenario={"returns": [{"after_ms": 200}]},
        bank="returned",
        before=pb.RETURNED,
        after=pb.RETURNED,
        is_carried_by_ach=True,
    ),
    "returned_in_part": Treatment(scenario={"returns": [{"after_ms": 200, "percent": 40}]}),
    "returned_less_charges": Treatment(
        scenario={"returns": [{"after_ms": 200, "charges_minor": 3}]},
        bank="returned",
        before=pb.RETURNED,
        after=pb.RETURNED,
    ),
    "returned_in_two_parts": Treatment(
        scenario={
            "returns": [
                {"after_ms": 200, "percent": 40},
                {"after_ms": 400, "percent": 60, "charges_minor": 1},
            ]
        },
        bank="returned",
        before=pb.RETURNED,
        after=pb.RETURNED,
    ),
    "returned_before_it_is_confirmed": Treatment(
        scenario={
            "steps": [
                {"status": "ACSP"},
                {"status": "ACSC", "after_ms": 50, "told_after_ms": 60_000},
            ],
            "returns": [{"after_ms": 100}],
        },
        bank="returned",
        before=pb.RETURNED,
        after=pb.RETURNED,
    ),
    "returned_untold": Treatment(
        scenario={"returns": [{"after_ms": 100, "is_told": False}]},
        bank="returned",
        after=pb.RETURNED,
        is_carried_by_ach=True,
    ),
    "returned_in_part_untold": Treatment(
        scenario={"returns": [{"after_ms": 100, "percent": 30, "is_told": False}]}
    ),
    "doubt": Treatment(scenario=SILENT, before=None, is_carried_by_ach=True),
    "confirmation_lost": Treatment(
        scenario={"steps": NEVER_CONFIRMED, "silent_for_ms": DAY_MS}, before=None
    ),
    "doubt_returned_untold": Treatment(
        scenario={**SILENT, "returns": [{"after_ms": 100, "is_told": False}]},
        bank="returned",
        before=None,
        after=pb.RETURNED,
    ),
    "doubt_rejected": Treatment(
        scenario={**SILENT, "steps": [{"status": "RJCT", "code": "AC04"}]},
        bank="rejected",
        before=None,
        after=None,
    ),
}
CENTS: Final = {name: place for place, name in enumerate(TREATMENTS, start=11)} | {"settled": 97}
"""No part of another payment has the cents of a plain one, in which differences are planted."""

AT_THE_AGENT: Final = (
    *("missing", "extra", "amount", "date", "duplicate"),
    *("unknown_debit", "unknown_credit", "reversal", "split", "batch"),
)
"""Differences in the statements of the settlement agent. At a bank they would be evidence against a payment."""

AT_THE_BANKS: Final = (
    *("tariff", "rounding"),
    *("unknown_debit", "unknown_credit", "extra", "date", "charge", "batch"),
)
CLOSED: Final = frozenset({"tariff", "rounding"})
"""What the engine's rules close: a debit that differs so is the payment's all the same, and ends a doubt."""

TARIFFS: Final = [{"currency": code, "charge": "1.50"} for code in sorted(set(RAILS.values()))]
"""The charges of the simulated bank, as the engine's configuration has them."""


DOUBTS: Final = ("doubt", "confirmation_lost")
"""The treatments of which only an entry tells that they are settled."""


def script_of(seed: int, share: int) -> dict[str, Any]:
    """Return the bank's script; about one plain payment in ``share`` is touched by a difference of each kind."""
    differences = [
        {"kind": kind, "one_in": share, "most": 1, "bank": bank, "entry_minor": minor}
        for bank in (*RAIL_BANKS, AGENT)
        for kind in (AT_THE_AGENT if bank == AGENT else AT_THE_BANKS)
        if kind != "batch" or bank not in in_mt940(seed)
        for name in ("settled", *(DOUBTS if kind in CLOSED else ()))
        for minor in range(100 + CENTS[name], 100 * UNITS_MAX + 100, 100)
    ]
    return {
        "seed": seed,
        "scenarios": {name: each.scenario for name, each in TREATMENTS.items()},
        "rules": [
            {"scenario": name, "amount": f"{units}.{cents}"}
            for name, cents in CENTS.items()
            for units in range(1, UNITS_MAX + 1)
        ],
        "differences": differences,
        "banks": {DOLLAR_FILES["routing_number"]: ACH_BANK},
    }


def in_mt940(seed: int) -> set[str]:
    """Return the banks that write MT940, which cannot name the payments inside an entry."""
    agent = AGENT if seed % 2 else DOLLAR_FILES["settlement_routing_number"]
    return {RAIL_BANKS[seed % len(RAIL_BANKS)], agent}
