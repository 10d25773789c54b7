"""The rails of the model check: what an honest bank of each class may do, and when.

Promises: a rail here is data, and its rules are a real ``RailCapabilities``, which the real decider
reads. Time has three phases; what changes at the start of a phase is described where the phase is
defined.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from settlement_engine.domain.decisions.resending import AT_RAIL
from settlement_engine.domain.lifecycle import Ask
from settlement_engine.ports import RailCapabilities, RailClass

PHASES: Final = (0, 1, 2)
LAST_PHASE: Final = 2
NEVER: Final = 3
"""A phase that never begins."""

_RECORDED_AT: Final = datetime(2026, 1, 5, 9, tzinfo=UTC)
_PHASE_SECONDS: Final = 1_000
"""How long a phase lasts; each is evaluated at its middle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRail:
    """An honest bank, and the rules of its rail as the engine has them.

    In the last phase the bank's day is over: what arrives then is not executed, and people can read its
    statement. ``expires_in`` is the phase from which the bytes are no longer valid, and ``forgets_in``
    the one from which a resend would not be recognised.
    """

    name: str
    rail_class: RailClass
    is_not_found_definite: bool
    is_deduplicating: bool
    is_enforcing_validity: bool
    has_tombstones: bool
    may_deliver_twice: bool  # by the network, not by the engine
    expires_in: int
    forgets_in: int
    asks: frozenset[Ask] = AT_RAIL
    sendings_more: int = 0  # than the bound of the search says

    @property
    def capabilities(self) -> RailCapabilities:
        """The rules as the engine has them."""
        return RailCapabilities(
            rail_class=self.rail_class,
            answer_timeout_seconds=10,
            is_not_found_definite=self.is_not_found_definite,
            validity_seconds=self.expires_in * _PHASE_SECONDS,
            deduplicates_seconds=self.forgets_in * _PHASE_SECONDS if self.is_deduplicating else 0,
            overdue_after_seconds=_PHASE_SECONDS,
            asks=self.asks,
        )

    @property
    def recorded_at(self) -> datetime:
        """The time of the point of no return; the settlement has the same age."""
        return _RECORDED_AT

    @property
    def valid_until(self) -> datetime:
        """The time until which the bytes may be sent."""
        return _RECORDED_AT + timedelta(seconds=self.expires_in * _PHASE_SECONDS)

    def now(self, phase: int) -> datetime:
        """Return an instant of a phase."""
        return _RECORDED_AT + timedelta(seconds=phase * _PHASE_SECONDS + _PHASE_SECONDS // 2)


RAILS: Final = (
    ModelRail(
        name="A",
        rail_class=RailClass.A,
        is_not_found_definite=True,
        is_deduplicating=True,
        is_enforcing_validity=True,
        has_tombstones=False,
        may_deliver_twice=True,
        expires_in=1,
        forgets_in=2,
    ),
    ModelRail(
        name="B",
        rail_class=RailClass.B,
        is_not_found_definite=True,
        is_deduplicating=True,
        is_enforcing_validity=False,
        has_tombstones=True,
        may_deliver_twice=True,
        expires_in=1,
        forgets_in=2,
    ),
    ModelRail(  # the bank forgets a payment before the bytes expire
        name="B short",
        rail_class=RailClass.B,
        is_not_found_definite=True,
        is_deduplicating=True,
        is_enforcing_validity=False,
        has_tombstones=True,
        may_deliver_twice=False,
        expires_in=2,
        forgets_in=1,
        sendings_more=1,
    ),
    ModelRail(
        name="C",
        rail_class=RailClass.C,
        is_not_found_definite=False,
        is_deduplicating=True,
        is_enforcing_validity=False,
        has_tombstones=False,
        may_deliver_twice=True,
        expires_in=1,
        forgets_in=NEVER,
    ),
    ModelRail(
        name="D",
        rail_class=RailClass.D,
        is_not_found_definite=False,
        is_deduplicating=False,
        is_enforcing_validity=False,
        has_tombstones=False,
        may_deliver_twice=False,
        expires_in=1,
        forgets_in=NEVER,
    ),
    ModelRail(  # a rail without enquiries and without recalls
        name="D one way",
        rail_class=RailClass.D,
        is_not_found_definite=False,
        is_deduplicating=False,
        is_enforcing_validity=False,
        has_tombstones=False,
        may_deliver_twice=False,
        expires_in=1,
        forgets_in=NEVER,
        asks=frozenset({Ask.SEND}),
    ),
)
