"""The bank directory: what we know of the banks with which we settle, and which banks stand in it.

Promises: an entry is one version; a change makes the next version, and earlier ones stay as they were, with who
changed them and when. An entry that is withdrawn no longer stands in the directory. Codes are folded
(``bank_codes.py``); ``bank_checks.py`` says which entries are valid. Must never: change a version.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - msgspec reads it
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.payment import (  # noqa: TC001 - msgspec reads it
    PaymentAccount,
    PostalAddress,
)

if TYPE_CHECKING:
    from datetime import datetime

BANKS_MAX: Final = 20_000
"""The most banks that a directory has: every engine keeps their codes and rails in memory."""

VERSIONS_MAX: Final = 10_000
"""The most versions of one bank."""

CLEARING_MEMBERS_MAX: Final = 20
STANDING_INSTRUCTIONS_MAX: Final = 200
RAILS_MAX: Final = 32
"""The bounds of an entry."""


class CorrespondentMethod(StrEnum):
    """How a payment travels through a correspondent; empty where there is none, or it is not agreed."""

    NONE = ""
    SERIAL = "serial"  # one payment order, from bank to bank
    COVER = "cover"  # the order goes to the bank itself, the money through the correspondent


class ClearingMember(msgspec.Struct, frozen=True, kw_only=True):
    """The bank's number in a clearing system; the system is a code of ISO 20022's external list, such as USABA."""

    system: str
    member_id: str


class StandingInstruction(msgspec.Struct, frozen=True, kw_only=True):
    """How payments in one currency go to the bank.

    ``our_account`` is our account there; ``their_account`` is where the bank is paid: its own account with the
    correspondent, or with itself where there is no correspondent.
    """

    currency: str
    our_account: PaymentAccount | None = None
    their_account: PaymentAccount | None = None
    correspondent: str = ""
    method: CorrespondentMethod = CorrespondentMethod.NONE


class CorrespondentRoute(msgspec.Struct, frozen=True, kw_only=True):
    """A correspondent through which a payment to a bank, or its cover, goes, and the bank's account with it."""

    correspondent: str
    account: PaymentAccount


class ListedBank(msgspec.Struct, frozen=True, kw_only=True):
    """What the directory says of a bank. ``code`` is folded; no ``rails`` means that they are not stated."""

    code: str
    name: str
    bic: str = ""
    address: PostalAddress | None = None
    lei: str = ""
    clearing_members: tuple[ClearingMember, ...] = ()
    instructions: tuple[StandingInstruction, ...] = ()
    rails: tuple[str, ...] = ()
    is_withdrawn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BankVersion:
    """One version of a bank's entry. ``is_new`` says whether the call at hand has written it."""

    bank: ListedBank
    version: int
    changed_by: str
    changed_at: datetime
    is_new: bool = False


