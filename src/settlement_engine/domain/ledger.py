"""The double-entry ledger: kinds of accounts, balances, and the transfers that a settlement makes.

A transfer debits one account and credits another by the same positive amount, so it cannot be unbalanced.
Balances are a cache of the transfers; ``prove`` recomputes them. A hold reduces the available funds and posts
nothing. Promises: functions here return transfers; the store posts them. Must never: change a transfer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum, auto
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.payment import Delivery
from settlement_engine.errors import WrongState

if TYPE_CHECKING:
    from datetime import date, datetime
    from uuid import UUID

    from settlement_engine.domain.returns import Return
    from settlement_engine.domain.settlement import Route


class AccountKind(StrEnum):
    """What an account is for."""

    NOSTRO = auto()  # our account at another bank
    VOSTRO = auto()  # another bank's account with us
    SETTLEMENT = auto()  # our account at a rail's settlement agent
    CLEARING = auto()  # what a bank has paid in, or owes
    SUSPENSE = auto()  # amounts whose owner is not known yet
    FEES = auto()
    FX = auto()


ASSETS: Final = frozenset({AccountKind.NOSTRO, AccountKind.SETTLEMENT, AccountKind.FX})
"""Kinds whose balance grows by debits; the balance of the others grows by credits."""

GUARDED: Final = frozenset({AccountKind.NOSTRO, AccountKind.VOSTRO})
"""Kinds that may not fall below zero by more than their credit limit."""

BALANCE_MAX: Final = 10**38 - 1
"""The largest total of debits or credits of an account: more than 10^20 of the largest payments."""

BALANCE_FULL: Final = 10**36
"""At this total new holds and fundings are refused. The difference to BALANCE_MAX is kept for posting what is
held already, so that whatever a bank has paid can always be posted."""


class Leg(IntEnum):
    """Which of the linked transfers of one event this is."""

    CASH = 1
    OBLIGATION = 2
    FUNDING = 3
    CASH_RETURNED = 4
    OBLIGATION_RESTORED = 5
    LATE_CASH = 6  # cash at the agent that differs from what was attested
    OBLIGATION_SUSPENDED = (
        7  # FROM's debt is open again, at the cost of suspense instead of TO's account
    )
    RETURN_CHARGES = 8  # what the bank charged for a return and did not pay back
    PAID_OUT = 9  # what FROM has paid to TO, or to TO's customer
    PAID_OUT_RETURNED = 10
    SECOND_DEBIT = 11  # what the bank has debited a second time, as its statement shows
    CORRECTION = 12  # what two people post to close a break
    OPENING_CORRECTION = 13  # the same, for the time before the first statement
    DIFFERENCE = (
        14  # what the rules of matching close: a charge of the tariff, or within the tolerance
    )
    DIFFERENCE_REVERSED = 15  # the same, taken back with its match
    CHARGES_REBILLED = 16  # the part of a return's charges that FROM bears


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account with its balances, in minor units of its currency.

    ``is_replay``: the call that returned it was a repetition, and nothing was changed. ``last_reconciled`` is the last
    booking day whose proof is zero.
    """

    id: int
    kind: AccountKind
    bank: str
    currency: str
    account_number: str
    debits_posted: int = 0
    credits_posted: int = 0
    held: int = 0
    credit_limit: int = 0
    is_active: bool = True
    is_replay: bool = field(default=False, compare=False)
    last_reconciled: date | None = field(default=None, compare=False)

    @property
    def posted(self) -> int:
        """The balance, positive on the account's own side."""
        balance = self.debits_posted - self.credits_posted
        return balance if self.kind in ASSETS else -balance

    @property
    def available(self) -> int:
        """What may still be held or paid out, not counting the credit limit; in minor units."""
        return self.posted - self.held

    @property
    def is_full(self) -> bool:
        """Say whether new holds and fundings are refused, so that what is held already can be posted."""
        return max(self.debits_posted, self.credits_posted) >= BALANCE_FULL

    def has_room_for(self, amount_minor: int) -> bool:
        """Say whether the account covers a hold of this amount."""
        return self.available + self.credit_limit >= amount_minor


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """One movement between two accounts.

    ``group_id`` links the transfers of one settlement, ``posting`` those of one event: the first is the
    settlement's own, each return has one.
    """

    group_id: UUID
    leg: Leg
    debit_id: int
    credit_id: int
    amount_minor: int
    currency: str
    reference: str = ""
    at: datetime | None = None
    posting: int = 1

    def __post_init__(self) -> None:
        """Refuse an amount that is not positive, and two equal accounts."""
        assert self.amount_minor > 0, "a transfer moves a positive amount"
        assert self.debit_id != self.credit_id, "a transfer needs two accounts"


def settle(group_id: UUID, route: Route, amount_minor: int, currency: str) -> tuple[Transfer, ...]:
    """Make the linked transfers of a settlement that the rail has settled: two, or three if it was paid out.

    Cash: our balance at FROM decreases, and our balance at the settlement agent increases. Obligation: what
    FROM owes in clearing is paid, and TO's balance with us increases. Paid out: FROM has paid TO, or TO's customer,
    so that TO's balance with us and ours at the settlement agent end where they began.
    """
    booked = (
        Transfer(
            group_id=group_id,
            leg=Leg.CASH,
            debit_id=route.agent_id,
            credit_id=route.source_id,
            amount_minor=amount_minor,
            currency=currency,
        ),
        Transfer(
            group_id=group_id,
            leg=Leg.OBLIGATION,
            debit_id=route.clearing_id,
            credit_id=route.target_id,
            amount_minor=amount_minor,
            currency=currency,
        ),
    )
    if route.delivery is Delivery.BOOK:
        return booked
    return (
        *booked,
        Transfer(
            group_id=group_id,
            leg=Leg.PAID_OUT,
            debit_id=route.target_id,
            credit_id=route.agent_id,
            amount_minor=amount_minor,
            currency=currency,
        ),
    )


