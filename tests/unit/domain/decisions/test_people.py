"""People and the bank: every answer with every finding in every state."""

from __future__ import annotations

from itertools import product

import pytest

from settlement_engine.domain.decisions.people import DEFINITE, bank_wins, more_definite
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.proposals import Finding
from tests.support.decided import answer


@pytest.mark.parametrize("event", Event)
def test_a_definite_word_wins_and_so_does_news_of_a_payment_that_was_denied(event):
    is_definite = event in (Event.SETTLED, Event.REJECTED, Event.RECALLED)
    for finding, state in product(Finding, State):
        denied = (Event.ACKNOWLEDGED, Finding.NOT_SETTLED)
        wins = is_definite or ((event, finding) == denied and state is State.IN_DOUBT)
        assert bank_wins(answer(event), finding, state) is wins, (finding, state)


@pytest.mark.parametrize("first", Event)
def test_the_definite_one_of_two_answers_is_kept_else_the_later_one(first):
    for second in Event:
        before, after = answer(first), answer(second)
        assert more_definite(before, after) is (before if first in DEFINITE else after)
        assert more_definite(None, after) is after
