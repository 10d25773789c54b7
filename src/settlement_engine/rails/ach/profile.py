"""The rules of an ACH as dated data: what is relied upon, how long its reports take, what a file may hold.

Promises: a profile comes with the engine, and nothing in it is certified by an operator.
"""

from __future__ import annotations

import tomllib
from datetime import date  # noqa: TC003 - msgspec reads the annotations
from importlib import resources
from typing import Final, Literal

import msgspec

from settlement_engine.domain.decisions.resending import RailClass
from settlement_engine.domain.lifecycle import Ask
from settlement_engine.domain.payment import Delivery
from settlement_engine.errors import Misconfigured
from settlement_engine.messages.naming import ACH_ORDER, ACH_REPORT
from settlement_engine.ports import BreakerLimits, LaneLimits, MessageType, RailCapabilities
from settlement_engine.ports.rail_files import FILE_ITEMS_MAX
from settlement_engine.rails.ach.orders import AMOUNT_CENTS_MAX, CURRENCY

FOLDER: Final = "profiles"
MARGIN_SECONDS: Final = 1.0
"""How much longer the engine waits than the rail, so that it learns how a call ended."""

NEVER: Final = 1_000_000_000
"""A file that is not acknowledged says nothing about the next one: the breaker does not count it."""


class AchProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A profile. ``acknowledged_seconds`` is when a file without acknowledgement leaves its payments in doubt."""

    scheme: str
    published: date
    source: str
    finality: str
    rail_class: Literal["C", "D"]
    acknowledged_seconds: int
    validity_seconds: int
    amount_cents_max: int
    items_max: int

    def capabilities(self, banks: frozenset[str] | None) -> RailCapabilities:
        """Say the same in the engine's words."""
        return RailCapabilities(
            rail_class=RailClass(self.rail_class.lower()),
            answer_timeout_seconds=self.acknowledged_seconds + MARGIN_SECONDS,
            is_not_found_definite=False,
            deduplicates_seconds=0,
            validity_seconds=self.validity_seconds,
            currencies=frozenset({CURRENCY}),
            banks=banks,
            amount_min_minor={CURRENCY: 1},
            needs={Delivery.PAY_OUT: ("creditor.name", "creditor.account.other_id")},
            amount_max_minor={CURRENCY: min(self.amount_cents_max, AMOUNT_CENTS_MAX)},
            lane=LaneLimits(breaker=BreakerLimits(failures_in_a_row=NEVER, window=NEVER)),
            asks=frozenset({Ask.SEND}),
            messages=(
                MessageType(name=ACH_ORDER, versions=("1",), ask=Ask.SEND),
                MessageType(name="nacha", versions=("1",)),
                MessageType(name=ACH_REPORT, versions=("1",)),
            ),
        )


def shipped_profiles() -> tuple[str, ...]:
    """List the profiles that come with the engine."""
    folder = resources.files(__package__) / FOLDER
    return tuple(sorted(file.name.removesuffix(".toml") for file in folder.iterdir()))


def shipped_profile(name: str) -> AchProfile:
    """Read a profile that comes with the engine. Raises Misconfigured for a name that none has."""
    if name not in shipped_profiles():
        known = ", ".join(shipped_profiles())
        raise Misconfigured(f"there is no ACH profile {name}", todo=f"Name one of: {known}.")
    file = resources.files(__package__) / FOLDER / f"{name}.toml"
    profile = msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), AchProfile)
    assert 0 < profile.items_max <= FILE_ITEMS_MAX, "the acknowledgement of a file is one message"
    assert profile.acknowledged_seconds + MARGIN_SECONDS < profile.validity_seconds, "see the rules"
    return profile
