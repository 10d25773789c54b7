"""The rules of an ACH as dated data: what is relied upon, how long its reports take, what a file may hold.

Promises: a profile comes with the engine or is a file of one's own with the same keys, and is checked in the same way;
nothing in it is certified by an operator.
"""

from __future__ import annotations

import tomllib
from datetime import date  # noqa: TC003 - msgspec reads the annotations
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from settlement_engine.domain.decisions.resending import RailClass
from settlement_engine.domain.lifecycle import Ask
from settlement_engine.domain.payment import Delivery
from settlement_engine.errors import Misconfigured
from settlement_engine.messages.naming import ACH_ORDER, ACH_REPORT
from settlement_engine.ports import BreakerLimits, LaneLimits, MessageType, RailCapabilities
from settlement_engine.ports.rail_files import FILE_ITEMS_MAX
from settlement_engine.rails.ach.orders import AMOUNT_CENTS_MAX, CURRENCY
from settlement_engine.rails.ach.same_day import SameDayRules  # noqa: TC001 - msgspec reads it

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FOLDER: Final = "profiles"
MARGIN_SECONDS: Final = 1.0
"""How much longer the engine waits than the rail, so that it learns how a call ended."""

ADVICE: Final = "Write it with the keys of a profile that comes with the engine, such as nacha."
LIMITS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "items_max": f"Set it from 1 to {FILE_ITEMS_MAX}: the acknowledgement of a file is one message.",
        "amount_cents_max": f"Set it from 1 to {AMOUNT_CENTS_MAX}: an entry has ten columns for it.",
        "acknowledged_seconds": "Set it above 0.",
        "validity_seconds": "Set it higher than acknowledged_seconds and a second.",
    }
)
"""What each number of a profile must be."""

SAME_DAY_ADVICE: Final = (
    "Name a time zone and weekdays, and windows in their order, each settled after it has closed."
)

NEVER: Final = 1_000_000_000
"""A file that is not acknowledged says nothing about the next one: the breaker does not count it."""


class AchProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A profile. ``acknowledged_seconds`` after it was closed, a file without acknowledgement leaves doubt.

    With CTX in ``entry_classes`` a payment may tell its creditor more than one addenda holds. Without ``same_day`` no
    payment is settled on the day of its file.
    """

    scheme: str
    published: date
    source: str
    finality: str
    rail_class: Literal["C", "D"]
    acknowledged_seconds: int
    validity_seconds: int
    amount_cents_max: int
    items_max: int
    entry_classes: tuple[Literal["CCD", "CTX"], ...] = ("CCD",)
    same_day: SameDayRules | None = None

    def answer_seconds(self, open_seconds: float) -> float:
        """Return how long a question may stay open: while its file is open, and until that is acknowledged."""
        return open_seconds + self.acknowledged_seconds + MARGIN_SECONDS

    def capabilities(self, banks: frozenset[str] | None, open_seconds: float) -> RailCapabilities:
        """Say the same in the engine's words; a file is open for ``open_seconds`` at most."""
        return RailCapabilities(
            rail_class=RailClass(self.rail_class.lower()),
            answer_timeout_seconds=self.answer_seconds(open_seconds),
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
    return _checked(file.read_text(encoding="utf-8"), f"the ACH profile {name}")


def read_profile(path: Path) -> AchProfile:
    """Read a profile of one's own, with the same keys as those that come with the engine. Raises Misconfigured."""
    what = f"the ACH profile {path}"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Misconfigured(f"{what} cannot be used", why=why, todo=ADVICE) from None
    return _checked(text, what)


def _checked(text: str, what: str) -> AchProfile:
    """Read a profile, and refuse what the engine could not do. Raises Misconfigured with the place."""
    try:
        profile = msgspec.convert(tomllib.loads(text), AchProfile)
    except (ValueError, TypeError) as error:  # TOML's and msgspec's, which name the line or the key
        raise Misconfigured(f"{what} cannot be used", why=str(error), todo=ADVICE) from None
    faults = {
        "items_max": not 0 < profile.items_max <= FILE_ITEMS_MAX,
        "amount_cents_max": not 0 < profile.amount_cents_max <= AMOUNT_CENTS_MAX,
        "acknowledged_seconds": profile.acknowledged_seconds <= 0,
        "validity_seconds": (
            profile.validity_seconds <= profile.acknowledged_seconds + MARGIN_SECONDS
        ),
    }
    if fault := next((name for name, is_faulty in faults.items() if is_faulty), ""):
        raise Misconfigured(f"{what} has a {fault} that cannot be kept", todo=LIMITS[fault])
    if profile.same_day is not None and (fault := profile.same_day.fault()):
        raise Misconfigured(f"{what} has a {fault} that cannot be kept", todo=SAME_DAY_ADVICE)
    return profile
