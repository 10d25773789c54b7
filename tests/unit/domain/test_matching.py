from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from settlement_engine.domain.matching.breaks import (
    BreakKind,
    BreakRun,
    classify,
    references_of_matched,
)
from settlement_engine.domain.matching.run import match_items
from settlement_engine.domain.matching.values import Part, Pass, Rules, Theirs, theirs_of
from settlement_engine.messages.statements import read_statements
from tests.support.matching_cases import DAY, RULES, Case, Maker

ROUNDS = 30


def maker(seed=1):
    return Maker(random.Random(seed))


def run(*cases: Case, rules=RULES):
    ours = [each for case in cases for each in case.ours]
    theirs = [each for case in cases for each in case.theirs]
    return match_items(ours, theirs, rules)


def broken(*cases: Case, result, known=()):
    ours = {each.id: each for case in cases for each in case.ours}
    theirs = {each.id: each for case in cases for each in case.theirs}
    matched = [ours[i] for match in result.matches for i in match.ours]
    return classify(
        BreakRun(
            tuple(ours[each] for each in result.open_ours),
            tuple(theirs[each] for each in result.open_theirs),
            RULES,
            references_of_matched([*matched, *known]),
        )
    )


@pytest.fixture(scope="module")
def labelled():
    made = maker(20261125)
    return [case for _ in range(ROUNDS) for case in made.every()]


def test_every_automatic_match_of_the_labelled_set_is_right(labelled, record_property):
    assert len(labelled) >= 500
    result = run(*labelled)
    truth = {
        (frozenset(ours), frozenset(theirs))
        for case in labelled
        if case.automatic
        for ours, theirs in case.together
    }
    found = {(frozenset(each.ours), frozenset(each.theirs)) for each in result.matches}
    assert found - truth == set()  # precision: 100 %
    recall = 100 * len(found & truth) / len(truth)
    record_property("recall_percent", recall)
    print(f"\n{len(labelled)} cases, {len(found)} matches, recall {recall:.1f} %")
    assert recall >= 90


def test_what_is_suggested_is_what_a_person_may_confirm(labelled):
    result = run(*labelled)
    truth = {frozenset(a | b) for case in labelled for a, b in case.together}
    named = [each for each in result.suggestions if each.matched_by is not Pass.SUM]
    assert named
    assert all({*each.ours, *each.theirs} in truth for each in named)


def test_every_planted_difference_has_its_name(labelled):
    result = run(*labelled)
    found = broken(*labelled, result=result)
    by_item = {item: each for each in found for item in (*each.ours, *each.theirs)}
    for case in labelled:
        if case.breaks:
            items = [each.id for each in (*case.ours, *case.theirs) if each.id in by_item]
            kinds = {id(by_item[item]): by_item[item].kind for item in items}
            assert Counter(kinds.values()) == Counter(case.breaks), case.kind
    assert {each.kind for each in found} == set(BreakKind)
    # Nothing that is open is forgotten, and nothing is in two breaks.
    counted = Counter(item for each in found for item in (*each.ours, *each.theirs))
    assert sorted(counted) == sorted((*result.open_ours, *result.open_theirs))
    assert set(counted.values()) == {1}


@pytest.mark.parametrize(
    ("kind", "by"),
    [
        ("by_reference", Pass.OUR_REFERENCE),
        ("by_end_to_end", Pass.END_TO_END),
        ("by_rail", Pass.RAIL_REFERENCE),
        ("by_text", Pass.REFERENCE_IN_TEXT),
        ("by_parts", Pass.ONE_TO_MANY),
        ("by_batch", Pass.ONE_TO_MANY),
        ("by_instalments", Pass.MANY_TO_ONE),
        ("by_both_sides", Pass.MANY_TO_MANY),
        ("less_a_charge", Pass.TARIFF),
        ("within_tolerance", Pass.TOLERANCE),
    ],
)
def test_each_pass_matches_what_it_is_for_and_says_why(kind, by):
    (match,) = run(getattr(maker(), kind)()).matches
    assert match.matched_by is by
    assert match.rules_version == "matching/3/test"
    assert match.explanation