def reverse(
    group_id: UUID, route: Route, back: Return, currency: str, fees_id: int = 0
) -> tuple[Transfer, ...]:
    """Make the transfers of a return: the returned part of the settlement's transfers, reversed.

    Charges were not paid back to our account at FROM: they are booked to ``fees_id``, and the part that FROM bears
    from there to what FROM has with us in clearing. The obligation is the last.
    """
    legs = [
        (Leg.CASH_RETURNED, route.source_id, route.agent_id, back.amount_minor),
        (Leg.RETURN_CHARGES, fees_id, route.agent_id, back.charges_minor),
        (Leg.CHARGES_REBILLED, route.clearing_id, fees_id, back.rebilled_minor),
        (Leg.OBLIGATION_RESTORED, route.target_id, route.clearing_id, back.part_minor),
    ]
    if route.delivery is Delivery.PAY_OUT:
        legs.insert(2, (Leg.PAID_OUT_RETURNED, route.agent_id, route.target_id, back.part_minor))
    return tuple(
        Transfer(
            group_id=group_id,
            leg=leg,
            debit_id=debit_id,
            credit_id=credit_id,
            amount_minor=amount_minor,
            currency=currency,
            posting=back.posting,
        )
        for leg, debit_id, credit_id, amount_minor in legs
        if amount_minor
    )


def suspend_return(
    group_id: UUID,
    route: Route,
    suspense_id: int,
    back: Return,
    currency: str,
    fees_id: int = 0,
) -> tuple[Transfer, ...]:
    """Make the transfers of a return that TO's account with us no longer covers.

    The cash has come back, and FROM owes the amount again. What TO owes for it is booked to suspense until
    a person has recovered it from TO (docs/decisions/0013). What was paid out is always covered by its own reversal.
    """
    assert route.delivery is Delivery.BOOK, "the return of a payout takes nothing from TO's account"
    *cash, obligation = reverse(group_id, route, back, currency, fees_id)
    return (
        *cash,
        msgspec.structs.replace(obligation, leg=Leg.OBLIGATION_SUSPENDED, debit_id=suspense_id),
    )


def suspend_cash(
    group_id: UUID,
    route: Route,
    suspense_id: int,
    amount_minor: int,
    currency: str,
    *,
    is_at_agent: bool,
) -> tuple[Transfer, ...]:
    """Make the transfer that corrects our cash at the agent after the rail disproved what was attested.

    Only the agent's account and suspense change; a person finds out who bears the difference. Of a payout nothing
    is at the agent: the difference is on our account at FROM, which late truth never changes.
    """
    if route.delivery is Delivery.PAY_OUT:
        return ()
    debit_id, credit_id = route.agent_id, suspense_id
    if not is_at_agent:
        debit_id, credit_id = credit_id, debit_id
    return (
        Transfer(
            group_id=group_id,
            leg=Leg.LATE_CASH,
            debit_id=debit_id,
            credit_id=credit_id,
            amount_minor=amount_minor,
            currency=currency,
        ),
    )


def suspend_second_debit(
    group_id: UUID, route: Route, suspense_id: int, amount_minor: int, currency: str
) -> tuple[Transfer, ...]:
    """Make the transfer of a second debit: our account at FROM has less, and the bank owes it to us.

    The bank's statement has booked it, so our books follow; suspense shows it until the bank has given it back.
    """
    return (
        Transfer(
            group_id=group_id,
            leg=Leg.SECOND_DEBIT,
            debit_id=suspense_id,
            credit_id=route.source_id,
            amount_minor=amount_minor,
            currency=currency,
        ),
    )


def full(currency: str) -> WrongState:
    """Refuse a funding because an account has reached the limit of its turnover."""
    what = f"an account in {currency} has reached its maximum turnover"
    return WrongState(
        what,
        why="its total of debits or credits is at the limit",
        todo="Fund another account of the bank.",
    )


def fund(
    group_id: UUID,
    nostro_id: int,
    clearing_id: int,
    amount_minor: int,
    currency: str,
    reference: str,
) -> Transfer:
    """Make the transfer of a bank's funding: the bank has credited our account with it."""
    return Transfer(
        group_id=group_id,
        leg=Leg.FUNDING,
        debit_id=nostro_id,
        credit_id=clearing_id,
        amount_minor=amount_minor,
        currency=currency,
        reference=reference,
    )


def correct(  # noqa: PLR0913 - both accounts, the amount, and what it is for
    group_id: UUID,
    leg: Leg,
    *,
    account_id: int,
    other_id: int,
    minor: int,
    currency: str,
    reference: str,
) -> Transfer:
    """Make the transfer that closes a break, or a difference, on our account at a bank.

    ``minor`` has the sign of the bank's statement: where the bank has more, our account is debited.
    """
    legs = (Leg.CORRECTION, Leg.OPENING_CORRECTION, Leg.DIFFERENCE)
    assert leg in legs, "only breaks and differences are corrected so"
    debit_id, credit_id = (account_id, other_id) if minor > 0 else (other_id, account_id)
    return Transfer(
        group_id=group_id,
        leg=leg,
        debit_id=debit_id,
        credit_id=credit_id,
        amount_minor=abs(minor),
        currency=currency,
        reference=reference,
    )
