"""Problems of a chain at present, and a statement's place in it: what was cured is no longer there."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from settlement_engine.domain.chain_problems import (
    KeptHead,
    ProblemKind,
    place_of_statement,
    problems_of,
)
from settlement_engine.domain.statement_chain import chain_of, head_of
from settlement_engine.messages.statements import read_statements
from tests.support.statement_files import chain, file_of

DAYS = chain("111", 5)


def chained(*days):
    heads = [head_of(each) for each in read_statements(file_of(*days)).statements]
    kept = {head.content_hash: KeptHead(id=at, head=head) for at, head in enumerate(heads, 1)}
    return chain_of(heads), kept


def problems(*days):
    return list(problems_of(*chained(*days)))


def test_a_chain_without_a_gap_has_no_problem():
    assert problems(*DAYS) == []


def test_a_gap_is_seen_at_the_statement_behind_it_until_it_is_filled():
    [found] = problems(DAYS[0], DAYS[2])
    assert (found.kind, found.statement_id) == (ProblemKind.GAP, 2)
    assert (found.first_day, found.last_day) == (DAYS[0].day, DAYS[2].day)
    assert "opening balance" in found.reason
    assert problems(DAYS[0], DAYS[2], DAYS[1]) == []


def test_a_statement_that_does_not_add_up_is_unbalanced():
    wrong = replace(DAYS[4], closing=DAYS[4].end + 1)
    [found] = problems(*DAYS[:4], wrong)
    assert (found.kind, found.statement_id) == (ProblemKind.UNBALANCED, 5)


def test_two_versions_that_do_not_say_which_is_later_are_contested():
    other = replace(DAYS[4], amounts=(1, 2))
    found = problems(*DAYS, other)
    assert {(each.kind, each.statement_id) for each in found} == {
        (ProblemKind.CONTESTED, 5),
        (ProblemKind.CONTESTED, 6),
    }


def test_a_missing_page_is_named():
    head = head_of(read_statements(file_of(DAYS[0])).statements[0])
    open_end = msgspec.structs.replace(head, is_last_page=False)
    kept = {open_end.content_hash: KeptHead(id=1, head=open_end)}
    [found] = problems_of(chain_of([open_end]), kept)
    assert found.kind is ProblemKind.INCOMPLETE
    assert found.reason == "its last page has not come yet (here: page 1)"


def test_a_statement_has_its_place_between_its_neighbours():
    found, kept = chained(DAYS[0], DAYS[1], DAYS[3])
    hashes = list(kept)
    first = place_of_statement(found, kept, hashes[0])
    last = place_of_statement(found, kept, hashes[2])
    assert first is not None
    assert last is not None
    assert (first.number, first.of, first.before_id, first.after_id) == (1, 3, 0, 2)
    assert (last.number, last.before_id, last.after_id) == (3, 2, 0)
    assert first.problem is None
    assert last.problem is not None
    assert last.problem.kind is ProblemKind.GAP


def test_a_superseded_version_has_no_place():
    found, kept = chained(*DAYS, replace(DAYS[4], amounts=(1, 2)))
    assert place_of_statement(found, kept, list(kept)[4]) is None
