"""The import of statements as values: the file, our accounts that a statement may belong to, and what is kept.

Promises: which of our accounts a number stands for is decided here, from the accounts and the bank directory. What
was not kept says why. Must never: read a file, a clock or a database.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.continuity import NEIGHBOUR_DAYS, KnownAccount, compact_identifier
from settlement_engine.domain.statement_chain import head_of
from settlement_engine.domain.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from settlement_engine.domain.bank_directory import ListedBank
    from settlement_engine.domain.continuity import ImportOutcome
    from settlement_engine.domain.statement_chain import StatementHead
    from settlement_engine.domain.statements import Entry, StatementFault

FILE_BYTES_MAX: Final = 64 * 1024 * 1024
"""The most bytes of a file of statements."""

FILE_NAME_CHARACTERS_MAX: Final = 255
REASON_CHARACTERS_MAX: Final = 300
PLACE_CHARACTERS_MAX: Final = 200
"""The outcomes of a whole file fit into one answer: it may have 20,000 statements."""

FILES_AT_ONCE: Final = 2
"""How many files are imported side by side: one is read while the statements of another are written."""

NEIGHBOURS_MAX: Final = 20_000
"""The most kept statements that one statement is judged by."""

ACCOUNTS_MAX: Final = 10_000
"""The most accounts of ours that the statements of one file may belong to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedFile:
    """A file of statements as it came. ``csv_mapping`` is a name or the text of a mapping; empty: no CSV."""

    name: str
    content: bytes
    who: str
    csv_mapping: str = ""
    sha256: bytes = field(init=False)
    """The hash of the content, by which the file is kept."""

    def __post_init__(self) -> None:
        """Hash the content, once."""
        object.__setattr__(self, "sha256", hashlib.sha256(self.content).digest())


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountAtBank:
    """An account of ours at a bank, with the bank's entry in the directory if it has one.

    With ``is_at_agent`` it is a rail's settlement account: ``bank`` is the rail, and its bank and number there are
    those of the configuration (``AccountNames``).
    """

    id: int
    bank: str
    currency: str
    number: str
    listed: ListedBank | None = None
    is_at_agent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountNames:
    """What is configured of an account's statements: other identifiers of it, and how the bank numbers them.

    An empty ``currency`` is every one. ``servicer`` is the bank that keeps the account, where it is not ``bank``: the
    settlement agent of a rail.
    """

    bank: str
    currency: str
    number: str
    aliases: tuple[str, ...] = ()
    numbers_count_by_one: bool = True
    zone: str = ""
    """The zone of the bank's booking days; empty: that of all accounts."""
    servicer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountToAsk:
    """An account whose statement is asked for: the bank that keeps it, and the number that the bank knows."""

    account: AccountAtBank
    bank: str
    number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundStatement:
    """What was found at a place of a file: a statement with its head, or a fault."""

    file_sha256: bytes
    who: str
    found: Statement | StatementFault
    head: StatementHead | None


def found_in(file: ReceivedFile, said: Statement | StatementFault) -> FoundStatement:
    """Return what was found in a file. To make the head of a statement takes as long as the statement is."""
    head = head_of(said) if isinstance(said, Statement) else None
    return FoundStatement(file_sha256=file.sha256, who=file.who, found=said, head=head)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedStatement:
    """A statement, or a place that could not be read, with the outcome of its import.

    ``id`` is ours, and 0 where nothing was written. ``account_id`` is our account, ``identifier`` what the
    statement says. Amounts are in minor units; ``day`` is the last day of the statement.
    """

    outcome: str
    reason: str
    place: str
    file_sha256: bytes
    file_name: str = ""
    id: int = 0
    account_id: int | None = None
    source: str = ""
    identifier: str = ""
    servicer: str = ""
    currency: str = ""
    bank_statement_id: str = ""
    sequence: int | None = None
    page: int | None = None
    created: str = ""
    begins: date | None = None
    day: date | None = None
    opening_minor: int | None = None
    closing_minor: int | None = None
    entries: int = 0
    who: str = ""
    at: datetime | None = None
    is_set_aside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementWithEntries:
    """A statement and some of its entries, in their order."""

    statement: ImportedStatement
    entries: tuple[Entry, ...]


def wanted_numbers(said: Iterable[str], named: Iterable[AccountNames]) -> list[str]:
    """Return the numbers of the accounts that statements may mean: those said, and those of aliases said."""
    numbers = dict.fromkeys(said)
    compact = set(map(compact_identifier, numbers))
    aliased = {
        each.number: None
        for each in named
        if not compact.isdisjoint(map(compact_identifier, each.aliases))
    }
    return list(numbers | aliased)


