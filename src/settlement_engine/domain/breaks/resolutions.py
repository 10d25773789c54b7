"""How a break is closed: by a match, and where its items differ by a transfer into a named account.

Amounts have the sign of the bank's statement. After every resolution, ours and theirs of its items are equal: what
is missing is a transfer between the account and another one, which is posted in the commit of the approval and
matched together with the items. Promises: an exact match needs one person and a reason; every transfer needs two.
Must never: add amounts of different currencies or accounts.
"""

from __future__ import annotations

import hashlib
import json
from datetime import date  # noqa: TC003 -- msgspec resolves the field's type
from enum import StrEnum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from settlement_engine.domain.ledger import AccountKind, Leg
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
    EXPLANATION = "EXPLANATION"
    """The opening difference is explained, and stays in the proof under its name."""


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
"""Where a difference goes. The account belongs to the same bank, in the same currency. MATCH has no difference, and
EXPLANATION posts none."""

OPENING_DIFFERENCE: Final = "OPENING_DIFFERENCE"
"""The kind of the break between the first statement's opening balance and our books. It has no items."""

_OF_THEIRS: Final[frozenset[str]] = frozenset(
    {BreakKind.MISSING_OURS, BreakKind.UNKNOWN_DEBIT, BreakKind.DUPLICATE, BreakKind.REVERSAL}
)
_WITH_ITEMS: Final[frozenset[str]] = frozenset(BreakKind)
_OF_ANY: Final = _WITH_ITEMS | {OPENING_DIFFERENCE}

ALLOWED: Final[Mapping[BreakResolution, frozenset[str]]] = MappingProxyType(
    {
        BreakResolution.MATCH: _WITH_ITEMS,
        BreakResolution.CHARGES: _WITH_ITEMS,
        BreakResolution.EXCHANGE: _WITH_ITEMS,
        BreakResolution.WRITE_OFF: _OF_ANY,
        BreakResolution.SUSPENSE: _OF_ANY,
        BreakResolution.FUNDING: frozenset({BreakKind.MISSING_OURS, OPENING_DIFFERENCE}),
        BreakResolution.RETURN: _OF_THEIRS,
        BreakResolution.EXPLANATION: frozenset({OPENING_DIFFERENCE}),
    }
)
"""The kinds of breaks that each resolution closes."""


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


class BreakHead(msgspec.Struct, frozen=True, kw_only=True):
    """What a break is about. ``currency`` is its account's: only in that is anything posted."""

    id: int
    kind: str
    account_id: int
    bank: str
    currency: str
    amount_minor: int
    business_date: date


class EvidenceDigest(NamedTuple):
    """A file of evidence: its name, how long it is, and its hash."""

    name: str
    size_bytes: int
    sha256: bytes

    @classmethod
    def of(cls, name: str, content: bytes) -> EvidenceDigest:
        """Make the digest of a file; without a file it is that of nothing."""
        return cls(name, len(content), hashlib.sha256(content).digest())


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """What a resolution posts: positive where our account's balance at the bank grows.

    Without a destination nothing is posted, and the amount is only what two people answer for.
    """

    minor: int
    destination: Destination | None
    leg: Leg = Leg.CORRECTION


def difference_minor(items: Sequence[BreakItem]) -> int:
    """Return their sum minus ours, in minor units."""
    return sum(each.minor if each.side is BreakSide.THEIRS else -each.minor for each in items)


def check_resolution(
    head: BreakHead, resolution: BreakResolution, items: Sequence[BreakItem]
) -> Correction | None:
    """Return what a resolution of these items posts; None for an exact match.

    Raises InvalidInstruction for items that cannot be resolved together, WrongState for a kind of break that is not
    closed so.
    """
    if head.kind not in ALLOWED[resolution]:
        allowed = ", ".join(each for each in BreakResolution if head.kind in ALLOWED[each])
        what = f"a break of the kind {head.kind} is not closed by {resolution}"
        raise WrongState(what, todo=f"Choose one of: {allowed}.")
    if head.kind == OPENING_DIFFERENCE:
        return _of_opening(head, resolution, items)
    fault = _fault(head, items) or _fault_of_sums(resolution, items)
    if fault:
        raise InvalidInstruction([("items", fault)])
    if resolution is BreakResolution.MATCH:
        return None
    return Correction(minor=difference_minor(items), destination=DESTINATIONS[resolution])


def _of_opening(
    head: BreakHead, resolution: BreakResolution, items: Sequence[BreakItem]
) -> Correction:
    if items:
        raise InvalidInstruction([("items", "must be none: an opening difference has no items")])
    if resolution is BreakResolution.FUNDING and head.amount_minor < 0:
        raise InvalidInstruction([("resolution", _NO_FUNDING)])
    return Correction(
        minor=head.amount_minor,
        destination=DESTINATIONS.get(resolution),
        leg=Leg.OPENING_CORRECTION,
    )


def resolution_sha256(
    break_id: int,
    resolution: BreakResolution,
    items: Sequence[BreakItem],
    reason: str,
    evidence: EvidenceDigest,
    who: str,
) -> bytes:
    """Make the fingerprint of a proposal, which its approval signs."""
    content = {
        "break_id": break_id,
        "resolution": resolution.value,
        "items": sorted(
            [each.side.value, each.id, each.account_id, each.minor, each.currency] for each in items
        ),
        "reason": reason,
        "evidence_name": evidence.name,
        "evidence_bytes": evidence.size_bytes,
        "evidence_sha256": evidence.sha256.hex(),
        "proposed_by": who,
    }
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


_NO_FUNDING: Final = "are a debit: a funding is a credit"


def _fault(head: BreakHead, items: Sequence[BreakItem]) -> str:
    """Say why items cannot be resolved together; empty if they can."""
    if not items:
        return "must have at least one"
    if len(items) > ITEMS_MAX:
        return f"must be at most {ITEMS_MAX}"
    if len({(each.side, each.id) for each in items}) != len(items):
        return "must not contain an item twice"
    if {each.account_id for each in items} != {head.account_id}:
        return "must be of the break's account"
    if {each.currency for each in items} != {head.currency}:
        return "must be in the account's currency"
    return ""


def _fault_of_sums(resolution: BreakResolution, items: Sequence[BreakItem]) -> str:
    """Say why these amounts are not resolved so; empty if they are."""
    difference = difference_minor(items)
    if resolution is BreakResolution.MATCH:
        text = f"differ by {difference} minor units: an exact match needs equal sums"
        return text if difference else ""
    if not difference:
        return "have equal sums: match them, nothing is to be posted"
    is_of_both = len({each.side for each in items}) > 1
    if resolution in (BreakResolution.CHARGES, BreakResolution.EXCHANGE) and not is_of_both:
        return "must be of both sides: a charge or an exchange is what two amounts differ by"
    return _NO_FUNDING if resolution is BreakResolution.FUNDING and difference < 0 else ""
