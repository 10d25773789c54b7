"""The instructions of the demo: determined by a seed, some of them with a simulated fault.

Pure. The same seed gives the same instructions with the same keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.money import exponent, format_amount

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

POOR_BANK: Final = "POORGB2L"
"""A bank whose accounts are open but not funded."""

OUT_OF_A_THOUSAND: Final[Mapping[str, int]] = {
    "reject": 20,  # the bank rejects the payment
    "lost_answer": 10,  # the money moves, and the bank's response is lost
    "lost_request": 5,  # the payment never arrives at the bank
    "late_settle": 5,  # the bank responds after the time-out
}
"""How many of a thousand instructions get each simulated fault."""

POOR_OUT_OF_A_THOUSAND: Final = 10
AMOUNT_UNITS_MAX: Final = 5_000
"""Whole units of the currency; ten thousand such instructions stay far below the funding."""


RAILS: Final[Mapping[str, str]] = {
    "swift": "USD",
    "sepa_sct": "EUR",
    "sepa_inst": "EUR",
    "realtime": "USD",
    "ach": "USD",
}
"""The rails over which the bank simulator is reached, and the currency sent over each."""

RAIL_BANKS: Final = ("DEUTDEFF", "CHASUS33", "BNPAFRPP")
"""The banks that the simulator plays: it alone moves our accounts there, so that its statements are complete."""

ACH_BANK: Final = "CHASUS33"
"""The bank whose routing number is in our files."""

RAIL_AMOUNT_MINOR_MAX: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOrder:
    """One instruction."""

    key: str
    obligation_id: str
    from_bank: str
    to_bank: str
    amount: str
    currency: str
    priority: int
    rail: str = ""
    is_paid_out: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)


def make_orders(
    count: int, seed: int, banks: Sequence[str], currencies: Sequence[str]
) -> Iterator[DemoOrder]:
    """Make instructions between the banks. None is sent to a bank that the simulator plays."""
    chance = Random(seed)
    senders = [bank for bank in banks if bank not in RAIL_BANKS]
    scripts = [name for name, share in OUT_OF_A_THOUSAND.items() for _ in range(share)]
    scripts += [POOR_BANK] * POOR_OUT_OF_A_THOUSAND
    for number in range(1, count + 1):
        source = chance.choice(senders)
        target = chance.choice([bank for bank in banks if bank != source])
        currency = chance.choice(list(currencies))
        minor = chance.randrange(1, AMOUNT_UNITS_MAX * 10 ** exponent(currency))
        lot = chance.randrange(1000)
        script = scripts[lot] if lot < len(scripts) else ""
        is_poor = script == POOR_BANK
        yield DemoOrder(
            key=f"demo-{number}",
            obligation_id=f"DEMO-{number:06d}",
            from_bank=POOR_BANK if is_poor else source,
            to_bank=target,
            amount=format_amount(minor, currency),
            currency=currency,
            priority=chance.choice((0, 0, 0, 1, 2)),
            metadata={"simulate": script} if script and not is_poor else {},
        )


def make_rail_orders(count: int, seed: int, banks: Sequence[str]) -> Iterator[DemoOrder]:
    """Make so many instructions for each rail of the bank simulator; every other one pays out.

    None pays out over ACH, which pays customers only: it would need the customer's account.
    """
    chance = Random(f"{seed} rails")
    for number in range(1, count + 1):
        for rail, currency in RAILS.items():
            source = ACH_BANK if rail == "ach" else chance.choice(RAIL_BANKS)
            target = chance.choice([bank for bank in banks if bank != source])
            yield DemoOrder(
                key=f"demo-{rail}-{number}",
                obligation_id=f"DEMO-{rail.upper()}-{number:04d}",
                from_bank=source,
                to_bank=target,
                amount=format_amount(chance.randrange(1, RAIL_AMOUNT_MINOR_MAX), currency),
                currency=currency,
                priority=0,
                rail=rail,
                is_paid_out=rail != "ach" and number % 2 == 0,
            )


def spread(few: Sequence[DemoOrder], many: Sequence[DemoOrder]) -> list[DemoOrder]:
    """Spread the few evenly among the many; each keeps its order."""
    places = [(index + 0.5) / len(few) for index in range(len(few))]
    places += [(index + 0.5) / len(many) for index in range(len(many))]
    return [order for _, order in sorted(zip(places, [*few, *many], strict=True), key=_place)]


def _place(placed: tuple[float, DemoOrder]) -> float:
    return placed[0]
