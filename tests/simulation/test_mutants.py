"""Each mutant is detected in the world that is recorded for it."""

from __future__ import annotations

import pytest

from settlement_engine.domain.lifecycle import TRANSITIONS
from settlement_lab.mutants.catalogue import MUTANTS
from settlement_lab.mutants.patching import without
from settlement_lab.worlds.sweep import replay
from settlement_lab.worlds.world import play


@pytest.mark.parametrize("name", MUTANTS)
def test_a_missing_safeguard_violates_a_guarantee(name):
    history = replay(MUTANTS[name].seed, name)
    assert history.violations, f"{MUTANTS[name].what}, and nothing detects it"


@pytest.mark.parametrize("name", MUTANTS)
def test_the_same_world_has_no_violation_with_the_safeguard(name):
    mutant = MUTANTS[name]
    assert play(mutant.seed, emphasis=mutant.emphasis).violations == []


def test_a_mutant_is_undone_after_its_world():
    before = {state: dict(rows) for state, rows in TRANSITIONS.items()}
    digest = play(1).digest
    for mutant in MUTANTS.values():
        with without(mutant):
            pass
    assert {state: dict(rows) for state, rows in TRANSITIONS.items()} == before
    assert play(1).digest == digest
