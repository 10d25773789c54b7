"""Continuity: whether a received statement continues the account's other statements.

Promises: each statement has one outcome, the first that applies in the order below, with its reason; the same
file again changes nothing; any order of files gives the same chain; a statement is judged as if those that are set
aside had never come. Must never: read a clock or a database. The
caller passes the account's kept statements, or those within NEIGHBOUR_DAYS and the nearest one on each side.
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
"""Statements further away do not change the outcome, except the nearest one on each side."""


class StatementOutcome(StrEnum):
    """The outcome of importing a statement: the first one that applies."""

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
    {
        StatementOutcome.IMPORTED,
        StatementOutcome.GAP,
        StatementOutcome.OUT_OF_ORDER,
        StatementOutcome.INCOMPLETE,
    }
)
"""Statements whose entries are matched. All but IMPORTED delay the proof until the missing ones arrive."""

KEPT: Final = MATCHED | {
    StatementOutcome.REISSUED,
    StatementOutcome.UNBALANCED,
    StatementOutcome.OVERLAP,
}
"""Statements that are kept for the account's chain."""


class ImportOutcome(msgspec.Struct, frozen=True):
    """The outcome of importing one statement, and the reason."""

    outcome: StatementOutcome
    reason: str
    account_key: str = ""
    """The key of our account; empty if none was found."""


class KnownAccount(msgspec.Struct, frozen=True):
    """An account of ours at a bank, and the identifiers of it in that bank's statements."""

    key: str
    servicer: str
    currency: str
    identifiers: tuple[str, ...]
    numbers_count_by_one: bool = True
    """False for banks that number by days: their numbers do not show what is missing."""


class AccountDirectory:
    """Finds the account that a statement belongs to. A number alone is not unique."""

    def __init__(self, accounts: Iterable[KnownAccount]) -> None:
        self._by_identifier: dict[str, list[KnownAccount]] = {}
        for account in accounts:
            for identifier in account.identifiers:
                self._by_identifier.setdefault(compact_identifier(identifier), []).append(account)

    def find(self, said: StatementAccount) -> KnownAccount | ImportOutcome:
        """Return the account, or the outcome that says why there is none."""
        named = self._by_identifier.get(compact_identifier(said.identifier), [])
        if said.servicer:
            servicer = folded_bank(said.servicer)
            named = [each for each in named if _same_bank(folded_bank(each.servicer), servicer)]
        if not named:
            return ImportOutcome(
                StatementOutcome.UNKNOWN_ACCOUNT, "no account has this number at this bank"
            )
        if len({folded_bank(each.servicer) for each in named}) > 1:
            reason = "several banks keep an account of this number, and the statement names no bank"
            return ImportOutcome(StatementOutcome.UNKNOWN_ACCOUNT, reason)
        fitting = [each for each in named if each.currency == said.currency]
        if not fitting:
            reason = f"the account is kept in {', '.join(sorted({e.currency for e in named}))}"
            return ImportOutcome(StatementOutcome.WRONG_CURRENCY, reason)
        if len(fitting) > 1:
            return ImportOutcome(StatementOutcome.UNKNOWN_ACCOUNT, "two accounts have this number")
        return fitting[0]


def compact_identifier(identifier: str) -> str:
    """Return an account's identifier as it is compared: in capitals, without spaces."""
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
    *,
    head: StatementHead | None = None,
) -> ImportOutcome:
    """Return the outcome for a statement. ``kept`` are the heads of the account's kept statements.

    ``head`` is the statement's own, if it is known already: to make it takes as long as the statement is.
    """
    if isinstance(found, StatementFault):
        return ImportOutcome(StatementOutcome(found.kind.value), f"{found.place}: {found.reason}")
    if found.source not in accepted:
        return ImportOutcome(
            StatementOutcome.WRONG_CONTAINER, f"{found.source.value} is not accepted here"
        )
    account = directory.find(found.account)
    if isinstance(account, ImportOutcome):
        return account
    outcome, reason = _judge_content(found, head or head_of(found), account, kept)
    return ImportOutcome(outcome, reason, account.key)


def _judge_content(
    statement: Statement,
    head: StatementHead,
    account: KnownAccount,
    kept: Sequence[StatementHead],
) -> tuple[StatementOutcome, str]:
    foreign = _foreign_currency(statement)
    if foreign:
        return (
            StatementOutcome.WRONG_CURRENCY,
            f"it holds {foreign}, and the account is in {account.currency}",
        )
    same = next((each for each in kept if each.content_hash == head.content_hash), None)
    if same is not None:
        aside = "; it is set aside" if same.is_set_aside else ""
        reason = f"it was imported before, with the same content{aside}"
        return StatementOutcome.ALREADY_IMPORTED, reason
    kept = [each for each in kept if not each.is_set_aside]
    if any(each.identity() == head.identity() or each.period() == head.period() for each in kept):
        return StatementOutcome.REISSUED, _reissued(head, kept)
    closes_a_day = statement.source in END_OF_DAY
    if statement.totals_differ or (closes_a_day and not head.is_balanced()):
        return (
            StatementOutcome.UNBALANCED,
            "its entries do not add up to its closing balance, or to its own totals",
        )
    if not closes_a_day:
        return StatementOutcome.IMPORTED, "it is not an end-of-day statement"
    return _judge_place(head, kept, numbers_count_by_one=account.numbers_count_by_one)


def _reissued(head: StatementHead, kept: Sequence[StatementHead]) -> str:
    """Say which version of a statement that was imported before counts."""
    chain = chain_of([*kept, head])
    if head.content_hash in chain.contested:
        counts = "no version says that it is later, so none counts"
    elif head.content_hash in chain.superseded:
        counts = "another version counts"
    elif head.source in END_OF_DAY:
        counts = "this version counts"
    else:
        return "it was imported before with other content"
    return f"it was imported before with other content; {counts}"


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
) -> tuple[StatementOutcome, str]:
    """Return the outcome by the statement's place in the chain of its account."""
    before = chain_of(kept, numbers_count_by_one=numbers_count_by_one)
    chain = chain_of([*kept, head], numbers_count_by_one=numbers_count_by_one)
    mine = head.content_hash
    if mine in chain.unbalanced:
        return StatementOutcome.UNBALANCED, "a page does not begin where the one before it ends"
    at = next(
        (n for n, each in enumerate(chain.row) if any(p.content_hash == mine for p in each.pages)),
        None,
    )
    if at is not None and chain.row[at].missing():
        return StatementOutcome.INCOMPLETE, chain.row[at].missing()
    outside = {*chain.overlapping, *chain.agreeing} - {*before.overlapping, *before.agreeing}
    if at is None or outside:
        same = ", with the same balances" if mine in chain.agreeing else ""
        return StatementOutcome.OVERLAP, f"another statement covers the same days{same}"
    if at + 1 < len(chain.row):
        return StatementOutcome.OUT_OF_ORDER, "a later statement was imported before"
    first = chain.row[at].first.content_hash
    reason = next((gap.reason for gap in chain.gaps if gap.after == first), "")
    if reason:
        return StatementOutcome.GAP, reason
    pages = len(chain.row[at].pages)
    reason = "it continues the chain" if at else "it is the account's first statement"
    if pages > 1:
        reason = f"all {pages} pages of the statement are here; {reason}"
    return StatementOutcome.IMPORTED, reason
