"""Routing: which rail takes a payment, and why the others do not.

Promises: the same payment and the same offers give the same decision; each rail that was looked at and not
chosen has a reason. The first rail that can take the payment now is chosen; where none can now, the one that
it has to wait for the shortest. A rail that the caller named is the only one that is looked at.

Must never: read a clock, ask anybody, or be consulted after the send intent is committed. From then on the
payment belongs to its rail.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.payment import Delivery, text_at
from settlement_engine.domain.payment_scope import is_in_scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from settlement_engine.domain.settlement import Instruction
    from settlement_engine.domain.windows import WindowOpening

RAIL_PREFIX: Final = "rail."
"""The prefix of the detail in which the reason against a rail is kept; the rail's name follows."""

FIELD_OF_RAIL: Final = "rail"
"""The field of the request in which a caller names a rail."""

SHOWN_MAX: Final = 5
"""The most currencies that a reason lists."""


class RouteReason(StrEnum):
    """Why a rail was not chosen. The names are stable: clients may rely on them."""

    CURRENCY_NOT_CARRIED = "CURRENCY_NOT_CARRIED"
    BANK_NOT_REACHED = "BANK_NOT_REACHED"
    AMOUNT_BELOW_MINIMUM = "AMOUNT_BELOW_MINIMUM"
    AMOUNT_ABOVE_LIMIT = "AMOUNT_ABOVE_LIMIT"
    WINDOW_CLOSED = "WINDOW_CLOSED"
    LANE_FULL = "LANE_FULL"
    BREAKER_OPEN = "BREAKER_OPEN"
    STOPPED_BY_OPERATOR = "STOPPED_BY_OPERATOR"
    FIELD_MISSING = "FIELD_MISSING"
    FIELD_NOT_CARRIED = "FIELD_NOT_CARRIED"
    UNKNOWN_RAIL = "UNKNOWN_RAIL"


LASTING: Final = frozenset(
    {
        RouteReason.CURRENCY_NOT_CARRIED,
        RouteReason.BANK_NOT_REACHED,
        RouteReason.AMOUNT_BELOW_MINIMUM,
        RouteReason.AMOUNT_ABOVE_LIMIT,
        RouteReason.FIELD_MISSING,
        RouteReason.FIELD_NOT_CARRIED,
        RouteReason.UNKNOWN_RAIL,
    }
)
"""Permanent reasons: they depend only on the payment and on the rail's rules, so waiting does not help."""


OPEN_BREAKER: Final = frozenset({RouteReason.BREAKER_OPEN, RouteReason.STOPPED_BY_OPERATOR})
"""Reasons for which a rail may refuse new payments, and not let them wait."""


class RailRules(Protocol):
    """Which payments a rail carries. None means no limit; amounts are in minor units, by currency."""

    @property
    def currencies(self) -> frozenset[str] | None:
        """The currencies that it carries."""
        ...

    @property
    def banks(self) -> frozenset[str] | None:
        """The banks that take orders over it, folded."""
        ...

    @property
    def scope(self) -> frozenset[str] | None:
        """The banks and currencies that go together, where not every one of both does (``payment_scope``)."""
        ...

    @property
    def amount_min_minor(self) -> Mapping[str, int]:
        """The least that it carries."""
        ...

    @property
    def amount_max_minor(self) -> Mapping[str, int]:
        """The most that it carries."""
        ...

    @property
    def needs(self) -> Mapping[Delivery, tuple[str, ...]]:
        """The fields of the payment details that it needs, as dotted paths, by delivery."""
        ...


