"""How a break is closed: by a match, and where its items differ by a transfer into a named account.

Amounts have the sign of the bank's statement. After every resolution, ours and theirs of its items are equal: what
is missing is a transfer between the account and another one, which is posted in the commit of the approval and
matched together with the items. Promises: an exact match needs one person and a reason; every transfer needs two.
Must never: add amounts of different currencies or accounts.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.matching.breaks import BreakKind
from settlement_engine.errors import InvalidInstruction, WrongState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ITEMS_MAX: Final = 1_000
"""The most items that one resolution matches."""

CONTROL_ACCOUNT: Final = "control"
"""The number of the account for charges, exchange and clearing, as elsewhere in the ledger."""


class BreakResolution(StrEnum):
    """How two people, or one with an exact match, close a break."""

    MATCH = "MATCH"
    """The items belong together, and their sums are equal."""
    CHARGES = "CHARGES"
    """They belong together; the difference is a charge."""
    EXCHANGE = "EXCHANGE"
    """They belong together; the difference comes from an exchange rate."""
    WRITE_OFF = "WRITE_OFF"
    SUSPENSE = "SUSPENSE"
    """The difference is kept in suspense until its owner is known."""
    FUNDING = "FUNDING"
    """The credit that nobody expected is a bank's funding."""
    RETURN = "RETURN"
    """The credit goes back, or the bank has taken it back: it is kept apart in suspense until then."""


class Destination(NamedTuple):
    """The account that takes a difference: its kind, and its number."""

    kind: AccountKind
    number: str


DESTINATIONS: Final[Mapping[BreakResolution, Destination]] = MappingProxyType(
    {
        BreakResolution.CHARGES: Destination(AccountKind.FEES, CONTROL_ACCOUNT),
        BreakResolution.EXCHANGE: Destination(AccountKind.FX, CONTROL_ACCOUNT),
        BreakResolution.WRITE_OFF: Destination(AccountKind.FEES, "write-off"),
        BreakResolution.SUSPENSE: Destination(AccountKind.SUSPENSE, CONTROL_ACCOUNT),
        BreakResolution.FUNDING: Destination(AccountKind.CLEARING, CONTROL_ACCOUNT),
        BreakResolution.RETURN: Destination(AccountKind.SUSPENSE, "to-return"),
    }
)
"""Where a difference goes. The account belongs to the same bank, in the same currency; MATCH has no difference."""

_ONE_SIDE_OF_THEIRS: Final = frozenset(
    {BreakKind.MISSING_OURS, BreakKind.UNKNOWN_DEBIT, BreakKind.DUPLICATE, BreakKind.REVERSAL}
)
_WITH_ITEMS_OF_BOTH: Final = frozenset(BreakKind) - {BreakKind.CURRENCY}

ALLOWED: Final[Mapping[BreakResolution, frozenset[BreakKind]]] = MappingProxyType(
    {
        BreakResolution.MATCH: _WITH_ITEMS_OF_BOTH,
        BreakResolution.CHARGES: _WITH_ITEMS_OF_BOTH,
        BreakResolution.EXCHANGE: _WITH_ITEMS_OF_BOTH,
        BreakResolution.WRITE_OFF: _WITH_ITEMS_OF_BOTH,
        BreakResolution.SUSPENSE: _WITH_ITEMS_OF_BOTH,
        BreakResolution.FUNDING: frozenset({BreakKind.MISSING_OURS}),
        BreakResolution.RETURN: _ONE_SIDE_OF_THEIRS,
    }
)
"""The kinds of breaks that each resolution closes. Amounts of two currencies are never compared: those items are
resolved one by one, each in its own account."""


class BreakSide(StrEnum):
    """Whose item it is."""

    OURS = auto()
    THEIRS = auto()


class BreakItem(msgspec.Struct, frozen=True, kw_only=True):
    """One open item: a booking of ours, or an entry of theirs."""

    side: BreakSide
    id: str
    account_id: int
    minor: int
    """With the sign of the bank's statement."""
    currency: str


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """The transfer that makes a resolution's sums equal: positive where our account's balance grows."""

    minor: int
    currency: str
    account_id: int
    destination: Destination

    @property
    def is_debit(self) -> bool:
        """Say whether our account at the bank is debited: as an asset, it grows by debits."""
        return self.minor > 0


def difference_minor(items: Sequence[BreakItem]) -> int:
    """Return their sum minus ours, in minor units."""
    return sum(each.minor if each.side is BreakSide.THEIRS else -each.minor for each in items)


def check_resolution(
    kind: BreakKind, resolution: BreakResolution, items: Sequence[BreakItem]
) -> Correction | None:
    """Return the transfer that a resolution of these items needs; None for an exact match.

    Raises InvalidInstruction for items that cannot be resolved together, WrongState for a kind of break that is not
    closed so.
    """
    if faults := _faults(items):
        raise InvalidInstruction([("items", fault) for fault in faults])
    if kind not in ALLOWED[resolution]:
        allowed = ", ".join(each for each in BreakResolution if kind in ALLOWED[each])
        what = f"a break of the kind {kind} is not closed by {resolution}"
        todo = f"Choose one of: {allowed}." if allowed else "Resolve its items one by one."
        raise WrongState(what, why="the kinds that each resolution closes are fixed", todo=todo)
    difference = difference_minor(items)
    if resolution is BreakResolution.MATCH:
        if difference:
            fault = f"differ by {difference} minor units: an exact match needs equal sums"
            raise InvalidInstruction([("items", fault)])
        return None
    if not difference:
        fault = "have equal sums: match them, nothing is to be posted"
        raise InvalidInstruction([("items", fault)])
    if resolution in (BreakResolution.CHARGES, BreakResolution.EXCHANGE) and not _has_both_sides(
        items
    ):
        fault = "must be of both sides: a charge or an exchange is what two amounts differ by"
        raise InvalidInstruction([("items", fault)])
    if resolution is BreakResolution.FUNDING and difference < 0:
        raise InvalidInstruction([("items", "are a debit: a funding is a credit")])
    return Correction(
        minor=difference,
        currency=items[0].currency,
        account_id=items[0].account_id,
        destination=DESTINATIONS[resolution],
    )


def resolution_sha256(
    break_id: int,
    resolution: BreakResolution,
    items: Sequence[BreakItem],
    reason: str,
    evidence: tuple[str, bytes],
    who: str,
) -> bytes:
    """Make the fingerprint of a proposal, which its approval signs; ``evidence`` is a file's name and its bytes."""
    name, data = evidence
    content = {
        "break_id": break_id,
        "resolution": resolution.value,
        "items": sorted(
            [each.side.value, each.id, each.account_id, each.minor, each.currency] for each in items
        ),
        "reason": reason,
        "evidence_name": name,
        "evidence_bytes": len(data),
        "evidence_sha256": hashlib.sha256(data).hexdigest(),
        "proposed_by": who,
    }
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


def _faults(items: Sequence[BreakItem]) -> list[str]:
    if not items:
        return ["must have at least one"]
    if len(items) > ITEMS_MAX:
        return [f"must be at most {ITEMS_MAX}"]
    found = []
    if len({(each.side, each.id) for each in items}) != len(items):
        found.append("must not contain an item twice")
    if len({each.account_id for each in items}) > 1:
        found.append("must be of one account")
    if len({each.currency for each in items}) > 1:
        found.append("must be in one currency")
    return found


def _has_both_sides(items: Sequence[BreakItem]) -> bool:
    return len({each.side for each in items}) > 1
