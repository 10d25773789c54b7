"""The router: it collects what each rail offers for a payment now, and has the route decided once.

Promises: the route is decided before the accounts are looked up, and the same value is recorded with the hold, so
that the two cannot differ. Payments of one bank that say nothing but banks and amount have the same route while
windows, directory and rules are the same: it is decided for the first of them, within the limits of its amount.
Must never: choose a rail itself (``domain/routing.py`` does).
"""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.routing import (
    RailOffer,
    banks_to_reach,
    choose_route,
    lasting_objection,
)
from settlement_engine.ports import DetailsRail

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from datetime import datetime

    from settlement_engine.domain.routing import RouteDecision
    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.domain.windows import WindowOpening
    from settlement_engine.engine.listed_banks import ListedBanks
    from settlement_engine.engine.window_calendar import WindowCalendar
    from settlement_engine.ports import RailCapabilities, SendRail


ROUTES_KEPT_MAX: Final = 10_000
"""The most decisions that are kept; with more, all are made again."""

NO_LIMIT_MINOR: Final = 1 << 62


class _Kept(NamedTuple):
    """The route of plain payments whose amount is within these bounds."""

    decision: RouteDecision
    opening: WindowOpening
    rules: RailCapabilities
    least_minor: int
    most_minor: int


NOT_STATED: Final[Mapping[str, frozenset[str]]] = MappingProxyType({})


def _yes(_rail: str, _bank: str) -> bool:
    return True


def _not(_rail: str) -> bool:
    return False


def _no(_rail: str, _bank: str) -> bool:
    return False