class RailOffer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a rail can take one payment now.

    ``window_opening`` is the time in which both the currency's and the rail's own windows are open now. If it is None,
    ``opens_at`` is when the next such time begins, or None if there is none. ``unreached_bank`` is a bank that the
    rail would have to reach and whose entry in the bank directory states other rails. ``is_stopped``: a person has
    stopped sending to this bank. ``refuses_while_open``: then, or while its breaker is open, it lets no payment wait.
    ``fault`` is what the rail cannot carry of the payment details, beginning with the field and a colon; empty where
    it can carry everything.
    """

    name: str
    rules: RailRules
    window_opening: WindowOpening | None
    opens_at: datetime | None = None
    has_room: bool = True
    is_breaker_open: bool = False
    unreached_bank: str = ""
    is_stopped: bool = False
    refuses_while_open: bool = False
    fault: str = ""


class RejectedRail(msgspec.Struct, frozen=True):
    """A rail that was looked at and not chosen."""

    rail: str
    reason: RouteReason
    text: str


class RouteDecision(msgspec.Struct, frozen=True, kw_only=True):
    """The rail of a payment, or none, with the reason against each rail that was looked at.

    ``waits_for`` says why the chosen rail cannot take it yet: meanwhile no funds are held, and afterwards the
    route is decided again. ``opens_at`` is when the chosen rail's windows open, if the payment waits for them.
    ``field`` is the field of the request that would have to be another for a rail to carry it; empty: not known.
    ``trace`` is the payment's number in a file, allocated for this decision; other rails have none.
    """

    rail: str
    rejected: tuple[RejectedRail, ...] = ()
    window_opening: WindowOpening | None = None
    waits_for: RouteReason | None = None
    opens_at: datetime | None = None
    field: str = ""
    trace: str = ""

    def words(self) -> dict[str, str]:
        """Return the reasons as details of a transition, or of a refusal."""
        return {
            f"{RAIL_PREFIX}{each.rail}": f"{each.reason}: {each.text}" for each in self.rejected
        }


def read_rejected(detail: Mapping[str, str]) -> tuple[RejectedRail, ...]:
    """Read the reasons from the details of a transition; other details are left out."""
    found = []
    for name, words in detail.items():
        code, _, text = words.partition(": ")
        if name.startswith(RAIL_PREFIX) and code in RouteReason.__members__:
            found.append(RejectedRail(name.removeprefix(RAIL_PREFIX), RouteReason(code), text))
    return tuple(found)


def lasting_objection(rules: RailRules, instruction: Instruction) -> tuple[RouteReason, str] | None:
    """Return the permanent reason why a rail does not carry this payment; None if it may."""
    amount = instruction.amount
    currency = amount.currency
    if rules.currencies is not None and currency not in rules.currencies:
        carried = _some(rules.currencies)
        return RouteReason.CURRENCY_NOT_CARRIED, f"it carries {carried}, not {currency}"
    if rules.banks is not None and folded_bank(instruction.from_bank) not in rules.banks:
        return RouteReason.BANK_NOT_REACHED, f"{instruction.from_bank} takes no orders over it"
    if rules.scope is not None and not is_in_scope(rules.scope, instruction.from_bank, currency):
        text = f"{instruction.from_bank} takes no orders in {currency} over it"
        return RouteReason.BANK_NOT_REACHED, text
    least = rules.amount_min_minor.get(currency)
    if least is not None and amount.minor < least:
        text = f"it carries no less than {least} minor units of {currency}"
        return RouteReason.AMOUNT_BELOW_MINIMUM, text
    most = rules.amount_max_minor.get(currency)
    if most is not None and amount.minor > most:
        text = f"it carries no more than {most} minor units of {currency}"
        return RouteReason.AMOUNT_ABOVE_LIMIT, text
    field = missing_field(rules, instruction) if rules.needs else ""
    return (RouteReason.FIELD_MISSING, f"{field} is missing") if field else None


def banks_to_reach(instruction: Instruction) -> tuple[str, ...]:
    """Return the banks that a rail has to reach: the one that takes the order, and the one that it pays, if any.

    With delivery BOOK our own money moves, and nobody else is paid.
    """
    if instruction.delivery is not Delivery.PAY_OUT:
        return (instruction.from_bank,)
    paid = text_at(instruction.payment, "creditor.agent_bic") or instruction.to_bank
    return instruction.from_bank, paid


def missing_field(rules: RailRules, instruction: Instruction) -> str:
    """Return the first field that the rail needs and the request lacks; empty if there is none."""
    needed = rules.needs.get(instruction.delivery, ())
    payment = instruction.payment
    return next((f"payment.{path}" for path in needed if not text_at(payment, path)), "")


def _some(currencies: Iterable[str]) -> str:
    names = sorted(currencies)
    more = f" and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else ""
    return (", ".join(names[:SHOWN_MAX]) or "nothing") + more


def _lasting_objection(
    offer: RailOffer, instruction: Instruction
) -> tuple[RouteReason, str] | None:
    """Return the permanent reason against an offer: of the rail's rules, the directory or the rail's messages."""
    lasting = lasting_objection(offer.rules, instruction)
    if lasting is not None:
        return lasting
    if offer.unreached_bank:
        text = f"{offer.unreached_bank} is not reachable by this rail, says the bank directory"
        return RouteReason.BANK_NOT_REACHED, text
    return (RouteReason.FIELD_NOT_CARRIED, offer.fault) if offer.fault else None


def _objection(offer: RailOffer, instruction: Instruction) -> tuple[RouteReason, str] | None:
    """Return the reason why a rail does not take this payment now; None if it does."""
    lasting = _lasting_objection(offer, instruction)
    if lasting is not None:
        return lasting
    if offer.window_opening is None:
        opening = offer.opens_at.isoformat() if offer.opens_at else "never"
        return RouteReason.WINDOW_CLOSED, f"next opening: {opening}"
    return _lane_objection(offer)


def _lane_objection(offer: RailOffer) -> tuple[RouteReason, str] | None:
    """Return the reason why the bank's lane does not take a payment now; None if it does."""
    if offer.is_stopped:
        return RouteReason.STOPPED_BY_OPERATOR, "a person has stopped sending to this bank"
    if not offer.has_room:
        return RouteReason.LANE_FULL, "the queue of this bank's lane is full"
    if offer.is_breaker_open:
        return RouteReason.BREAKER_OPEN, "this bank has not answered lately"
    return None


