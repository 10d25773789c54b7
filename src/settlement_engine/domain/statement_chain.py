"""The statements of one account as a chain: pages joined, corrections applied, gaps and overlaps found.

Promises: the chain depends only on the set of statements and on which of them are set aside, not on the order in
which they arrived or were decided. Statements that are superseded, contested, unbalanced or overlapping are listed, and
are not part of the chain; one that is set aside is as one that never came. Must never: choose between two versions that
do not say which one is later.
"""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.statements import END_OF_DAY, BalanceType, Source

if TYPE_CHECKING:
    from collections.abc import Iterable

    from settlement_engine.domain.statements import Statement

PAGES_DAYS_MAX: Final = 31
"""Pages further apart than this are pages of two statements with one number."""

PAGES_NAMED_MAX: Final = 5
"""So many pages are named one by one."""

_FINAL: Final = frozenset({BalanceType.OPENING, BalanceType.CLOSING})


class StatementHead(msgspec.Struct, frozen=True):
    """The data of a statement or page that the checks of continuity need: everything but its entries."""

    content_hash: str
    source: Source
    id: str
    sequence: int | None
    page: int | None
    is_last_page: bool | None
    created: str
    begins: date
    ends: date
    opening_minor: int | None
    opening_is_final: bool
    closing_minor: int | None
    closing_is_final: bool
    booked_minor: int
    totals_differ: bool = False
    is_set_aside: bool = False
    """Two people have decided that it does not count."""

    def is_balanced(self) -> bool:
        """Say whether opening balance and entries give the closing balance; True if a balance is missing."""
        if self.totals_differ:
            return False
        if self.opening_minor is None or self.closing_minor is None:
            return True
        return self.opening_minor + self.booked_minor == self.closing_minor

    def identity(self) -> tuple[str, ...]:
        """Return id, number, page and day of creation; without a day of creation, the closing day."""
        made = self.created[:10] or self.ends.isoformat()
        return ("identity", self.source, self.id, str(self.sequence), str(self.page), made)

    def period(self) -> tuple[str, ...]:
        """Return number, page and closing day: a number is used once for a closing day."""
        if self.sequence is None:
            return self.identity()
        return ("period", self.source, str(self.sequence), str(self.page), self.ends.isoformat())

    def order(self) -> tuple[date, date, int, int, str, str, str]:
        """Return the sort key of the chain: days first, because numbers start again each year."""
        number = -1 if self.sequence is None else self.sequence
        page = -1 if self.page is None else self.page
        return (self.ends, self.begins, number, page, self.created, self.id, self.content_hash)


def head_of(statement: Statement) -> StatementHead:
    """Return the head of a statement."""
    opening, closing = statement.opening(), statement.closing()
    days = [entry.booking_date for entry in statement.entries if entry.booking_date is not None]
    ends = (closing.date if closing else None) or statement.ends or max(days, default=None)
    begins = (opening.date if opening else None) or statement.begins or min(days, default=None)
    return StatementHead(
        content_hash=statement.content_hash(),
        source=statement.source,
        id=statement.id,
        sequence=statement.sequence,
        page=statement.page,
        is_last_page=statement.is_last_page,
        created=statement.created,
        begins=begins or ends or date.min,
        ends=ends or begins or date.min,
        opening_minor=opening.minor if opening else None,
        opening_is_final=opening is not None and opening.type in _FINAL,
        closing_minor=closing.minor if closing else None,
        closing_is_final=closing is not None and closing.type in _FINAL,
        booked_minor=statement.booked_minor(),
        totals_differ=statement.totals_differ,
    )


class JoinedStatement(msgspec.Struct, frozen=True):
    """A statement with all its pages, in their order."""

    pages: tuple[StatementHead, ...]

    @property
    def first(self) -> StatementHead:
        """Return the first page."""
        return self.pages[0]

    @property
    def last(self) -> StatementHead:
        """Return the last page."""
        return self.pages[-1]

    def balances(self) -> tuple[int | None, int | None]:
        """Return the opening and the closing balance."""
        return (self.first.opening_minor, self.last.closing_minor)

    def missing(self) -> str:
        """Say which page is missing; empty when the statement is complete."""
        if self.first.opening_minor is None:
            return "has no opening balance"
        if self.last.closing_minor is None:
            return "has no closing balance"
        if not self.first.opening_is_final:
            return f"its first page has not come yet{self._here()}"
        if not self.last.closing_is_final or self.last.is_last_page is False:
            return f"its last page has not come yet{self._here()}"
        numbers = [page.page for page in self.pages if page.page is not None]
        for before, after in itertools.pairwise(numbers):
            if after != before + 1:
                return f"pages between {before} and {after} have not come yet"
        return ""

    def _here(self) -> str:
        """Say which pages there are."""
        numbers = [str(page.page) for page in self.pages if page.page is not None]
        named = ", ".join(numbers[:PAGES_NAMED_MAX]) + ", …" * (len(numbers) > PAGES_NAMED_MAX)
        return f" (here: {'page' if len(numbers) == 1 else 'pages'} {named})" if numbers else ""

    def torn(self) -> str:
        """Say which page does not begin with the closing balance of the one before; empty when each does."""
        for before, after in itertools.pairwise(self.pages):
            neighbours = (
                None not in (before.page, after.page) and after.page == (before.page or 0) + 1
            )
            if neighbours and before.closing_minor != after.opening_minor:
                return f"page {after.page} does not begin where page {before.page} ends"
        return ""


