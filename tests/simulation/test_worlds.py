"""Whole engines in worlds where everything goes wrong: every promise is kept, by the bank's own book."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from settlement_lab.worlds.faults import FAULTS
from settlement_lab.worlds.sweep import COVERED_FROM, Report, sweep
from settlement_lab.worlds.world import play

HERE = Path(__file__).parent
REGRESSIONS = tomllib.loads((HERE / "regressions.toml").read_text())["world"]
WORLDS = COVERED_FROM
DIGESTS = """
from settlement_lab.worlds.world import play
print([play(seed).digest for seed in (3, 14, 15)])
"""


def test_every_promise_is_kept_in_every_world_and_every_fault_happens():
    report = sweep(range(WORLDS), jobs=1)
    assert [(found.seed, found.violations) for found in report.found] == []
    assert report.worlds == WORLDS
    assert report.never_fired == []
    assert report.is_good
    assert set(report.ends) == {"completed", "failed", "rolled_back", "returned"}
    assert report.debits == report.ends["completed"] + report.ends["returned"]


@pytest.mark.parametrize("known", REGRESSIONS, ids=lambda known: str(known["seed"]))
def test_what_was_found_once_is_not_found_again(known):
    assert play(known["seed"], emphasis=known.get("emphasis")).violations == []


@pytest.mark.parametrize("known", REGRESSIONS, ids=lambda known: str(known["seed"]))
def test_what_was_found_has_a_test_of_its_own(known):
    assert known["found"]
    assert (HERE.parents[1] / known["test"]).is_file()


# --- one seed, one history --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 7, 21])
def test_the_same_seed_is_the_same_history_to_the_last_turn(seed):
    one, two = play(seed), play(seed)
    assert one.lines == two.lines
    assert (one.digest, one.turns, one.seconds) == (two.digest, two.turns, two.seconds)


def test_another_seed_is_another_history():
    assert len({play(seed).digest for seed in range(5)}) == 5


def test_histories_do_not_depend_on_how_texts_are_hashed():
    found = [
        subprocess.run(
            [sys.executable, "-c", DIGESTS],
            env={"PYTHONHASHSEED": hashing, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        ).stdout
        for hashing in ("1", "4711")
    ]
    assert found[0] == found[1]
    assert found[0].strip() == str([play(seed).digest for seed in (3, 14, 15)])


# --- what a run has to have seen --------------------------------------------------------------------


def test_a_large_run_that_never_saw_a_fault_has_failed_and_names_it():
    report = Report(worlds=COVERED_FROM)
    report.fired.update(name for name in FAULTS if name != "zombie")
    assert report.never_fired == ["zombie"]
    assert not report.is_good
    report.fired["zombie"] += 1
    assert report.is_good


def test_a_small_run_need_not_see_everything():
    assert Report(worlds=COVERED_FROM - 1).is_good


def test_processes_share_the_work_and_change_nothing():
    alone = sweep(range(40), jobs=1)
    together = sweep(range(40), jobs=2)
    assert (alone.turns, alone.fired, alone.ends) == (together.turns, together.fired, together.ends)
