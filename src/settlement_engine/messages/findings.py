"""Oddities of a readable message: warnings in a received message, faults in one to be sent.

Promises: a received message is never refused for a check digit or an address, but the oddity is reported; a
message of ours is refused for the same before it is sent.
"""

from __future__ import annotations

from datetime import date  # noqa: TC003 -- a struct's field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import msgspec

from settlement_engine.domain.check_digits import (
    fault_of_bic,
    fault_of_creditor_reference,
    fault_of_iban,
    fault_of_lei,
    warning_of_bic,
)
from settlement_engine.messages.charsets import character_sets, fault_of_characters
from settlement_engine.messages.codes import code_set
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.pacs002 import GroupStatus, TransactionStatus
from settlement_engine.messages.pacs004 import ReturnedGroup, ReturnedTransaction
from settlement_engine.messages.parties import Address, Agent, Party, PartyAccount
from settlement_engine.messages.remittance import StructuredRemittance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settlement_engine.messages.envelope import Opened

_CHECKED_REFERENCE: Final = "RF"
FINDINGS_MAX: Final = 100
"""At most so many findings are reported for one message."""


class UsageRules(msgspec.Struct, frozen=True):
    """What a community of banks requires beyond the schema, and from which date."""

    source: str
    characters: str
    structured_addresses_from: date | None = None


class RuleFinding(msgspec.Struct, frozen=True):
    """An oddity: its position, its description, and whether it prevents sending the message."""

    place: str
    text: str
    is_fault: bool


@cache
def usage_rules() -> dict[str, UsageRules]:
    """Return the rules distributed with the engine, by rail; a deployment may define its own."""
    data = files(__package__).joinpath("usage_rules", "rules.json").read_bytes()
    return msgspec.json.decode(data, type=dict[str, UsageRules])


def findings(
    content: Any,  # noqa: ANN401 -- any message
    rules: UsageRules | None = None,
    on: date | None = None,
) -> list[RuleFinding]:
    """Check a message. ``on`` is its value date, which decides which rules apply."""
    found = []
    for place, value in _walk(content, ""):
        for finding in _look(place, value, rules, on):
            found.append(finding)
            if len(found) == FINDINGS_MAX:
                return found
    return found


def odd_about(message: Opened) -> list[RuleFinding]:
    """Check a received message, including its header."""
    found = findings(message.content)
    head = message.head
    if head is not None and head.definition != message.definition:
        text = f"says {head.definition}, and the document is {message.definition}"
        found.insert(0, RuleFinding("head.definition", text, is_fault=True))
    return found


def check_before_sending(content: Any, rules: UsageRules, on: date) -> None:  # noqa: ANN401
    """Raise MessageError for the first fault that prevents sending."""
    for finding in findings(content, rules, on):
        if finding.is_fault:
            raise MessageError(finding.place, finding.text)


def _at(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _walk(value: Any, place: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    if isinstance(value, msgspec.Struct):
        yield place, value
        for name in value.__struct_fields__:
            yield from _walk(getattr(value, name), _at(place, name))
    elif isinstance(value, tuple):
        for number, each in enumerate(value, start=1):
            yield from _walk(each, f"{place}[{number}]")
    elif isinstance(value, str):
        yield place, value


def _look(
    place: str,
    value: Any,  # noqa: ANN401
    rules: UsageRules | None,
    on: date | None,
) -> Iterator[RuleFinding]:
    if isinstance(value, Agent | Party):
        yield from _look_at_codes(place, value)
    elif isinstance(value, PartyAccount):
        if value.iban is not None and (text := fault_of_iban(value.iban)):
            yield RuleFinding(_at(place, "iban"), text, is_fault=True)
    elif isinstance(value, StructuredRemittance):
        yield from _look_at_reference(place, value)
    elif isinstance(value, Address):
        yield from _look_at_address(place, value, rules, on)
    elif isinstance(value, TransactionStatus | GroupStatus | ReturnedTransaction | ReturnedGroup):
        yield from _look_at_status(place, value)
    elif isinstance(value, str) and rules is not None:
        text = fault_of_characters(value, character_sets()[rules.characters])
        if text:
            yield RuleFinding(place, text, is_fault=True)


def _look_at_codes(place: str, who: Agent | Party) -> Iterator[RuleFinding]:
    if who.bic is not None:
        fault = fault_of_bic(who.bic)
        text = fault or warning_of_bic(who.bic)
        if text:
            yield RuleFinding(_at(place, "bic"), text, is_fault=bool(fault))
    if who.lei is not None and (text := fault_of_lei(who.lei)):
        yield RuleFinding(_at(place, "lei"), text, is_fault=True)


def _look_at_reference(place: str, remittance: StructuredRemittance) -> Iterator[RuleFinding]:
    reference = remittance.reference or ""
    if reference.startswith(_CHECKED_REFERENCE):
        text = fault_of_creditor_reference(reference)
        if text:
            yield RuleFinding(_at(place, "reference"), text, is_fault=True)


def _look_at_address(
    place: str, address: Address, rules: UsageRules | None, on: date | None
) -> Iterator[RuleFinding]:
    if rules is None or rules.structured_addresses_from is None or on is None:
        return
    if on < rules.structured_addresses_from:
        return
    for name in ("town_name", "country"):
        if getattr(address, name) is None:
            yield RuleFinding(_at(place, name), "is missing: addresses name town and country", True)  # noqa: FBT003


def _look_at_status(
    place: str, said: TransactionStatus | GroupStatus | ReturnedTransaction | ReturnedGroup
) -> Iterator[RuleFinding]:
    status = getattr(said, "status", None)
    known = "group_status" if isinstance(said, GroupStatus) else "transaction_status"
    if status is not None and status not in code_set(known):
        text = f"{status} is no status that is known: it says nothing about the money"
        yield RuleFinding(_at(place, "status"), text, is_fault=True)
    is_return = isinstance(said, ReturnedTransaction | ReturnedGroup)
    reasons = code_set("return_reason" if is_return else "status_reason")
    for number, reason in enumerate(said.reasons, start=1):
        if reason.code is not None and reason.code not in reasons:
            text = f"{reason.code} is not in the code set of {reasons.published}"
            yield RuleFinding(_at(place, f"reasons[{number}].code"), text, is_fault=False)
