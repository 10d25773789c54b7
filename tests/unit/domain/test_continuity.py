from __future__ import annotations

import random
from datetime import date, timedelta

import msgspec
import pytest

from settlement_engine.domain.continuity import (
    KEPT,
    AccountDirectory,
    KnownAccount,
    StatementOutcome,
    judge,
)
from settlement_engine.domain.statement_chain import chain_of, head_of
from settlement_engine.domain.statements import (
    BalanceType,
    Entry,
    EntryStatus,
    FaultKind,
    Source,
    Statement,
    StatementAccount,
    StatementBalance,
    StatementFault,
    StatementReferences,
)

OURS = StatementAccount("DE1", "IBAN", "EUR", "DEUTDEFF")
ACCOUNTS = AccountDirectory([KnownAccount("nostro", "DEUTDEFFXXX", "EUR", ("DE1", "0001"))])
DAY = date(2026, 3, 2)


def entry(minor, number=1, status=EntryStatus.BOOKED, currency="EUR"):
    return Entry(number, minor, currency, status, DAY, DAY, False, StatementReferences(), "", "")


def statement(number, opening, *amounts, day=None, **more):
    day = day or DAY + timedelta(days=number)
    closing = more.pop("closing", (opening or 0) + sum(amounts))
    first = more.pop("first", BalanceType.OPENING)
    last = more.pop("last", BalanceType.CLOSING)
    values = [(first, opening), (last, closing)]
    return Statement(
        source=more.pop("source", Source.CAMT053),
        account=more.pop("account", OURS),
        id=more.pop("id", f"S{number}"),
        entries=tuple(entry(minor, at) for at, minor in enumerate(amounts, 1)),
        balances=tuple(StatementBalance(t, m, "EUR", day) for t, m in values if m is not None),
        sequence=more.pop("sequence", number),
        created=more.pop("created", f"{day.isoformat()}T22:00:00Z"),
        **more,
    )


class Books:
    def __init__(self):
        self.kept = []

    def take(self, found, **more):
        return self.ruling(found, **more).outcome

    def ruling(self, found, **more):
        ruling = judge(found, ACCOUNTS, self.kept, **more)
        if ruling.outcome in KEPT:
            self.kept.append(head_of(found))
        return ruling


def outcomes(*statements):
    books = Books()
    return [books.take(each) for each in statements]


def judged(*statements):
    books = Books()
    return [books.ruling(each) for each in statements]


def test_statements_that_follow_one_another_are_imported():
    found = outcomes(statement(1, 0, 100), statement(2, 100, -30, 5), statement(3, 75))
    assert found == [StatementOutcome.IMPORTED] * 3


def test_the_same_file_again_changes_nothing():
    books = Books()
    files = [statement(1, 0, 100), statement(2, 100)]
    assert [books.take(each) for each in files] == [StatementOutcome.IMPORTED] * 2
    before = chain_of(books.kept)
    assert [books.take(each) for each in files] == [StatementOutcome.ALREADY_IMPORTED] * 2
    assert chain_of(books.kept) == before


def test_the_same_id_next_year_is_another_statement():
    later = statement(1, 100, 1, day=DAY + timedelta(days=366), id="S1")
    assert outcomes(statement(1, 0, 100), later) == [StatementOutcome.IMPORTED] * 2


def test_faults_are_outcomes():
    books = Books()
    for kind in FaultKind:
        assert books.take(StatementFault(kind, "line 1", "no")) is StatementOutcome(kind.value)
    accepted = frozenset({Source.CAMT053})
    intraday = statement(1, 0, source=Source.CAMT052)
    assert books.take(intraday, accepted=accepted) is StatementOutcome.WRONG_CONTAINER


@pytest.mark.parametrize(
    ("account", "outcome"),
    [
        (StatementAccount("DE2", "IBAN", "EUR", "DEUTDEFF"), StatementOutcome.UNKNOWN_ACCOUNT),
        (StatementAccount("DE1", "IBAN", "EUR", "BNPAFRPP"), StatementOutcome.UNKNOWN_ACCOUNT),
        (StatementAccount("DE1", "IBAN", "USD", "DEUTDEFF"), StatementOutcome.WRONG_CURRENCY),
        (StatementAccount("d e1", "IBAN", "EUR", "deutdeff500"), StatementOutcome.IMPORTED),
        (StatementAccount("0001", "MT", "EUR"), StatementOutcome.IMPORTED),
    ],
)
def test_the_account_is_found_by_bank_number_and_currency(account, outcome):
    assert outcomes(statement(1, 0, account=account)) == [outcome]