def test_what_a_match_closes_goes_into_a_named_account():
    made = maker()
    cases = [made.less_a_charge() for _ in range(20)] + [made.within_tolerance() for _ in range(20)]
    result = run(*cases)
    ours = {each.id: each for case in cases for each in case.ours}
    theirs = {each.id: each for case in cases for each in case.theirs}
    assert len(result.matches) == 40
    for match in result.matches:
        difference = sum(theirs[i].minor for i in match.theirs) - sum(
            ours[i].minor for i in match.ours
        )
        assert match.difference_minor == difference
        account = {-150: "fees:tariff", -275: "fees:BANKB"}.get(difference, "fx:rounding")
        assert match.difference_account == account


def test_nothing_is_closed_without_a_rule():
    case = maker().within_tolerance()
    assert run(case, rules=Rules(version="strict")).matches == ()


def test_two_accounts_for_one_charge_are_a_question():
    both = replace_rules(
        charges=(*RULES.charges, msgspec.structs.replace(RULES.charges[0], account="x"))
    )
    ours = maker().ours(-10_000, counterparty="BANKA")
    theirs = maker().theirs(ours, minor=-10_150, given=ours.references)
    result = match_items([ours], [theirs], both)
    assert result.matches == ()
    assert len(result.suggestions) == 1


def replace_rules(**more):
    return msgspec.structs.replace(RULES, **more)


def test_twins_are_counted_and_not_merged():
    made = maker()
    ours = [made.ours(-350, references=("SAME-REFERENCE",)) for _ in range(2)]
    theirs = [made.theirs(ours[0], given=("SAME-REFERENCE",)) for _ in range(3)]
    result = match_items(ours, theirs, RULES)
    (match,) = result.matches
    assert match.matched_by is Pass.EQUAL_TWINS
    assert (len(match.ours), len(match.theirs)) == (2, 2)
    assert "2 of ours and 3 of theirs" in match.explanation
    kinds = [each.kind for each in broken(Case("twins", ours, theirs), result=result)]
    assert kinds == [BreakKind.DUPLICATE]


def test_two_references_that_name_two_are_a_question():
    made = maker()
    one, other = made.ours(-10_000), made.ours(-10_000)
    theirs = made.theirs(one, given=(*one.references, *other.references))
    result = match_items([one, other], [theirs], RULES)
    assert result.matches == ()
    assert result.suggestions


def test_a_reference_of_several_leaves_none_of_them_to_another_reference():
    made = maker()
    one = made.ours(-10_000, references=("SHARED", "OWN-OF-ONE"))
    other = made.ours(-10_000, references=("SHARED",))
    result = match_items([one, other], [made.theirs(one, given=("SHARED", "OWN-OF-ONE"))], RULES)
    assert result.matches == ()
    assert result.suggestions


def test_what_is_in_doubt_is_not_matched_by_its_text():
    made = maker()
    ours = [made.ours(-10_000, references=("THE-SAME",)) for _ in range(2)]
    theirs = made.theirs(ours[0], given=("THE-SAME",), text=ours[0].end_to_end)
    assert match_items(ours, [theirs], RULES).matches == ()


@pytest.mark.parametrize("minors", [(-300, 200), (-150, -50, 100)])
def test_what_is_taken_back_in_between_is_no_sum(minors):
    made = maker()
    ours = made.ours(-100)
    theirs = [made.theirs(ours, minor=minor, given=ours.references) for minor in minors]
    assert match_items([ours], theirs, RULES).matches == ()


def test_a_reversal_is_no_charge():
    made = maker()
    ours = made.ours(-10_000, counterparty="BANKA")
    theirs = made.theirs(ours, minor=-10_150, given=ours.references, is_reversal=True)
    assert match_items([ours], [theirs], RULES).matches == ()


