"""Worlds with the bank's statements: a second road by which the truth comes, and no engine believes more than it says."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from settlement_lab.worlds.world import play

STATEMENTS = {"statements": 1.0}
MUTE = {**STATEMENTS, "answer_lost": 1.0, "answer_late": 0.0, "bank_rejects": 0.0}
"""No confirmation ever arrives while there are faults: what completes before they cease, a statement has ended."""

WORLDS = 25
_MOVE = re.compile(r"09:(\d\d):(\d\d) settlement \d+: (\w+) \+ (\w+) -> (\w+)")


@pytest.mark.parametrize("seed", range(WORLDS))
def test_every_guarantee_holds_with_statements(seed):
    history = play(seed, emphasis=STATEMENTS)
    assert history.violations == []
    assert history.fired["statements"]


def test_lost_confirmations_are_ended_by_statements_and_another_amount_is_not():
    ended = differed = 0
    for seed in range(6):
        history = play(seed, emphasis=MUTE)
        assert history.violations == []
        [ceased] = [float(line.split()[0]) for line in history.lines if "the faults cease" in line]
        for line in history.lines:
            if (found := _MOVE.search(line)) is None:
                continue
            at = int(found[1]) * 60 + int(found[2])
            ended += found[3] == "in_doubt" and found[4] == "settled" and at < ceased
            differed += found[4] == "amount_differed"
    assert ended >= 6
    assert differed >= 1


def test_money_comes_back_and_is_taken_twice_of_which_only_statements_tell():
    """That each return is booked whole and each second debit once, every world compares with the bank's ledger."""
    fired: Counter[str] = Counter()
    for seed in range(14):
        history = play(seed, emphasis=STATEMENTS)
        assert history.violations == []
        fired += history.fired
    assert fired["statement_returns"] >= 3
    assert fired["statement_second_debits"] >= 1
    assert fired["statement_closed_differences"] >= 3


def test_a_world_without_statements_is_as_if_there_were_none():
    assert play(3).fired["statements"] == 0