def test_a_number_that_two_banks_use_needs_the_bank():
    both = AccountDirectory(
        [KnownAccount("a", "DEUTDEFF", "EUR", ("1",)), KnownAccount("b", "BNPAFRPP", "EUR", ("1",))]
    )
    said = StatementAccount("1", "MT", "EUR")
    assert "several banks" in judge(statement(1, 0, account=said), both, []).reason
    said = StatementAccount("1", "MT", "EUR", "BNPAFRPP")
    assert judge(statement(1, 0, account=said), both, []).account_key == "b"


def test_an_amount_of_another_currency_is_the_wrong_currency():
    found = msgspec.structs.replace(statement(1, 0), entries=(entry(1, currency="USD"),))
    assert outcomes(found) == [StatementOutcome.WRONG_CURRENCY]


def test_only_booked_entries_make_the_closing_balance():
    pending = entry(77, status=EntryStatus.PENDING)
    found = msgspec.structs.replace(statement(1, 0), entries=(pending,))
    assert outcomes(found) == [StatementOutcome.IMPORTED]


def test_unbalanced_incomplete_overlap_out_of_order_and_gap():
    weekly = msgspec.structs.replace(
        statement(90, 0, id="W", sequence=None),
        balances=(
            StatementBalance(BalanceType.OPENING, 0, "EUR", DAY),
            StatementBalance(BalanceType.CLOSING, 0, "EUR", DAY + timedelta(days=7)),
        ),
    )
    found = outcomes(
        statement(1, 0, 100),
        statement(2, 100, 1, closing=100),
        statement(3, None),
        statement(5, 100, 1),
        statement(6, 500),
        statement(4, 100),
        weekly,
    )
    assert found == [
        StatementOutcome.IMPORTED,
        StatementOutcome.UNBALANCED,
        StatementOutcome.INCOMPLETE,
        StatementOutcome.GAP,
        StatementOutcome.GAP,
        StatementOutcome.OUT_OF_ORDER,
        StatementOutcome.OVERLAP,
    ]


def test_totals_that_the_entries_do_not_have_are_unbalanced():
    for source in (Source.MT940, Source.MT942):
        found = statement(1, 0, 5, source=source, totals_differ=True)
        assert outcomes(found) == [StatementOutcome.UNBALANCED]


def test_a_missing_statement_without_movements_is_a_gap_by_its_number():
    assert outcomes(statement(1, 0), statement(3, 0)) == [
        StatementOutcome.IMPORTED,
        StatementOutcome.GAP,
    ]
    by_days = AccountDirectory(
        [KnownAccount("nostro", "DEUTDEFF", "EUR", ("DE1",), numbers_count_by_one=False)]
    )
    kept = [head_of(statement(1, 0))]
    assert judge(statement(3, 0), by_days, kept).outcome is StatementOutcome.IMPORTED


def test_a_gap_is_filled_by_what_was_missing():
    books = Books()
    for each in (statement(1, 0, 5), statement(3, 7), statement(2, 5, 2)):
        books.take(each)
    assert chain_of(books.kept).is_whole()


def test_a_correction_supersedes_and_the_later_one_counts():
    first = statement(1, 0, 100)
    corrected = statement(1, 0, 90, created="2026-03-03T23:00:00+00:00")
    for order in ([first, corrected], [corrected, first]):
        assert outcomes(*order) == [StatementOutcome.IMPORTED, StatementOutcome.REISSUED]
        chain = chain_of(map(head_of, order))
        assert [each.last.closing_minor for each in chain.row] == [90]
        assert chain.superseded == (first.content_hash(),)


def test_a_correction_under_another_id_is_known_by_its_number_and_day():
    first = statement(1, 0, 100)
    corrected = statement(1, 0, 90, id="S1-CORRECTED", created="2026-03-05T08:00:00Z")
    assert outcomes(first, corrected) == [StatementOutcome.IMPORTED, StatementOutcome.REISSUED]
    assert chain_of(map(head_of, (first, corrected))).superseded == (first.content_hash(),)


def ranged(first, last, opening, closing):
    days = (DAY + timedelta(days=first), DAY + timedelta(days=last))
    found = statement(0, opening, closing - opening, id=f"R{first}", sequence=None)
    balances = (
        StatementBalance(BalanceType.OPENING, opening, "EUR", days[0]),
        StatementBalance(BalanceType.CLOSING, closing, "EUR", days[1]),
    )
    return msgspec.structs.replace(found, balances=balances)