class Gap(msgspec.Struct, frozen=True):
    """Something is missing between two statements."""

    before: str
    after: str
    """Content hashes of the statements on both sides: the last page of one, the first of the other."""
    reason: str


class StatementChain(msgspec.Struct, frozen=True):
    """The chain of an account, and the statements that are not part of it."""

    row: tuple[JoinedStatement, ...]
    gaps: tuple[Gap, ...]
    incomplete: tuple[str, ...]
    superseded: tuple[str, ...]
    contested: tuple[str, ...]
    unbalanced: tuple[str, ...]
    overlapping: tuple[str, ...]
    agreeing: tuple[str, ...] = ()
    """They cover days of the chain, too, and begin and end with its balances: the same days in another form."""
    set_aside: tuple[str, ...] = ()

    def is_whole(self) -> bool:
        """Say whether a proof can be made: nothing is missing, contested, unbalanced or overlapping."""
        return not (
            self.gaps or self.incomplete or self.contested or self.unbalanced or self.overlapping
        )


def chain_of(
    heads: Iterable[StatementHead], *, numbers_count_by_one: bool = True
) -> StatementChain:
    """Build the chain of the statements of one account, given in any order."""
    closing = {head.content_hash: head for head in heads if head.source in END_OF_DAY}
    everything = sorted(closing.values(), key=StatementHead.order)
    kept = [head for head in everything if not head.is_set_aside]
    in_force, superseded, contested = _in_force(kept)
    balanced = [head for head in in_force if head.is_balanced()]
    unbalanced = [head.content_hash for head in in_force if not head.is_balanced()]
    row: list[JoinedStatement] = []
    overlapping: list[JoinedStatement] = []
    for joined in join_pages(balanced):
        if joined.torn():
            unbalanced += [page.content_hash for page in joined.pages]
        elif row and overlap(row[-1], joined):
            counting = joined if _says_more(joined, row[-1]) else row[-1]
            overlapping.append(row[-1] if counting is joined else joined)
            row[-1] = counting
        else:
            row.append(joined)
    agreeing, differing = _agreeing(row, overlapping)
    gaps = [
        Gap(before.last.content_hash, after.first.content_hash, reason)
        for before, after in itertools.pairwise(row)
        if (reason := gap_between(before, after, numbers_count_by_one=numbers_count_by_one))
    ]
    return StatementChain(
        row=tuple(row),
        gaps=tuple(gaps),
        incomplete=tuple(
            page.content_hash for joined in row if joined.missing() for page in joined.pages
        ),
        superseded=tuple(superseded),
        contested=tuple(contested),
        unbalanced=tuple(sorted(unbalanced)),
        overlapping=differing,
        agreeing=agreeing,
        set_aside=tuple(head.content_hash for head in everything if head.is_set_aside),
    )


def _says_more(one: JoinedStatement, other: JoinedStatement) -> bool:
    """Say whether ``one`` is the same statement as ``other`` as a camt.053: it has more references than the others."""
    is_same = one.last.ends == other.last.ends and one.balances() == other.balances()
    formats = (one.first.source, other.first.source)
    return is_same and formats[0] is Source.CAMT053 and formats[1] is not Source.CAMT053


