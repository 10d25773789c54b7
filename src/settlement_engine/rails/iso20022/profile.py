"""The rules of a scheme as dated data: what is relied upon, which messages are spoken, what they have to say.

Promises: a profile is a TOML file, one of those that come with the engine or one's own; a profile that says
``like = "NAME"`` has all other keys of that one. Nothing in it is certified by an operator. Must never: read a
clock; which limits apply depends on the day that is given.
"""

from __future__ import annotations

import tomllib
from datetime import date  # noqa: TC003 -- msgspec reads the types of a struct's fields
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from settlement_engine.domain.backoff import Backoff
from settlement_engine.domain.decisions.resending import RailClass
from settlement_engine.domain.lifecycle import Ask, State
from settlement_engine.domain.money import MoneyError, parse_amount
from settlement_engine.domain.payment import (
    Delivery,
    PaymentAccount,
    PaymentDetails,
    PaymentParty,
    PostalAddress,
    text_at,
)
from settlement_engine.domain.windows import BANKING_DAYS_MAX
from settlement_engine.errors import Misconfigured
from settlement_engine.messages.charsets import character_sets
from settlement_engine.messages.codes import code_set
from settlement_engine.messages.kinds import KINDS
from settlement_engine.ports import MessageType, RailCapabilities
from settlement_engine.ports.lanes import LaneLimits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FOLDER: Final = "profiles"
LIKE: Final = "like"
DAY_SECONDS: Final = 86_400
_SPOKEN: Final = {
    "customer": "pacs.008",
    "institution": "pacs.009",
    "status": "pacs.002",
    "enquiry": "pacs.028",
    "recall": "camt.056",
    "resolution": "camt.029",
    "money_back": "pacs.004",
}
"""Which kind of message each field of a profile names a version of."""

_PARTY: Final = PaymentParty(account=PaymentAccount(), address=PostalAddress())
_ALL_FIELDS: Final = PaymentDetails(debtor=_PARTY, creditor=_PARTY)

_ENQUIRED: Final = (State.IN_DOUBT, State.SENT, State.RECALLING)


class AmountLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The least and the most that a scheme carries in a currency, from a day on; empty is no limit."""

    currency: str
    since: date
    least: str = ""
    most: str = ""


class IsoProfile(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"money_back": "return"},
):
    """A profile. What it promises is stated by the operator or the bank, and tested by the rail contract.

    ``not_found_after_seconds`` is how long after the send intent the answer *not found* begins to mean something.
    ``settled_by`` are the statuses that are final here. ``answer_seconds_max`` is the scheme's own time-out: a
    longer one that is configured for a bank is not used. Without ``enquiry_first_seconds`` the engine's own schedule
    of enquiries applies. ``customer`` and ``institution`` are the versions of pacs.008 and pacs.009; one of them may
    be empty. ``charge_bearers`` are those that the scheme carries, the usual one first. ``needs`` are the fields of
    the payment details that a request must have, by delivery. ``cover_service`` is the business service of a cover
    (pacs.009 COV); a scheme without one knows no cover payments. ``names_correspondents``: an order says through which
    correspondent of the bank directory TO is paid.
    ``recall_within_days`` is how many days after completion a payment may be recalled. The bank has
    ``recall_answer_days`` to answer, or ``recall_answer_banking_days``: days on which the rail's windows open, or the
    currency's. 0 is no limit.
    """

    scheme: str
    published: date
    source: str
    finality: str

    rail_class: Literal["A", "B", "C", "D"]
    is_not_found_definite: bool
    not_found_after_seconds: int
    deduplicates_seconds: int
    validity_seconds: int
    answer_seconds_max: int
    enquiry_first_seconds: int
    enquiry_max_seconds: int
    concurrency_max: int
    settled_by: tuple[str, ...]
    currencies: tuple[str, ...] = ()
    limits: tuple[AmountLimit, ...] = ()

    customer: str = ""
    institution: str = ""
    status: str
    enquiry: str
    recall: str
    resolution: str
    money_back: str
    service: str
    cover_service: str = ""

    settlement_method: Literal["INDA", "INGA", "CLRG", "COVE"]
    clearing_system: str = ""
    service_level: str = ""
    local_instrument: str = ""
    charge_bearers: tuple[Literal["DEBT", "CRED", "SHAR", "SLEV"], ...]
    characters: str = ""
    account_is_iban: bool = False
    names_correspondents: bool = False
    recall_within_days: int = 0
    recall_answer_days: int = 0
    recall_answer_banking_days: Annotated[int, msgspec.Meta(ge=0, le=BANKING_DAYS_MAX)] = 0
    needs: dict[Literal["book", "pay_out"], tuple[str, ...]] = {}

    def capabilities(self, on: date) -> RailCapabilities:
        """Say the same in the engine's words, as it is on a day."""
        least, most = self._limits(on)
        asks_often = Backoff(
            first_seconds=self.enquiry_first_seconds, max_seconds=self.enquiry_max_seconds
        )
        return RailCapabilities(
            rail_class=RailClass(self.rail_class.lower()),
            answer_timeout_seconds=self.answer_seconds_max,
            is_not_found_definite=self.is_not_found_definite,
            not_found_after_seconds=self.not_found_after_seconds,
            validity_seconds=self.validity_seconds,
            deduplicates_seconds=self.deduplicates_seconds,
            currencies=frozenset(self.currencies) or None,
            amount_min_minor=least,
            amount_max_minor=most,
            needs={Delivery(name): paths for name, paths in self.needs.items()},
            lane=LaneLimits(concurrency_max=self.concurrency_max),
            enquiry=dict.fromkeys(_ENQUIRED, asks_often) if self.enquiry_first_seconds else {},
            messages=self._messages(),
            recall_within_seconds=self.recall_within_days * DAY_SECONDS or None,
            recall_answer_seconds=self.recall_answer_days * DAY_SECONDS or None,
            recall_answer_banking_days=self.recall_answer_banking_days or None,
        )

    def limits_change_on(self, after: date) -> date | None:
        """Return the next day on which other limits apply; None when there is none."""
        return min((each.since for each in self.limits if each.since > after), default=None)

    def _limits(self, on: date) -> tuple[dict[str, int], dict[str, int]]:
        least: dict[str, int] = {}
        most: dict[str, int] = {}
        for each in sorted(self.limits, key=lambda limit: limit.since):
            if each.since > on:
                break
            for found, text in ((least, each.least), (most, each.most)):
                found.pop(each.currency, None)
                if text:
                    found[each.currency] = parse_amount(text, each.currency).minor
        return least, most

    def _messages(self) -> tuple[MessageType, ...]:
        asked = (
            *((version, Ask.SEND) for version in (self.customer, self.institution) if version),
            *((self.enquiry, Ask.ENQUIRE), (self.recall, Ask.RECALL)),
            *((version, None) for version in (self.status, self.resolution, self.money_back)),
        )
        return tuple(_type(version, ask) for version, ask in asked)


