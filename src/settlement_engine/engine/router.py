"""The router: it collects what each rail offers for a payment now, and has the route decided once.

Promises: the route is decided before the accounts are looked up, and the same value is recorded with the hold, so
that the two cannot differ. Must never: choose a rail itself (``domain/routing.py`` does).
"""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

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


NOT_STATED: Final[Mapping[str, frozenset[str]]] = MappingProxyType({})


def _yes(_rail: str, _bank: str) -> bool:
    return True


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
        self._listed = listed
        self._is_stopped = is_stopped
        self._refusing = refusing
        self._usual: dict[str, RailOffer] = {}

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
        return [self._choose(each.instruction, now, directory) for each in settlements]

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
            unreached = _unreached(name, stated) if stated else ""
            if window_opening and has_room and is_sending and not unreached and not fault:
                yield self._usual_offer(name, rail.capabilities, window_opening)
                continue
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
        """Return what a rail cannot carry of a payment; most payments say nothing but banks and amount."""
        part = None if instruction.payment is None else self._details.get(rail)
        return "" if part is None else part.fault_of(instruction)

    def _usual_offer(
        self, name: str, rules: RailCapabilities, window_opening: WindowOpening
    ) -> RailOffer:
        """Return the offer of a rail that takes payments now: nearly all payments have the same one."""
        known = self._usual.get(name)
        if known is None or known.window_opening is not window_opening or known.rules is not rules:
            known = self._usual[name] = RailOffer(
                name=name, rules=rules, window_opening=window_opening
            )
        return known

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