def test_two_groups_that_want_the_same_item_are_a_question():
    made = maker()
    shared = made.ours(-100, batch="FILE-X", references=("FILE-Y",), value_date=DAY)
    ours = [shared, *(made.ours(-50, batch=name, value_date=DAY) for name in ("FILE-X", "FILE-Y"))]
    theirs = made.theirs(shared, minor=-150, given=("FILE-X", "FILE-Y"))
    result = match_items(ours, [theirs], RULES)
    assert result.matches == ()
    assert len(result.suggestions) == 2


def test_parts_whose_amounts_are_exchanged_do_not_match():
    made = maker()
    ours = [made.ours(minor, value_date=DAY) for minor in (-200, -300)]
    parts = tuple(
        Part((each.end_to_end,), minor) for each, minor in zip(ours, (-300, -200), strict=True)
    )
    theirs = made.theirs(ours[0], minor=-500, parts=parts)
    assert match_items(ours, [theirs], RULES).matches == ()


def test_two_entries_with_the_same_payments_inside_are_a_question():
    made = maker()
    case = made.by_parts()
    again = msgspec.structs.replace(case.theirs[0], id="t999999")
    assert match_items(case.ours, [*case.theirs, again], RULES).matches == ()


@pytest.mark.parametrize("last", [-10_000, 10_000])
def test_a_second_debit_of_what_was_returned_is_a_duplicate_and_so_is_a_second_return(last):
    made = maker()
    paid = made.ours(-10_000)
    returned = msgspec.structs.replace(paid, id="returned", minor=10_000)
    again = made.theirs(paid, minor=last, given=paid.references)
    case = Case("returned", [], [again])
    for known in ([paid, returned], [returned, paid]):
        (found,) = broken(case, result=run(case), known=known)
        assert found.kind is BreakKind.DUPLICATE


def test_a_second_debit_of_what_is_matched_is_a_duplicate_and_its_return_a_reversal():
    made = maker()
    ours = made.ours(-10_000)
    again = made.theirs(ours, given=ours.references)
    back = made.theirs(ours, minor=10_000, given=ours.references)
    case = Case("later", [], [again, back])
    kinds = [each.kind for each in broken(case, result=run(case), known=[ours])]
    assert kinds == [BreakKind.DUPLICATE, BreakKind.REVERSAL]


def test_two_offsetting_errors_with_equal_balances_are_found():
    made = maker()
    one, other = made.ours(-10_000), made.ours(-20_000)
    theirs = [
        made.theirs(one, minor=-11_000, given=one.references),
        made.theirs(other, minor=-19_000, given=other.references),
    ]
    assert sum(each.minor for each in theirs) == one.minor + other.minor
    case = Case("offset", [one, other], theirs)
    found = broken(case, result=run(case))
    assert [each.kind for each in found] == [BreakKind.AMOUNT] * 2
    assert sorted(each.difference_minor for each in found) == [-1_000, 1_000]


def test_sums_that_no_reference_holds_together_are_only_suggested():
    made = maker()
    ours = [made.ours(minor, counterparty="BANKA") for minor in (-1_100, -2_200, -4_400)]
    whole = made.theirs(ours[0], minor=-5_500)
    result = match_items(ours, [whole], RULES)
    assert result.matches == ()
    (found,) = result.suggestions
    assert found.matched_by is Pass.SUM
    assert set(found.ours) == {ours[0].id, ours[2].id}


def test_a_batch_of_which_one_is_missing_is_not_matched():
    case = maker().by_batch()
    short = replace(case, ours=case.ours[1:])
    assert run(short).matches == ()


