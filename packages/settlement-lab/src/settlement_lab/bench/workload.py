"""The instructions that the bench sends: determined by a seed, over one hot account, many, or a Zipf law."""

from __future__ import annotations

from enum import StrEnum, auto
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING, Final

from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Mapping

BANKS_MAX: Final = 1_000
CURRENCY: Final = "EUR"
FUNDS: Final = "90000000000.00"
AMOUNT_MINOR_MAX: Final = 99_999
MINOR: Final = 100
DRAWN_AT_ONCE: Final = 4_096

THOUSAND: Final = 1_000
PLACES: Final = range(BANKS_MAX)
BANKS: Final = tuple(f"BANK{number:04}" for number in range(1, BANKS_MAX + 1))


class LoadSpread(StrEnum):
    """How the load is distributed over accounts."""

    HOT = auto()  # every settlement debits the same account
    MANY = auto()  # a thousand accounts on each side, evenly
    ZIPF = auto()  # the n-th of a thousand is chosen 1/n as often as the first


MIXED: Final[Mapping[str, int]] = {"reject": 50, "lost_answer": 5, "lost_request": 5}
"""Per thousand instructions: how many the bank rejects, and how many are in doubt for a time."""


REPEATED: Final = 10
"""Per thousand instructions of a mixed load: how many are sent a second time."""


class Workload:
    """Makes instructions, each for an obligation of its own.

    With ``scripts`` some of them get a simulated bank fault, and some are sent a second time.
    """

    def __init__(
        self, spread: LoadSpread, seed: int, scripts: Mapping[str, int] | None = None
    ) -> None:
        self._chance = Random(seed)
        self._last: wire.SettlementRequest | None = None
        self._spread = spread
        self._weights = list(accumulate(1 / place for place in range(1, BANKS_MAX + 1)))
        self._drawn: list[int] = []
        lots = [name for name, share in (scripts or {}).items() for _ in range(share)]
        self._scripts = lots and [*lots, *[""] * (THOUSAND - len(lots))]

    def many(self, count: int) -> list[wire.SettlementRequest]:
        """Make ``count`` instructions."""
        return [self.one() for _ in range(count)]

    def each_bank(self) -> list[wire.SettlementRequest]:
        """Make one from each bank to the next, so that an engine has loaded the accounts of all."""
        made = self.many(BANKS_MAX)
        for place, request in enumerate(made):
            request.from_bank, request.to_bank = BANKS[place - 1], BANKS[place]
        return made

    def one(self) -> wire.SettlementRequest:
        """Make one instruction."""
        if self._scripts:
            if self._last is not None and self._chance.random() * THOUSAND < REPEATED:
                return self._last
            self._last = self._make()
            script = self._scripts[int(self._chance.random() * THOUSAND)]
            if script:
                self._last.metadata["simulate"] = script
            return self._last
        return self._make()

    def _make(self) -> wire.SettlementRequest:
        source = self._source()
        target = self._draw()
        while target == source:
            target = self._draw()
        minor = int(self._chance.random() * AMOUNT_MINOR_MAX) + 1
        return wire.SettlementRequest(
            obligation_id=f"{self._chance.getrandbits(128):032x}",
            from_bank=BANKS[source],
            to_bank=BANKS[target],
            amount=f"{minor // MINOR}.{minor % MINOR:02}",
            currency=CURRENCY,
        )

    def places(self, count: int) -> tuple[list[int], list[int]]:
        """Draw sources and targets only, as account numbers from 0."""
        return [self._source() for _ in range(count)], [self._draw() for _ in range(count)]

    def _source(self) -> int:
        return 0 if self._spread is LoadSpread.HOT else self._draw()

    def _draw(self) -> int:
        if not self._drawn:
            weights = self._weights if self._spread is LoadSpread.ZIPF else None
            self._drawn = self._chance.choices(PLACES, cum_weights=weights, k=DRAWN_AT_ONCE)
        return self._drawn.pop()