def _agreeing(
    row: list[JoinedStatement], overlapping: list[JoinedStatement]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the pages of those that begin and end with balances of the chain, on the same days, and of the others.

    Where one statement has both balances, its last day is enough: formats date the opening balance differently.
    """
    whole = {(each.last.ends, each.balances()) for each in row}
    begins: dict[tuple[date, int | None], int] = {}
    ends: dict[tuple[date, int | None], int] = {}
    for n, each in enumerate(row):
        begins.setdefault((each.first.begins, each.first.opening_minor), n)
        ends[each.last.ends, each.last.closing_minor] = n
    found: dict[bool, list[str]] = {True: [], False: []}
    for each in overlapping:
        first = begins.get((each.first.begins, each.first.opening_minor), len(row))
        last = ends.get((each.last.ends, each.last.closing_minor), -1)
        is_same = first <= last or (each.last.ends, each.balances()) in whole
        agrees = is_same and not each.missing()
        found[agrees] += [page.content_hash for page in each.pages]
    return tuple(found[True]), tuple(found[False])


def _in_force(
    heads: list[StatementHead],
) -> tuple[list[StatementHead], list[str], list[str]]:
    """Return the valid version of each statement: the latest one that balances, if the versions say which."""
    in_force: list[StatementHead] = []
    superseded: list[str] = []
    contested: list[str] = []
    for versions in _versions(heads):
        sound = [head for head in versions if head.is_balanced()] or versions
        latest = max(_instant(head.created) for head in sound)
        chosen = [head for head in sound if _instant(head.created) == latest]
        if len(chosen) == 1:
            in_force.append(chosen[0])
            superseded += [head.content_hash for head in versions if head is not chosen[0]]
        else:
            contested += [head.content_hash for head in versions]
    in_force.sort(key=StatementHead.order)
    return in_force, superseded, contested


def _instant(created: str) -> str:
    """Convert a time of creation to UTC, so that times compare; text that is no time is returned unchanged."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return created
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    try:
        return aware.astimezone(UTC).isoformat()
    except OverflowError:
        return created


def _versions(heads: list[StatementHead]) -> list[list[StatementHead]]:
    """Group heads of the same identity, or of the same number and day: the versions of one statement."""
    leader: dict[tuple[str, ...], tuple[str, ...]] = {}

    def find(key: tuple[str, ...]) -> tuple[str, ...]:
        while leader.setdefault(key, key) != key:
            leader[key] = leader[leader[key]]
            key = leader[key]
        return key

    for head in heads:
        leader[find(head.identity())] = find(head.period())
    groups: dict[tuple[str, ...], list[StatementHead]] = {}
    for head in heads:
        groups.setdefault(find(head.identity()), []).append(head)
    return list(groups.values())


def join_pages(heads: list[StatementHead]) -> list[JoinedStatement]:
    """Join the pages of each statement: the same number, or the same id without a number, and counted pages."""
    piles: dict[tuple[object, ...], list[StatementHead]] = {}
    joined: list[JoinedStatement] = []
    for head in heads:
        if head.page is None:
            joined.append(JoinedStatement((head,)))
        else:
            key = (head.id,) if head.sequence is None else (head.sequence, "number")
            piles.setdefault(key, []).append(head)
    for pile in piles.values():
        run: list[StatementHead] = []
        for head in pile:
            if run and not _continues(run[-1], head):
                joined.append(JoinedStatement(tuple(run)))
                run = []
            run.append(head)
        joined.append(JoinedStatement(tuple(run)))
    joined.sort(key=lambda each: each.last.order())
    return joined


def _continues(before: StatementHead, after: StatementHead) -> bool:
    return (
        (after.page or 0) > (before.page or 0)
        and (after.ends - before.ends).days <= PAGES_DAYS_MAX
        and before.is_last_page is not True
        and not after.opening_is_final
    )


def overlap(one: JoinedStatement, other: JoinedStatement) -> bool:
    """Say whether two statements cover the same days. Two statements of one single day do not overlap."""
    a, b, c, d = one.first.begins, one.last.ends, other.first.begins, other.last.ends
    is_another_format = one.first.source is not other.first.source
    if is_another_format and b == d and one.balances() == other.balances():
        return True  # the same days, though their opening balances are dated differently
    if (a, b) == (c, d) and is_another_format:
        return True  # the same days, in two formats
    if a == b:
        return c < a < d
    if c == d:
        return a < c < b
    return max(a, c) < min(b, d)


def gap_between(
    before: JoinedStatement, after: JoinedStatement, *, numbers_count_by_one: bool
) -> str:
    """Say what is missing between two successive statements; empty when nothing is."""
    closing, opening = before.last.closing_minor, after.first.opening_minor
    if closing is None or opening is None:
        return "a balance is missing"
    if closing != opening:
        return "the opening balance is not the closing balance before it"
    earlier, later = before.last.sequence, after.first.sequence
    if not numbers_count_by_one or earlier is None or later is None:
        return ""
    begins_anew = later <= 1 or (later < earlier and after.last.ends.year > before.last.ends.year)
    if later in (earlier, earlier + 1) or begins_anew:
        return ""
    return f"the number goes from {earlier} to {later}"
