"""Continuity: what becomes of a statement that comes in, by the account's other ones.

Promises: each statement has one outcome, the first that applies in the order below, with its reason; the same
file again changes nothing; any order of files ends in the same row. Must never: ask a clock or a database.
Whoever calls gives the account's kept statements, or those within NEIGHBOUR_DAYS and the nearest on both sides.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.statement_chain import (
    PAGES_DAYS_MAX,
    StatementHead,
    chain_of,
    head_of,
)
from settlement_engine.domain.statements import END_OF_DAY, EntryStatus, Source, StatementFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from settlement_engine.domain.statements import Statement, StatementAccount

NEIGHBOUR_DAYS: Final = 2 * PAGES_DAYS_MAX
"""Statements further away do not change the outcome of one, but for the nearest on each side."""


class Outcome(StrEnum):
    """What becomes of a statement. The first that applies is the one."""

    UNREADABLE = "UNREADABLE"
    WRONG_CONTAINER = "WRONG_CONTAINER"
    UNKNOWN_ACCOUNT = "UNKNOWN_ACCOUNT"
    WRONG_CURRENCY = "WRONG_CURRENCY"
    ALREADY_IMPORTED = "ALREADY_IMPORTED"
    REISSUED = "REISSUED"
    UNBALANCED = "UNBALANCED"
    INCOMPLETE = "INCOMPLETE"
    OVERLAP = "OVERLAP"
    OUT_OF_ORDER = "OUT_OF_ORDER"
    GAP = "GAP"
    IMPORTED = "IMPORTED"


MATCHED: Final = frozenset(
    {Outcome.IMPORTED, Outcome.GAP, Outcome.OUT_OF_ORDER, Outcome.INCOMPLETE}
)
"""Their entries are matched. All but IMPORTED hold the proof back until they are filled."""

KEPT: Final = MATCHED | {Outcome.REISSUED, Outcome.UNBALANCED, Outcome.OVERLAP}
"""They become part of what the account's row is made of."""


class ImportOutcome(msgspec.Struct, frozen=True):
    """What becomes of one statement, and why."""

    outcome: Outcome
    reason: str
    account_key: str = ""
    """Ours; empty where none was found."""


class KnownAccount(msgspec.Struct, frozen=True):
    """An account of ours at a bank, and by which names that bank's statements call it."""

    key: str
    servicer: str
    currency: str
    identifiers: tuple[str, ...]
    numbers_count_by_one: bool = True
    """Some banks number by days; theirs say nothing of what is missing."""


class AccountDirectory:
    """Finds the account that a statement belongs to. A number alone is not unique."""

    def __init__(self, accounts: Iterable[KnownAccount]) -> None:
        self._by_identifier: dict[str, list[KnownAccount]] = {}
        for account in accounts:
            for identifier in account.identifiers:
                self._by_identifier.setdefault(_compact(identifier), []).append(account)

    def find(self, said: StatementAccount) -> KnownAccount | ImportOutcome:
        """Return the account, or the outcome that says why there is none."""
        named = self._by_identifier.get(_compact(said.identifier), [])
        if said.servicer:
            servicer = folded_bank(said.servicer)
            named = [each for each in named if _same_bank(folded_bank(each.servicer), servicer)]
        if not named:
            return ImportOutcome(Outcome.UNKNOWN_ACCOUNT, "no account has this number at this bank")
        if len({folded_bank(each.servicer) for each in named}) > 1:
            reason = "several banks keep an account of this number, and the statement names no bank"
            return ImportOutcome(Outcome.UNKNOWN_ACCOUNT, reason)
        fitting = [each for each in named if each.currency == said.currency]
        if not fitting:
            reason = f"the account is kept in {', '.join(sorted({e.currency for e in named}))}"
            return ImportOutcome(Outcome.WRONG_CURRENCY, reason)
        if len(fitting) > 1:
            return ImportOutcome(Outcome.UNKNOWN_ACCOUNT, "two accounts have this number")
        return fitting[0]


def _compact(identifier: str) -> str:
    return "".join(identifier.split()).upper()


def _same_bank(one: str, other: str) -> bool:
    """Compare BICs; one of eight characters stands for every branch."""
    bic = 8
    return one == other or (bic in (len(one), len(other)) and one[:bic] == other[:bic])


def judge(
    found: Statement | StatementFault,
    directory: AccountDirectory,
    kept: Sequence[StatementHead],
    accepted: frozenset[Source] = frozenset(Source),
) -> ImportOutcome:
    """Say what becomes of a statement. ``kept`` are the heads of its account's that are kept already."""
    if isinstance(found, StatementFault):
        return ImportOutcome(Outcome(found.kind.value), f"{found.place}: {found.reason}")
    if found.source not in accepted:
        return ImportOutcome(Outcome.WRONG_CONTAINER, f"{found.source.value} is not taken in here")
    account = directory.find(found.account)
    if isinstance(account, ImportOutcome):
        return account
    outcome, reason = _judge_content(found, account, kept)
    return ImportOutcome(outcome, reason, account.key)


def _judge_content(
    statement: Statement, account: KnownAccount, kept: Sequence[StatementHead]
) -> tuple[Outcome, str]:
    foreign = _foreign_currency(statement)
    if foreign:
        return (
            Outcome.WRONG_CURRENCY,
            f"it holds {foreign}, and the account is in {account.currency}",
        )
    head = head_of(statement)
    if any(each.content_hash == head.content_hash for each in kept):
        return Outcome.ALREADY_IMPORTED, "it is here, with the same content"
    if any(each.identity() == head.identity() or each.period() == head.period() for each in kept):
        return Outcome.REISSUED, "it is here with another content; the later one counts"
    closes_a_day = statement.source in END_OF_DAY
    if statement.totals_differ or (closes_a_day and not head.is_balanced()):
        return Outcome.UNBALANCED, "its entries do not make its closing balance, or its own totals"
    if not closes_a_day:
        return Outcome.IMPORTED, "it closes no day"
    return _judge_place(head, kept, numbers_count_by_one=account.numbers_count_by_one)


def _foreign_currency(statement: Statement) -> str:
    wanted = statement.account.currency
    for balance in statement.balances:
        if balance.currency != wanted:
            return balance.currency
    for entry in statement.entries:
        if entry.currency != wanted and entry.status is EntryStatus.BOOKED:
            return entry.currency
    return ""


def _judge_place(
    head: StatementHead, kept: Sequence[StatementHead], *, numbers_count_by_one: bool
) -> tuple[Outcome, str]:
    """Say how a statement stands among the others of its account."""
    before = chain_of(kept, numbers_count_by_one=numbers_count_by_one)
    chain = chain_of([*kept, head], numbers_count_by_one=numbers_count_by_one)
    mine = head.content_hash
    if mine in chain.unbalanced:
        return Outcome.UNBALANCED, "a page does not begin where the one before it ends"
    at = next(
        (n for n, each in enumerate(chain.row) if any(p.content_hash == mine for p in each.pages)),
        None,
    )
    if at is not None and chain.row[at].missing():
        return Outcome.INCOMPLETE, chain.row[at].missing()
    if at is None or set(chain.overlapping) - set(before.overlapping):
        return Outcome.OVERLAP, "another statement speaks of the same days"
    if at + 1 < len(chain.row):
        return Outcome.OUT_OF_ORDER, "a later statement is here already"
    first = chain.row[at].first.content_hash
    reason = next((gap.reason for gap in chain.gaps if gap.after == first), "")
    if reason:
        return Outcome.GAP, reason
    return Outcome.IMPORTED, "it continues the row" if at else "it is the account's first one"
