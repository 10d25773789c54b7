"""Differences that the rules of matching close: the rules of an account, and the transfer that takes a difference.

Promises: a difference becomes one transfer between the account and a named one of the same bank, and is matched
together with the items, so that both sides of a match are equal. Taking the match back reverses the transfer by
another one; what the account does not cover waits, as an open item, until it does. Must never: post more than what the
two sides differ by, or what the account does not cover.
"""

from __future__ import annotations

import hashlib
from datetime import date, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

import msgspec

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.breaks.resolutions import CONTROL_ACCOUNT, Destination
from settlement_engine.domain.ledger import AccountKind, Leg, correct
from settlement_engine.domain.matching.values import Rules
from settlement_engine.domain.money import format_amount
from settlement_engine.domain.reconciliation import MISSING_THEIRS_REASON, hashed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import TypeVar

    from settlement_engine.domain.ledger import Transfer
    from settlement_engine.domain.matching.values import Charge, Match, Tolerance
    from settlement_engine.domain.reconciliation import PageMatches

    _Rule = TypeVar("_Rule", Charge, Tolerance)

CHARGES_ACCOUNT: Final = "fees control"
ROUNDING_ACCOUNT: Final = "fx rounding"

DIFFERENCE_ACCOUNTS: Final[Mapping[str, Destination]] = MappingProxyType(
    {
        CHARGES_ACCOUNT: Destination(AccountKind.FEES, CONTROL_ACCOUNT),
        ROUNDING_ACCOUNT: Destination(AccountKind.FX, "rounding"),
    }
)
"""The account for a difference by its name in a match: charges go where those go that people post."""

NOT_REVERSED: Final = (
    "its match was taken back, and the account does not cover its reversal: fund the account"
)
"""The reason of the break of a difference that waits to be reversed."""

CREATED: Final = date(1970, 1, 1)
VERSION_CHARACTERS: Final = 12


def versioned(rules: Rules) -> Rules:
    """Return the rules with a version that follows from their content: other rules have another one."""
    plain = msgspec.structs.replace(rules, version="")
    digest = hashlib.sha256(msgspec.json.encode(plain)).hexdigest()
    return msgspec.structs.replace(rules, version=digest[:VERSION_CHARACTERS])


NO_RULES: Final = versioned(Rules(version=""))
"""The rules without any tolerance or tariff."""


def rules_of(rules: Rules, bank: str, currency: str) -> Rules:
    """Return the rules of an account: those of its bank and currency, or else those of any bank."""
    return msgspec.structs.replace(
        rules,
        charges=_of_account(rules.charges, bank, currency),
        tolerances=_of_account(rules.tolerances, bank, currency),
    )


def _of_account(rules: Iterable[_Rule], bank: str, currency: str) -> tuple[_Rule, ...]:
    found = [each for each in rules if each.currency == currency]
    own = [each for each in found if each.counterparty and _is_of(each.counterparty, bank)]
    chosen = own or [each for each in found if not each.counterparty]
    return tuple(msgspec.structs.replace(each, counterparty="") for each in chosen)


def _is_of(counterparty: str, bank: str) -> bool:
    return folded_bank(counterparty) == folded_bank(bank)


def parted(found: PageMatches) -> tuple[PageMatches, list[Match]]:
    """Part what is exactly equal from the matches that close a difference."""
    exact = tuple(each for each in found.matches if not each.difference_minor)
    closing = [each for each in found.matches if each.difference_minor]
    return msgspec.structs.replace(found, matches=exact), closing


def covered(closing: Iterable[Match], room_minor: int | None) -> list[Match]:
    """Return the matches whose differences the account covers, in their order; None: it needs no cover.

    The others stay open: the bank has booked more than the account has in our books.
    """
    found: list[Match] = []
    for each in closing:
        if room_minor is not None:
            left = room_minor + each.difference_minor
            if each.difference_minor < 0 and left < 0:
                continue
            room_minor = left
        found.append(each)
    return found


def transfer_of(
    match: Match, sides: tuple[int, int], currency: str, day: date, item: tuple[str, int]
) -> Transfer:
    """Make the transfer of a match's difference, between our account and the named one: ``sides``.

    ``item`` is the name of the entry, and how often it was matched before: together with the day they give the
    transfer its id, so that the same match is the same transfer. Like other ids it begins with a time.
    """
    account_id, other_id = sides
    digest = hashed(str(account_id), *sorted(match.ours), item[0], str(item[1]))
    milliseconds = max((day - CREATED) // timedelta(milliseconds=1), 0)
    group = (milliseconds << 80) | int.from_bytes(digest[:10], "big")
    group = group & ~(0xF << 76) & ~(0x3 << 62) | (0x7 << 76) | (0x2 << 62)
    return correct(
        UUID(int=group),
        Leg.DIFFERENCE,
        account_id=account_id,
        other_id=other_id,
        minor=match.difference_minor,
        currency=currency,
        reference="",
    )


def reversed_transfer(transfer: Transfer) -> Transfer:
    """Make the transfer that takes a difference back."""
    return msgspec.structs.replace(
        transfer,
        leg=Leg.DIFFERENCE_REVERSED,
        debit_id=transfer.credit_id,
        credit_id=transfer.debit_id,
        at=None,
    )


class WaitingReversals(NamedTuple):
    """What taking matches back has to reverse, and the account does not cover: how many transfers, and how much."""

    transfers: int = 0
    minor: int = 0

    def reason(self, currency: str) -> str:
        """Say it to a person, with what is to be done; empty if nothing waits."""
        if not self.transfers:
            return ""
        amount = f"{format_amount(self.minor, currency)} {currency}"
        return (
            f"the account does not cover {amount} to reverse {self.transfers} closed differences whose"
            " matches were taken back: fund the account, and the next run reverses them"
        )


def reversible(
    reversing: Sequence[Transfer], account_id: int, room_minor: int | None
) -> tuple[list[Transfer], WaitingReversals]:
    """Part the reversing transfers that an account covers from those that wait; None: it needs no cover.

    Those that give to the account come first, and make room for those that take.
    """
    found = [each for each in reversing if each.debit_id == account_id]
    taking = [each for each in reversing if each.debit_id != account_id]
    if room_minor is None:
        return found + taking, WaitingReversals()
    room_minor += sum(each.amount_minor for each in found)
    waiting: list[Transfer] = []
    for each in taking:
        if each.amount_minor > room_minor:
            waiting.append(each)
            continue
        found.append(each)
        room_minor -= each.amount_minor
    total = sum(each.amount_minor for each in waiting)
    return found, WaitingReversals(len(waiting), total)


def missing_reason(item: str) -> str:
    """Return why a posting is a break that no entry explains. The transfer of a difference waits to be reversed."""
    return NOT_REVERSED if is_difference(item) else MISSING_THEIRS_REASON


def with_transfer(match: Match, transfer: Transfer) -> Match:
    """Return a match with the transfer that makes its sides equal."""
    name = name_of(transfer)
    text = f"{match.explanation}; {name} takes it to {match.difference_account}"
    return msgspec.structs.replace(match, ours=(*match.ours, name), explanation=text)


def name_of(transfer: Transfer) -> str:
    """Return the name of a transfer among the items of a match."""
    return f"{transfer.group_id}/{transfer.posting}/{transfer.leg.value}"


def is_difference(item: str) -> bool:
    """Say whether an item of ours is the transfer of a difference."""
    return item.endswith(f"/{Leg.DIFFERENCE.value}")