def test_statements_of_days_in_common_overlap_and_those_that_touch_do_not():
    assert outcomes(ranged(0, 20, 0, 5), ranged(10, 30, 5, 9))[1] is StatementOutcome.OVERLAP
    assert outcomes(ranged(0, 20, 0, 5), ranged(20, 30, 5, 9))[1] is StatementOutcome.IMPORTED


def test_numbers_that_begin_anew_are_no_gap():
    last = statement(365, 0, 5, day=date(2026, 12, 31))
    assert outcomes(last, statement(1, 5, day=date(2027, 1, 4))) == [StatementOutcome.IMPORTED] * 2
    again = statement(40, 5, day=date(2026, 12, 31) + timedelta(days=3))
    assert outcomes(last, again) == [StatementOutcome.IMPORTED] * 2


def test_pages_of_two_statements_with_one_number_are_not_joined():
    later = msgspec.structs.replace(
        PAGES[1],
        balances=tuple(
            msgspec.structs.replace(each, date=each.date + timedelta(days=365))
            for each in PAGES[1].balances
        ),
    )
    assert len(chain_of(map(head_of, (PAGES[0], later))).row) == 2
    anew = page(2, 10, -3, first=True)
    assert len(chain_of(map(head_of, (PAGES[0], anew))).row) == 2


def test_offsets_are_compared_as_moments():
    first = statement(1, 0, 100, created="2026-03-03T23:30:00+02:00")
    later = statement(1, 0, 90, created="2026-03-03T22:00:00Z")
    assert chain_of(map(head_of, (first, later))).row[0].last.closing_minor == 90


def test_two_versions_that_do_not_say_which_is_later_are_contested():
    versions = [statement(1, 0, amount, created="", source=Source.MT940) for amount in (1, 2)]
    chain = chain_of(map(head_of, versions))
    assert chain.row == ()
    assert len(chain.contested) == 2
    assert not chain.is_whole()


@pytest.mark.parametrize(
    ("made", "more", "said"),
    [
        ("2026-03-03T23:00:00Z", {}, "this version counts"),
        ("2026-03-03T21:00:00Z", {}, "another version counts"),
        ("2026-03-03T22:00:00Z", {}, "none counts"),
        ("2026-03-03T23:00:00Z", {"closing": 999}, "another version counts"),
    ],
)
def test_what_is_reissued_says_which_version_counts(made, more, said):
    first = statement(1, 0, 100, -40, created="2026-03-03T22:00:00Z")
    again = statement(1, 0, 50, 10, created=made, **more)
    ruling = judge(again, ACCOUNTS, [head_of(first)])
    assert ruling.outcome is StatementOutcome.REISSUED
    assert ruling.reason.endswith(said)


def page(number, opening, *amounts, first=False, last=False):
    return statement(
        7,
        opening,
        *amounts,
        page=number,
        is_last_page=last,
        source=Source.MT940,
        created="",
        first=BalanceType.OPENING if first else BalanceType.OPENING_INTERMEDIATE,
        last=BalanceType.CLOSING if last else BalanceType.CLOSING_INTERMEDIATE,
    )


PAGES = (page(1, 0, 10, first=True), page(2, 10, -3), page(3, 7, last=True))


def test_pages_are_joined_in_whatever_order_they_come():
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        *before, last = outcomes(*(PAGES[at] for at in order))
        assert before == [StatementOutcome.INCOMPLETE] * 2
        assert last is StatementOutcome.IMPORTED
    (joined,) = chain_of(map(head_of, PAGES)).row
    assert [each.page for each in joined.pages] == [1, 2, 3]
    assert joined.missing() == ""


def test_a_page_says_which_page_it_waits_for_and_the_last_one_that_none_is_left():
    found = [each.reason for each in judged(*PAGES)]
    assert found == [
        "its last page has not come yet (here: page 1)",
        "its last page has not come yet (here: pages 1, 2)",
        "all 3 pages of the statement are here; it is the account's first statement",
    ]
    found = [each.reason for each in judged(PAGES[2], PAGES[0], PAGES[1])]
    assert found[:2] == [
        "its first page has not come yet (here: page 3)",
        "pages between 1 and 3 have not come yet",
    ]
    many = [page(number, 0) for number in range(2, 9)]
    assert (
        judged(*many)[-1].reason == "its first page has not come yet (here: pages 2, 3, 4, 5, 6, …)"
    )


def test_a_page_that_is_missing_keeps_the_statement_incomplete():
    chain = chain_of(map(head_of, (PAGES[0], PAGES[2])))
    assert len(chain.incomplete) == 2
    assert not chain.is_whole()


def test_a_page_that_does_not_continue_is_unbalanced():
    found = outcomes(PAGES[0], page(2, 11, last=True))
    assert found == [StatementOutcome.INCOMPLETE, StatementOutcome.UNBALANCED]