class Router:
    """Has the rails in order of preference, their windows and their lanes."""

    def __init__(  # noqa: PLR0913 - all that a route depends on
        self,
        rails: Mapping[str, SendRail],
        window_calendar: WindowCalendar,
        *,
        has_room: Callable[[str, str], bool] = _yes,
        is_sending: Callable[[str, str], bool] = _yes,
        is_free: Callable[[str], bool] = _not,
        listed: ListedBanks | None = None,
        is_stopped: Callable[[str, str], bool] = _no,
        refusing: Collection[str] = (),
    ) -> None:
        self._rails = rails
        self._details = {
            name: rail for name, rail in rails.items() if isinstance(rail, DetailsRail)
        }
        self._window_calendar = window_calendar
        self._has_room = has_room
        self._is_sending = is_sending
        self._is_free = is_free
        self._listed = listed
        self._is_stopped = is_stopped
        self._refusing = refusing
        self._kept: dict[tuple[str, str, str], _Kept] = {}
        self._kept_for: tuple[object, int, int] = (None, 0, 0)

    async def make_current(self) -> None:
        """Read what has changed in the bank directory, if it is time. Raises Unavailable."""
        listed = self._listed
        if listed is not None and asyncio.get_running_loop().time() >= listed.current_until:
            await listed.keep_current()

    @property
    def _directory(self) -> Mapping[str, frozenset[str]]:
        """The rails of each bank, as the bank directory states them; empty without a directory."""
        return self._listed.facts.rails if self._listed is not None else NOT_STATED

    def route(self, settlement: Settlement, now: datetime) -> RouteDecision:
        """Decide the route of a settlement that was never sent."""
        return self._choose(settlement.instruction, now, self._directory)

    def routes(self, settlements: Iterable[Settlement], now: datetime) -> list[RouteDecision]:
        """Decide the routes of several settlements; one each, in order."""
        directory = self._directory
        facts = self._listed.facts if self._listed is not None else None
        kept_for = (facts, facts.position if facts else 0, self._window_calendar.version)
        if kept_for != self._kept_for:
            self._kept.clear()
            self._kept_for = kept_for
        return [self._route(each.instruction, now, directory) for each in settlements]

    def _route(
        self, instruction: Instruction, now: datetime, directory: Mapping[str, frozenset[str]]
    ) -> RouteDecision:
        """Return the kept route of a plain payment, or decide it."""
        if instruction.payment is not None or instruction.requested_delivery is not None:
            return self._choose(instruction, now, directory)
        amount = instruction.amount
        key = (instruction.from_bank, amount.currency, instruction.rail)
        kept = self._kept.get(key)
        if kept is not None:
            decision, opening, rules, least, most = kept
            name = decision.rail
            is_same = opening.opens_at <= now < opening.closes_at and least <= amount.minor <= most
            if is_same and self._rails[name].capabilities is rules and self._takes(name, key[0]):
                return decision
        decision = self._choose(instruction, now, directory)
        self._keep(key, decision)
        return decision

    def _keep(self, key: tuple[str, str, str], decision: RouteDecision) -> None:
        """Keep a decision that no rail but the first was looked at for, and that waits for nothing."""
        opening = decision.window_opening
        if not decision.rail or decision.rejected or decision.waits_for or opening is None:
            return
        if len(self._kept) >= ROUTES_KEPT_MAX:
            self._kept.clear()
        rules, currency = self._rails[decision.rail].capabilities, key[1]
        self._kept[key] = _Kept(
            decision,
            opening,
            rules,
            rules.amount_min_minor.get(currency, 0),
            rules.amount_max_minor.get(currency, NO_LIMIT_MINOR),
        )

    def _takes(self, rail: str, bank: str) -> bool:
        """Say whether the bank's lane takes a payment now; a rail whose lanes are free is asked nothing more."""
        return self._is_free(rail) or (self._has_room(rail, bank) and self._is_sending(rail, bank))

    def _choose(
        self, instruction: Instruction, now: datetime, directory: Mapping[str, frozenset[str]]
    ) -> RouteDecision:
        return choose_route(instruction, self._offers(instruction, now, directory))

    def _offers(
        self, instruction: Instruction, now: datetime, directory: Mapping[str, frozenset[str]]
    ) -> Iterator[RailOffer]:
        currency, bank = instruction.amount.currency, instruction.from_bank
        stated = _stated(directory, instruction) if directory else ()
        for name, rail in self._rails.items():
            window_opening = self._window_calendar.window_opening(currency, now, name)
            has_room, is_sending = self._has_room(name, bank), self._is_sending(name, bank)
            fault = self._fault(name, instruction)
            listed_as = rail.capabilities.listed_as or name
            unreached = _unreached(listed_as, stated) if stated else ""
            yield RailOffer(
                name=name,
                rules=rail.capabilities,
                window_opening=window_opening,
                opens_at=None
                if window_opening
                else self._window_calendar.next_opening(currency, now, name),
                has_room=has_room,
                is_breaker_open=not is_sending,
                unreached_bank=unreached,
                is_stopped=not is_sending and self._is_stopped(name, bank),
                refuses_while_open=name in self._refusing,
                fault=fault,
            )

    def _fault(self, rail: str, instruction: Instruction) -> str:
        """Return what a rail cannot carry of a payment, or misses for it."""
        part = self._details.get(rail)
        return "" if part is None else part.fault_of(instruction)

    def possible(self, settlement: Settlement) -> tuple[str, ...]:
        """Return the rails that may carry a settlement, whether or not they are open or have room now.

        What the bank directory states rules none out here: it may have stated something else before a restore.
        """
        instruction = settlement.instruction
        return tuple(
            name
            for name, rail in self._rails.items()
            if instruction.rail in ("", name)
            and lasting_objection(rail.capabilities, instruction) is None
            and not self._fault(name, instruction)
        )


def _stated(
    directory: Mapping[str, frozenset[str]], instruction: Instruction
) -> tuple[tuple[str, frozenset[str]], ...]:
    """Return the rails that the bank directory states for the banks of a payment; a bank without any is left out."""
    banks = banks_to_reach(instruction)
    found = ((bank, directory.get(folded_bank(bank))) for bank in banks)
    return tuple((bank, rails) for bank, rails in found if rails)


def _unreached(rail: str, stated: tuple[tuple[str, frozenset[str]], ...]) -> str:
    """Return the first bank that does not state the rail; empty when all do."""
    return next((bank for bank, rails in stated if rail not in rails), "")