def known_accounts(
    accounts: Iterable[AccountAtBank], named: Iterable[AccountNames] = ()
) -> list[KnownAccount]:
    """Return the accounts with every number that statements may give them.

    The bank is named by its BIC in the directory, if it has one. The number that the directory states as our
    account in a currency is the account's, if it is our only one there in that currency.
    """
    listed = list(accounts)
    counts = _counted(listed)
    names = _names(named)
    known = []
    for each in listed:
        is_only = counts[folded_bank(each.bank), each.currency] == 1
        for said in _said_of(each, names) or (None,):
            aliases = said.aliases if said is not None else ()
            bank = (said.servicer if said is not None else "") or each.bank
            found = KnownAccount(
                key=str(each.id),
                servicer=(each.listed.bic if each.listed is not None else "") or bank,
                currency=each.currency,
                identifiers=tuple(dict.fromkeys((*_numbers(each, is_only=is_only), *aliases))),
                numbers_count_by_one=said is None or said.numbers_count_by_one,
            )
            known.append(found)
    return known


def accounts_to_ask(
    accounts: Iterable[AccountAtBank], named: Iterable[AccountNames] = ()
) -> list[AccountToAsk]:
    """Return how statements are asked for: by the number in the directory, else by the account's own.

    A rail's settlement account is asked for at its agent, by the configured number; without one it is left out.
    """
    listed = list(accounts)
    counts, names = _counted(listed), _names(named)
    found: list[AccountToAsk] = []
    for each in listed:
        if each.is_at_agent:
            found += [
                AccountToAsk(account=each, bank=said.servicer, number=said.aliases[0])
                for said in _said_of(each, names)
                if said.servicer and said.aliases
            ]
            continue
        is_only = counts[folded_bank(each.bank), each.currency] == 1
        own, *others = _numbers(each, is_only=is_only)
        bank = (each.listed.bic if each.listed is not None else "") or each.bank
        found.append(AccountToAsk(account=each, bank=bank, number=(*others, own)[0]))
    return found


def _counted(accounts: Iterable[AccountAtBank]) -> Counter[tuple[str, str]]:
    return Counter((folded_bank(each.bank), each.currency) for each in accounts)


def _names(named: Iterable[AccountNames]) -> dict[tuple[str, str, str], list[AccountNames]]:
    found: dict[tuple[str, str, str], list[AccountNames]] = {}
    for each in named:
        found.setdefault(_key(each.bank, each.currency, each.number), []).append(each)
    return found


def _said_of(
    account: AccountAtBank, names: Mapping[tuple[str, str, str], list[AccountNames]]
) -> list[AccountNames]:
    """Return what is configured of an account, in its currency or in every one."""
    return [
        each
        for currency in (account.currency, "")
        for each in names.get(_key(account.bank, currency, account.number), ())
    ]


def _key(bank: str, currency: str, number: str) -> tuple[str, str, str]:
    return folded_bank(bank), currency, compact_identifier(number)


def _numbers(account: AccountAtBank, *, is_only: bool) -> tuple[str, ...]:
    numbers = [account.number]
    if is_only and account.listed is not None:
        for instruction in account.listed.instructions:
            ours = instruction.our_account
            if ours is not None and instruction.currency == account.currency:
                numbers += [ours.iban, ours.other_id]
    return tuple(dict.fromkeys(number for number in numbers if number))


def imported(
    found: FoundStatement, outcome: ImportOutcome, *, written_id: int = 0
) -> ImportedStatement:
    """Return what the import of a statement has come to."""
    said = found.found
    common = ImportedStatement(
        outcome=outcome.outcome.value,
        reason=outcome.reason[:REASON_CHARACTERS_MAX],
        place=said.place[:PLACE_CHARACTERS_MAX],
        file_sha256=found.file_sha256,
        id=written_id,
        account_id=int(outcome.account_key) if outcome.account_key else None,
        who=found.who,
    )
    head = found.head
    if not isinstance(said, Statement) or head is None:
        return common
    account = said.account
    return replace(
        common,
        source=said.source.value,
        identifier=account.identifier,
        servicer=account.servicer,
        currency=account.currency,
        bank_statement_id=said.id,
        sequence=said.sequence,
        page=said.page,
        created=said.created,
        begins=_dated(head.begins),
        day=_dated(head.ends),
        opening_minor=head.opening_minor,
        closing_minor=head.closing_minor,
        entries=len(said.entries),
    )


def _dated(day: date) -> date | None:
    """Return None for the day that stands for no day."""
    return None if day == date.min else day


def neighbour_days(head: StatementHead) -> tuple[date, date]:
    """Return the days between which kept statements change the outcome of this one."""
    days = timedelta(days=NEIGHBOUR_DAYS)
    first = head.begins - days if head.begins > date.min + days else date.min
    last = head.ends + days if head.ends < date.max - days else date.max
    return first, last


def hash_of_key(key: tuple[str, ...]) -> bytes:
    """Return the hash of an identity or a period of a head, to look it up by."""
    return hashlib.sha256(msgspec.json.encode(key)).digest()