def test_intraday_reports_are_no_part_of_the_row():
    report = statement(5, 999, 1, source=Source.CAMT052, closing=3)
    assert outcomes(statement(1, 0, 5), report, statement(2, 5)) == [StatementOutcome.IMPORTED] * 3


def test_the_same_days_in_two_formats_overlap():
    other = statement(1, 0, 100, source=Source.MT940, id="OTHER", created="")
    assert outcomes(statement(1, 0, 100), other) == [
        StatementOutcome.IMPORTED,
        StatementOutcome.OVERLAP,
    ]


@pytest.mark.parametrize("opened_before", [0, 1])
def test_the_same_day_in_two_formats_delays_nothing_if_the_balances_agree(opened_before):
    days = [statement(n, 10 * n, 10) for n in (1, 2, 3)]
    in_mt = [
        msgspec.structs.replace(
            each,
            source=Source.MT940,
            created="",
            id="MT",
            balances=(
                msgspec.structs.replace(
                    each.balances[0], date=each.balances[0].date - timedelta(days=opened_before)
                ),
                each.balances[1],
            ),
        )
        for each in days
    ]
    for order in ([*days, *in_mt], [*in_mt, *days], [*days[:2], *in_mt, days[2]]):
        found = outcomes(*order)
        assert found.count(StatementOutcome.OVERLAP) == 3
        chain = chain_of(map(head_of, order))
        assert chain.is_whole()
        assert [each.balances() for each in chain.row] == [(10, 20), (20, 30), (30, 40)]
        assert len(chain.agreeing) == 3
        assert {each.first.source for each in chain.row} == {Source.CAMT053}  # it says more


def test_a_month_beside_its_days_delays_nothing_unless_its_balances_are_others():
    days = [ranged(n, n, 10 * n, 10 * n + 10) for n in range(1, 5)]
    agreeing, other = (
        msgspec.structs.replace(ranged(1, 4, 10, closing), id="MONTH") for closing in (50, 49)
    )
    chain = chain_of(map(head_of, [*days, agreeing]))
    assert chain.is_whole()
    assert chain.agreeing == (agreeing.content_hash(),)
    chain = chain_of(map(head_of, [*days, other]))
    assert chain.overlapping == (other.content_hash(),)
    assert not chain.is_whole()


def a_month(chance):
    """Statements of a month, with pages, corrections, repetitions, faults and something missing."""
    made, balance = [], 0
    for number in range(1, 25):
        amounts = [chance.randrange(-50, 60) for _ in range(chance.randrange(4))]
        whole = statement(number, balance, *amounts)
        kind = chance.choice(
            ("plain",) * 5 + ("missing", "corrected", "again", "unbalanced", "pages")
        )
        if kind == "corrected":
            made.append(
                statement(number, balance, *amounts, 1, created=f"{whole.created[:10]}T01:00:00Z")
            )
        if kind == "unbalanced":
            made.append(statement(number, balance, *amounts, closing=balance + sum(amounts) + 1))
        elif kind == "pages":
            made += pages_of(number, balance, amounts)
        elif kind != "missing":
            made.append(whole)
        if kind == "again":
            made.append(whole)
        balance += sum(amounts)
    return made


def pages_of(number, balance, amounts):
    intermediate = {
        "first": BalanceType.OPENING_INTERMEDIATE,
        "last": BalanceType.CLOSING_INTERMEDIATE,
    }
    middle = balance + sum(amounts)
    return [
        statement(number, balance, *amounts, page=1, is_last_page=False, last=intermediate["last"]),
        statement(number, middle, page=2, is_last_page=True, first=intermediate["first"]),
    ]


@pytest.mark.parametrize("seed", range(40))
def test_any_order_of_files_ends_in_the_same_books(seed):
    chance = random.Random(seed)
    files = a_month(chance)
    chains = []
    for _ in range(4):
        books = Books()
        for each in files:
            books.take(each)
        for each in files:  # and once more: nothing changes
            assert books.take(each) not in KEPT
        chains.append(chain_of(books.kept))
        chance.shuffle(files)
    assert all(chain == chains[0] for chain in chains)


def test_a_row_that_is_given_in_order_has_no_gap_and_one_that_lost_a_statement_has():
    files = [statement(n, n * 10, 10) for n in range(1, 30)]
    assert chain_of(map(head_of, files)).is_whole()
    for lost in range(1, 28):
        rest = files[:lost] + files[lost + 1 :]
        assert len(chain_of(map(head_of, rest)).gaps) == 1