class BankChange(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine has to know of a change, in the order in which the changes were made.

    ``accounts`` are the numbers of our accounts with the bank, ``routes`` the correspondents through which it is paid,
    ``covers`` how it is covered; all by currency.
    """

    position: int
    code: str
    rails: frozenset[str]
    is_withdrawn: bool
    accounts: Mapping[str, str] = msgspec.field(default_factory=dict)
    routes: Mapping[str, CorrespondentRoute] = msgspec.field(default_factory=dict)
    covers: Mapping[str, CorrespondentRoute] = msgspec.field(default_factory=dict)


def folded(bank: ListedBank) -> ListedBank:
    """Return the entry in one spelling: codes folded, lists sorted, so that equal entries are equal values."""
    instructions = (
        msgspec.structs.replace(each, correspondent=folded_bank(each.correspondent))
        for each in bank.instructions
    )
    members = sorted(bank.clearing_members, key=lambda each: (each.system, each.member_id))
    return msgspec.structs.replace(
        bank,
        code=folded_bank(bank.code),
        bic=folded_bank(bank.bic),
        clearing_members=tuple(members),
        instructions=tuple(sorted(instructions, key=lambda each: each.currency)),
        rails=tuple(sorted(bank.rails)),
    )


def our_accounts(bank: ListedBank) -> dict[str, str]:
    """Return the numbers of our accounts with a bank, by currency: the IBAN, else the other number."""
    return {
        each.currency: each.our_account.iban or each.our_account.other_id
        for each in bank.instructions
        if each.our_account is not None
    }


def serial_routes(bank: ListedBank) -> dict[str, CorrespondentRoute]:
    """Return the correspondents through which a bank is paid one after the other, by currency.

    A correspondent that would not know which account of the bank to credit is left out.
    """
    return {
        each.currency: CorrespondentRoute(
            correspondent=each.correspondent, account=each.their_account
        )
        for each in bank.instructions
        if each.method is CorrespondentMethod.SERIAL and each.their_account is not None
    }


def cover_routes(bank: ListedBank) -> dict[str, CorrespondentRoute]:
    """Return how a bank is paid the covers of customers' payments, by currency.

    A correspondent that would not know which account of the bank to credit is left out.
    """
    return {
        each.currency: CorrespondentRoute(
            correspondent=each.correspondent, account=each.their_account
        )
        for each in bank.instructions
        if each.method is CorrespondentMethod.COVER and each.their_account is not None
    }


class DirectoryFacts:
    """What an engine has read of the directory: which codes stand in it, and over which rails they are reached.

    Changes are taken in order; ``position`` is that of the last one. ``rails`` are those of each bank that stands in
    the directory, by folded code; no rails: not stated. ``accounts`` are our accounts with the banks, ``routes``
    the correspondents through which they are paid, and ``covers`` how they are covered, by currency.
    """

    def __init__(self) -> None:
        self.position = 0
        self.rails: dict[str, frozenset[str]] = {}
        self.accounts: dict[str, Mapping[str, str]] = {}
        self.routes: dict[str, Mapping[str, CorrespondentRoute]] = {}
        self.covers: dict[str, Mapping[str, CorrespondentRoute]] = {}

    def take(self, change: BankChange) -> None:
        """Take a change into account."""
        assert change.position > self.position, "changes come in their order"
        self.position = change.position
        self.accounts.pop(change.code, None)
        self.routes.pop(change.code, None)
        self.covers.pop(change.code, None)
        if change.is_withdrawn:
            self.rails.pop(change.code, None)
            return
        self.rails[change.code] = change.rails
        if change.accounts:
            self.accounts[change.code] = change.accounts
        if change.routes:
            self.routes[change.code] = change.routes
        if change.covers:
            self.covers[change.code] = change.covers

    def stands(self, code: str) -> bool:
        """Say whether a bank stands in the directory."""
        return folded_bank(code) in self.rails

    def our_account(self, code: str, currency: str) -> str:
        """Return the number of our account with a bank in a currency; empty if the directory has none."""
        return self.accounts.get(folded_bank(code), {}).get(currency, "")

    def serial_route(self, code: str, currency: str) -> CorrespondentRoute | None:
        """Return the correspondent through which a bank is paid in a currency; None if the directory has none."""
        return self.routes.get(folded_bank(code), {}).get(currency)

    def cover_route(self, code: str, currency: str) -> CorrespondentRoute | None:
        """Return how a bank is covered in a currency; None if the directory says nothing of it."""
        return self.covers.get(folded_bank(code), {}).get(currency)


NOT_IN_DIRECTORY: Final = (
    "does not stand in the bank directory, and [banks] directory_required asks for that"
)
"""What a bank's field says where the directory is required."""


def unlisted_field(facts: DirectoryFacts, from_bank: str, to_bank: str) -> str:
    """Return the first field that names a bank that is not in the directory; empty when both are."""
    if not facts.stands(from_bank):
        return "from_bank"
    return "" if facts.stands(to_bank) else "to_bank"