def test_the_same_input_in_another_order_gives_the_same_hash(labelled):
    first = run(*labelled)
    chance = random.Random(3)
    ours = [each for case in labelled for each in case.ours]
    theirs = [each for case in labelled for each in case.theirs]
    chance.shuffle(ours)
    chance.shuffle(theirs)
    assert match_items(ours, theirs, RULES) == first
    assert match_items(ours, theirs, replace_rules(version="2")).result_hash != first.result_hash
    assert match_items(ours[1:], theirs, RULES).result_hash != first.result_hash


def test_a_later_run_looks_only_at_what_is_open():
    made = maker()
    first_cases = [made.by_reference() for _ in range(1_000)]
    first = run(*first_cases)
    assert (first.open_ours, first.open_theirs) == ((), ())
    assert run(made.by_reference()).comparisons < first.comparisons / 500


@pytest.mark.parametrize("seed", range(3))
def test_a_day_in_two_runs_ends_as_in_one(seed):
    made = maker(seed)
    cases = [case for _ in range(6) for case in made.every()]
    at_once = run(*cases)
    made.chance.shuffle(cases)
    early, late = cases[:40], cases[40:]
    first = run(*early)
    ours = {each.id: each for case in cases for each in case.ours}
    theirs = {each.id: each for case in cases for each in case.theirs}
    second = match_items(
        [*(ours[i] for i in first.open_ours), *(o for case in late for o in case.ours)],
        [*(theirs[i] for i in first.open_theirs), *(t for case in late for t in case.theirs)],
        RULES,
    )
    in_two = {(each.ours, each.theirs) for each in (*first.matches, *second.matches)}
    assert in_two == {(each.ours, each.theirs) for each in at_once.matches}
    assert second.open_ours == at_once.open_ours
    assert second.open_theirs == at_once.open_theirs


@pytest.mark.parametrize("shape", ["plain", "one amount", "one reference", "labelled"])
def test_the_comparisons_for_an_entry_do_not_grow(shape):
    def each_costs(count):
        made = maker(5)
        cases = made_in_shape(made, shape, count)
        items = sum(len(case.ours) + len(case.theirs) for case in cases)
        return run(*cases).comparisons / items

    assert each_costs(4_000) <= each_costs(400) * 1.1 + 1


def made_in_shape(made, shape, count):
    if shape == "plain":
        return [made.by_reference() for _ in range(count)]
    if shape == "labelled":
        return [case for _ in range(count // 20) for case in made.every()]
    if shape == "one amount":
        return [made.same_amount_and_day() for _ in range(count)]
    ours = [made.ours(-100, references=("THE-SAME",), value_date=DAY) for _ in range(count)]
    return [Case("same", ours, [made.theirs(each, given=("THE-SAME",)) for each in ours])]


def test_breaks_of_many_equal_references_are_told_in_linear_time():
    made = maker()
    ours = [made.ours(-100, references=("THE-SAME",)) for _ in range(20_000)]
    theirs = [made.theirs(each, given=("THE-SAME",)) for each in ours]
    found = classify(BreakRun(tuple(ours), tuple(theirs), RULES, {}))
    assert len(found) == 20_000


def test_entries_of_a_statement_are_theirs():
    text = (
        "{2:I940X}{4:\n:20:S\n:25:DEUTDEFF/1\n:28C:1/1\n:60F:C261124EUR100,00\n"
        ":61:2611251125D12,50NTRFSETTLE-1//BANK-1\n:86:Purpose\n"
        ":61:2611251125ED1,00NTRFX\n:62F:C261125EUR87,50\n-}"
    )
    (statement,) = read_statements(text.encode()).statements
    (theirs,) = theirs_of(statement, "nostro", "DEUTDEFF")
    assert isinstance(theirs, Theirs)
    assert (theirs.minor, theirs.given, theirs.rail_references) == (
        -1250,
        ("SETTLE-1",),
        ("BANK-1",),
    )
    ours = maker().ours(-1250, references=("SETTLE-1",), value_date=DAY + timedelta(days=1))
    assert len(match_items([ours], [theirs], RULES).matches) == 1