def choose_route(instruction: Instruction, offers: Iterable[RailOffer]) -> RouteDecision:
    """Choose the rail. ``offers`` are in order of preference; no more of them are read than needed."""
    rejected: list[RejectedRail] = []
    waiting: list[tuple[RailOffer, RouteReason]] = []
    missing = ""
    if instruction.rail:
        offers = (offer for offer in offers if offer.name == instruction.rail)
    for offer in offers:
        objection = _objection(offer, instruction)
        if objection is None:
            return RouteDecision(
                rail=offer.name, rejected=tuple(rejected), window_opening=offer.window_opening
            )
        reason, text = objection
        rejected.append(RejectedRail(offer.name, reason, text))
        is_refusing = offer.refuses_while_open and reason in OPEN_BREAKER
        if reason not in LASTING and not is_refusing:
            waiting.append((offer, reason))
        elif reason is RouteReason.FIELD_MISSING:
            missing = missing or missing_field(offer.rules, instruction)
        elif reason is RouteReason.FIELD_NOT_CARRIED:
            missing = missing or offer.fault.partition(":")[0]
    if not waiting:
        return _no_rail(instruction, rejected, missing)
    chosen, reason = _soonest(waiting)
    return RouteDecision(
        rail=chosen.name,
        rejected=tuple(each for each in rejected if each.rail != chosen.name),
        window_opening=chosen.window_opening,
        # A rail whose bank does not answer may still be chosen: the payment waits in the lane's queue.
        waits_for=None if reason is RouteReason.BREAKER_OPEN else reason,
        opens_at=chosen.opens_at if reason is RouteReason.WINDOW_CLOSED else None,
        field=FIELD_OF_RAIL if instruction.rail else "",
    )


def _no_rail(
    instruction: Instruction, rejected: Sequence[RejectedRail], missing: str
) -> RouteDecision:
    """Say that no rail carries it, and which field of the request would have to be another, if that is known."""
    if instruction.rail and not rejected:
        text = "there is no rail of this name"
        rejected = [RejectedRail(instruction.rail, RouteReason.UNKNOWN_RAIL, text)]
    field = missing or (FIELD_OF_RAIL if instruction.rail else "")
    return RouteDecision(rail="", rejected=tuple(rejected), field=field)


def _soonest(waiting: Sequence[tuple[RailOffer, RouteReason]]) -> tuple[RailOffer, RouteReason]:
    """Choose the rail that can send soonest: a bank tried again, a full lane, a closed window, a stopped bank."""
    for wanted in (RouteReason.BREAKER_OPEN, RouteReason.LANE_FULL):
        for offer, reason in waiting:
            if reason is wanted:
                return offer, reason
    opening = [each for each in waiting if each[0].opens_at is not None]
    return min(opening, key=lambda each: _opening(each[0])) if opening else waiting[0]


def _opening(offer: RailOffer) -> datetime:
    assert offer.opens_at is not None, "only what opens is compared"
    return offer.opens_at
