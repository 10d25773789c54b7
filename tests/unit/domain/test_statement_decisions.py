"""Statements that two people set aside: the chain without them, how others are judged, and who may decide."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from settlement_engine.domain.breaks.authority import ResolutionRole
from settlement_engine.domain.chain_problems import KeptHead, problems_of
from settlement_engine.domain.closed_differences import NO_RULES
from settlement_engine.domain.continuity import StatementOutcome, judge
from settlement_engine.domain.mention_counts import MentionCounts
from settlement_engine.domain.proposals import Decision, is_repeated
from settlement_engine.domain.statement_chain import StatementHead, chain_of, head_of
from settlement_engine.domain.statement_decisions import (
    ChosenStatement,
    StatementChange,
    StatementProposal,
    account_of,
    check_approval,
    check_changing,
    check_declining,
    fingerprint_of,
    proposal_sha256,
    waiting_instead,
)
from settlement_engine.domain.statement_evidence import EntrySays, MentionKind, Told
from settlement_engine.errors import InvalidInstruction, NotFound, NotPermitted, WrongState
from settlement_engine.messages.statements import read_statements
from tests.support.statement_files import chain, file_of
from tests.unit.domain.test_continuity import ACCOUNTS, PAGES, statement
from tests.unit.domain.test_statement_evidence import ID, entry, mention, payment

DAYS = chain("111", 5)
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
ROLES = (ResolutionRole(name="settlement", persons=("anna", "ben")),)
ASIDE, RESTORE = StatementChange.SET_ASIDE, StatementChange.RESTORE


def heads_of(*days) -> list[StatementHead]:
    return [head_of(each) for each in read_statements(file_of(*days)).statements]


def aside(head: StatementHead) -> StatementHead:
    return msgspec.structs.replace(head, is_set_aside=True)


# --- the chain ------------------------------------------------------------------------------------


def test_what_is_set_aside_is_as_if_it_had_never_come():
    heads = heads_of(*DAYS)
    found = chain_of([*heads[:2], aside(heads[2]), *heads[3:]])
    without = chain_of([*heads[:2], *heads[3:]])
    assert msgspec.structs.replace(found, set_aside=()) == without
    assert found.set_aside == (heads[2].content_hash,)


def test_the_other_one_of_two_contested_versions_counts():
    first, second = heads_of(DAYS[1], replace(DAYS[1], amounts=(-1, 2, 3)))
    before, *rest = heads_of(DAYS[0])
    assert set(chain_of([before, first, second]).contested) == {
        first.content_hash,
        second.content_hash,
    }
    for wrong, right in ((first, second), (second, first)):
        found = chain_of([before, aside(wrong), right, *rest])
        assert found.contested == ()
        assert found.row[-1].last == right


def test_an_overlap_ends_with_the_statement_that_is_set_aside():
    wrong = replace(DAYS[2], number=77, opening=5)
    heads = heads_of(*DAYS[:3], wrong)
    assert not chain_of(heads).is_whole()
    assert chain_of([*heads[:3], aside(heads[3])]).is_whole()


def test_a_page_that_is_set_aside_is_missing():
    pages = [head_of(each) for each in PAGES]
    found = chain_of([pages[0], aside(pages[1]), pages[2]])
    assert len(found.incomplete) == 2


@pytest.mark.parametrize("seed", range(30))
def test_any_order_of_files_and_decisions_gives_the_same_chain(seed):
    chance = random.Random(seed)
    others = [replace(each, amounts=(chance.randint(-9, 9),)) for each in DAYS]
    heads = heads_of(*DAYS, *others)
    wrong = {each.content_hash for each in heads if chance.random() < 0.4}
    decided = [aside(each) if each.content_hash in wrong else each for each in heads]
    expected = chain_of(decided)
    assert set(expected.set_aside) == wrong
    for _ in range(5):
        chance.shuffle(decided)
        assert chain_of(decided) == expected
    left = [each for each in decided if not each.is_set_aside]
    assert msgspec.structs.replace(expected, set_aside=()) == chain_of(left)


def test_the_problem_of_contested_versions_names_the_command():
    heads = heads_of(DAYS[0], replace(DAYS[0], amounts=(7,)))
    kept = {head.content_hash: KeptHead(id=at, head=head) for at, head in enumerate(heads, 1)}
    found = list(problems_of(chain_of(heads), kept))
    assert len(found) == 2
    assert all("statements set-aside" in each.reason for each in found)
    one = [heads[0], aside(heads[1])]
    kept = {head.content_hash: KeptHead(id=at, head=head) for at, head in enumerate(one, 1)}
    assert list(problems_of(chain_of(one), kept)) == []


# --- the import -----------------------------------------------------------------------------------


def test_a_statement_is_judged_without_those_that_are_set_aside():
    wrong, right = statement(1, 0, 100), statement(1, 0, 60, 40)
    assert judge(right, ACCOUNTS, [head_of(wrong)]).outcome is StatementOutcome.REISSUED
    found = judge(right, ACCOUNTS, [aside(head_of(wrong))])
    assert found.outcome is StatementOutcome.IMPORTED


def test_the_content_that_is_set_aside_is_not_kept_again():
    wrong = statement(1, 0, 100)
    found = judge(wrong, ACCOUNTS, [aside(head_of(wrong))])
    assert found.outcome is StatementOutcome.ALREADY_IMPORTED
    assert found.reason.endswith("it is set aside")


# --- what entries say -----------------------------------------------------------------------------


def told(counted: int, set_aside: int, kind=MentionKind.DEBIT, *, is_told=False) -> Told:
    return Told(
        settlement_id=ID,
        kind=kind,
        amount_minor=100,
        counted=counted,
        set_aside=set_aside,
        is_told=is_told,
    )


def evidence(minor: int, before: Told, *, has_moved: bool = False):
    said = mention(entry(minor))
    assert said is not None
    counting = MentionCounts(NO_RULES, [before])
    return counting.evidence(said, payment(has_moved=has_moved), 17, counts=True)


def test_a_debit_after_one_that_is_set_aside_is_the_payments_and_news():
    found = evidence(-100, told(0, 1))
    assert (found.found.says, found.found.nth, found.turn) == (EntrySays.DEBIT, 1, 2)
    assert found.is_news
    assert not evidence(-100, told(0, 1), has_moved=True).is_news


def test_nothing_is_posted_as_a_second_debit_after_one_that_is_set_aside():
    assert evidence(-100, told(1, 0, is_told=True)).found.says is EntrySays.SECOND_DEBIT
    found = evidence(-100, told(1, 1, is_told=True))
    assert (found.found.says, found.turn) == (EntrySays.FURTHER_DEBIT, 3)


def test_a_return_is_counted_without_those_that_are_set_aside():
    found = evidence(100, told(0, 1, MentionKind.CREDIT), has_moved=True)
    assert (found.found.nth, found.turn, found.is_news) == (1, 2, True)


# --- proposals ------------------------------------------------------------------------------------


def proposal(**changes: object) -> StatementProposal:
    content = proposal_sha256(ASIDE, (3, 2), "the bank's mistake", "anna")
    fields = {
        "id": 1,
        "account_id": 9,
        "change": ASIDE,
        "statement_ids": (2, 3),
        "reason": "the bank's mistake",
        "proposed_by": "anna",
        "content_sha256": content,
        "proposed_at": NOW,
        "expires_at": NOW + timedelta(days=1),
        "seen_at": NOW,
    }
    return StatementProposal(**{**fields, **changes})  # type: ignore[arg-type]


def chosen(number: int, **changes: object) -> ChosenStatement:
    fields = {"id": number, "account_id": 9, "is_kept": True, "is_set_aside": False}
    return ChosenStatement(**{**fields, **changes})  # type: ignore[arg-type]


FOUND = {2: chosen(2), 3: chosen(3)}


def test_the_fingerprint_is_of_everything_that_is_proposed():
    one = proposal()
    assert fingerprint_of(one) == one.content_sha256
    others = (
        {"change": RESTORE},
        {"statement_ids": (2,)},
        {"reason": "another"},
        {"proposed_by": "ben"},
    )
    assert len({fingerprint_of(proposal(**each)) for each in others} | {one.content_sha256}) == 5


def test_statements_of_one_account_are_named():
    assert account_of((2, 3), FOUND) == 9
    with pytest.raises(NotFound):
        account_of((2, 4), FOUND)
    with pytest.raises(WrongState, match="not kept"):
        account_of((2,), {2: chosen(2, is_kept=False)})
    with pytest.raises(InvalidInstruction, match="one account"):
        account_of((2, 3), {2: chosen(2), 3: chosen(3, account_id=8)})


def test_what_has_happened_is_not_changed_again():
    check_changing(ASIDE, FOUND)
    check_changing(RESTORE, {2: chosen(2, is_set_aside=True)})
    with pytest.raises(WrongState, match="set aside already"):
        check_changing(ASIDE, {2: chosen(2, is_set_aside=True)})
    with pytest.raises(WrongState, match="not set aside"):
        check_changing(RESTORE, FOUND)


def test_one_proposal_waits_about_a_statement():
    waiting = proposal()
    assert waiting_instead(waiting.content_sha256, (2, 3), [waiting]) == waiting
    assert waiting_instead(b"other", (5,), [waiting]) is None
    with pytest.raises(WrongState, match="proposal 1 of anna"):
        waiting_instead(b"other", (3, 4), [waiting])
    ended = proposal(decision=Decision.DECLINED, decided_by="ben")
    expired = proposal(seen_at=NOW + timedelta(days=1))
    assert waiting_instead(b"other", (3,), [ended, expired]) is None


def approve(one: StatementProposal, who: str = "ben", **changes: object) -> str:
    fields = {"who": who, "signed": one.content_sha256, **changes}
    return check_approval(one, FOUND, ROLES, **fields)  # type: ignore[arg-type]


def test_a_second_person_with_a_role_approves():
    assert approve(proposal()) == "settlement"


@pytest.mark.parametrize("who", ["anna", "ANNA", "Anna/"])
def test_the_same_person_does_not_approve(who):
    with pytest.raises(NotPermitted, match="cannot approve"):
        approve(proposal(), who)


def test_an_approval_is_refused_without_role_or_fingerprint_or_in_another_state():
    with pytest.raises(NotPermitted, match="no role"):
        approve(proposal(), "carl")
    with pytest.raises(InvalidInstruction):
        approve(proposal(), signed=b"other")
    with pytest.raises(WrongState, match="expired"):
        approve(proposal(seen_at=NOW + timedelta(days=2)))
    with pytest.raises(WrongState, match="was declined by ben"):
        approve(proposal(decision=Decision.DECLINED, decided_by="ben"))
    with pytest.raises(WrongState, match="not set aside"):
        approve(proposal(change=RESTORE))


def test_the_proposer_and_whoever_has_a_role_may_decline():
    check_declining(proposal(proposed_by="carl"), ROLES, "carl")
    check_declining(proposal(), ROLES, "ben")
    with pytest.raises(NotPermitted):
        check_declining(proposal(), ROLES, "carl")
    with pytest.raises(WrongState):
        check_declining(proposal(decision=Decision.APPROVED), ROLES, "ben")


def test_the_same_decision_of_the_same_person_is_repeated():
    one = proposal(decision=Decision.APPROVED, decided_by="ben")
    assert is_repeated(one, Decision.APPROVED, "Ben", one.content_sha256)
    assert not is_repeated(one, Decision.APPROVED, "ben", b"other")
    assert not is_repeated(one, Decision.APPROVED, "anna", one.content_sha256)
    assert not is_repeated(one, Decision.DECLINED, "ben")