def _type(definition: str, ask: Ask | None) -> MessageType:
    name, _, version = definition.rpartition(".")
    return MessageType(name=name, versions=(version,), ask=ask)


def shipped_profiles() -> tuple[str, ...]:
    """List the profiles that come with the engine."""
    folder = resources.files(__package__) / FOLDER
    return tuple(sorted(file.name.removesuffix(".toml") for file in folder.iterdir()))


def shipped_profile(name: str) -> IsoProfile:
    """Read a profile that comes with the engine. Raises Misconfigured for a name that none has."""
    values = _shipped(name)
    try:
        return _checked(_whole(values), f"the profile {name}")
    except (ValueError, TypeError) as error:
        raise _unusable(f"the profile {name}", error) from None


def read_profile(path: Path) -> IsoProfile:
    """Read a profile of one's own, with the same keys as those that come with the engine. Raises Misconfigured."""
    what = f"the profile {path}"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return _checked(_whole(values), what)
    except (OSError, ValueError, TypeError) as error:  # TOML, UTF-8 and msgspec's are ValueErrors
        raise _unusable(what, error) from None


def _shipped(name: str) -> dict[str, Any]:
    if name not in shipped_profiles():
        known = ", ".join(shipped_profiles())
        raise Misconfigured(f"there is no profile {name}", todo=f"Name one of: {known}.")
    file = resources.files(__package__) / FOLDER / f"{name}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


def _whole(values: Mapping[str, Any]) -> dict[str, Any]:
    """Add the keys of the profile that this one is like; a profile may be like one that is like none."""
    values = dict(values)
    name = values.pop(LIKE, "")
    if not name:
        return values
    ground = _shipped(name)
    return {**{key: value for key, value in ground.items() if key != LIKE}, **values}


def _checked(values: Mapping[str, Any], what: str) -> IsoProfile:
    """Refuse what the engine could not do. Raises Misconfigured, ValueError."""
    profile = msgspec.convert(values, IsoProfile)
    _check_messages(profile, what)
    unknown = set(profile.settled_by) - code_set("transaction_status").codes.keys()
    if unknown or not profile.settled_by:
        fault = f"{what} names no known status in settled_by: {', '.join(sorted(unknown))}"
        raise Misconfigured(fault, todo="Name codes of ExternalPaymentTransactionStatus1Code.")
    if not profile.charge_bearers:
        raise Misconfigured(f"{what} names no charge bearer", todo="Set charge_bearers.")
    if profile.characters and profile.characters not in character_sets():
        raise Misconfigured(f"{what} names an unknown character set, {profile.characters}")
    for path in (each for paths in profile.needs.values() for each in paths):
        _check_path(path, what)
    for limit in profile.limits:
        for text in (limit.least, limit.most):
            _check_amount(text, limit.currency, what)
    return profile


def _check_messages(profile: IsoProfile, what: str) -> None:
    if not profile.customer and not profile.institution:
        raise Misconfigured(
            f"{what} names no message that pays", todo="Set customer or institution."
        )
    for field, name in _SPOKEN.items():
        definition: str = getattr(profile, field)
        kind, _, version = definition.rpartition(".")
        if not definition and field in {"customer", "institution"}:
            continue
        if not definition.startswith(name) or version not in _versions(kind):
            fault = f"{what} names {definition}, which is no {name} that the engine has"
            raise Misconfigured(fault, todo="docs/reference/messages.md lists them.")


def _check_path(path: str, what: str) -> None:
    try:
        text_at(_ALL_FIELDS, path)
    except AttributeError:
        fault = f"{what} needs {path}, which no payment has"
        raise Misconfigured(fault, todo="Name fields such as creditor.account.iban.") from None


def _check_amount(text: str, currency: str, what: str) -> None:
    try:
        if text:
            parse_amount(text, currency)
    except MoneyError as error:
        raise Misconfigured(f"{what} has the limit {text} {currency}", why=str(error)) from None


def _versions(kind: str) -> frozenset[str]:
    known = KINDS.get(f"{kind}.")
    return frozenset() if known is None else frozenset(known.editions)


def _unusable(what: str, error: Exception) -> Misconfigured:
    return Misconfigured(
        f"{what} cannot be used",
        why=getattr(error, "strerror", None) or str(error),
        todo="Write it with the keys of a profile that comes with the engine.",
    )
