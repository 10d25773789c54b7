"""The registry of rails: which rails exist, their sections of the configuration, and how they start and stop.

Promises: names are unique; a rail has the name of its entry and the parts that its capabilities list; all are
started before the engine, in order, and stopped in the opposite order, also those whose start failed.

Must never: read the configuration or decide which rail takes a payment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.domain.lifecycle import Ask
from settlement_engine.errors import Misconfigured
from settlement_engine.ports import EnquiryRail, RecallRail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from settlement_engine.ports import SendRail

RAILS_MAX: Final = 100
"""The most rails of an engine; more are a mistake in the configuration."""


class RailEntry(NamedTuple):
    """A rail that the engine may have. ``make`` returns None if its section switches it off."""

    name: str
    section: str
    make: Callable[[], SendRail | None]


class RailRegistry:
    """The rails that are switched on, in order of preference."""

    def __init__(self, entries: Iterable[RailEntry]) -> None:
        self.rails: dict[str, SendRail] = {}
        for entry in entries:
            rail = entry.make()
            if rail is None:
                continue
            if entry.name in self.rails or len(self.rails) >= RAILS_MAX:
                what = f"the rail {entry.name} of [{entry.section}] is one too many"
                raise Misconfigured(what, todo="Name each rail once.")
            assert rail.name == entry.name, "records name a rail as its entry does"
            assert asks_of(rail) == rail.capabilities.asks, "a rail has the parts that it names"
            self.rails[entry.name] = rail

    async def start(self) -> None:
        """Start the rails, one after the other. Raises Misconfigured."""
        for rail in self.rails.values():
            await rail.start()

    async def stop(self) -> None:
        """Stop the rails, in the opposite order."""
        for rail in reversed(self.rails.values()):
            await rail.stop()


def asks_of(rail: SendRail) -> frozenset[Ask]:
    """Return the questions that a rail has a part for."""
    found = {Ask.SEND}
    if isinstance(rail, EnquiryRail):
        found.add(Ask.ENQUIRE)
    if isinstance(rail, RecallRail):
        found.add(Ask.RECALL)
    return frozenset(found)
